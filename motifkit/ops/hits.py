"""What scans return."""

from typing import NamedTuple

import torch
from torch import Tensor

from motifkit.ops._arrays import takes_arrays

STRANDS = {"+": 1, "-": 2, "both": 3}  # as csrc/ops/scan.h numbers them


class Hits(NamedTuple):
    """Windows, ordered by sequence, filter, position, forward strand first."""

    sequence: Tensor  # (hits,) int64
    filter: Tensor  # (hits,) int64
    position: Tensor  # (hits,) int64: the window's first letter; negative inside the left padding
    strand: Tensor  # (hits,) int8: +1 or -1
    score: Tensor  # (hits,)


class ScanResult(NamedTuple):
    """The best window of each sequence for each filter."""

    score: Tensor  # (batch, filters)
    position: Tensor  # (batch, filters) int64: the window's first letter; negative in the padding
    strand: Tensor  # (batch, filters) int8: +1 or -1

    @takes_arrays
    def hits(self, keep: Tensor | None = None) -> Hits:
        """Best windows as a list: all of them, or those that `keep`, boolean (batch, filters), marks."""
        if keep is None:
            keep = torch.ones_like(self.strand, dtype=torch.bool)
        sequence, filter = keep.nonzero(as_tuple=True)
        return Hits(sequence, filter, self.position[keep], self.strand[keep], self.score[keep])


def strand_code(strands: str) -> int:
    """The number the kernels know a choice of strands by."""
    if strands not in STRANDS:
        raise ValueError(f"strands must be one of {', '.join(STRANDS)}, not {strands!r}")
    return STRANDS[strands]


def window_gradient(codes: Tensor, hits: Hits, grad: Tensor, filters: int, width: int) -> Tensor:
    """Gradient (filters, 4, width) of filters whose windows `hits` received the gradients `grad`."""
    return torch.ops.motifkit.align(
        codes, hits.sequence, hits.filter, hits.position, hits.strand, grad, filters, width, 0
    )
