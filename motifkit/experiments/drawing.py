"""What the figures share: sheets of logos with names, and files in both formats."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

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


def new_figure(width: float, height: float, layout: str | None = "constrained"):
    """A matplotlib figure of that many inches, drawn without a display."""
    require("matplotlib", "motifs")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    if layout:
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
            if form == "svg":
                temporary.write_text(_PATH.sub(_shortened, temporary.read_text()))
    return paths


_PATH = re.compile(r' d="[^"]*"')  # six decimals of a point: twice the bytes for nothing that an eye sees
_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def _shortened(path: re.Match) -> str:
    return " " + _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", " ".join(path[0].split()))


_LOGO, _ROW, _LABEL = 1.05, 0.36, 0.2  # inches: a logo's width, its height, what its name takes beside it
_TITLE, _GAP = 0.3, 0.08  # above a panel, and between rows


def logo_sheet(panels: Sequence[Panel], truth: Mapping[str, Motif], caption: str = ""):
    """Panels side by side, a row of true motifs and their reverse complements below.

    Args:
        panels: drawn left to right. truth: name to motif. caption: a line of small text at the foot.
    """
    columns = [panel.columns for panel in panels]
    rows = max(ceil(len(panel.motifs) / panel.columns) for panel in panels)
    cell = _LOGO + _LABEL
    width = max(cell * sum(columns) + 0.25 * (len(panels) - 1), cell * 9) + 0.2
    across = max(1, min(12, len(truth)))
    lines = ceil(len(truth) / across)
    below = (2 * lines * (_ROW + _GAP) + _TITLE) if truth else 0
    height = _TITLE + rows * (_ROW + _GAP) + below + 0.3
    figure = new_figure(width, height, layout=None)
    # Places are computed here: matplotlib's own layout takes minutes for hundreds of logos.
    left = 0.1
    for panel in panels:
        figure.text(left / width, 1 - 0.18 / height, panel.title, fontsize=9, fontweight="bold", va="center")
        for index, (motif, label) in enumerate(zip(panel.motifs, panel.labels, strict=True)):
            column, row = divmod(index, ceil(len(panel.motifs) / panel.columns))  # down the columns
            top = _TITLE + row * (_ROW + _GAP)
            _logo(figure, motif, label, left + column * cell + _LABEL, top, _LOGO)
        left += panel.columns * cell + 0.25
    top = _TITLE + rows * (_ROW + _GAP)
    if truth:
        words = "motifs of the data, and their reverse complements below"
        figure.text(0.1 / width, 1 - (top + 0.18) / height, words, fontsize=8, color=_GREY, va="center")
    share = (width - 0.2) / across
    for index, (name, motif) in enumerate(truth.items()):
        line, column = divmod(index, across)
        for strand, shown in enumerate((motif, motif.reverse_complement())):
            at = top + _TITLE + (2 * line + strand) * (_ROW + _GAP)
            _logo(figure, shown, name, 0.1 + column * share + _LABEL, at, share - _LABEL)
    if caption:
        figure.text(0.1 / width, 0.1 / height, caption, fontsize=6.5, color=_GREY, va="center")
    return figure


def _logo(figure, motif: Motif, label: str, left: float, top: float, width: float) -> None:
    """A logo at a place given in inches from the upper left corner, its label beside it."""
    across, down = figure.get_size_inches()
    place = (left / across, 1 - (top + _ROW) / down, (width - 0.04) / across, _ROW / down)
    axes = figure.add_axes(place)
    logo.draw(axes, motif)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set(color="#b9c1ca", linewidth=0.4)
    if label:
        axes.set_ylabel(label, fontsize=6.5, labelpad=1.5)
