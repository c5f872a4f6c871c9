"""examples/encode_before_after.py on a little data set, and the tables it makes."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

import motifkit as mk

pandas = pytest.importorskip("pandas")
for _library in ("h5py", "jinja2", "matplotlib", "memelite", "scipy", "torchmetrics"):
    pytest.importorskip(_library)

EXAMPLES = Path(__file__).parent.parent / "examples"
WORDS = {"AP1": "TGACTCA", "SRF": "CCATATTAGG"}


@pytest.fixture
def read_out(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import read_out

    yield read_out
    sys.modules.pop("read_out")


def planted(path):
    """200 sequences of 80 letters; a word of each class in every second of its sequences."""
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 4, (200, 80), generator=draw, dtype=torch.uint8)
    targets = torch.randint(0, 2, (200, 2), generator=draw, dtype=torch.uint8)
    for column, word in enumerate(WORDS.values()):
        for row in targets[:, column].nonzero().flatten().tolist():
            at = int(torch.randint(30, (1,), generator=draw)) + 40 * column
            codes[row, at : at + len(word)] = mk.encode(word)[0]
    splits = {"train": torch.arange(120), "valid": torch.arange(120, 150), "test": torch.arange(150, 200)}
    mk.SequenceDataset(codes, targets, list(WORDS), splits).save(path)


@pytest.mark.filterwarnings("ignore:tomtom was given")  # that two targets are few
def test_before_and_after_are_trained_alike_and_read_out(tmp_path, monkeypatch, capsys):
    planted(tmp_path / "data.h5")
    known = [mk.Motif(name, mk.one_hot(mk.encode(word))[0].numpy() * 20, 20) for name, word in WORDS.items()]
    mk.MotifSet(known).to_meme(tmp_path / "known.meme")
    out = tmp_path / "out"
    arguments = [str(tmp_path / "data.h5"), "--out", str(out), "--quick", "--filters", "6", "--batch", "40"]
    monkeypatch.setattr(sys, "argv", ["x", *arguments, "--target", str(tmp_path / "known.meme")])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(EXAMPLES / "encode_before_after.py"), run_name="__main__")
    printed = capsys.readouterr()
    assert re.search(r"runs 0, 1, 2 and 3 as one", printed.err)  # Basset-like
    assert re.search(r"runs conv and pool as one", printed.err)  # DanQ-like

    curves = pandas.read_csv(out / "curves.tsv", sep="\t").set_index(["network", "epoch", "way"])
    assert len(curves) == 2 * 2 * 3
    for loss in ("train_loss", "valid_loss"):
        table = curves[loss].unstack()
        # Three steps an epoch: the first loss is that of equal weights, and five steps of 1e-3 whose
        # direction rounding may turn where a gradient is next to zero leave losses within 1%.
        assert (table["after"] / table["before"] - 1).abs().max() < 0.01
        assert (table["before, nudged"] / table["before"] - 1).abs().max() < 0.01
    assert (curves["seconds"] > 0).all()
    assert (out / "curves.svg").read_text().count("<svg") == 1
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")

    for name, width in {"basset-like": 19, "danq-like": 26}.items():
        page = (out / name / "report.html").read_text()
        assert "Not in this report" not in page  # rules, knock-outs and clusters are there
        lost = pandas.read_csv(out / name / "knockout.tsv", sep="\t")
        assert set(lost["filter"]) == {f"filter{i}" for i in range(6)}
        assert (6, 4, width) in [tuple(w.shape) for w in torch.load(out / name / "weights.pt").values()]
    tables = (out / "tables.md").read_text()
    assert set(tables.splitlines()) <= {"", *printed.out.splitlines()}
    assert tables.count("| AP1 |") == tables.count("| SRF |") == 4  # by rule and by factor, for both


def matches(*pairs):
    return pandas.DataFrame(
        [(query, target, f"{target} name") for query, target in pairs],
        columns=["query", "target", "target_name"],
    )


def test_a_filter_carries_a_factor_that_half_of_the_rules_name(read_out):
    named = {
        "a": matches(("filter10", "M1"), ("filter10", "M2"), ("filter3", "M9")),
        "b": matches(("filter2", "M2"), ("filter3", "M1")),
        "c": matches(("filter2", "M1"), ("filter10", "M1")),
        "d": matches(),
    }
    profiles = {"X": ("M1", "M2"), "Y": ("M3",)}
    assert read_out.filters_of(named, profiles) == {"X": ["filter2", "filter10"], "Y": []}
    lines = read_out.rule_counts(named, profiles).splitlines()
    assert lines[-3:] == ["| X | 1 | 2 | 2 | 0 |", "| Y | 0 | 0 | 0 | 0 |", "| any name | 2 | 2 | 2 | 0 |"]


def test_controls_carry_no_factor_and_are_as_many(read_out):
    groups = read_out.with_controls({"X": ["filter2", "filter7"], "Y": [], "Z": ["filter2"]}, 8)
    assert list(groups) == ["X", "X, others", "Z", "Z, others"]
    assert (groups["X"], groups["Z"]) == ([2, 7], [2])
    assert len(set(groups["X, others"])) == 2
    assert len(groups["Z, others"]) == 1
    assert not {2, 7} & {*groups["X, others"], *groups["Z, others"]}
    assert read_out.with_controls({"X": ["filter0", "filter1"]}, 2) == {"X": [0, 1]}


def test_a_factor_without_filters_has_nothing_to_lose(read_out):
    row = {"filter": "X", "class": "X", "auroc": -0.1234, "auroc_low": -0.2, "auroc_high": 0.0001}
    lost = pandas.DataFrame([row])
    assert read_out.change(lost, "X", "X") == "-0.123 [-0.200, +0.000]"
    assert read_out.change(lost, "Y", "Y") == "-"


def test_the_factor_table_tells_filters_names_and_losses(read_out):
    best = matches(("filter1", "M1"), ("filter1", "M2"), ("filter2", "M2"))
    columns = ["filter", "class", "auroc", "auroc_low", "auroc_high"]
    alone = pandas.DataFrame(
        [("filter1", "X", -0.01, 0, 0), ("filter2", "X", -0.02, 0, 0), ("filter1", "Y", 0.5, 0, 0)],
        columns=columns,
    )
    lost = pandas.DataFrame([("X", "X", -0.25, -0.3, -0.2), ("X", "Y", 0, 0, 0)], columns=columns)
    carriers = {"X": ["filter1"], "Y": []}
    table = read_out.factor_table({"X": 0.91, "Y": 0.5}, carriers, {"a": best, "b": best}, alone, lost)
    assert table.splitlines()[-2:] == [
        "| X | 0.910 | filter1 | M1 name 2 | -0.250 [-0.300, -0.200] | - | filter2 -0.020 |",
        "| Y | 0.500 | none | - | - | - | filter1 +0.500 |",
    ]
