"""Small line charts as SVG text: no script, no font file, sharp at any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

PALETTE = (
    "#1f5fd0", "#c8102e", "#0a8f3c", "#e08a00", "#7b3fb5", "#00828f", "#b5307c", "#5b6b00",
    "#8a4b20", "#4d5b6b", "#d95f5f", "#3aa3d9",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One curve: its name in the legend and its points."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str


def line_chart(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    mark_x: float | None = None,
    diagonal: bool = False,
    whole_x: bool = False,
    width: int = 440,
    height: int = 300,
) -> str:
    """An <svg> of curves with axes, ticks and a legend; `mark_x` draws a vertical line, `whole_x` marks whole
    numbers alone."""
    left, right, top, bottom = 48, 12, 10, 40
    inner_w, inner_h = width - left - right, height - top - bottom
    (x0, x1), (y0, y1) = x_range, y_range

    def x(value: float) -> float:
        return left + (value - x0) / ((x1 - x0) or 1) * inner_w

    def y(value: float) -> float:
        return top + inner_h - (value - y0) / ((y1 - y0) or 1) * inner_h

    parts = [
        f'<svg class="chart" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{escape(y_label)} against {escape(x_label)}">'
    ]
    for value in _ticks(x0, x1, whole=whole_x):
        parts.append(f'<text x="{x(value):.1f}" y="{height - bottom + 16}" class="tick mid">{value:g}</text>')
        parts.append(f'<path d="M{x(value):.1f} {top}V{top + inner_h}" class="grid"/>')
    for value in _ticks(y0, y1):
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" class="tick end">{value:g}</text>')
        parts.append(f'<path d="M{left} {y(value):.1f}H{left + inner_w}" class="grid"/>')
    if diagonal:
        parts.append(f'<path d="M{x(x0):.1f} {y(y0):.1f}L{x(x1):.1f} {y(y1):.1f}" class="faint"/>')
    if mark_x is not None:
        parts.append(f'<path d="M{x(mark_x):.1f} {top}V{top + inner_h}" class="mark"/>')
    for line in lines:
        path = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in line.points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>')
    parts.append(f'<path d="M{left} {top}V{top + inner_h}H{left + inner_w}" class="axis"/>')
    parts.append(
        f'<text x="{left + inner_w / 2}" y="{height - 6}" class="label mid">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text transform="translate(12 {top + inner_h / 2}) rotate(-90)" class="label mid">'
        f"{escape(y_label)}</text></svg>"
    )
    return "".join(parts)


def thin(points: Sequence[tuple[float, float]], most: int = 120) -> list[tuple[float, float]]:
    """At most `most` points of a curve, its ends kept."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """About five round numbers between low and high."""
    span = high - low
    if span <= 0:
        return [low]
    base = 10.0 ** len(str(int(span))) / 10 if span >= 1 else 1.0
    while base > span:
        base /= 10
    step = next(s for s in (base / 5, base / 2, base, 2 * base, 5 * base, 10 * base) if span / s <= 6)
    step = max(step, 1) if whole else step
    first = -(-low // step)
    count = int((high - first * step) / step + 1e-9) + 1
    return [round((first + i) * step, 10) for i in range(count)]
