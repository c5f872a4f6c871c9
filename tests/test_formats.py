"""Motif files as people write them, and back again."""

import gzip
from importlib.util import find_spec

import numpy as np
import pytest

import motifkit as mk
from motifkit.motifs.formats import detect

needs_biopython = pytest.mark.skipif(find_spec("Bio") is None, reason="Biopython is not installed")

# One motif, A then C-or-G, in as many spellings as MEME files have.
ROWS = "1 0 0 0\n0 0.5 0.5 0\n"
DIALECTS = {
    "minimal": "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n"
    "A 0.25 C 0.25 G 0.25 T 0.25\n\nMOTIF m\n"
    f"letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n{ROWS}",
    "nothing but matrices": f"MOTIF m\nletter-probability matrix:\n{ROWS}",
    "no w, no nsites": f"MEME version 5.5.5\nMOTIF m\nletter-probability matrix: alength= 4\n{ROWS}",
    "no spaces behind =": f"MOTIF m\nletter-probability matrix: alength=4 w=2 nsites=20 E=1e-3\n{ROWS}",
    "tabs": f"MOTIF\tm\nletter-probability matrix:\talength=\t4\tw=\t2\n{ROWS}".replace(" 0", "\t0"),
    "DOS": f"MEME version 4\n\nMOTIF m\nletter-probability matrix: w= 2\n{ROWS}".replace("\n", "\r\n"),
    "byte order mark": f"\ufeffMEME version 4\nMOTIF m\nletter-probability matrix: w= 2\n{ROWS}",
    "no last line end": f"MEME version 4\nMOTIF m\nletter-probability matrix: w= 2\n{ROWS}".rstrip(),
    "RNA": f"MEME version 4\nALPHABET= ACGU\nMOTIF m\nletter-probability matrix: w= 2\n{ROWS}",
    "RNA, new style": 'MEME version 5\nALPHABET "RNA" RNA-LIKE\nA "Adenine" CC0000\nU "Uracil" 008000\n'
    f"END ALPHABET\nMOTIF m\nletter-probability matrix: w= 2\n{ROWS}",
    "empty background": f"Background letter frequencies\n\nMOTIF m\nletter-probability matrix:\n{ROWS}",
    "blank lines in the matrix": "MOTIF m\nletter-probability matrix: w= 2\n\n1 0 0 0\n\n0 0.5 0.5 0\n",
    "URL behind": f"MEME version 4\nMOTIF m\nletter-probability matrix: w= 2\n{ROWS}URL http://example.org/m\n",
    "nsites of 0": f"MEME version 4\nMOTIF m\nletter-probability matrix: nsites= 0\n{ROWS}",
    # log2(p / 0.25): 2 for a certain letter, 1 for one of two
    "log-odds in bits": "MEME version 4\nMOTIF m\nlog-odds matrix: alength= 4 w= 2 E= 0.1\n"
    "2.0 -20 -20 -20\n-20 1.0 1.0 -20\n",
    "log-odds in hundredths": "MEME version 4\nMOTIF m\nlog-odds matrix: alength= 4 w= 2 n= 90\n"
    "200 -2000 -2000 -2000\n-2000 100 100 -2000\n",
    "log-odds beside probabilities": "MOTIF m\nlog-odds matrix: alength= 4 w= 2\n7 7 7 7\n7 7 7 7\n"
    f"\nletter-probability matrix: alength= 4 w= 2\n{ROWS}",
    "MEME's own output": "MEME version 5.0.2 (Release date: 2018)\n\nALPHABET= ACGT\n"
    "Background letter frequencies (from the dataset with add-one prior applied):\nA 0.3 C 0.2 G 0.2 T 0.3 \n"
    "*****\nMOTIF m MEME-1\twidth =  2  sites =  20  llr = 189  E-value = 1.0e-5\n*****\n"
    "\tMotif m MEME-1 Description\n-----\nSimplified        A  a:\npos.-specific     C  :5\n"
    "\tMotif m MEME-1 position-specific scoring matrix\n-----\n"
    "log-odds matrix: alength= 4 w= 2 n= 30 bayes= 6 E= 1e-5 \n"
    "   174   -999   -999   -999 \n  -999    132    132   -999 \n-----\n"
    "\tMotif m MEME-1 position-specific probability matrix\n-----\n"
    f"letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 1.0e-5 \n{ROWS}-----\nTime  0.9 secs.\n",
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("compressed", [False, True])
def test_meme_dialects(tmp_path, dialect, compressed):
    path = tmp_path / ("m.meme.gz" if compressed else "m.meme")
    raw = DIALECTS[dialect].encode("utf-8")
    path.write_bytes(gzip.compress(raw) if compressed else raw)
    motif = mk.MotifSet.read(path)["m"]
    assert len(mk.MotifSet.from_meme(path)) == 1
    assert motif.nsites == 20
    np.testing.assert_allclose(motif.ppm.T, [[1, 0, 0, 0], [0, 0.5, 0.5, 0]], atol=2e-6)


def read(tmp_path, text, name="motifs.txt"):
    path = tmp_path / name
    path.write_text(text)
    return mk.MotifSet.read(path)


MATRIX = "letter-probability matrix: alength= 4 w= 1 nsites= {}\n1 0 0 0\n"


def test_meme_names_and_labels(tmp_path):
    text = "MEME version 4\n" + "".join(
        f"MOTIF {title}\n" + MATRIX.format(3.5)
        for title in ("MA0001.1 AGL3", "MA0002.1\tRUNX1 (var. 2)", "two words", "two more words")
    )
    motifs = read(tmp_path, text)
    assert [(m.name, m.label) for m in motifs] == [
        ("MA0001.1", "AGL3"),
        ("MA0002.1", "RUNX1 (var. 2)"),
        ("two words", ""),  # its first word alone would name two motifs
        ("two more words", ""),
    ]
    assert {m.nsites for m in motifs} == {3.5}


def test_several_meme_files_in_one(tmp_path):
    block = "MEME version 4\nBackground letter frequencies\nA {0} C {1} G {1} T {0}\nMOTIF 1\n"
    odds = "log-odds matrix: w= 1\n{0} {1} {1} {0}\n"
    text = block.format(0.25, 0.25) + odds.format(1, -20) + "\n" + block.format(0.4, 0.1) + odds.format(0, 0)
    motifs = read(tmp_path, text)
    assert [m.name for m in motifs] == ["1", "1_2"]
    # Each block's log-odds are against its own background.
    np.testing.assert_allclose(motifs[0].ppm[:, 0], [0.5, 0, 0, 0.5], atol=1e-5)
    np.testing.assert_allclose(motifs[1].ppm[:, 0], [0.4, 0.1, 0.1, 0.4], atol=1e-5)
    assert motifs.origin["background"] == [0.25, 0.25, 0.25, 0.25]


def test_the_background_is_kept(tmp_path):
    motifs = read(
        tmp_path,
        "MEME version 4\nBackground letter frequencies (from x):\nA 0.3 C 0.2\nG 0.2 T 0.3\nMOTIF a\n"
        + MATRIX.format(5),
    )
    assert motifs.origin["background"] == pytest.approx([0.3, 0.2, 0.2, 0.3])
    motifs.to_meme(tmp_path / "again.meme")
    assert mk.MotifSet.from_meme(tmp_path / "again.meme").origin["background"] == pytest.approx(
        motifs.origin["background"]
    )


HEAD = "MEME version 4\n"
BROKEN = {
    "twice": (HEAD + ("MOTIF a\n" + MATRIX.format(1)) * 2, "line 5.*motif 'a' stands there twice"),
    "protein": (HEAD + "MOTIF a\nletter-probability matrix: alength= 20 w= 1\n0.1 0.9\n", "4 numbers.*d 2"),
    "alength": (HEAD + "MOTIF a\nletter-probability matrix: alength= 5\n1 0 0 0\n", "alength= 5"),
    "no number": (HEAD + "MOTIF a\nletter-probability matrix: nsites= many\n1 0 0 0\n", "nsites= must be"),
    "background": (HEAD + "Background letter frequencies\nA 0.9 C 0.9 G 0.1 T 0.1\n", "line 3.*sum to 1"),
    "log-odds": (HEAD + "MOTIF a\nlog-odds matrix: w= 1\n3.5 3 3 3\n", "line 3: motif 'a'.*state the"),
    "no rows": (HEAD + "MOTIF a\nletter-probability matrix: w= 1\nMOTIF b\n", "motif 'a'.*no rows"),
    "not finite": (HEAD + "MOTIF a\nletter-probability matrix:\ninf 0 0 0\n", "line 4.*finite"),
    "nothing": ("\n", "is empty"),
    "no format": ("once upon a time\n", "not a motif file of a known kind.*'once upon a time'"),
    "three rows": (">a x\n1 2\n3 4\n5 6\n", "line 1: record 'a': 3 rows of counts"),
    "uneven rows": (">b\n1 2\n3 4\n5 6\n7 8 9\n", "record 'b'"),
    "letters in rows": (">ok\n1\n1\n1\n1\n>c\n1 x\n3 4\n5 6\n7 8\n", "line 6: record 'c'.*could not convert"),
    "negative": (">d\n-1\n3\n5\n7\n", "record 'd'.*not negative"),
    "no counts": (">e\n0\n0\n0\n0\n", "record 'e'.*above 0"),
    "JASPAR twice": (">a\n1\n1\n1\n1\n>a\n1\n1\n1\n1\n", "motif 'a' stands there twice"),
    "TRANSFAC row": ("ID  a\nP0  A C G T\n01  1 2 3\n//\n", "line 1: record 1"),
    "uneven sites": (">s\nacgTTT\n>s\nTTTT\n", "its sites"),
    "TSV number": ("name\tA\tC\tG\tT\nm\t1\t2\t3\tx\n", "line 2: motif 'm'.*numbers"),
    "TSV short": ("name\tA\tC\tG\tT\nm\t1\t2\t3\n", "line 2: motif 'm'.*numbers"),
    "TSV order": ("name\tposition\tA\tC\tG\tT\nm\t2\t1\t1\t1\t1\n", "position 2, expected 1"),
    "TSV negative": ("name\tA\tC\tG\tT\nm\t-1\t2\t3\t4\n", "motif 'm'.*not negative"),
    "TSV empty": ("name\tA\tC\tG\tT\n", "only a heading"),
}  # fmt: skip


@needs_biopython
@pytest.mark.parametrize("case", BROKEN)
def test_errors_name_file_record_and_remedy(tmp_path, case):
    text, message = BROKEN[case]
    with pytest.raises(mk.InputError, match=message) as error:
        read(tmp_path, text, "broken.txt")
    assert "broken.txt" in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(mk.InputError, match="no such file"):
        mk.MotifSet.read(tmp_path / "none.meme")
    whole = gzip.compress(b"MEME version 4\nMOTIF a\n" + bytes(range(256)) * 40)
    (tmp_path / "cut.meme.gz").write_bytes(whole[:-30])
    with pytest.raises(mk.InputError, match=r"cut\.meme\.gz.*cut short"):
        mk.MotifSet.read(tmp_path / "cut.meme.gz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(mk.InputError, match=r"other\.npz: not an archive of motifs"):
        mk.MotifSet.read(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:60])
    with pytest.raises(mk.InputError, match=r"cut\.npz: not an archive"):
        mk.MotifSet.read(tmp_path / "cut.npz")
    with pytest.raises(ValueError, match="format must be one of"):
        mk.MotifSet.read(tmp_path / "none.meme", "weblogo")


JASPAR = {
    "brackets": ">MA0004.1\tArnt::X (var.2)\nA  [4 19 0 ]\nC  [16 0  20 ]\nG  [ 0 1 0 ]\nT  [ 0 0 0 ]\n",
    "plain rows": ">MA0004.1 Arnt::X (var.2)\n4\t19\t0\n16\t0\t20\n0\t1\t0\n0\t0\t0\n",
    "letters only": ">MA0004.1 Arnt::X (var.2)\nA 4 19 0\nC 16 0 20\nG 0 1 0\nU 0 0 0\n",
    "bars, DOS": ">MA0004.1 Arnt::X (var.2)\r\nA| 4 19 0\r\nC| 16 0 20\r\nG| 0 1 0\r\nT| 0 0 0\r\n",
}


@needs_biopython
@pytest.mark.parametrize("dialect", JASPAR)
def test_jaspar(tmp_path, dialect):
    motifs = read(tmp_path, JASPAR[dialect] + "\n" + ">second\n2\n0\n0\n0\n")
    assert [(m.name, m.label, m.nsites) for m in motifs] == [
        ("MA0004.1", "Arnt::X (var.2)", 20),
        ("second", "", 2),
    ]
    np.testing.assert_array_equal(motifs[0].counts, [[4, 19, 0], [16, 0, 20], [0, 1, 0], [0, 0, 0]])


@needs_biopython
def test_jaspar_without_a_header_is_named_by_its_file(tmp_path):
    motifs = read(tmp_path, "4 19\n16 0\n0 1\n0 0\n", "MA0004.1.pfm")
    assert (motifs[0].name, motifs[0].nsites) == ("MA0004.1", 20)


@needs_biopython
def test_jaspar_of_probabilities_takes_as_many_sites_as_meme(tmp_path):
    motif = read(tmp_path, ">p\n0.5 1\n0.5 0\n0 0\n0 0\n")[0]
    assert motif.nsites == 20
    np.testing.assert_allclose(motif.counts[:, 0], [10, 10, 0, 0])


@needs_biopython
def test_jaspar_sites(tmp_path):
    text = ">MA0004 ARNT 1\ncacgtgTGA\n>MA0004 ARNT 2\nagTGCtt\n>MA0004 ARNT 3\nTGA\n"
    motifs = read(tmp_path, text, "MA0004.1.sites")
    assert (motifs[0].name, motifs[0].nsites) == ("MA0004.1", 3)
    np.testing.assert_array_equal(motifs[0].counts.T, [[0, 0, 0, 3], [0, 0, 3, 0], [2, 1, 0, 0]])


TRANSFAC = """VV  EXAMPLE January 15, 2013
XX
//
ID  motif1
XX
BF  some factor
P0      A      C      G      T
01      1      2      2      0      S
02      2      1      2      0      R
XX
//
AC  M00002
NA  second
PO\tA\tC\tG\tU
1\t0.5\t0.5\t0\t0
XX
//
"""


@needs_biopython
def test_transfac(tmp_path):
    motifs = read(tmp_path, TRANSFAC)
    assert [(m.name, m.label, m.nsites) for m in motifs] == [
        ("motif1", "some factor", 5),
        ("M00002", "second", 20),
    ]
    np.testing.assert_array_equal(motifs[0].counts, [[1, 2], [2, 1], [2, 2], [0, 0]])
    # A last record without its slashes is not lost.
    assert len(read(tmp_path, TRANSFAC.rstrip().removesuffix("//"))) == 2


@pytest.fixture
def awkward():
    """Names and numbers that are easily lost on the way."""
    draw = np.random.default_rng(3)
    motifs = [
        mk.Motif("a", draw.random((4, 7)) * 10, 3.25, "Ärnt::X (var.2)"),
        mk.Motif("MA0001.1", draw.integers(0, 9, (4, 1)) + 1.0, 36),
        mk.Motif("big", draw.integers(1, 10**7, (4, 19)).astype(float), 12345678),
    ]
    return mk.MotifSet(motifs, ["dead1", "dead2"], {"rule": "paper", "threshold": 0.7})


def test_npz_and_tsv_give_back_the_same_bits(tmp_path, awkward):
    for name in ("m.npz", "m.tsv"):
        awkward.write(tmp_path / name)
        again = mk.MotifSet.read(tmp_path / name)
        assert [(m.name, m.label, m.nsites) for m in again] == [(m.name, m.label, m.nsites) for m in awkward]
        for a, b in zip(awkward, again, strict=True):
            np.testing.assert_array_equal(a.counts, b.counts)
    again = mk.MotifSet.read(tmp_path / "m.npz")
    assert (again.dead, again.origin["threshold"]) == (awkward.dead, 0.7)
    mk.MotifSet([], ["all dead"]).to_npz(tmp_path / "none.npz")
    assert mk.MotifSet.read(tmp_path / "none.npz").dead == ["all dead"]


@needs_biopython
def test_meme_and_jaspar_round_trips(tmp_path, awkward):
    for name, tolerance in (("m.meme", 1e-6), ("m.jaspar", 1e-9)):
        awkward.write(tmp_path / name)
        again = mk.MotifSet.read(tmp_path / name)
        assert [(m.name, m.label) for m in again] == [(m.name, m.label) for m in awkward]
        for a, b in zip(awkward, again, strict=True):
            np.testing.assert_allclose(a.ppm, b.ppm, atol=tolerance)
    assert mk.MotifSet.read(tmp_path / "m.jaspar")["a"].counts == pytest.approx(awkward["a"].counts, rel=1e-9)
    assert mk.MotifSet.from_meme(tmp_path / "m.meme")["big"].nsites == 12345678


def test_writing_asks_for_a_known_suffix(tmp_path, awkward):
    with pytest.raises(mk.InputError, match=r"m\.docx.*\.meme"):
        awkward.write(tmp_path / "m.docx")
    with pytest.raises(ValueError, match="format must be one of"):
        awkward.write(tmp_path / "m.meme", "homer")
    awkward.write(tmp_path / "anything", "meme")
    assert detect((tmp_path / "anything").read_text()) == "meme"
