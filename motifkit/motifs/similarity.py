"""How alike motifs are: the correlation of their matrices at the best offset and strand."""

from collections.abc import Sequence

import numpy as np

from motifkit.motifs.motif import Motif


def similarities(
    queries: Sequence[Motif], targets: Sequence[Motif], *, strands: str = "both"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pearson correlation of every query with every target at their best offset and strand.

    Both matrices are extended by uniform columns to the span they cover together, and all cells are
    correlated: r = sum (p - 1/4)(q - 1/4) / sqrt(sum (p - 1/4)^2 sum (q - 1/4)^2), the sums of the root
    over the whole matrices. Columns that overhang count against a pair by what they say, and flat flanks
    count nothing: motifs need no trimming.

    Args:
        queries, targets: motifs; one without information correlates 0 with everything.
        strands: "both", or "+" to compare targets as they stand.

    Returns:
        correlation (queries, targets), between -1 and 1; offset (queries, targets) int, the column of
        the query that the target's first one (after turning) stands on, may be negative; strand
        (queries, targets) int, -1 where the target is turned. Ties go to the forward strand, then to
        the smallest offset.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.motifs.similarity import similarities
        >>> a, b = (mk.Motif("m", mk.one_hot(mk.encode(s))[0].numpy(), 1) for s in ("GATTACA", "TGTAAT"))
        >>> r, offset, strand = similarities([a], [b])
        >>> r.round(2).item(), offset.item(), strand.item()
        (0.93, 1, -1)
    """
    shape = len(queries), len(targets)
    best, offsets = np.full(shape, -np.inf), np.zeros(shape, dtype=np.int64)
    strand = np.ones(shape, dtype=np.int64)
    if 0 in shape:
        return best, offsets, strand
    longest = max(map(len, queries)), max(map(len, targets))
    a = _centred([m.ppm for m in queries], longest[0])
    for sign in (1, -1) if strands == "both" else (1,):
        turned = [m.ppm if sign > 0 else m.ppm[::-1, ::-1] for m in targets]
        b = _centred(turned, longest[1])
        for offset in range(1 - longest[1], longest[0]):
            first, last = max(offset, 0), min(longest[0], offset + longest[1])
            left = a[:, :, first:last].reshape(shape[0], -1)
            right = b[:, :, first - offset : last - offset].reshape(shape[1], -1)
            r = left @ right.T
            better = r > best + 1e-12
            best[better], offsets[better], strand[better] = r[better], offset, sign
    return np.clip(best, -1, 1), offsets, strand


def _centred(matrices: list[np.ndarray], width: int) -> np.ndarray:
    """(motifs, 4, width): probabilities less a quarter, of unit length, zeros behind."""
    out = np.zeros((len(matrices), 4, width))
    for row, matrix in zip(out, matrices, strict=True):
        row[:, : matrix.shape[1]] = matrix - 0.25
        length = np.linalg.norm(row)
        if length > 1e-9:
            row /= length
    return out
