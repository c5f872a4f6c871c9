"""Sequence logos: letter outlines once, each letter a scaled copy, as SVG or on a matplotlib sheet."""

import os
from functools import cache
from pathlib import Path

import numpy as np

from motifkit.errors import InputError, require
from motifkit.files import written
from motifkit.motifs.motif import ALPHABET, Motif, MotifSet

# Colours that stay apart for readers who do not tell red from green.
COLOURS = {"A": "#0a8f3c", "C": "#1f5fd0", "G": "#e08a00", "T": "#c8102e"}
_LEAST_BITS = 0.01  # smaller letters are not drawn


@cache
def glyph(letter: str) -> str:
    """SVG path of a letter filling the unit square, the origin at its top left."""
    outline = _outline(letter)
    vertices, codes = outline.vertices, outline.codes
    commands = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    points = {1: 1, 2: 1, 3: 2, 4: 3, 79: 0}
    parts, i = [], 0
    while i < len(codes):
        code = int(codes[i])
        used = vertices[i : i + points[code]]
        parts.append(commands[code] + " ".join(f"{x:.3f} {1 - y:.3f}" for x, y in used))
        i += max(points[code], 1)
    return "".join(parts)


@cache
def _outline(letter: str):
    """A bold outline scaled to the unit square."""
    require("matplotlib", "motifs")
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    vertices = path.vertices.copy()
    box = vertices[path.codes != Outline.CLOSEPOLY]
    low, high = box.min(0), box.max(0)
    vertices = (vertices - low) / (high - low)
    return Outline(vertices, path.codes)


def stacks(motif: Motif) -> list[list[tuple[str, float, float]]]:
    """For each column its letters from the bottom up: (letter, bottom, height), in bits."""
    out = []
    for p, bits in zip(motif.ppm.T, motif.information, strict=True):
        column, bottom = [], 0.0
        for row in np.argsort(p, kind="stable"):
            height = float(p[row] * bits)
            if height >= _LEAST_BITS:
                column.append((ALPHABET[row], bottom, height))
                bottom += height
        out.append(column)
    return out


def svg_symbols() -> str:
    """The four letters as paths of the unit square; a page needs them once, and gives them colours."""
    return (
        "<defs>"
        + "".join(f'<path id="nt{x}" d="{glyph(x)}" fill="{COLOURS[x]}"/>' for x in ALPHABET)
        + "</defs>"
    )


def svg(
    motif: Motif,
    *,
    column: float = 16,
    height: float = 56,
    before: int = 0,
    total: int | None = None,
    lazy: bool = False,
) -> str:
    """An <svg> that draws the motif with the letters of `svg_symbols`, 2 bits high.

    `before` empty columns stand on its left, in a drawing `total` columns wide, so that two motifs can
    be set one above the other, aligned. The drawing's unit is a column across and a hundredth of a bit
    down. A lazy one is empty, and holds its columns as text for the page's script to draw when they come
    into view: the attribute data-logo, columns apart by ";", each its letters and heights from the bottom
    up; data-before, the empty columns.
    """
    columns = max(total or 0, before + len(motif))
    stacked = [
        [(letter, round(100 * bottom), round(100 * (bottom + tall))) for letter, bottom, tall in stack]
        for stack in stacks(motif)
    ]
    drawn, data = "", ""
    if lazy:
        text = ";".join("".join(f"{x}{high - low}" for x, low, high in stack) for stack in stacked)
        data = f' data-logo="{text}" data-before="{before}"'
    else:
        drawn = "".join(
            f'<use href="#nt{x}" transform="matrix(.94 0 0 {high - low} {index}.03 {200 - high})"/>'
            for index, stack in enumerate(stacked, start=before)
            for x, low, high in stack
        )
        drawn += f'<path class="line" d="M{before} 201h{len(motif)}" stroke="#999" stroke-width="3"/>'
    return (
        f'<svg class="logo" width="{columns * column:g}" height="{height + 1:g}" viewBox="0 0 {columns} 203"'
        f' preserveAspectRatio="none" role="img" aria-label="{motif.consensus}"{data}>{drawn}</svg>'
    )


def draw_letters(axes, places: list[tuple[str, int, float, float]]) -> None:
    """Draw (letter, column, bottom, height) on matplotlib axes; a negative height hangs upside down.

    All copies of a letter are one path: sheets of hundreds of logos take seconds.
    """
    require("matplotlib", "motifs")
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    for letter in ALPHABET:
        outline = _outline(letter)
        copies = [
            outline.vertices * (0.96, height) + (column + 0.02, bottom)
            for own, column, bottom, height in places
            if own == letter
        ]
        if copies:
            path = Outline(np.concatenate(copies), np.tile(outline.codes, len(copies)))
            # Not add_patch, which measures every curve for limits that are given anyway.
            axes.add_artist(PathPatch(path, facecolor=COLOURS[letter], linewidth=0))


def draw(axes, motif: Motif) -> None:
    """Draw a logo on matplotlib axes: x in columns, y in bits from 0 to 2."""
    places = [
        (letter, index, bottom, height)
        for index, stack in enumerate(stacks(motif))
        for letter, bottom, height in stack
    ]
    draw_letters(axes, places)
    axes.set_xlim(0, max(len(motif), 1))
    axes.set_ylim(0, 2)
    axes.set_xticks([])
    axes.set_yticks([0, 1, 2])
    axes.tick_params(labelsize=6, length=2)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def plot_sheet(motifs: MotifSet, path: str | os.PathLike[str], columns: int = 5) -> Path:
    """See MotifSet.plot."""
    require("matplotlib", "motifs")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"{path}: logos are drawn as .png, .svg or .pdf")
    rows = max(1, -(-len(motifs) // columns))
    figure = Figure(figsize=(2.6 * columns, 1.15 * rows + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, motif in zip(figure.axes, motifs, strict=False):
        axes.set_axis_on()
        draw(axes, motif)
        axes.set_title(f"{motif.name}  ({motif.nsites:g} sites)", fontsize=7, pad=2)
    with written(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
    return path
