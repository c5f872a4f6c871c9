"""Scanning, against a slow computation letter by letter, and `motifkit scan` as a user meets it."""

import gzip
import io
import itertools
import json
import math
import sys

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.cli import main
from motifkit.motifs import scanning
from motifkit.motifs.letters import chunks, fasta_pieces
from motifkit.motifs.scanning import scan_sequences
from motifkit.motifs.thresholds import integer_pwm

RECORDS = {  # lower case, N, IUPAC letters, an empty record, and records shorter than a motif
    "chr1": "ACGTTTGACTCAGCATNNNNTGACTCAGCAacgtgactcagcaT",
    "short": "TGACT",
    "empty": "",
    "chr2": "TGCTGAGTCACCATATATGGRCCATATATGGGGGGCGGGGC",
}
COMPLEMENT = dict(zip("ACGT", "TGCA", strict=True))


@pytest.fixture
def motifs(small_motifs):
    """Three of width 10, and narrower ones that no letter order makes symmetric."""
    draw = np.random.default_rng(7)
    extra = [mk.Motif(f"w{w}", draw.integers(0, 20, (4, w)) + 0.0, 40) for w in (1, 3, 6)]
    return mk.MotifSet([*small_motifs, *extra])


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "seqs.fa"
    path.write_text(
        "".join(
            f">{name} some text\n" + "".join(f"{letters[i : i + 7]}\n" for i in range(0, len(letters), 7))
            for name, letters in RECORDS.items()
        )
    )
    return path


def log_odds(motif, background, pseudocount=0.1):
    """{letter: [bits of each column]}, each rounded to 0.001 bit, by the definition."""
    out = {}
    for row, letter in enumerate("ACGT"):
        out[letter] = []
        for column in motif.counts.T:
            p = (column[row] / column.sum() * motif.nsites + pseudocount * background[row]) / (
                motif.nsites + pseudocount
            )
            out[letter].append(round(math.log2(p / background[row]) * 1000))
    return out


def slow_scan(motifs, records, background, passes, strands="+-"):
    """Every (record, start, motif, strand, units) whose score passes, one window at a time."""
    found = []
    for name, letters in records.items():
        for start, (index, motif) in itertools.product(range(len(letters)), enumerate(motifs)):
            word = letters[start : start + len(motif)].upper()
            if len(word) < len(motif) or set(word) - set("ACGT"):
                continue
            odds = log_odds(motif, background)
            for strand in strands:
                read = word if strand == "+" else "".join(COMPLEMENT[x] for x in reversed(word))
                units = sum(odds[letter][i] for i, letter in enumerate(read))
                if passes(motif, odds, units):
                    found.append((name, start, index, strand, units))
    return found


def as_list(batches):
    return [
        (str(s.name[i]), int(s.start[i]), int(s.motif[i]), "+" if s.strand[i] > 0 else "-",
         round(s.score[i] * 1000))
        for s in batches
        for i in range(len(s.start))
    ]  # fmt: skip


UNIFORM = [0.25] * 4


def test_thresholds_against_a_slow_scan(motifs, fasta):
    at_least = slow_scan(motifs, RECORDS, UNIFORM, lambda m, odds, units: units >= 1200)
    assert as_list(scan_sequences(motifs, fasta, threshold=1.2)) == at_least
    assert len(at_least) > 20
    best = {m.name: sum(max(c) for c in zip(*log_odds(m, UNIFORM).values(), strict=True)) for m in motifs}
    part = slow_scan(motifs, RECORDS, UNIFORM, lambda m, odds, units: units >= 0.5 * best[m.name])
    assert as_list(scan_sequences(motifs, fasta, fraction=0.5)) == part
    only = slow_scan(motifs, RECORDS, UNIFORM, lambda m, odds, units: units >= best[m.name])
    assert as_list(scan_sequences(motifs, fasta, fraction=1.0)) == only
    for strand in "+-":
        expected = [row for row in at_least if row[3] == strand]
        assert as_list(scan_sequences(motifs, fasta, threshold=1.2, strands=strand)) == expected


def every_word(width, background):
    """Each word of a width, and its probability."""
    for word in itertools.product("ACGT", repeat=width):
        yield word, math.prod(background["ACGT".index(letter)] for letter in word)


@pytest.mark.parametrize("background", [UNIFORM, [0.1, 0.2, 0.3, 0.4]])
def test_p_values_are_those_of_all_words(motifs, fasta, background):
    motif, limit = motifs["w6"], 0.02
    odds = log_odds(motif, background)
    scores = np.array([sum(odds[x][i] for i, x in enumerate(w)) for w, _ in every_word(6, background)])
    chances = np.array([p for _, p in every_word(6, background)])

    def chance(units):
        return chances[scores >= units].sum()

    sites = list(
        scan_sequences(
            mk.MotifSet([motif]), fasta, pvalue=limit, background=background, strands="+", mask_lower=False
        )
    )
    expected = slow_scan([motif], RECORDS, background, lambda m, o, units: chance(units) <= limit, "+")
    assert as_list(sites) == expected
    assert expected
    found = {round(s * 1000): p for batch in sites for s, p in zip(batch.score, batch.p_value, strict=True)}
    for units, p in found.items():
        # 4096 terms of relative error eps each
        assert p == pytest.approx(chance(units), rel=4096 * np.finfo(float).eps)
    # All that are asked for: the threshold is the lowest score that is rare enough.
    pwm = integer_pwm(motif, background, pseudocount=0.1, p_value=limit)
    assert chance(pwm.lowest) <= limit < chance(pwm.lowest - 1)


def test_scanning_with_no_limit_finds_every_window(motifs):
    sites = list(scan_sequences(motifs[3:4], ["ACGTACGTAC"], pvalue=1.0, strands="+"))
    assert as_list(sites)[0][:2] == ("0", 0)
    assert len(sites[0].start) == 10
    assert sites[0].p_value.max() == 1


def test_a_motif_with_no_word_rare_enough_has_no_sites(motifs):
    assert list(scan_sequences(motifs[3:5], ["ACGT" * 50])) == []  # one word in 64 at best


def test_the_background_is_the_files(tmp_path, motifs, fasta):
    motifs.origin["background"] = [0.1, 0.2, 0.3, 0.4]
    both = as_list(scan_sequences(motifs, fasta, threshold=2.0))
    # A word and its reverse complement must be as likely: the background is averaged over strands.
    assert both == as_list(scan_sequences(motifs, fasta, threshold=2.0, background=[0.25, 0.25, 0.25, 0.25]))
    forward = as_list(scan_sequences(motifs, fasta, threshold=2.0, strands="+"))
    background = motifs.origin["background"]
    assert forward == slow_scan(motifs, RECORDS, background, lambda m, o, units: units >= 2000, "+")


@pytest.mark.parametrize("size", [1, 2, 9, 10, 11, 30, 1000])
def test_tiles_do_not_show(motifs, fasta, size, monkeypatch):
    whole = as_list(scan_sequences(motifs, fasta, threshold=1.2))
    monkeypatch.setattr(scanning, "_CHUNK", size)
    monkeypatch.setattr("motifkit.motifs.letters._BLOCK", max(1, size // 3))
    assert as_list(scan_sequences(motifs, fasta, threshold=1.2)) == whole
    records = dict(enumerate(RECORDS.values()))
    assert whole == [
        (list(RECORDS)[int(name)], *rest)
        for name, *rest in as_list(scan_sequences(motifs, list(records.values()), threshold=1.2))
    ]


def test_chunks_cover_every_letter_once():
    pieces = [("a", b""), (None, bytes([0, 1, 2])), (None, bytes([3, 0])), ("b", b""), (None, bytes([2]))]
    for size, overlap in itertools.product(range(1, 9), range(4)):
        letters = []
        for chunk in chunks(iter(pieces), size, overlap):
            assert len(chunk.codes) == chunk.starts + overlap
            number, name, place = chunk.places(np.arange(chunk.starts))
            letters += list(zip(number.tolist(), name, place.tolist(), chunk.codes.tolist(), strict=False))
        expected = [(0, "a", i, code) for i, code in enumerate([0, 1, 2, 3, 0])]
        # An N keeps the records apart, but where a chunk ended between them and none overlap.
        apart = [] if overlap == 0 and size in (1, 5) else [(0, "a", 5, 4)]
        assert letters == [*expected, *apart, (1, "b", 0, 2)]


def test_the_plain_pytorch_twin_and_threads_give_the_same(motifs, generator, monkeypatch):
    codes = torch.randint(0, 5, (40, 3000), generator=generator, dtype=torch.uint8)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(as_list(scan_sequences(motifs, codes, pvalue=1e-3)))
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr("motifkit._native.serves", lambda tensor: False)
    results.append(as_list(scan_sequences(motifs, codes, pvalue=1e-3)))
    assert results[0] == results[1] == results[2]
    # Chance alone: 120,000 windows, 2 strands, 1e-3 each, for the four motifs with words rare enough;
    # five standard deviations of a count, doubled as overlapping windows of a motif are not independent.
    assert 0 < len(results[0]) < 4 * 240 + 10 * math.sqrt(4 * 240)


def test_soft_masked_letters_can_be_skipped(motifs, fasta):
    masked = {name: "".join("N" if x.islower() else x for x in s) for name, s in RECORDS.items()}
    expected = slow_scan(motifs, masked, UNIFORM, lambda m, odds, units: units >= 1200)
    assert as_list(scan_sequences(motifs, fasta, threshold=1.2, mask_lower=True)) == expected


def test_bad_arguments_are_refused(motifs):
    for arguments in ({"pvalue": 0}, {"pvalue": 2}, {"fraction": 1.5}, {"pseudocount": 0}, {"strands": "x"}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            scan_sequences(motifs, ["ACGT"], **arguments)
    with pytest.raises(ValueError, match="one of pvalue, threshold and fraction"):
        scan_sequences(motifs, ["ACGT"], pvalue=0.1, threshold=3)
    with pytest.raises(mk.InputError, match="none has a column"):
        scan_sequences(mk.MotifSet([]), ["ACGT"])
    with pytest.raises(mk.InputError, match="'J' at position 4"):
        list(scan_sequences(motifs, ["AC GJT"]))


# ---- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def filters(tmp_path, motifs):
    motifs.motifs[1] = mk.Motif("two  words", motifs[1].counts, motifs[1].nsites)
    motifs.to_npz(tmp_path / "filters.npz")
    return str(tmp_path / "filters.npz")


def test_bed_on_standard_output(filters, fasta, motifs, capsys):
    assert main(["scan", filters, str(fasta), "--threshold", "9", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    rows = [line.split("\t") for line in captured.out.splitlines()]
    names = ["one", "two_words", "three", "w1", "w3", "w6"]
    expected = slow_scan(motifs, RECORDS, UNIFORM, lambda m, odds, units: units >= 9000)
    assert [(r[0], int(r[1]), names.index(r[3]), r[5], round(float(r[4]) * 1000)) for r in rows] == expected
    assert all(int(r[2]) - int(r[1]) == len(motifs[names.index(r[3])]) for r in rows)
    assert {r[3] for r in rows} == {"one", "two_words", "three"}
    best = next(r for r in rows if r[3] == "three")
    assert float(best[6]) == pytest.approx(4**-10, rel=0.01)  # one word


def test_gzip_in_and_out(filters, fasta, tmp_path, capsys):
    pytest.importorskip("Bio")
    squeezed = tmp_path / "seqs.fa.gz"
    squeezed.write_bytes(gzip.compress(fasta.read_bytes().replace(b"\n", b"\r\n")))
    outs = [tmp_path / name for name in ("a.bed", "b.bed.gz", "c.bed.gz")]
    for source, out in zip((fasta, squeezed, squeezed), outs, strict=True):
        assert main(["scan", filters, str(source), "--threshold", "2", "--out", str(out)]) == 0
    assert "sites of" in capsys.readouterr().err
    assert gzip.decompress(outs[1].read_bytes()) == outs[0].read_bytes()
    assert outs[1].read_bytes() == outs[2].read_bytes()
    assert outs[1].read_bytes()[12:14] == b"BC"  # a BGZF block, which tabix can index


def test_json_and_browser_scores(filters, fasta, tmp_path, capsys):
    base = ["scan", filters, str(fasta), "--threshold", "9", "--quiet"]
    assert main([*base, "--json"]) == 0
    sites = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sites[0]["sequence"] == "chr1"
    assert {"start", "end", "motif", "score", "strand", "p_value"} < set(sites[0])
    assert main([*base, "--json", "--out", str(tmp_path / "x.bed")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["sites"] == len(sites) == sum(summary["motifs"].values())
    assert main([*base, "--score", "browser"]) == 0
    scores = [int(line.split("\t")[4]) for line in capsys.readouterr().out.splitlines()]
    assert max(scores) == int(-100 * math.log10(4**-10))


def test_standard_input(filters, fasta, monkeypatch, capsys):
    for raw in (fasta.read_bytes(), gzip.compress(fasta.read_bytes())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(raw))))
        assert main(["scan", filters, "-", "--threshold", "9", "--quiet"]) == 0
        assert capsys.readouterr().out.startswith("chr1\t5\t15\tone\t")


def bad_inputs(tmp_path):
    """name: (sequences, options, words the message must hold)"""
    texts = {
        "letter": ">a\nACGT\nAC!T\n", "headless": "ACGT\n", "nothing": "", "mid": ">a\nACG>b\nACGT\n",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / f"{name}.fa").write_text(text)
    (tmp_path / "cut.fa.gz").write_bytes(gzip.compress(b">a\n" + b"ACGT" * 9999)[:-20])
    (tmp_path / "ok.fa").write_text(">a\nACGT\n")
    return {
        "letter": ("letter.fa", [], ["letter.fa", "'a'", "'!' at position 7"]),
        "headless": ("headless.fa", [], ["headless.fa", "'ACGT'", "FASTA"]),
        "nothing": ("nothing.fa", [], ["nothing.fa", "no FASTA records"]),
        "mid": ("mid.fa", [], ["mid.fa", "'a'", "within a line"]),
        "cut": ("cut.fa.gz", [], ["cut.fa.gz", "cut short"]),
        "missing": ("none.fa", [], ["none.fa", "no such file"]),
        "p-value": ("ok.fa", ["--pvalue", "2"], ["pvalue", "at most 1"]),
        "background": ("ok.fa", ["--background", "1,2,3"], ["--background '1,2,3'", "0.3,0.2,0.2,0.3"]),
        "output": ("ok.fa", ["--out", str(tmp_path)], ["name a file"]),
    }


CASES = ["letter", "headless", "nothing", "mid", "cut", "missing", "p-value", "background", "output"]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named_on_one_line_with_status_2(filters, tmp_path, capsys, name):
    sequences, options, words = bad_inputs(tmp_path)[name]
    arguments = ["scan", filters, str(tmp_path / sequences), "--quiet"]
    out = tmp_path / "out.bed"
    assert main([*arguments, *(options if "--out" in options else [*options, "--out", str(out)])]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    for word in words:
        assert word in line
    assert not out.exists()


def test_two_limits_are_a_usage_error(filters, fasta):
    with pytest.raises(SystemExit) as error:
        main(["scan", filters, str(fasta), "--pvalue", "1e-3", "--threshold", "3"])
    assert error.value.code == 2


def test_motifs_that_say_nothing_are_named_bad_input(tmp_path, fasta, capsys):
    mk.MotifSet([mk.Motif("flat", np.ones((4, 6)), 4)]).to_tsv(tmp_path / "flat.tsv")
    assert main(["scan", str(tmp_path / "flat.tsv"), str(fasta), "--trim"]) == 2
    assert "flat.tsv" in capsys.readouterr().err


def test_a_header_may_be_cut_by_a_block(tmp_path, monkeypatch):
    (tmp_path / "a.fa").write_text(">one two\nACGT\n>three")
    monkeypatch.setattr("motifkit.motifs.letters._BLOCK", 3)
    named = [name for name, _ in fasta_pieces(tmp_path / "a.fa") if name is not None]
    assert named == ["one", "three"]
