"""What scans return."""

from typing import NamedTuple

import torch
from torch import Tensor

STRANDS = {"+": 1, "-": 2, "both": 3}  # as csrc/ops/scan.h numbers them


class Hits(NamedTuple):
    """Windows, ordered by sequence, filter, position, forward strand first."""

    sequence: Tensor  # (hits,) int64
    filter: Tensor  # (hits,) int64
    position: Tensor  # (hits,) int64: the window's first letter; negative inside the left padding
    strand: Tensor  # (hits,) int8: +1 or -1
    score: Tensor  # (hits,)

    def where(self, keep: Tensor) -> "Hits":
        """The hits that `keep`, a boolean (hits,) tensor, marks."""
        return Hits(*(column[keep] for column in self))


class ScanResult(NamedTuple):
    """The best window of each sequence for each filter."""

    score: Tensor  # (batch, filters)
    position: Tensor  # (batch, filters) int64: the window's first letter; negative in the padding
    strand: Tensor  # (batch, filters) int8: +1 or -1

    def hits(self) -> Hits:
        """All best windows as a list, one for each sequence and filter."""
        batch, filters = self.score.shape
        device = self.score.device
        sequence = torch.arange(batch, device=device)[:, None].expand(batch, filters)
        filter = torch.arange(filters, device=device).expand(batch, filters)
        columns = sequence, filter, self.position, self.strand, self.score
        return Hits(*(column.reshape(-1) for column in columns))


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
