import gzip

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.data.shuffle import dinucleotide_shuffle


@pytest.fixture
def data(small_motifs):
    return mk.simulate(n=400, length=100, motifs=small_motifs, seed=3)


def test_placements_say_where_motifs_stand(data, small_motifs):
    placed = data.placements
    assert set(placed["strand"]) == {-1, 1}
    matches = total = 0
    for sequence, motif, position, strand in placed:
        window = data.codes[sequence : sequence + 1, position : position + len(small_motifs[motif])]
        window = window if strand > 0 else mk.reverse_complement(window)
        consensus = mk.encode(small_motifs[motif].consensus)
        matches += int((window == consensus).sum())
        total += consensus.numel()
    assert matches / total > 0.9  # each letter is the consensus's with probability 0.94


def test_labels_are_the_motifs_placed(data):
    expected = torch.zeros_like(data.targets)
    expected[data.placements["sequence"].copy(), data.placements["motif"].astype(np.int64)] = 1
    assert torch.equal(data.targets, expected)
    assert set(np.bincount(data.placements["sequence"]).tolist()) <= {1, 2, 3, 4, 5}


def test_motifs_keep_their_distance(data):
    widths = np.asarray(data.motif_widths)
    for sequence in range(len(data)):
        here = data.placements[data.placements["sequence"] == sequence]
        start, end = here["position"], here["position"] + widths[here["motif"]]
        assert start[0] >= 1
        assert end[-1] <= data.length - 1
        assert (start[1:] - end[:-1] >= 1).all()


def test_placements_spread_over_the_whole_sequence(small_motifs):
    data = mk.simulate(n=4000, length=100, motifs=small_motifs, motif_probabilities=(1.0,))
    position = data.placements["position"]
    assert position.min() == 1
    assert position.max() == 89
    # Uniform over 89 places: each tenth of them holds a tenth, within five standard deviations.
    counts, _ = np.histogram(position, bins=10, range=(1, 90))
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400)


def test_scaled_gaps_put_a_lone_motif_in_the_middle(small_motifs):
    data = mk.simulate(
        n=40000, length=100, motifs=small_motifs, motif_probabilities=(1.0,), minimum_gap=0, gaps="scaled"
    )
    position = data.placements["position"]
    assert (position.min(), position.max()) == (0, 90)
    # The share r of the first of two uniform draws in their sum has density 1 / (2 max(r, 1 - r)^2).
    edges = np.linspace(0, 1, 11)
    below = np.where(
        edges < 0.5, edges / (2 * (1 - edges.clip(max=0.5))), 1 - (1 - edges) / (2 * edges.clip(0.5))
    )
    counts, _ = np.histogram(position / 90, bins=edges + 1e-9)
    expected = 40000 * np.diff(below)
    assert np.abs(counts[1:-1] / expected[1:-1] - 1).max() < 0.1
    with pytest.raises(mk.InputError, match="gaps"):
        mk.simulate(10, 100, small_motifs, gaps="random")


def test_several_motifs_with_scaled_gaps_do_not_overlap(small_motifs):
    data = mk.simulate(n=500, length=100, motifs=small_motifs, minimum_gap=2, gaps="scaled")
    widths = np.array(data.motif_widths)
    for index in range(500):
        here = data.placements[data.placements["sequence"] == index]
        start, end = here["position"], here["position"] + widths[here["motif"]]
        assert start[0] >= 2
        assert end[-1] <= 98
        assert (start[1:] - end[:-1] >= 2).all()


def test_the_seed_fixes_the_data(small_motifs):
    one, same, other = (mk.simulate(50, 100, small_motifs, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.codes, same.codes)
    assert not torch.equal(one.codes, other.codes)
    sizes = [len(one.splits[name]) for name in ("train", "valid", "test")]
    assert sizes == [35, 5, 10]
    assert sorted(torch.cat(list(one.splits.values())).tolist()) == list(range(50))


def test_the_papers_data():
    pytest.importorskip("pyjaspar")
    data = mk.simulate(n=2000)
    assert data.codes.shape == (2000, 200)
    assert data.class_names[:3] == ["Arid3a", "CEBPB", "FOSL1"]
    count = np.bincount(np.bincount(data.placements["sequence"]), minlength=6)[1:] / 2000
    np.testing.assert_allclose(count, [0.5, 0.25, 0.17, 0.05, 0.03], atol=0.05)


def test_what_does_not_fit_is_refused(small_motifs):
    with pytest.raises(mk.InputError, match="must be at least 56"):
        mk.simulate(10, 50, small_motifs)
    with pytest.raises(mk.InputError, match="sum to 1"):
        mk.simulate(10, 100, small_motifs, fractions=(0.5, 0.1, 0.1))


def test_save_and_load(tmp_path, data):
    data.save(tmp_path / "data.h5")
    again = mk.SequenceDataset.load(tmp_path / "data.h5")
    assert torch.equal(again.codes, data.codes)
    assert torch.equal(again.targets, data.targets)
    assert again.class_names == data.class_names
    assert all(torch.equal(again.splits[name], data.splits[name]) for name in data.splits)
    assert (again.placements == data.placements).all()
    assert again.motif_widths == data.motif_widths
    assert [p.name for p in tmp_path.iterdir()] == ["data.h5"]


def test_a_file_that_is_cut_short(tmp_path, data):
    path = tmp_path / "data.h5"
    data.save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(mk.InputError, match="cut short"):
        mk.SequenceDataset.load(path)


def test_shuffles_keep_dinucleotides_and_ends(generator):
    codes = torch.randint(0, 5, (50, 60), generator=generator, dtype=torch.uint8)
    shuffled = dinucleotide_shuffle(codes, seed=5)

    def pairs(x):
        return [np.bincount(row[:-1] * 5 + row[1:], minlength=25).tolist() for row in x.long().numpy()]

    assert pairs(shuffled) == pairs(codes)
    assert torch.equal(shuffled[:, [0, -1]], codes[:, [0, -1]])
    assert (shuffled != codes).float().mean() > 0.4
    assert torch.equal(shuffled, dinucleotide_shuffle(codes, seed=5))


def test_shuffles_are_uniform_over_all_walks():
    """AACABA as ACGT letters: its walks with these dinucleotides are counted by hand and met evenly."""
    codes = mk.encode("ACAGAT").repeat(3000, 1)  # A>C, C>A, A>G, G>A, A>T: CA and GA in either order
    found = mk.decode(dinucleotide_shuffle(codes))
    assert set(found) == {"ACAGAT", "AGACAT"}
    assert abs(found.count("ACAGAT") - 1500) < 5 * np.sqrt(750)


def table(path, rows, header="FoldID\tseq\tBound"):
    text = "\n".join([header, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_one_table_a_class(tmp_path):
    one = table(tmp_path / "SRF_train.seq.gz", [f"A\t{'ACGTT' * 4}\t1"] * 20)
    two = table(tmp_path / "YY1_train.seq.gz", [f"A\t{'GGCAT' * 4}\t1"] * 20)
    test = table(tmp_path / "YY1_test.seq.gz", [f"A\t{'GGCAT' * 4}\t1", f"A\t{'AAAAA' * 4}\t0"])
    data = mk.prepare(tables=[one, two], test=[test], shuffles=1)
    assert data.class_names == ["SRF", "YY1"]
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 70, "valid": 10, "test": 2}
    codes, targets = data.split("test")
    assert targets.tolist() == [[0, 1], [0, 0]]
    assert mk.decode(codes)[1] == "A" * 20
    assert int(data.targets.any(1).sum()) == 41


def test_label_columns_of_one_table(tmp_path):
    rows = [f"{'ACGT' * 5}\t{i % 2}\t{i % 3 == 0:d}\tx" for i in range(30)]
    data = mk.prepare(tables=[table(tmp_path / "t.tsv", rows, "sequence\tTF1\tTF2\tnote")])
    assert data.class_names == ["TF1", "TF2"]
    assert data.targets.sum(0).tolist() == [15, 10]


def test_fasta_positives_get_shuffles_where_no_negatives_are_given(tmp_path):
    path = tmp_path / "SRF_peaks.fa"
    path.write_text("".join(f">p{i}\n{'ACGTTG' * 5}\n" for i in range(20)))
    data = mk.prepare(positives=[path])
    assert data.class_names == ["SRF"]
    assert data.targets.flatten().tolist() == [1] * 20 + [0] * 20
    negatives = tmp_path / "none.fa"
    negatives.write_text(">n\n" + "A" * 12 + "\n")
    data = mk.prepare(positives=[path], negatives=[negatives])
    assert data.targets.flatten().tolist() == [1] * 20 + [0]
    assert mk.decode(data.codes)[-1] == "A" * 12 + "N" * 18


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("seq\tBound", ["ACGT\t1", "ACGT\t0\tmore"], "every row needs the header's columns"),
        ("seq\tBound", ["ACGT\t1", "\t0"], "row 3 has no sequence"),
        ("seq\tBound", ["ACGT\t1", "AC!T\t0"], r"row 3: '!' at position 3"),
        ("dna_sequence\tBound", ["ACGT\t1"], "no column named sequence"),
        ("seq\tBound", ["ACGT\t1", "ACGT\t1"], "is 1 in every record"),
        ("seq\tBound", [], "no rows"),
    ],
)
def test_broken_tables(tmp_path, header, rows, message):
    path = table(tmp_path / "broken.tsv", rows, header)
    with pytest.raises(mk.InputError, match=message):
        mk.prepare(tables=[path], shuffles=0)


def test_an_unknown_class_in_the_test_files(tmp_path):
    one = table(tmp_path / "SRF.tsv", ["A\tACGT\t1"] * 9)
    other = table(tmp_path / "GABPA.tsv", ["A\tACGT\t1"])
    with pytest.raises(mk.InputError, match="unknown class 'GABPA'"):
        mk.prepare(tables=[one, table(tmp_path / "YY1.tsv", ["A\tACGT\t1"])], test=[other])
