"""A small report whose every figure is known, made without training anything."""

import numpy as np
import torch

import motifkit as mk
from motifkit.motifs.compare import COLUMNS
from motifkit.report.places import find_places
from motifkit.report.report import Analysis, write_report
from motifkit.train.evaluate import scores

FILTERS = {"filter0": "AGATAAGG", "filter1": "CCAGGTGT", "filter2": "<b>&"}  # the last is dead

KNOCKOUT = """filter replaced class positives loss auroc auroc_low auroc_high
filter0 mean GATA 5 0.2 -0.25 -0.3 -0.2
filter0 mean <i> 4 0.0 0.0 -0.01 0.01
filter0 mean mean 9 0.1 -0.125 -0.15 -0.1
filter0 zero GATA 5 0.2 0.5 0.4 0.6
filter1 mean GATA 5 0.0 0.05 -0.02 0.1
filter1 mean <i> 4 0.1 -0.1 -0.2 -0.05
filter1 mean mean 9 0.1 -0.025 -0.1 0.05
"""
RULES = """filter rule nsites width information consensus correlation target target_name e_value matches
filter0 paper 40 8 15.5 AGATAAGG 1 MA1 GATA1 1e-5 1
filter0 best 1200 6 7.25 GATAAG 0.5    0
filter1 paper 12 2 4 NA     0
filter1 best 0 0 0      0
"""
CLUSTERS = """cluster run filter offset strand similarity size runs reproducibility
cluster1 seed0 filter0 0 + 0.98 2 2 1
cluster1 seed1 filter7 1 - 0.92 2 2 1
cluster2 seed0 filter1 0 + 1 1 1 0.5
"""


def motif(name, word, nsites=50):
    return mk.Motif(name, mk.one_hot(mk.encode(word))[0].numpy() * 46 + 1, nsites)


def write_tables(folder):
    """The tables that other commands leave in a run's folder."""
    for name, text in (("knockout", KNOCKOUT), ("rules", RULES), ("clusters", CLUSTERS)):
        (folder / f"{name}.tsv").write_text(text.replace(" ", "\t"))
    consensus = [motif("cluster1", "AGATAAGG", 90), motif("cluster2", "CCAGGTGT")]
    mk.MotifSet(consensus).to_meme(folder / "clusters.meme")


def make_analysis(copies=1):
    """Two live filters (times `copies`) and a dead one, on 40 sequences that hold their words."""
    import pandas

    words = list(FILTERS.values())[:2]
    names = [f"filter{2 * k + i}" for k in range(copies) for i in range(2)]
    motifs = mk.MotifSet(
        [motif(name, words[i % 2], 50 - 45 * (i == 1)) for i, name in enumerate(names)],
        ["<b>&"],
        {"rule": "paper", "threshold": 0.7, "strands": "+", "layer": "conv", "sequences": 40},
    )
    draw = np.random.default_rng(0)
    sequences = ["".join(draw.choice(list("ACGT"), 60)) for _ in range(40)]
    for i in range(0, 20):  # side by side, five letters between them
        at = int(draw.integers(0, 35))
        sequences[i] = sequences[i][:at] + words[0] + "TTTTT" + words[1] + sequences[i][at + 21 :]
    codes = mk.encode([s[:60] for s in sequences])
    targets = torch.tensor([[i < 20, i % 2] for i in range(40)]).to(torch.uint8)
    probabilities = torch.linspace(1, 0, 40)[:, None].expand(40, 2).contiguous()
    classes = ["GATA", "<i>"]
    splits = {"train": torch.arange(0), "valid": torch.arange(0), "test": torch.arange(40)}
    dataset = mk.SequenceDataset(codes, targets, classes, splits)
    database = mk.MotifSet([motif("MA1", "AGATAAGG"), motif("MA2", "GGGGGGGG")])
    matches = pandas.DataFrame(
        [("filter0", "MA1", "GATA1", 1e-9, 2e-9, 1e-9, 0, 8, "+")],
        columns=COLUMNS,
    )  # fmt: skip
    metrics = scores(probabilities, targets, classes)
    metrics["motifs"] = {
        "filters": len(names) + 1, "dead": 1, "matched": 1, "relevant": 1, "matched_fraction": 1 / 3,
        "relevant_fraction": 1 / 3, "found": ["GATA"], "missing": [], "coverage": 1.0, **motifs.origin,
        "target": "test", "evalue": 0.1,
    }  # fmt: skip
    trimmed = motifs.trim()
    analysis = Analysis(
        motifs, trimmed, matches, metrics, probabilities, targets, None, "test", database, 0.1,
        find_places(trimmed, codes),
    )  # fmt: skip
    return analysis, dataset


def make_report(folder, tables=True, copies=1):
    """Write the page into a folder; its path."""
    analysis, dataset = make_analysis(copies)
    if tables:
        write_tables(folder)
    history = [{"epoch": e, "train_loss": 1 / e, "valid_loss": 1.1 / e} for e in (1, 2, 3)]
    return write_report(
        folder / "report.html", analysis, dataset, history=history, title="Title of <report>",
        details={"model": "none"},
    )  # fmt: skip
