"""From a trained model to the page and the files beside it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import require
from motifkit.files import to_json, writable_folder, written
from motifkit.motifs import logo
from motifkit.motifs.compare import compare, load_targets
from motifkit.motifs.extract import extract_motifs
from motifkit.motifs.jaspar import RELEVANT
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.rules import RULES
from motifkit.motifs.scoring import match_fractions, score_placements
from motifkit.motifs.table import motif_table, write_table
from motifkit.report.charts import PALETTE, Line, line_chart, thin
from motifkit.train.evaluate import predict, scores

if TYPE_CHECKING:
    import pandas

_FEW_SITES = 10  # an alignment of fewer windows looks sharper than it is


@dataclass
class Analysis:
    """Everything a report shows.

    Attributes:
        motifs: as extracted, whole. trimmed: those with informative columns, trimmed; these were
            compared. matches: from `compare`. metrics: scores, fractions and the settings, ready
            for JSON. probabilities, targets: of the test split. placements: of score_placements,
            or None for real data. target: name of the database.
    """

    motifs: MotifSet
    trimmed: MotifSet
    matches: "pandas.DataFrame"
    metrics: dict[str, object]
    probabilities: Tensor
    targets: Tensor
    placements: "pandas.DataFrame | None"
    target: str
    database: MotifSet
    evalue: float


def analyse(
    model: nn.Module,
    dataset: SequenceDataset,
    *,
    rule: str = "paper",
    target: str = "JASPAR2016",
    evalue: float = 0.1,
    calibrate: int = 0,
    seed: int = 0,
    device: str | None = None,
    quiet: bool = False,
    progress: bool = False,
) -> Analysis:
    """Evaluate a model on the test split, extract its motifs, and name them."""
    codes, targets = dataset.split("test")
    probabilities = predict(model, codes, device=device)
    metrics = scores(probabilities, targets, dataset.class_names)
    motifs = extract_motifs(model, codes, rule=rule, targets=targets, device=device, progress=progress)
    trimmed = motifs.trim()
    database = load_targets(target)
    matches = compare(trimmed, database, evalue=evalue, calibrate=calibrate, seed=seed, quiet=quiet)
    known = relevant_profiles(dataset, database)
    fractions = match_fractions(motifs, matches, known)
    placements = None
    if dataset.placements is not None:
        placements = score_placements(model.cpu(), dataset)
    metrics |= {"motifs": {**fractions, **motifs.origin, "target": str(target), "evalue": evalue}}
    return Analysis(
        motifs, trimmed, matches, metrics, probabilities, targets, placements, str(target), database,
        evalue,
    )  # fmt: skip


def relevant_profiles(dataset: SequenceDataset, database: MotifSet) -> Mapping[str, Sequence[str]]:
    """The profiles that count as finding each class: the paper's list for the factors it names, else
    those of `database` that bear the class's name."""
    listed = {name.lower(): profiles for name, profiles in RELEVANT.items()}
    out = {}
    for name in dataset.class_names:
        same = [m.name for m in database if name.lower() in (m.label.lower(), m.name.lower())]
        profiles = listed.get(name.lower(), same)
        if profiles:
            out[name] = profiles
    return out


def write_report(
    path: str | os.PathLike[str],
    analysis: Analysis,
    dataset: SequenceDataset,
    *,
    history: Sequence[Mapping[str, float]] = (),
    title: str = "Motif report",
    details: Mapping[str, object] | None = None,
) -> Path:
    """Write the page to `path`, and motifs.meme, motifs.tsv, matches.tsv and metrics.json beside it.

    The page needs no other file and no network: it can be moved and mailed.
    """
    jinja2 = require("jinja2", "report")
    path = Path(path)
    folder = writable_folder(path.parent)
    analysis.trimmed.to_meme(folder / "motifs.meme")
    write_table(analysis.matches, folder / "matches.tsv")
    table = motif_table(analysis.motifs, analysis.trimmed, analysis.matches, analysis.placements)
    write_table(table, folder / "motifs.tsv")
    with written(folder / "metrics.json") as temporary:
        temporary.write_text(to_json(analysis.metrics) + "\n")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    source = resources.files("motifkit.report").joinpath("page.html.j2").read_text()
    page = environment.from_string(source).render(
        **_context(analysis, dataset, history, title, details or {}, jinja2.filters.Markup)
    )
    with written(path) as temporary:
        temporary.write_text(page)
    return path


def summary(analysis: Analysis) -> str:
    """A few lines for the terminal."""
    m = analysis.metrics
    f = m["motifs"]
    lines = [
        f"AUROC {m['auroc_mean']:.3f}, AUPR {m['aupr_mean']:.3f} on {m['sequences']} test sequences",
        f"{f['matched']} of {f['filters']} filters match a motif of {analysis.target}"
        + (f", {f['dead']} dead" if f["dead"] else ""),
    ]
    if f["found"] or f["missing"]:
        lines.append(f"{f['relevant']} of {f['filters']} match a relevant motif")
        count = len(f["found"]) + len(f["missing"])
        missing = f"; missing: {', '.join(f['missing'])}" if f["missing"] else ""
        lines.append(f"{len(f['found'])} of {count} classes' motifs found{missing}")
    return "\n".join(lines)


def _context(analysis, dataset, history, title, details, markup):
    metrics, fractions = analysis.metrics, analysis.metrics["motifs"]
    known = relevant_profiles(dataset, analysis.database)
    cards = [
        {"value": f"{metrics['auroc_mean']:.3f}", "label": "mean AUROC"},
        {"value": f"{metrics['aupr_mean']:.3f}", "label": "mean AUPR"},
        {
            "value": f"{fractions['matched']} / {fractions['filters']}",
            "label": "filters with a match",
        },
    ]
    if known:
        cards.append(
            {
                "value": f"{fractions['relevant']} / {fractions['filters']}",
                "label": "match a relevant motif",
            }
        )
        cards.append({"value": f"{len(fractions['found'])} / {len(known)}", "label": "classes' motifs found"})
    cards.append({"value": str(fractions["dead"]), "label": "dead filters"})
    truth = []
    if dataset.placements is not None:
        truth = [{"name": name, "found": name in fractions["found"]} for name in known]
    return {
        "title": title,
        "subtitle": f"{len(dataset):,} sequences of {dataset.length} nt, {len(dataset.class_names)} classes",
        "cards": cards,
        "truth": truth,
        "split": "test",
        "classes": _class_rows(analysis, dataset),
        "auroc_mean": _number(metrics["auroc_mean"]),
        "aupr_mean": _number(metrics["aupr_mean"]),
        "roc": markup(_roc(analysis)),
        "curve": markup(_curve(history)) if history else "",
        "symbols": markup(logo.svg_symbols()),
        "rule_text": RULES[fractions["rule"]].describe(fractions["threshold"]),
        "evalue": f"{analysis.evalue:g}",
        "target": analysis.target,
        "target_count": len(analysis.database),
        "dead": analysis.motifs.dead,
        "placements": analysis.placements is not None,
        "relevant": bool(known),
        "filters": _filter_rows(analysis, known, markup),
        "details": list(details.items()),
    }


def _class_rows(analysis, dataset):
    metrics = analysis.metrics
    positives = analysis.targets.sum(0).tolist()
    return [
        {
            "name": name,
            "colour": PALETTE[index % len(PALETTE)],
            "positives": positives[index],
            "auroc": _number(metrics["auroc"][name]),
            "aupr": _number(metrics["aupr"][name]),
        }
        for index, name in enumerate(dataset.class_names)
    ]


def _roc(analysis) -> str:
    metrics = require("torchmetrics.functional.classification", "report")
    lines = []
    for index, name in enumerate(analysis.metrics["auroc"]):
        if math.isnan(analysis.metrics["auroc"][name]):
            continue
        truth = analysis.targets[:, index].long()
        false, true, _ = metrics.binary_roc(analysis.probabilities[:, index], truth)
        points = thin(list(zip(false.tolist(), true.tolist(), strict=True)), 160)
        lines.append(Line(name, points, PALETTE[index % len(PALETTE)]))
    return line_chart(
        lines, x_label="false positive rate", y_label="true positive rate", x_range=(0, 1),
        y_range=(0, 1), diagonal=True, width=380, height=340,
    )  # fmt: skip


def _curve(history) -> str:
    train = [(row["epoch"], row["train_loss"]) for row in history]
    valid = [(row["epoch"], row["valid_loss"]) for row in history]
    values = [value for _, value in train + valid]
    best = min(history, key=lambda row: row["valid_loss"])["epoch"]
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or 0.01
    return line_chart(
        [Line("training", thin(train), PALETTE[0]), Line("validation", thin(valid), PALETTE[1])],
        x_label="epoch", y_label="loss", x_range=(1, max(len(history), 2)),
        y_range=(low - margin, high + margin), mark_x=best, width=380, height=340,
    )  # fmt: skip


def _filter_rows(analysis, known, markup):
    relevant = {profile for profiles in known.values() for profile in profiles}
    trimmed = {motif.name: motif for motif in analysis.trimmed}
    targets = {motif.name: motif for motif in analysis.database}
    groups = dict(iter(analysis.matches.groupby("query")))
    placements = {}
    if analysis.placements is not None:
        placements = analysis.placements.set_index("filter").to_dict("index")
    rows = []
    for index, motif in enumerate(analysis.motifs):
        shown, group = trimmed.get(motif.name), groups.get(motif.name)
        row = {
            "index": index, "name": motif.name, "nsites": f"{motif.nsites:g}", "best": "",
            "bits": f"{shown.information.sum():.1f}" if shown else "0.0", "evalue": "",
            "evalue_sort": 1e9, "matches": [], "target_logo": "", "reverse": False,
            "relevant": False, "no_match": "none" if shown else "no informative column",
            "logo": markup(logo.svg(shown)) if shown else "", "few": motif.nsites < _FEW_SITES,
        }  # fmt: skip
        if group is not None:
            best = group.iloc[0]
            target = targets[best["target"]]
            row |= {
                "best": _target_text(best), "evalue": f"{best['e_value']:.1e}",
                "evalue_sort": best["e_value"], "reverse": best["strand"] == "-",
                "matches": [_match_text(m) for _, m in group.iterrows()],
                "relevant": bool(group["target"].isin(relevant).any()),
            }  # fmt: skip
            row["logo"], row["target_logo"] = map(markup, _aligned(shown, target, best))
        if placements:
            found = placements[motif.name]
            row |= {
                "truth": found["motif"], "precision": _number(found["precision"]),
                "recall": _number(found["recall"]),
            }  # fmt: skip
        rows.append(row)
    return rows


def _aligned(query: Motif, target: Motif, match) -> tuple[str, str]:
    """Logos of a motif and of its match, set so that aligned columns stand above each other."""
    if match["strand"] == "-":
        target = target.reverse_complement()
    offset = int(match["offset"])  # the query begins `offset` columns into the target
    before, target_before = max(offset, 0), max(-offset, 0)
    total = max(before + len(query), target_before + len(target))
    return (
        logo.svg(query, before=before, total=total),
        logo.svg(target, before=target_before, total=total, height=36),
    )


def _target_text(match) -> str:
    name, target = match["target_name"], match["target"]
    return target if name == target else f"{name} ({target})"


def _match_text(match) -> str:
    figures = f"E = {match['e_value']:.1e}, q = {match['q_value']:.1e}, {match['strand']}"
    return f"{_target_text(match)}, {figures}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
