"""importance, cluster, and the options of motifs and compare, as a user meets them."""

import json

import pytest
import torch

import motifkit as mk
from motifkit.cli import main
from motifkit.motifs.rules import RULES

pandas = pytest.importorskip("pandas")
pytest.importorskip("lightning")
pytest.importorskip("memelite")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set and two runs of one epoch, whose first filters are the motifs."""
    folder = tmp_path_factory.mktemp("commands")
    words = {"one": "TGACTCAGCA", "two": "CCATATATGG", "three": "GGGGCGGGGC"}
    counts = {name: mk.one_hot(mk.encode(word))[0].numpy() * 94 + 2 for name, word in words.items()}
    motifs = mk.MotifSet([mk.Motif(name, table, 102) for name, table in counts.items()])
    motifs.to_meme(folder / "three.meme")
    data = str(folder / "data.h5")
    common = ["--quiet", "--json"]
    assert main(["simulate", data, "--n", "900", "--length", "100", "--motifs", str(folder / "three.meme"),
                 *common]) == 0  # fmt: skip
    for seed in ("0", "1"):
        arguments = ["train", data, "--out", str(folder / f"run{seed}"), "--epochs", "1", "--seed", seed]
        assert main([*arguments, *common]) == 0
        plant(folder / f"run{seed}/best.ckpt", words.values())
    return folder


def plant(path, words):
    """Write words into the first filters of a checkpoint, the first word twice."""
    checkpoint = torch.load(path, weights_only=False)
    state = checkpoint["state_dict"]
    (name,) = [key for key in state if key.endswith("block1.conv.weight")]
    with torch.no_grad():
        words = list(words)
        for row, word in zip(state[name], [*words, words[0]], strict=False):
            row.zero_()
            row[:, 4:14] = mk.one_hot(mk.encode(word))[0] - 0.25
        for part in ("weight", "bias", "running_mean", "running_var"):
            column = state[name.replace("conv.weight", f"norm.{part}")]
            column[:4] = {"weight": 1.0, "bias": -4.0, "running_mean": 0.0, "running_var": 1.0}[part]
    torch.save(checkpoint, path)


def read(path):
    return pandas.read_csv(path, sep="\t", keep_default_na=True)


@pytest.mark.parametrize("rule", RULES)
def test_motifs_by_every_rule(place, capsys, rule):
    out = place / rule
    arguments = ["motifs", str(place / "run0"), str(place / "data.h5"), "--out", str(out), "--rule", rule]
    assert main([*arguments, "--no-logos", "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == rule
    assert {p.name for p in out.iterdir()} == {"motifs.meme", "motifs.tsv"}
    table = read(out / "motifs.tsv").set_index("filter")
    assert "TGACTCA" in table.loc["filter0", "consensus"]
    assert len(table) == 30


def test_motifs_of_a_deep_layer_and_all_rules_at_once(place, capsys):
    out = place / "deep"
    arguments = ["motifs", str(place / "run0"), str(place / "data.h5"), "--out", str(out), "--no-logos"]
    arguments += ["--quiet", "--json"]
    assert main([*arguments, "--layer", "relu2", "--rule", "best", "--strands", "both", "--cap", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["layer"], told["receptive_field"], told["jump"]) == ("relu2", 143, 25)
    assert len(read(out / "motifs.tsv")) == 128
    assert (
        main([*arguments, "--compare-rules", "--pseudocount", "1", "--ends", "drop", "--ambiguous", "drop"])
        == 0
    )
    rules = read(out / "rules.tsv")
    assert set(rules["rule"]) == set(RULES)
    assert len(rules) == 30 * len(RULES)


def test_importance_and_copies(place, capsys):
    run = str(place / "run0")
    assert main(["importance", run, "--bootstrap", "20", "--quiet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    table = read(place / "run0/knockout.tsv")
    assert len(table) == told["rows"] == 30 * 2 * 4
    assert {"loss_low", "auroc_high", "logit", "class", "replaced"} <= set(table.columns)
    assert main(["importance", run, "--copies", "--replace", "zero", "--bootstrap", "0", "--quiet"]) == 0
    assert "most is lost without" in capsys.readouterr().out
    copies = read(place / "run0/knockout-copies.tsv")
    assert copies["filter"].str.startswith("cluster").all()
    assert set(copies["replaced"]) == {"zero"}


def test_clusters_across_runs(place, capsys):
    out = place / "clusters"
    runs = [str(place / "run0"), str(place / "run1"), str(place / "three.meme")]
    assert main(["cluster", *runs, "--out", str(out), "--quiet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    table = read(out / "clusters.tsv")
    assert told["in_all_runs"] >= 2
    first = table[(table["run"] == runs[0]) & (table["filter"].isin(["filter0", "filter3"]))]
    assert first["cluster"].nunique() == 1  # copies of one word
    assert len(mk.MotifSet.from_meme(out / "clusters.meme")) == told["clusters"] == table["cluster"].nunique()


def test_compare_with_pearson_and_calibration(place, capsys):
    query, target = str(place / "three.meme"), str(place / "targets.meme")
    generator = torch.Generator().manual_seed(0)
    noise = [
        mk.Motif(f"noise{i}", torch.rand(4, 9, generator=generator).pow(4).numpy() * 50, 50)
        for i in range(60)
    ]
    mk.MotifSet([*mk.MotifSet.from_meme(query), *noise]).to_meme(target)
    arguments = [
        "compare",
        query,
        "--target",
        target,
        "--distance",
        "pearson",
        "--calibrate",
        "19",
        "--quiet",
    ]
    assert main(arguments) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.strip().splitlines()]
    assert lines[0][-1] == "empirical_p"
    best = {line[0]: line for line in reversed(lines[1:])}
    assert {name: line[1] for name, line in best.items()} == {n: n for n in ("one", "two", "three")}
    assert float(best["one"][-1]) == 0.05


def test_a_report_keeps_the_calibration(place, capsys):
    page = place / "page" / "report.html"
    target = str(place / "three.meme")
    arguments = ["report", str(place / "run0"), "--out", str(page), "--target", target, "--evalue", "10"]
    assert main([*arguments, "--calibrate", "9", "--quiet"]) == 0
    assert read(page.parent / "matches.tsv")["empirical_p"].between(0.1, 1).all()
    assert "empirical_p" in read(page.parent / "motifs.tsv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["importance", "{run}", "--layer", "conv9"], ["run0", "no layer 'conv9'"]),
        (["importance", "{run}", "none.h5"], ["none.h5", "no such file"]),
        (["importance", "{folder}"], ["holds no run", "motifkit train"]),
        (["cluster", "{folder}", "--out", "{out}"], ["holds no run"]),
        (["cluster", "{run}", "{run}", "--out", "{out}"], ["given twice"]),
        (["cluster", "{run}", "--out", "{out}", "--similarity", "3"], ["--similarity", "between 0 and 1"]),
        (["motifs", "{run}", "{data}", "--out", "{out}", "--cap", "0"], ["per_sequence must be at least 1"]),
        (["motifs", "{run}", "{data}", "--out", "{out}", "--layer", "dense"], ["sequences, channels"]),
        (["compare", "{meme}", "--calibrate", "-1"], ["calibrate must not be negative"]),
    ],
)
def test_bad_input_is_named_on_one_line(place, tmp_path, capsys, arguments, words):
    names = {
        "run": place / "run0", "folder": tmp_path, "out": tmp_path / "out", "data": place / "data.h5",
        "meme": place / "three.meme",
    }  # fmt: skip
    assert main([a.format(**names) for a in arguments] + ["--quiet"]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""
    for word in words:
        assert word in captured.err
