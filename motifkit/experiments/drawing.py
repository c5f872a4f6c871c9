"""What the figures share: sheets of logos with names, and files in both formats."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motifkit.errors import require
from motifkit.files import writable_folder, written
from motifkit.motifs import logo
from motifkit.motifs.motif import Motif

_GREY = "#5b6775"


@dataclass(frozen=True)
class Panel:
    """Logos under a title, in `columns` columns; a motif without a label has no significant match."""

    title: str
    motifs: Sequence[Motif]
    labels: Sequence[str]
    columns: int = 3


def new_figure(width: float, height: float):
    """A matplotlib figure of that many inches, drawn without a display."""
    require("matplotlib", "motifs")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0.01, wspace=0.01)
    return figure


def save(figure, folder: str | os.PathLike[str], name: str) -> list[Path]:
    """NAME.png at 200 dots an inch and NAME.svg; returns their paths."""
    folder = writable_folder(folder)
    paths = []
    for form in ("png", "svg"):
        paths.append(folder / f"{name}.{form}")
        with written(paths[-1]) as temporary:
            # No date and no random ids in SVG: the same figure is the same file.
            figure.savefig(
                temporary, format=form, dpi=200, metadata={"Date": None} if form == "svg" else None
            )
    return paths


def logo_sheet(panels: Sequence[Panel], truth: Mapping[str, Motif], caption: str = ""):
    """Panels side by side, a row of true motifs and their reverse complements below.

    Args:
        panels: drawn left to right. truth: name to motif. caption: a line of small text at the foot.
    """
    rows = [-(-len(p.motifs) // p.columns) for p in panels]
    columns = [p.columns for p in panels]
    truth_columns = min(12, max(len(truth), 1))
    truth_rows = 2 * -(-len(truth) // truth_columns)
    row = 0.44
    height = row * (max(rows, default=1) + truth_rows) + 1.1
    figure = new_figure(1.25 * max(sum(columns), 8), height)
    upper, lower = figure.subfigures(2, 1, height_ratios=[max(rows) * row + 0.35, truth_rows * row + 0.45])
    parts = np.atleast_1d(upper.subfigures(1, len(panels), width_ratios=columns, wspace=0.03))
    for part, panel in zip(parts, panels, strict=True):
        part.suptitle(panel.title, fontsize=9, fontweight="bold")
        grid = part.subplots(max(rows), panel.columns, squeeze=False)
        _fill(list(grid.T.flat), panel.motifs, panel.labels)  # filters run down the columns
    lower.suptitle("motifs of the data, and their reverse complements below", fontsize=8, color=_GREY)
    grid = lower.subplots(truth_rows, truth_columns, squeeze=False)
    names, motifs = list(truth), list(truth.values())
    for line in range(truth_rows // 2):
        here = slice(line * truth_columns, (line + 1) * truth_columns)
        _fill(grid[2 * line], motifs[here], names[here])
        _fill(grid[2 * line + 1], [m.reverse_complement() for m in motifs[here]], names[here])
    if caption:
        lower.supxlabel(caption, fontsize=6.5, color=_GREY)
    return figure


def _fill(axes: Sequence, motifs: Sequence[Motif], labels: Sequence[str]) -> None:
    """A logo and its label on each of the axes; what is left over stays empty."""
    for place in axes:
        place.set_axis_off()
    for place, motif, label in zip(axes, motifs, labels, strict=False):
        place.set_axis_on()
        logo.draw(place, motif)
        place.set_yticks([])
        place.spines["left"].set_visible(False)
        place.spines["bottom"].set_visible(True)
        place.spines["bottom"].set(color="#b9c1ca", linewidth=0.4)
        if label:
            place.set_ylabel(label, fontsize=6.5, labelpad=1.5)
