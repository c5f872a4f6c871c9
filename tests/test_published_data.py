"""Small copies of published data sets, in exactly their formats, and peaks on a small genome."""

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.cli import main
from motifkit.data.onehot_files import DEEPSEA_COLUMNS, read_authors, read_deepsea
from motifkit.data.peaks import prepare_peaks

h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")


def genome_like(count, length, seed):
    """Codes in which CG is rarer than GC, as in a genome, and an N here and there."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 4, (count, length)).astype(np.uint8)
    row, column = np.nonzero((codes[:, :-1] == 1) & (codes[:, 1:] == 2))
    lost = draw.random(len(row)) < 0.8
    codes[row[lost], column[lost] + 1] = 0
    codes[:, 5] = 4
    return codes


def one_hot(codes, order):
    """(sequences, 4, length) uint8 with channels in `order`."""
    return np.stack([codes == "ACGT".index(letter) for letter in order], axis=1).astype(np.uint8)


def write_bundle(folder, order="AGCT", length=1000, counts=(60, 20, 20)):
    """train.mat as HDF5 with reversed axes, valid.mat and test.mat as MATLAB v5; what must come back."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(8)
    expected = {}
    columns = list(DEEPSEA_COLUMNS.values())
    for seed, (split, count) in enumerate(zip(("train", "valid", "test"), counts, strict=True)):
        codes = genome_like(count, length, seed)
        labels = (draw.random((count, 919)) < 0.06).astype(np.uint8)
        labels[0, columns] = 0  # a sequence of other classes only: it must go
        labels[0, 0] = 1
        labels[1, columns] = [1, *[0] * 11]  # Arid3a alone
        x = one_hot(codes, order)
        if split == "train":
            with h5py.File(folder / "train.mat", "w") as file:
                file["trainxdata"] = x.transpose(2, 1, 0)
                file["traindata"] = labels.T
        else:
            scipy_io.savemat(folder / f"{split}.mat", {f"{split}xdata": x, f"{split}data": labels})
        keep = labels[:, columns].any(1)
        assert not keep[0]
        expected[split] = codes[keep], labels[keep][:, columns]
    return expected


def check(dataset, expected):
    for split, (codes, labels) in expected.items():
        got_codes, got_labels = dataset.split(split)
        np.testing.assert_array_equal(got_codes.numpy(), codes)
        np.testing.assert_array_equal(got_labels.numpy(), labels)


def test_deepseas_bundle_with_its_channel_order(tmp_path, monkeypatch, capsys):
    expected = write_bundle(tmp_path / "bundle")
    monkeypatch.setattr("motifkit.data.onehot_files._BLOCK", 7)  # blocks that do not divide the sequences
    dataset = read_deepsea(tmp_path / "bundle")
    check(dataset, expected)
    assert dataset.class_names[:3] == ["Arid3a", "CEBPB", "FOSL1"]
    assert dataset.targets[0, 0] == 1 or expected["train"][1][0, 0] == 0
    out = tmp_path / "deepsea.h5"
    assert main(["prepare", str(out), "--deepsea", str(tmp_path / "bundle"), "--quiet"]) == 0
    check(mk.SequenceDataset.load(out), expected)
    assert "1000 nt" in capsys.readouterr().out


def test_the_channel_order_is_checked_and_not_guessed(tmp_path):
    expected = write_bundle(tmp_path / "trap", order="ACGT")  # not what DeepSEA writes
    with pytest.raises(mk.InputError, match="frequent as GC"):
        read_deepsea(tmp_path / "trap")
    check(read_deepsea(tmp_path / "trap", channels="ACGT"), expected)
    codes, labels = expected["test"]
    with h5py.File(tmp_path / "authors.h5", "w") as file:
        for split in ("train", "valid", "test"):
            file[f"X_{split}"] = one_hot(codes, "AGCT")
            file[f"Y_{split}"] = labels
    with pytest.raises(mk.InputError, match="say --channels AGCT"):
        read_authors(tmp_path / "authors.h5")
    with pytest.raises(mk.InputError, match="order of A, C, G and T"):
        read_authors(tmp_path / "authors.h5", channels="AGC")


def test_bundles_that_are_not_whole_are_refused(tmp_path, capsys):
    folder = tmp_path / "bundle"
    assert main(["prepare", str(tmp_path / "x.h5"), "--deepsea", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "deepsea.princeton.edu" in error
    assert error.count("\n") == 1
    write_bundle(folder)
    whole = (folder / "test.mat").read_bytes()
    (folder / "test.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(mk.InputError, match=r"test\.mat: (cannot be read|has no testdata)"):
        read_deepsea(folder)
    (folder / "test.mat").write_bytes(whole)
    whole = (folder / "train.mat").read_bytes()
    (folder / "train.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(mk.InputError, match=r"train\.mat: cannot be read as HDF5"):
        read_deepsea(folder)
    with h5py.File(folder / "train.mat", "w") as file:
        file["other"] = [1]
    with pytest.raises(mk.InputError, match="has no trainxdata"):
        read_deepsea(folder)


@pytest.mark.parametrize("trailing", [(), (1,)])
def test_the_authors_files(tmp_path, trailing):
    path = tmp_path / "synthetic.h5"
    expected = {}
    with h5py.File(path, "w") as file:
        for seed, split in enumerate(("train", "valid", "test")):
            codes = genome_like(30, 200, seed)
            labels = np.random.default_rng(seed).integers(0, 2, (30, 12))
            x = one_hot(codes, "ACGT").astype(np.float32)
            file[f"X_{split}"] = x.reshape(*x.shape, *trailing)
            file[f"Y_{split}"] = labels.astype(np.float32)
            file[f"model_{split}"] = np.full((30, 4, 200), 0.25)
            expected[split] = codes, labels
    check(read_authors(path), expected)
    assert read_authors(path).class_names[-1] == "YY1"
    with h5py.File(path, "a") as file:
        file["X_test"][3, 1:3, 7] = 1
    with pytest.raises(mk.InputError, match="not one-hot"):
        read_authors(path)
    with h5py.File(path, "a") as file:
        del file["Y_valid"]
    with pytest.raises(mk.InputError, match="has no Y_valid; it holds X_test"):
        read_authors(path)


@pytest.fixture
def genome(tmp_path):
    """Chromosomes of 2,050, 1,000, 1,000 and 1,000 letters."""
    draw = np.random.default_rng(1)
    sequences = {
        name: "".join(draw.choice(list("ACGT"), size))
        for name, size in (("chr1", 2050), ("chr7", 1000), ("chr8", 1000), ("chr9", 1000))
    }
    (tmp_path / "genome.fa").write_text(
        "".join(f">{n} x\n{s[:500]}\n{s[500:]}\n" for n, s in sequences.items())
    )
    return tmp_path / "genome.fa", sequences


def test_peaks_become_bins_of_several_classes(tmp_path, genome):
    path, sequences = genome
    # Bins of 200: exactly half of bin 0 is covered (not enough), 101 letters of bin 1, all of bin 2.
    (tmp_path / "YY1_peaks.bed").write_text(
        "track name=x\n# a comment\nchr1\t100\t200\nchr1\t299\t600\npeak\n".replace("peak\n", "")
        + "chr7\t0\t200\nchr8\t400\t600\n"
    )
    # Two peaks that overlap cover bin 2 by 110 letters together, 160 counted twice.
    (tmp_path / "SRF.bed").write_text("chr1\t400\t490\t.\t5\nchr1\t440\t510\nchr9\t800\t1000\n")
    beds = [tmp_path / "YY1_peaks.bed", tmp_path / "SRF.bed"]
    data = prepare_peaks(beds, path, length=220)
    assert data.class_names == ["YY1", "SRF"]
    codes, targets = data.split("train")
    assert targets.tolist() == [[1, 0], [1, 1]]
    # Bin 1 is 200..400: its 220 letters are 190..410.
    assert mk.decode(codes) == [sequences["chr1"][190:410], sequences["chr1"][390:610]]
    codes, targets = data.split("valid")
    assert targets.tolist() == [[1, 0]]
    assert mk.decode(codes) == ["N" * 10 + sequences["chr7"][:210]]  # its bin 0 hangs over the beginning
    assert data.split("test")[1].tolist() == [[1, 0], [0, 1]]


def test_peaks_with_much_unknown_are_left_out_and_backgrounds_are_free_of_peaks(tmp_path, genome):
    path, sequences = genome
    (tmp_path / "A.bed").write_text(
        "chr1\t200\t400\nchr1\t650\t700\nchr7\t0\t200\nchr8\t200\t400\nchr9\t0\t200\n"
    )
    data = prepare_peaks([tmp_path / "A.bed"], path, length=200)
    codes, targets = data.split("train")
    assert sorted(targets.flatten().tolist()) == [0, 1]  # one background bin for the one of the class
    background = mk.decode(codes[targets[:, 0] == 0])[0]
    starts = [at for at in range(0, 2000, 200) if sequences["chr1"][at : at + 200] == background]
    assert len(starts) == 1
    assert starts[0] not in (200, 600)
    # A fifth of the window is N beyond the end: left out.
    with pytest.raises(mk.InputError, match="no peak lies on a chromosome held out for valid"):
        prepare_peaks([tmp_path / "A.bed"], path, length=360, background=0)


def test_peaks_that_do_not_fit_the_genome_are_refused(tmp_path, genome):
    path, _ = genome
    bed = tmp_path / "A.bed"
    for text, words in (
        ("chr1\t0\t5000\n", "same assembly"),
        ("1\t0\t200\n", "chromosome '1' is not in"),
        ("chr1\t20\n", "line 1: expected chromosome, start and end"),
        ("chr1\t30\t20\n", "make no interval"),
        ("", "holds no peaks"),
        ("chr1\t0\t200\n", "held out for valid; name others with --valid-chromosomes"),
    ):
        bed.write_text(text)
        with pytest.raises(mk.InputError, match=words):
            prepare_peaks([bed], path)
    with pytest.raises(mk.InputError, match="even number"):
        prepare_peaks([bed], path, length=301)
    assert main(["prepare", str(tmp_path / "o.h5"), "--bed", str(bed)]) == 2
    assert main(["prepare", str(tmp_path / "o.h5"), "--bed", str(bed), "--authors", "x"]) == 2


def test_prepare_with_peaks_from_the_command(tmp_path, genome):
    path, _ = genome
    (tmp_path / "A.bed").write_text("chr1\t200\t400\nchr8\t0\t200\nchr9\t0\t200\n")
    (tmp_path / "B.bed").write_text("chr1\t600\t800\nchr8\t200\t400\n")
    out = tmp_path / "peaks.h5"
    arguments = ["--bed", str(tmp_path / "A.bed"), str(tmp_path / "B.bed"), "--genome", str(path)]
    arguments += ["--length", "200", "--valid-chromosomes", "chr9", "--test-chromosomes", "chr8"]
    assert main(["prepare", str(out), *arguments]) == 0
    data = mk.SequenceDataset.load(out)
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 2, "valid": 1, "test": 2}
    assert torch.equal(data.split("train")[1], torch.tensor([[1, 0], [0, 1]], dtype=torch.uint8))
