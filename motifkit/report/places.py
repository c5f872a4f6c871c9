"""What the page shows of places: positions, strands, distances and co-occurrence of the motifs' sites."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from motifkit.motifs.motif import MotifSet
from motifkit.motifs.scanning import PVALUE
from motifkit.motifs.sites import (
    PAIR_DISTANCE,
    cooccurrence,
    find_sites,
    pair_distances,
    preferred_spacings,
    site_positions,
    site_summary,
)
from motifkit.motifs.table import write_table

if TYPE_CHECKING:
    import pandas

_PAIRS = 24  # pairs of motifs shown
_LEAST_Q = 0.05
_COPIES = 0.5  # pairs that stand in the same place in more of their sequences are copies, not partners


@dataclass(frozen=True)
class Places:
    """Where motifs occur in a data set: tables of motifkit.motifs.sites."""

    summary: "pandas.DataFrame"
    positions: "pandas.DataFrame"
    pairs: "pandas.DataFrame"
    distances: "pandas.DataFrame"
    spacings: "pandas.DataFrame"
    sequences: int
    length: int
    shown: "pandas.DataFrame"  # rows of `pairs`
    copies: int

    def save(self, folder: Path) -> None:
        """Write sites.tsv, cooccurrence.tsv and spacings.tsv."""
        tables = {"sites": self.summary, "cooccurrence": self.pairs, "spacings": self.spacings}
        for name, table in tables.items():
            write_table(table, folder / f"{name}.tsv")


def find_places(motifs: MotifSet, codes: Tensor) -> Places | None:
    """Scan sequences (codes) with motifs, both strands, and say where they occur; None without motifs."""
    if not len(motifs) or not len(codes):
        return None
    sites = find_sites(motifs, codes)
    pairs = cooccurrence(sites)
    surprising = pairs[pairs["q_value"] <= _LEAST_Q]
    apart = surprising[surprising["same_place"] <= _COPIES]
    shown = apart.head(_PAIRS)
    distances = pair_distances(sites, zip(shown["motif_a"], shown["motif_b"], strict=True))
    return Places(
        site_summary(sites), site_positions(sites), pairs, distances, preferred_spacings(distances),
        len(codes), codes.shape[1], shown, len(surprising) - len(apart),
    )  # fmt: skip


def places_section(places: Places, markup, names: Mapping[str, str] | None = None) -> dict[str, object]:
    """Rows of the two tables: of motifs, and of pairs of them; `names` of the motifs that have one."""
    names = names or {}
    bins = {name: own for name, own in places.positions.groupby("motif", sort=False)}
    motifs = []
    for row in places.summary.to_dict("records"):
        own = bins[row["motif"]]
        motifs.append(
            {
                "name": row["motif"], "known": names.get(row["motif"], ""),
                "sites": row["sites"], "sequences": row["sequences"],
                "share": f"{row['sequences'] / places.sequences:.1%}",
                "share_sort": f"{row['sequences'] / places.sequences:.5f}",
                "plus": f"{row['plus'] / row['sites']:.0%}" if row["sites"] else "-",
                "plus_sort": f"{row['plus'] / max(row['sites'], 1):.4f}",
                "strand_p": _p(row["strand_p"]), "strand_sort": _sortable(row["strand_p"]),
                "position_p": _p(row["position_p"]), "position_sort": _sortable(row["position_p"]),
                "chart": markup(mirrored(own["plus"].tolist(), own["minus"].tolist())),
            }
        )  # fmt: skip
    pairs = [_pair_row(places, row, markup, names) for row in places.shown.to_dict("records")]
    return {
        "motifs": motifs, "pairs": pairs, "copies": places.copies, "tested": f"{len(places.pairs):,}",
        "p_value": f"{PVALUE:g}", "most": PAIR_DISTANCE,
        "sequences": f"{places.sequences:,}", "length": places.length, "q": f"{_LEAST_Q:g}",
    }  # fmt: skip


def _pair_row(places: Places, row, markup, names: Mapping[str, str]) -> dict[str, object]:
    key = (row["motif_a"], row["motif_b"])
    own = places.distances[(places.distances["motif_a"] == key[0]) & (places.distances["motif_b"] == key[1])]
    same, opposite = np.zeros(2 * PAIR_DISTANCE + 1, int), np.zeros(2 * PAIR_DISTANCE + 1, int)
    for side, strands, distance, count in own[["side", "strands", "distance", "count"]].itertuples(
        index=False
    ):
        at = PAIR_DISTANCE + (distance if side == "downstream" else -distance)
        (same if strands == "same" else opposite)[at] += count
    best = places.spacings[(places.spacings["motif_a"] == key[0]) & (places.spacings["motif_b"] == key[1])]
    spacing, sort = "", "2"
    if len(best):
        first = best.iloc[0]  # the most surprising arrangement
        strands = "same strand" if first["strands"] == "same" else "opposite strands"
        spacing = (
            f"{first['distance']} {first['side']}, {strands}: {first['count']} of {first['pairs']},"
            f" q {_p(first['q_value'])}"
        )
        sort = _sortable(first["q_value"])
    return {
        "a": key[0], "b": key[1], "known_a": names.get(key[0], ""), "known_b": names.get(key[1], ""),
        "both": row["both"], "expected": f"{row['expected']:.1f}",
        "ratio": f"{2 ** row['log2_ratio']:.2f}", "q": _p(row["q_value"]),
        "q_sort": _sortable(row["q_value"]), "spacing": spacing, "spacing_sort": sort,
        "spacing_sure": float(sort) <= _LEAST_Q,
        "chart": markup(mirrored(same.tolist(), opposite.tolist(), width=202, marks=(PAIR_DISTANCE,))),
    }  # fmt: skip


def mirrored(
    up: Sequence[int], down: Sequence[int], *, width: int = 160, height: int = 40, marks: Sequence[int] = ()
) -> str:
    """An <svg> of two histograms over the same bins, one above the axis and one below."""
    most = max(max(up, default=0), max(down, default=0), 1)
    middle, step = height / 2, width / max(len(up), 1)

    def outline(values: Sequence[int], sign: int) -> str:
        path, level = f"M0 {middle:g}", 0
        for index, value in enumerate(values):
            if value != level:
                path += f"H{index * step:.4g}V{middle - sign * value / most * (middle - 1):.3g}"
                level = value
        return path + f"H{width}V{middle:g}Z"

    lines = "".join(f'<path class="mark" d="M{(m + 0.5) * step:.4g} 0V{height}"/>' for m in marks)
    return (
        f'<svg class="spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{sum(up)} above and {sum(down)} below the axis; at most {most} in a bin">{lines}'
        f'<path class="up" d="{outline(up, 1)}"/><path class="down" d="{outline(down, -1)}"/>'
        f'<path class="axis" d="M0 {middle:g}H{width}"/></svg>'
    )


def _p(value: float) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2g}" if value >= 1e-300 else "< 1e-300"


def _sortable(value: float) -> str:
    return "2" if value is None or math.isnan(value) else f"{value:.3g}"
