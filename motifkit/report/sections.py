"""What the page shows of rules, knock-outs and clusters: numbers and marks for the templates."""

import math
from collections.abc import Mapping

import numpy as np

from motifkit.motifs import logo
from motifkit.motifs.motif import MotifSet

_MOST_CLASSES = 24  # columns of the knock-out table
_LEVELS = 4  # shades of each colour


def rules_section(table) -> dict[str, object]:
    """A summary a rule, and a row a filter with a cell a rule."""
    rules = list(dict.fromkeys(table["rule"]))
    named = "target_name" in table.columns
    summary = []
    for rule in rules:
        own = table[table["rule"] == rule]
        shown = own[own["width"] > 0]
        summary.append(
            {
                "rule": rule,
                "motifs": len(shown),
                "nsites": _figure(shown["nsites"].median(), "{:,.0f}"),
                "information": _figure(shown["information"].median(), "{:.1f}"),
                "correlation": _figure(shown["correlation"].median(), "{:.2f}"),
                "matched": int((own["target_name"] != "").sum()) if named else None,
            }
        )
    rows = []
    for name, own in table.groupby("filter", sort=False):
        cells = {row["rule"]: _rule_cell(row, named) for row in own.to_dict("records")}
        rows.append({"filter": name, "cells": [cells.get(rule) for rule in rules]})
    return {"rules": rules, "summary": summary, "rows": rows, "named": named}


def _rule_cell(row, named: bool) -> dict[str, object] | None:
    if not row["width"] > 0:
        return None
    r = row["correlation"]
    return {
        "consensus": row["consensus"],
        "sites": f"{row['nsites']:,.0f} site{'s' * (row['nsites'] != 1)}",
        "correlation": _figure(r, "{:.2f}"),
        "sort": -1 if math.isnan(r) else f"{r:.4g}",
        "level": 0 if math.isnan(r) else _level(1 - r, 1),
        "target": row["target_name"] if named else "",
    }


def knockout_section(table, names: Mapping[str, str] | None = None) -> dict[str, object]:
    """The change of AUROC of each class by each filter, as shades, with intervals; `names` of filters."""
    how = "mean" if (table["replaced"] == "mean").any() else table["replaced"].iloc[0]
    table = table[table["replaced"] == how]
    size = table.groupby("class")["auroc"].apply(lambda change: change.abs().max())
    classes = [name for name in dict.fromkeys(table["class"]) if name != "mean"]
    kept = sorted(classes, key=lambda name: -np.nan_to_num(size[name]))[:_MOST_CLASSES]
    columns = ["mean"] * ("mean" in size.index) + [name for name in classes if name in kept]
    largest = float(np.nanmax(table.loc[table["class"].isin(columns), "auroc"].abs(), initial=1e-9))
    by_filter = {}
    for row in table.to_dict("records"):
        by_filter.setdefault(row["filter"], {})[row["class"]] = row
    rows = [
        {
            "filter": name,
            "name": (names or {}).get(name, ""),
            "cells": [_change(cells.get(column), largest) for column in columns],
        }
        for name, cells in by_filter.items()
    ]
    return {"columns": columns, "rows": rows, "replaced": how, "left_out": len(classes) - len(kept)}


def _change(row, largest: float) -> dict[str, object]:
    if row is None or math.isnan(row["auroc"]):
        return {"text": "-", "sort": 0, "level": "", "range": "", "sure": False}
    change, low, high = row["auroc"], row["auroc_low"], row["auroc_high"]
    level, text = _level(abs(change), largest), _signed(change)
    return {
        "text": text,
        "sort": f"{change:.4g}",
        "level": f"{'d' if change < 0 else 'u'}{level}" if level else "",
        "range": f"{_signed(low)} to {_signed(high)}" if not math.isnan(low) else "",
        "sure": not math.isnan(low) and (low > 0 or high < 0) and text != _signed(0),
    }


def clusters_section(table, consensus: MotifSet | None, markup) -> dict[str, object]:
    """A row a cluster: consensus logo, members run by run, in how many runs it was found."""
    motifs = {motif.name: motif for motif in consensus} if consensus is not None else {}
    runs = table["run"].nunique()
    rows = []
    for index, (name, own) in enumerate(table.groupby("cluster", sort=False)):
        motif = motifs.get(name)
        first = own.iloc[0]
        members = [
            {"run": run, "filters": [_member(row) for row in of.to_dict("records")]}
            for run, of in own.groupby("run", sort=False)
        ]  # fmt: skip
        rows.append(
            {
                "index": index, "name": name, "logo": markup(logo.svg(motif, lazy=True)) if motif else "",
                "size": int(first["size"]), "runs": int(first["runs"]),
                "share": f"{first['reproducibility']:.0%}", "members": members,
                "similarity": _figure(own["similarity"].mean(), "{:.2f}"),
            }
        )  # fmt: skip
    return {"rows": rows, "runs": runs, "motifs": len(table), "reproduced": sum(r["runs"] > 1 for r in rows)}


def _member(row) -> str:
    return row["filter"] + (" (-)" if row["strand"] == "-" else "")


def calibration_section(matches, evalue: float) -> dict[str, object] | None:
    """How names fare against the null, where the matches were calibrated."""
    if "empirical_p" not in matches.columns:
        return None
    best = matches.drop_duplicates("query")
    believed = int((best["empirical_p"] <= 0.05).sum())
    return {
        "named": len(best),
        "believed": believed,
        "doubtful": len(best) - believed,
        "evalue": f"{evalue:g}",
    }


def _level(value: float, largest: float) -> int:
    """0 to _LEVELS: in which part of the way to `largest`."""
    return min(_LEVELS, int(value / largest * _LEVELS + 0.5)) if largest > 0 else 0


def _signed(value: float) -> str:
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}"


def _figure(value: float, how: str) -> str:
    return "-" if value is None or math.isnan(value) else how.format(value)
