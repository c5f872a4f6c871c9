"""From a trained model to the page and the files beside it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from motifkit.motifs.motif import MotifSet
from motifkit.motifs.rules import RULES
from motifkit.motifs.scoring import match_fractions, score_placements
from motifkit.motifs.table import motif_table, write_table
from motifkit.report.filter_rows import filter_rows
from motifkit.report.performance import class_rows, loss_curve, number, roc
from motifkit.report.places import Places, find_places, places_section
from motifkit.report.sections import calibration_section, clusters_section, knockout_section, rules_section
from motifkit.report.tables import RunTables
from motifkit.train.evaluate import predict, scores

if TYPE_CHECKING:
    import pandas


@dataclass
class Analysis:
    """Everything a report shows.

    Attributes:
        motifs: as extracted, whole. trimmed: those with informative columns, trimmed; these were
            compared. matches: from `compare`. metrics: scores, fractions and the settings, ready
            for JSON. probabilities, targets: of the test split. placements: of score_placements,
            or None for real data. target: name of the database. places: where the trimmed motifs occur
            in the test split.
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
    places: Places | None = None

    @property
    def names(self) -> dict[str, str]:
        """The name of each motif's best match; a motif without a match has none."""
        best = self.matches.drop_duplicates("query")
        return dict(zip(best["query"], best["target_name"], strict=True))


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
        evalue, find_places(trimmed, codes),
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
    run_folder: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the page to `path`, and motifs.meme, motifs.tsv, matches.tsv and metrics.json beside it, and
    the tables of places: sites.tsv, cooccurrence.tsv and spacings.tsv. Motifs of the MEME file bear the name
    of their best match as alternate name.

    rules.tsv, knockout.tsv, clusters.tsv and clusters.meme are shown where `run_folder` (by default the
    page's own) holds them. The page needs no other file and no network: it can be moved and mailed.
    """
    jinja2 = require("jinja2", "report")
    path = Path(path)
    folder = writable_folder(path.parent)
    analysis.trimmed.labelled(analysis.names).to_meme(folder / "motifs.meme")
    write_table(analysis.matches, folder / "matches.tsv")
    table = motif_table(analysis.motifs, analysis.trimmed, analysis.matches, analysis.placements)
    write_table(table, folder / "motifs.tsv")
    with written(folder / "metrics.json") as temporary:
        temporary.write_text(to_json(analysis.metrics) + "\n")
    if analysis.places is not None:
        analysis.places.save(folder)
    tables = RunTables.load(folder if run_folder is None else Path(run_folder))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("motifkit.report"),
    )  # fmt: skip
    page = environment.get_template("page.html.j2").render(
        **_context(analysis, dataset, history, title, details or {}, jinja2.filters.Markup),
        **_optional(analysis, tables, jinja2.filters.Markup),
    )
    with written(path) as temporary:
        temporary.write_text(page)
    return path


def _optional(analysis: Analysis, tables: RunTables, markup) -> dict[str, object]:
    """The sections that may be missing: None where there is nothing to show."""
    clusters = tables.clusters
    names = analysis.names
    return {
        "rules": None if tables.rules is None else rules_section(tables.rules),
        "knockout": None if tables.knockout is None else knockout_section(tables.knockout, names),
        "clusters": None if clusters is None else clusters_section(clusters, tables.consensus, markup),
        "calibration": calibration_section(analysis.matches, analysis.evalue),
        "places": None if analysis.places is None else places_section(analysis.places, markup, names),
    }


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
        "classes": class_rows(analysis, dataset),
        "auroc_mean": number(metrics["auroc_mean"]),
        "aupr_mean": number(metrics["aupr_mean"]),
        "roc": markup(roc(analysis)),
        "curve": markup(loss_curve(history)) if history else "",
        "symbols": markup(logo.svg_symbols()),
        "rule_text": RULES[fractions["rule"]].describe(fractions["threshold"]),
        "evalue": f"{analysis.evalue:g}",
        "target": analysis.target,
        "target_count": len(analysis.database),
        "dead": analysis.motifs.dead,
        "placements": analysis.placements is not None,
        "relevant": bool(known),
        "filters": filter_rows(analysis, known, markup),
        "details": list(details.items()),
    }
