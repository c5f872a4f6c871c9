"""The command as a user meets it: each sub-command, and what it says of bad input."""

import json
import re

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.cli import main

pytest.importorskip("lightning")
pytest.importorskip("memelite")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, request):
    """A small data set, a run on it, and a database of its motifs."""
    folder = tmp_path_factory.mktemp("cli")
    consensus = {"one": "TGACTCAGCA", "two": "CCATATATGG", "<three>": "GGGGCGGGGC"}
    motifs = [
        mk.Motif(name, mk.one_hot(mk.encode(letters))[0].numpy() * 94 + 2, 102)
        for name, letters in consensus.items()
    ]
    # Tomtom's statistics need a database of some size.
    draw = np.random.default_rng(0)
    motifs += [mk.Motif(f"noise{i}", draw.dirichlet([0.4] * 4, 10).T * 50, 50, "a <b>") for i in range(60)]
    mk.MotifSet(motifs).to_meme(folder / "database.meme")
    mk.MotifSet(motifs[:3]).to_meme(folder / "three.meme")
    data = str(folder / "data.h5")
    assert (
        main(["simulate", data, "--n", "1500", "--length", "100", "--motifs", str(folder / "three.meme")])
        == 0
    )
    assert (
        main(["train", data, "--out", str(folder / "run"), "--epochs", "12", "--lr", "2e-3", "--quiet"]) == 0
    )
    return folder


def test_from_a_run_to_motifs_and_a_report(workplace, capsys):
    run, data = str(workplace / "run"), str(workplace / "data.h5")
    out = workplace / "motifs"
    assert main(["motifs", run, data, "--out", str(out), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["motifs"] > 20
    assert len(mk.MotifSet.from_meme(out / "motifs.meme")) > 5
    assert len((out / "motifs.tsv").read_text().splitlines()) == 31
    assert (out / "logos.png").exists()

    page = workplace / "report" / "report.html"
    arguments = ["report", run, "--out", str(page), "--target", str(workplace / "database.meme"), "--quiet"]
    assert main(arguments) == 0
    text = page.read_text()
    assert "<three>" not in text  # every name escaped
    assert "&lt;three&gt;" in text
    assert not re.search(r"(src|href)=\"(?!#)", text)  # nothing outside the page is needed
    assert text.count('id="filter') == 30 or "Dead filters" in text
    beside = {p.name for p in page.parent.iterdir()}
    assert beside == {
        "report.html", "motifs.meme", "motifs.tsv", "matches.tsv", "metrics.json", "sites.tsv",
        "cooccurrence.tsv", "spacings.tsv",
    }  # fmt: skip
    metrics = json.loads((page.parent / "metrics.json").read_text())
    assert metrics["auroc_mean"] > 0.9
    table = (page.parent / "motifs.tsv").read_text().splitlines()
    assert table[0].split("\t")[:5] == ["filter", "nsites", "width", "information", "consensus"]
    found = {line.split("\t")[6] for line in table[1:]}
    assert {"one", "two"} <= found
    assert {"one", "two"} <= {motif.label for motif in mk.MotifSet.from_meme(page.parent / "motifs.meme")}


def test_compare_prints_a_table(workplace, capsys):
    database = str(workplace / "database.meme")
    assert main(["compare", str(workplace / "three.meme"), "--target", database, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("query\ttarget\ttarget_name\tp_value")
    best = dict(line.split("\t")[:2] for line in reversed(lines[1:]))
    assert best == {"one": "one", "two": "two", "<three>": "<three>"}


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    assert "CPU ops" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["motifkit"]["version"] == mk.__version__


def test_a_finished_run_is_not_overwritten(workplace, capsys):
    data, run = str(workplace / "data.h5"), str(workplace / "run")
    before = (workplace / "run/best.ckpt").read_bytes()
    assert main(["train", data, "--out", run, "--quiet"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", data, "--out", run, "--epochs", "12", "--lr", "2e-3", "--quiet", "--resume"]) == 0
    assert (workplace / "run/best.ckpt").read_bytes() == before


def bad_inputs(workplace, tmp_path):
    """name: (arguments, words the message must hold)"""
    run, data = str(workplace / "run"), str(workplace / "data.h5")
    out = str(tmp_path / "out")
    files = {
        "empty.fa": "",
        "letters.fa": ">a\nACGT\n>b\nACQT\n",
        "ragged.tsv": "sequence\tTF\nACGT\t1\nACGT\t0\textra\n",
        "constant.tsv": "sequence\tTF\nACGT\t1\nACGT\t1\n",
        "labels.tsv": "sequence\tTF\nACGT\t1\nACGT\tmaybe\n",
        "ok.tsv": "sequence\tTF\nACGT\t1\nACGT\t0\n",
        "broken.meme": "MEME version 4\nMOTIF a\nletter-probability matrix: w= 3\n1 0 0 0\n",
        "folder": None,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.mkdir() if text is None else path.write_text(text)
    (tmp_path / "cut.h5").write_bytes((workplace / "data.h5").read_bytes()[:5000])
    (tmp_path / "file").write_text("")
    other = mk.SequenceDataset.load(data)
    other.codes = other.codes[:, :90]
    other.save(tmp_path / "shorter.h5")
    (tmp_path / "garbled").mkdir()
    (tmp_path / "garbled/run.json").write_text((workplace / "run/run.json").read_text())
    (tmp_path / "garbled/best.ckpt").write_bytes(b"not a checkpoint")

    def at(name):
        return str(tmp_path / name)

    return {
        "missing file": (["prepare", out, "--positives", at("none.fa")], ["none.fa", "no such file"]),
        "missing data": (["train", at("none.h5"), "--out", out], ["none.h5", "motifkit simulate"]),
        "empty FASTA": (["prepare", out, "--positives", at("empty.fa")], ["empty.fa", "no FASTA records"]),
        "not DNA": (["prepare", out, "--positives", at("letters.fa")], ["letters.fa", "'b'", "'Q'"]),
        "ragged table": (["prepare", out, "--table", at("ragged.tsv")], ["ragged.tsv", "line 3"]),
        "label not 0 or 1": (
            ["prepare", out, "--table", at("labels.tsv"), "--label-columns", "TF"],
            ["labels.tsv", "row 3", "maybe"],
        ),
        "constant label": (
            ["prepare", out, "--table", at("constant.tsv"), "--shuffles", "0"],
            ["TF", "--shuffles 1"],
        ),
        "unknown class": (
            ["prepare", out, "--table", at("ok.tsv"), at("constant.tsv"), "--test", at("labels.tsv")],
            ["labels.tsv", "unknown class 'labels'"],
        ),
        "unknown column": (
            ["prepare", out, "--table", at("ok.tsv"), "--label-columns", "TG"],
            ["ok.tsv", "'TG'", "TF"],
        ),
        "truncated HDF5": (["train", at("cut.h5"), "--out", out], ["cut.h5", "cut short"]),
        "broken MEME": (["compare", at("broken.meme")], ["broken.meme", "w= 3"]),
        "broken target": (
            ["report", run, "--out", out, "--target", at("broken.meme")],
            ["broken.meme", "w= 3"],
        ),
        "wrong shape": (["motifs", run, at("shorter.h5"), "--out", out], ["shorter.h5", "90 letters"]),
        "unwritable output": (["simulate", at("file/data.h5")], ["file", "cannot be written"]),
        "unwritable run": (["train", data, "--out", at("file/run")], ["cannot be written"]),
        "output is a folder": (["simulate", at("folder"), "--n", "10"], ["folder", "name a file"]),
        "misspelt model": (["train", data, "--model", "CNN-52", "--out", out], ["CNN-52", "CNN-25"]),
        "other architecture": (
            ["train", data, "--model", "CNN-10", "--out", run, "--resume"],
            ["CNN-25", "another folder"],
        ),
        "garbled checkpoint": (["report", at("garbled"), "--out", out], ["best.ckpt", "not a checkpoint"]),
        "no run": (["report", at("folder"), "--out", out], ["holds no run", "motifkit train"]),
        "no such layer": (
            ["motifs", run, data, "--out", out, "--layer", "conv9"],
            ["no layer 'conv9'", "block1"],
        ),
        "threads": (["doctor", "--threads", "0"], ["--threads"]),
    }


CASES = [
    "missing file", "missing data", "empty FASTA", "not DNA", "ragged table", "label not 0 or 1",
    "constant label", "unknown class", "unknown column", "truncated HDF5", "broken MEME",
    "broken target", "wrong shape", "unwritable output", "unwritable run", "output is a folder",
    "misspelt model", "other architecture", "garbled checkpoint", "no run", "no such layer", "threads",
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named_on_one_line_with_status_2(workplace, tmp_path, capsys, name):
    arguments, words = bad_inputs(workplace, tmp_path)[name]
    before = {p: p.stat().st_mtime_ns for p in workplace.rglob("*") if p.is_file()}
    files = {p for p in tmp_path.rglob("*") if p.is_file()}
    capsys.readouterr()
    assert main([*arguments, "--quiet"]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert captured.out == ""
    for word in words:
        assert word in lines[0]
    # Nothing half-written is left, and nothing that was there is touched.
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == files
    assert {p: p.stat().st_mtime_ns for p in workplace.rglob("*") if p.is_file()} == before


def test_usage_errors_have_status_2(capsys):
    for arguments in ([], ["trian"], ["train"], ["motifs", "a", "b", "--out", "c", "--rule", "magic"]):
        with pytest.raises(SystemExit) as error:
            main(arguments)
        assert error.value.code == 2


def test_an_internal_error_asks_to_be_reported(monkeypatch, capsys):
    def fail():
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("motifkit.doctor.examine", fail)
    assert main(["doctor"]) == 1
    assert "please report" in capsys.readouterr().err


def test_every_command_has_help(capsys):
    for command in ("demo", "simulate", "prepare", "train", "motifs", "compare", "scan", "report", "doctor"):
        with pytest.raises(SystemExit) as error:
            main([command, "--help"])
        assert error.value.code == 0
        text = capsys.readouterr().out
        for option in ("--seed", "--device", "--threads", "--json", "--quiet"):
            assert option in text


def test_the_demo_repeats_without_doing_its_work_again(tmp_path, capsys):
    pytest.importorskip("pyjaspar")
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--n", "600", "--epochs", "1", "--quiet"]
    assert main(arguments) == 0
    assert "filters match" in capsys.readouterr().out
    stamp = (tmp_path / "demo/best.ckpt").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (tmp_path / "demo/best.ckpt").stat().st_mtime_ns == stamp


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        main(["doctor", "--threads", "1"])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
