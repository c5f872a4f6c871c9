"""Tomtom with any column score: memelite computes Euclidean distances, this the rest.

Gupta et al. 2007 (doi:10.1186/gb-2007-8-2-r24), with complete scores: a query column that a target does
not cover scores the median of that column over the whole database.
"""

from collections.abc import Sequence

import numpy as np

_BINS = 100  # of the scores of a query, as MEME's


def column_scores(query: np.ndarray, target: np.ndarray, distance: str) -> np.ndarray:
    """(query columns, target columns): Pearson's r of two columns, or minus their Euclidean distance.

    A uniform column correlates 0 with everything. query, target: (4, columns).
    """
    if distance == "euclidean":
        return -np.linalg.norm(query[:, :, None] - target[:, None, :], axis=0)
    a, b = (x - x.mean(0) for x in (query, target))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=0), 1e-12) for x in (a, b))
    return a.T @ b


def tomtom(
    queries: Sequence[np.ndarray], targets: Sequence[np.ndarray], distance: str = "pearson"
) -> tuple[np.ndarray, ...]:
    """Tomtom's p-values.

    Scores of a query column are discretised to 100 steps and their median subtracted; an alignment scores
    the sum over the columns it covers. The null takes query columns as independent, each drawn from its
    scores against all target columns of both strands: the sum over a span of columns is distributed as
    their convolution. Of a target the best of all offsets counts, p = 1 - prod over offsets of P(sum <
    best), and of two strands the better, p' = 1 - (1 - p)^2.

    Args:
        queries, targets: probabilities (4, width) each. distance: as `column_scores`.

    Returns:
        p_value, score, offset (columns of the target before the query's first), overlap, strand (1 where
        the target is turned), each (queries, targets): what memelite.tomtom returns.
    """
    shape = len(queries), len(targets)
    p_values, scores = np.ones(shape), np.zeros(shape)
    offsets, overlaps, strands = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    widths = np.array([t.shape[1] for t in targets])
    both = [t for target in targets for t in (target, target[::-1, ::-1])]
    ends = np.concatenate([[0], np.cumsum(np.repeat(widths, 2))])
    database = np.concatenate(both, axis=1)
    for row, query in enumerate(queries):
        steps, scale = _steps(column_scores(query, database, distance))
        best, at = _best_alignments(steps, ends)
        survival, least = _survival(steps)
        p = np.empty(len(both))
        for width in np.unique(widths):
            mine = np.flatnonzero(np.repeat(widths, 2) == width)
            p[mine] = _p_of_best(survival, least, int(width), best[mine])
        p, pairs = p.reshape(-1, 2), best.reshape(-1, 2)
        turned = p[:, 1] < p[:, 0]
        chosen = 2 * np.arange(len(targets)) + turned
        p_values[row] = -np.expm1(2 * np.log1p(-np.minimum(p.min(1), 1 - 1e-16)))
        scores[row] = pairs.reshape(-1)[chosen] / scale
        # `at` is the target column under the query's first: minus it, the query stands within the target.
        offsets[row], strands[row] = at[chosen], turned
        overlaps[row] = np.minimum(query.shape[1] + at[chosen], widths) - np.maximum(at[chosen], 0)
    return p_values, scores, offsets, overlaps, strands


def _steps(scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Whole numbers of about 100 steps, less the median of each query column."""
    centred = scores - np.median(scores, axis=1, keepdims=True)
    scale = (_BINS - 1) / max(float(np.ptp(centred)), 1e-9)
    return np.rint(centred * scale).astype(np.int64), scale


def _best_alignments(steps: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best sum over all offsets, and the target column under the query's first, for each target.

    Columns of the query beyond an end of its target score nothing: targets are laid out with gaps of
    zeros as wide as the query, and the sums of all diagonals taken at once.
    """
    width = len(steps)
    count = len(ends) - 1
    sizes = np.diff(ends)
    starts = ends[:-1] + width * np.arange(1, count + 1)  # of each target in the layout
    laid = np.zeros((width, int(ends[-1]) + width * (count + 1)), dtype=np.int64)
    place = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, sizes, strict=True)])
    laid[:, place] = steps
    total = laid.shape[1] - width + 1
    diagonal = sum(laid[i, i : i + total] for i in range(width))
    best, at = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for index, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        window = diagonal[start - width + 1 : start + size]
        at[index] = window.argmax() - width + 1
        best[index] = window.max()
    return best, at


def _survival(steps: np.ndarray) -> tuple[dict[tuple[int, int], np.ndarray], int]:
    """P(sum >= s) of every span of query columns, on one axis that begins at the least sum."""
    width = len(steps)
    low, high = int(min(steps.min(), 0)), int(max(steps.max(), 0))
    size = width * (high - low) + 1
    columns = [np.bincount(row - low, minlength=high - low + 1) / steps.shape[1] for row in steps]
    out = {}
    for first in range(width):
        density = np.ones(1)
        for last in range(first + 1, width + 1):
            density = np.convolve(density, columns[last - 1])
            full = np.zeros(size)
            begin = (width - (last - first)) * -low  # the axis counts from width * low
            full[begin : begin + len(density)] = density
            out[first, last] = np.minimum(full[::-1].cumsum()[::-1], 1)
    return out, width * low


def _p_of_best(survival, least: int, target_width: int, best: np.ndarray) -> np.ndarray:
    """P(the best of all offsets >= best) for targets of one width."""
    width = max(last for _, last in survival)
    log_below = np.zeros(len(best))
    for at in range(1 - width, target_width):  # target column under the query's first
        first, last = max(0, -at), min(width, target_width - at)
        tail = survival[first, last][best - least]
        log_below += np.log1p(-np.minimum(tail, 1 - 1e-16))
    return -np.expm1(log_below)
