import gzip

import pytest
import torch

import motifkit as mk


def test_letters_of_any_case_and_iupac():
    assert mk.encode("acgtACGTuU").tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 3, 3]]
    assert mk.encode("RYSWKMBDHVNX-.*ryn").tolist() == [[4] * 18]


def test_shapes():
    assert mk.encode([]).shape == (0, 0)
    assert mk.encode([], length=5).shape == (0, 5)
    assert mk.encode("").shape == (1, 0)
    assert mk.encode(["AC", "G"], length=3).tolist() == [[0, 1, 4], [2, 4, 4]]


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (["ACGT", "ACG"], "lengths from 3 to 4"),
        (["ACGT", "AEGT"], "sequence 2: 'E' at position 2"),
        (["ACGT", "AC T"], "sequence 2: ' ' at position 3"),
        (["ACGé"], "sequence 1: 'é' at position 4"),
        (["AC1"], "'1' at position 3"),
    ],
)
def test_what_is_not_dna_is_refused(sequences, message):
    with pytest.raises(mk.InputError, match=message):
        mk.encode(sequences)


def test_too_long_for_the_length_asked_for():
    with pytest.raises(mk.InputError, match="more than length=2"):
        mk.encode(["ACG"], length=2)


def test_round_trips():
    text = ["ACGTN", "NNTGA"]
    codes = mk.encode(text)
    assert mk.decode(codes) == text
    assert torch.equal(mk.encode(mk.one_hot(codes)), codes)
    assert torch.equal(mk.reverse_complement(mk.reverse_complement(codes)), codes)
    assert mk.decode(mk.reverse_complement(codes)) == ["NACGT", "TCANN"]


def test_one_hot_of_n_is_zero():
    x = mk.one_hot(mk.encode("ANT"), torch.float64)
    assert x.dtype == torch.float64
    assert x[0].T.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_a_tensor_that_is_not_one_hot_is_refused():
    with pytest.raises(ValueError, match="one-hot"):
        mk.encode(torch.full((1, 4, 3), 0.5))
    with pytest.raises(ValueError, match="one-hot"):
        mk.encode(torch.ones(1, 4, 3))


@pytest.mark.parametrize("compress", [False, True])
def test_fasta(tmp_path, compress):
    text = ">first some words\nACGT\nacgt\n\n>second\r\nNN\r\n>third\nTT"
    path = tmp_path / ("a.fa.gz" if compress else "a.fa")
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    names, codes = mk.read_fasta(path)
    assert names == ["first", "second", "third"]
    assert mk.decode(codes) == ["ACGTACGT", "NNNNNNNN", "TTNNNNNN"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FASTA records"),
        ("ACGT\n", "line 1 comes before any"),
        (">a\n>b\nAC\n", "record 'a' has no letters"),
        (">a\nACGT\n>b\nAC?T\n", r"record 'b': '\?' at position 3"),
    ],
)
def test_broken_fasta(tmp_path, text, message):
    path = tmp_path / "broken.fa"
    path.write_text(text)
    with pytest.raises(mk.InputError, match=message) as error:
        mk.read_fasta(path)
    assert "broken.fa" in str(error.value)


def test_truncated_gzip(tmp_path):
    path = tmp_path / "cut.fa.gz"
    path.write_bytes(gzip.compress(b">a\n" + b"ACGT" * 5000)[:60])
    with pytest.raises(mk.InputError, match="cut short"):
        mk.read_fasta(path)
