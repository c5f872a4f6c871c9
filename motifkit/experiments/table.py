"""From stored runs to the table: ours beside the paper's, with the difference in standard deviations."""

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from motifkit.errors import require
from motifkit.files import written
from motifkit.models.paper import ARCHITECTURES

if TYPE_CHECKING:
    import pandas

RESOLUTION = 0.001  # the paper prints three decimals: no standard deviation is taken to be less
FAR = 3.0  # standard deviations from which a difference is to be explained
METRICS = {
    "auroc": "AUROC",
    "aupr": "AUPR",
    "matched": "match any",
    "relevant": "match relevant",
    "coverage": "motifs found",
}
_KEYS = ["model", "init", "layer", "rule"]


def paper_values(table: str) -> "pandas.DataFrame":
    """What the paper reports for "table1" or "table2".

    Returns:
        Columns model, layer, metric (auroc, aupr, matched, relevant), mean, sd, source; fractions, not per
        cent.

    Example:
        >>> from motifkit.experiments.table import paper_values
        >>> values = paper_values("table1").set_index(["model", "layer", "metric"])
        >>> values.loc[("CNN-25", 1, "relevant"), ["mean", "sd"]].tolist()
        [0.98, 0.027]
    """
    pandas = require("pandas", "experiments")
    with resources.files("motifkit.experiments").joinpath("paper_values.tsv").open() as handle:
        values = pandas.read_csv(handle, sep="\t", comment="#")
    return values[values["table"] == table].drop(columns="table").reset_index(drop=True)


def runs_frame(results: Sequence[dict]) -> "pandas.DataFrame":
    """One row a run, layer and rule: model, init, trial, layer, rule, auroc, aupr, matched, relevant,
    coverage, found, filters, dead, epochs, best_epoch, epoch_seconds, training_seconds, attempts."""
    pandas = require("pandas", "experiments")
    rows = []
    for result in results:
        for layer, rules in result["layers"].items():
            for rule, fractions in rules.items():
                rows.append(
                    {
                        "model": result["model"], "init": result["init"], "trial": result["trial"],
                        "layer": int(layer), "rule": rule, "auroc": result["auroc"],
                        "aupr": result["aupr"], "matched": fractions["matched_fraction"],
                        "relevant": fractions["relevant_fraction"], "coverage": len(fractions["found"]),
                        "found": " ".join(fractions["found"]), "filters": fractions["filters"],
                        "dead": fractions["dead"], "epochs": result["epochs"],
                        "best_epoch": result["best_epoch"], "epoch_seconds": result["seconds"]["epoch"],
                        "training_seconds": result["seconds"]["training"],
                        "attempts": result["attempts"],
                    }
                )  # fmt: skip
    frame = pandas.DataFrame(rows)
    if rows:
        order = {name: at for at, name in enumerate(ARCHITECTURES)}
        frame = frame.sort_values(
            [*_KEYS, "trial"], key=lambda c: c.map(order) if c.name == "model" else c, kind="stable"
        ).reset_index(drop=True)
    return frame


def compare_with_paper(runs: "pandas.DataFrame", table: str) -> "pandas.DataFrame":
    """Mean and standard deviation over trials beside the paper's.

    Args:
        runs: of `runs_frame`. table: "table1" or "table2".

    Returns:
        A row a net, initialisation, layer, rule and metric: trials, mean, sd (of a sample; NaN for one
        trial), paper_mean, paper_sd, source (NaN and empty where the paper is silent), difference (ours less
        the paper's), and difference_in_sd: in units of the larger of the two standard deviations, and of
        0.001, the paper's last decimal, where that is larger still.
    """
    pandas = require("pandas", "experiments")
    reported = paper_values(table)
    # What the program calls a net of its own is the paper's net of that name.
    means, rows = {}, []
    for value in reported.itertuples():
        means[value.model, value.layer, value.metric] = value
    for keys, group in runs.groupby(_KEYS, sort=False):
        model, layer = keys[0], keys[2]
        for metric in METRICS:
            if metric in ("auroc", "aupr") and (layer != 1):
                continue
            value = means.get((model.removesuffix(" (code)"), layer, metric))
            mean, sd = group[metric].mean(), group[metric].std(ddof=1)
            row = dict(zip(_KEYS, keys, strict=True)) | {
                "metric": metric, "trials": len(group), "mean": mean, "sd": sd,
                "paper_mean": float("nan"), "paper_sd": float("nan"), "difference": float("nan"),
                "difference_in_sd": float("nan"), "source": "",
            }  # fmt: skip
            if value is not None:
                difference = mean - value.mean
                spread = max(RESOLUTION, value.sd, 0.0 if len(group) < 2 else sd)
                row |= {
                    "paper_mean": value.mean, "paper_sd": value.sd, "difference": difference,
                    "difference_in_sd": difference / spread, "source": value.source,
                }  # fmt: skip
            rows.append(row)
    columns = [
        *_KEYS, "metric", "trials", "mean", "sd", "paper_mean", "paper_sd", "difference", "difference_in_sd",
        "source",
    ]  # fmt: skip
    return pandas.DataFrame(rows, columns=columns)


def markdown(
    comparison: "pandas.DataFrame",
    runs: "pandas.DataFrame",
    table: str,
    classes: int,
    paper_data: bool = True,
) -> str:
    """The table as Markdown, a part an initialisation: ours (both rules) beside the paper's.

    Without `paper_data` the paper's values, of other sequences, are a backdrop: no difference is shown.
    """
    lines = []
    for init, part in comparison.groupby("init", sort=False):
        lines += [f"## {init} initialisation", ""] if comparison["init"].nunique() > 1 else []
        scores = ["auroc", "aupr"] if table == "table2" else ["auroc"]
        header = ["net", "layer", "trials"]
        for score in scores:
            header += [METRICS[score], "paper", "sd apart"]
        for metric in ("matched", "relevant"):
            header += [METRICS[metric], "paper", "sd apart", "by the code's rule", "sd apart"]
        header += [f"found of {classes}", "by the code's rule", "epochs", "s an epoch"]
        lines.append("| " + " | ".join(header) + " |")
        lines.append("| --- |" + " ---: |" * (len(header) - 1))
        for (model, layer), group in part.groupby(["model", "layer"], sort=False):
            cell = {(row.rule, row.metric): row for row in group.itertuples()}
            first = next(iter(cell.values()))
            cells = [model, str(layer), str(first.trials)]
            for score in scores:
                cells += _beside(cell.get(("paper", score)), paper_data)
            for metric in ("matched", "relevant"):
                by_code, _, apart = _beside(cell[("code", metric)], paper_data)
                cells += [*_beside(cell[("paper", metric)], paper_data), by_code, apart]
            cells += [f"{cell[(rule, 'coverage')].mean:.1f}" for rule in ("paper", "code")]
            these = runs[(runs["model"] == model) & (runs["init"] == init) & (runs["layer"] == layer)]
            cells += [f"{these['epochs'].mean():.0f}", f"{these['epoch_seconds'].median():.1f}"]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _beside(row, paper_data: bool) -> list[str]:
    """Ours, the paper's, and how far apart; the last in bold from FAR on, empty on other data."""
    if row is None:
        return ["", "", ""]
    if row.paper_mean != row.paper_mean:
        return [plus_minus(row), "-", ""]
    apart = f"{row.difference_in_sd:+.1f}" if paper_data else ""
    if paper_data and abs(row.difference_in_sd) > FAR:
        apart = f"**{apart}**"
    return [plus_minus(row), f"{row.paper_mean:.3f} ± {row.paper_sd:.3f}", apart]


def plus_minus(row) -> str:
    """Mean and, where there are trials enough, standard deviation."""
    return f"{row.mean:.3f} ± {row.sd:.3f}" if row.sd == row.sd else f"{row.mean:.3f}"


def write_tables(folder: str | os.PathLike[str], table: str, results: Sequence[dict], **page) -> list[Path]:
    """Write TABLE.tsv, TABLE-runs.tsv, TABLE.md and TABLE.html; `page` goes to `table_page`."""
    from motifkit.experiments.page import table_page

    folder = Path(folder)
    runs = runs_frame(results)
    comparison = compare_with_paper(runs, table)
    classes = len(results[0]["auroc_per_class"])
    paths = [folder / f"{table}{suffix}" for suffix in (".tsv", "-runs.tsv", ".md", ".html")]
    for path, frame in zip(paths, (comparison, runs), strict=False):
        with written(path) as temporary:
            frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    with written(paths[2]) as temporary:
        temporary.write_text(markdown(comparison, runs, table, classes, page.get("paper_data", True)))
    with written(paths[3]) as temporary:
        temporary.write_text(table_page(comparison, runs, table, results, **page))
    return paths
