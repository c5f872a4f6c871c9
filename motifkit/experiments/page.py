"""The table as one self-contained HTML page, with plots."""

from collections.abc import Sequence
from html import escape
from importlib import resources

from motifkit import __version__
from motifkit.errors import require
from motifkit.experiments.table import FAR, METRICS, plus_minus
from motifkit.report.charts import PALETTE

_TITLES = {
    "table1": "Table 1: synthetic sequences",
    "table2": "Table 2: in vivo sequences",
}
_INIT_COLOURS = {"glorot": PALETTE[0], "he": PALETTE[1], "torch": PALETTE[2]}
_INIT_NAMES = {"glorot": "Glorot uniform", "he": "He normal", "torch": "PyTorch's default"}


def table_page(
    comparison, runs, table: str, results: Sequence[dict], *, settings: dict, notes: str = "",
    failed: Sequence[str] = (), command: str = "", paper_data: bool = True,
) -> str:  # fmt: skip
    """The page: settings, plots, the table, coverage, timings, notes.

    Args:
        comparison, runs: frames of motifkit.experiments.table. results: as stored. settings: of the grid.
        notes: paragraphs, an empty line between, on what differs and why. failed: lines on runs that failed.
        command: what made it. paper_data: whether the data are the paper's, so that its values are ground to
            compare on and not just a backdrop.
    """
    jinja2 = require("jinja2", "experiments")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    source = resources.files("motifkit.experiments").joinpath("table.html.j2").read_text()
    markup = jinja2.filters.Markup
    classes = list(results[0]["auroc_per_class"])
    scores = ["auroc", "aupr"] if table == "table2" else ["auroc"]
    inits = list(dict.fromkeys(comparison["init"]))
    plots = [
        {"title": _plot_title(metric, rule), "svg": markup(dot_plot(comparison, runs, metric, rule))}
        for metric, rule in [
            *((score, "paper") for score in scores), ("matched", "paper"), ("relevant", "paper"),
            ("matched", "code"), ("relevant", "code"),
        ]
    ]  # fmt: skip
    # Scores do not depend on the rule: they are listed once.
    listed = (comparison["rule"] == "paper") | comparison["metric"].isin(["matched", "relevant"])
    far = comparison[listed & (comparison["difference_in_sd"].abs() > FAR)]
    return environment.from_string(source).render(
        title=_TITLES[table] if paper_data else "The paper's networks on other data",
        settings=list(settings.items()),
        plots=plots,
        legend=[(_INIT_NAMES.get(i, i), _INIT_COLOURS.get(i, PALETTE[3])) for i in inits],
        parts=[
            {"name": _INIT_NAMES.get(init, init), "rows": _rows(comparison, runs, init, scores)}
            for init in inits
        ],
        scores=[METRICS[s] for s in scores],
        classes=classes,
        coverage=_coverage(runs, classes),
        far=[
            f"{r.model} layer {r.layer} ({r.init}), {METRICS[r.metric]}{_by(r)}: {r.mean:.3f} here, "
            f"{r.paper_mean:.3f} there, {r.difference_in_sd:+.1f} sd"
            for r in far.itertuples()
        ]
        if paper_data
        else [],
        limit=f"{FAR:g}",
        notes=[" ".join(p.split()) for p in notes.split("\n\n") if p.strip()],
        failed=list(failed),
        command=command,
        paper_data=paper_data,
        version=__version__,
    )


def _by(row) -> str:
    if row.metric not in ("matched", "relevant"):
        return ""
    return f" by the {'paper' if row.rule == 'paper' else 'code'}'s rule"


def _plot_title(metric: str, rule: str) -> str:
    if metric in ("auroc", "aupr"):
        return f"{METRICS[metric]} on the test split"
    what = "any JASPAR motif" if metric == "matched" else "a relevant motif"
    return f"Filters that match {what}, {'the paper' if rule == 'paper' else 'its program'}'s rule"


def _rows(comparison, runs, init: str, scores: Sequence[str]) -> list[dict]:
    part = comparison[comparison["init"] == init]
    rows = []
    for (model, layer), group in part.groupby(["model", "layer"], sort=False):
        cell = {(row.rule, row.metric): row for row in group.itertuples()}
        these = runs[(runs["model"] == model) & (runs["init"] == init) & (runs["layer"] == layer)]
        rows.append(
            {
                "model": model,
                "layer": layer,
                "trials": next(iter(cell.values())).trials,
                "scores": [_cell(cell.get(("paper", score))) for score in scores],
                "fractions": [
                    (_cell(cell[("paper", metric)]), _cell(cell[("code", metric)]))
                    for metric in ("matched", "relevant")
                ],
                "coverage": [f"{cell[(rule, 'coverage')].mean:.1f}" for rule in ("paper", "code")],
                "epochs": f"{these['epochs'].mean():.0f}",
                "seconds": f"{these['epoch_seconds'].median():.2f}",
            }
        )
    return rows


def _cell(row) -> dict[str, object]:
    if row is None:
        return {"ours": "", "paper": "", "apart": "", "far": False}
    known = row.paper_mean == row.paper_mean
    return {
        "ours": plus_minus(row),
        "paper": f"{row.paper_mean:.3f} ± {row.paper_sd:.3f}" if known else "-",
        "apart": f"{row.difference_in_sd:+.1f}" if known else "",
        "far": known and abs(row.difference_in_sd) > FAR,
    }


def _coverage(runs, classes: Sequence[str]) -> list[dict]:
    """For each net and layer, the share of its runs (the paper's rule) in which each motif was found."""
    rows = []
    first = runs[runs["rule"] == "paper"]
    for (model, init, layer), group in first.groupby(["model", "init", "layer"], sort=False):
        found = [set(names.split()) for names in group["found"].fillna("")]
        shares = [sum(name in names for names in found) / len(found) for name in classes]
        rows.append(
            {"name": f"{model}, {init}" + (f", layer {layer}" if layer > 1 else ""), "shares": shares}
        )
    return rows


def dot_plot(comparison, runs, metric: str, rule: str) -> str:
    """An <svg>: a line a net and layer; the paper's mean and standard deviation in grey, each trial a dot."""
    part = comparison[(comparison["metric"] == metric) & (comparison["rule"] == rule)]
    trials = runs[runs["rule"] == rule]
    labels = list(dict.fromkeys(zip(part["model"], part["layer"], strict=True)))
    inits = list(dict.fromkeys(part["init"]))
    values = [*part["mean"], *part["paper_mean"].dropna(), *trials[metric]]
    low = 0.0
    if metric in ("auroc", "aupr"):
        low = max((start for start in (0.0, 0.5, 0.8, 0.9) if start <= min(values)), default=0.0)
    left, right, top, step, width = 128, 14, 8, 22, 460
    height = top + step * len(labels) + 34
    inner = width - left - right

    def x(value: float) -> float:
        return left + (value - low) / (1 - low) * inner

    parts = [
        f'<svg class="chart" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(_plot_title(metric, rule))}">'
    ]
    for i in range(6):
        tick = low + (1 - low) * i / 5
        parts.append(f'<path d="M{x(tick):.1f} {top}V{height - 30}" class="grid"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{height - 14}" class="tick mid">{tick:.2g}</text>')
    for index, (model, layer) in enumerate(labels):
        y = top + step * (index + 0.5)
        name = model + (f" · {layer}" if layer > 1 else "")
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" class="tick end">{escape(name)}</text>')
        parts.append(f'<path d="M{left} {y:.1f}H{width - right}" class="grid"/>')
        rows = part[(part["model"] == model) & (part["layer"] == layer)]
        known = rows["paper_mean"].dropna()
        if len(known):
            mean, sd = known.iloc[0], rows["paper_sd"].dropna().iloc[0]
            a, b = x(max(low, mean - sd)), x(min(1, mean + sd))
            parts.append(f'<path d="M{a:.1f} {y:.1f}H{b:.1f}" class="paper"/>')
            parts.append(f'<path d="M{x(mean):.1f} {y - 6:.1f}v12" class="paper"/>')
        for place, init in enumerate(inits):
            here = trials[(trials["model"] == model) & (trials["layer"] == layer) & (trials["init"] == init)]
            lift = (place - (len(inits) - 1) / 2) * 6
            colour = _INIT_COLOURS.get(init, PALETTE[3])
            for value in here[metric]:
                parts.append(
                    f'<circle cx="{x(value):.1f}" cy="{y + lift:.1f}" r="3.2" fill="{colour}" '
                    'fill-opacity=".55"/>'
                )
    parts.append(f'<path d="M{left} {top}V{height - 30}H{width - right}" class="axis"/></svg>')
    return "".join(parts)
