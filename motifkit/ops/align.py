"""align: letter counts of the windows under hits, all filters at once."""

import torch
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common
from motifkit.ops.hits import Hits


def reference(
    codes: Tensor,
    hits: Hits,
    width: int,
    *,
    offset: int = 0,
    weights: Tensor | None = None,
    filters: int | None = None,
) -> Tensor:
    """The plain-PyTorch twin of align."""
    codes = codes if codes.dtype == torch.uint8 else _common.as_codes(codes)
    filters = _filters(hits, filters)
    steps = torch.arange(width, device=codes.device)
    # Column k of a forward window is its letter k; of a reverse one, the complement of width - 1 - k.
    steps = torch.where(hits.strand[:, None] >= 0, steps, width - 1 - steps)
    at = hits.position[:, None] + offset + steps  # (hits, width)
    inside = (at >= 0) & (at < codes.shape[1])
    letters = codes[hits.sequence[:, None], at.clamp(0, max(codes.shape[1] - 1, 0))].long()
    letters = torch.where(hits.strand[:, None] >= 0, letters, 3 - letters)
    inside &= (letters >= 0) & (letters < 4)
    values = torch.ones(len(at), device=codes.device) if weights is None else weights
    values = values.double()[:, None].expand_as(at)
    index = (hits.filter[:, None] * 4 + letters) * width + torch.arange(width, device=codes.device)
    counts = torch.zeros(filters * 4 * width, dtype=torch.float64, device=codes.device)
    counts = counts.index_add(0, index[inside], values[inside])
    return counts.view(filters, 4, width)


def align(
    codes: Tensor,
    hits: Hits,
    width: int,
    *,
    offset: int = 0,
    weights: Tensor | None = None,
    filters: int | None = None,
) -> Tensor:
    """Stack the windows under hits and count their letters, one table a filter.

    Args:
        codes: (batch, length) uint8, or a one-hot tensor: the sequences the hits were found in.
        hits: from `scan_hits`, or `ScanResult.hits()`: sequence, filter, position (the window's
            first letter), strand.
        width: letters a window.
        offset: added to every position; a negative one with a larger width shows the flanks.
        weights: (hits,), what each window counts for; None counts 1 each. The result can be
            differentiated with respect to them.
        filters: number of filters; by default one more than the largest in `hits`.

    Returns:
        (filters, 4, width) float64. Windows of the minus strand are reverse-complemented before
        they are counted. N, and letters beyond an end of the sequence, count nothing. Hits are
        added in their order: the same bits on every run.

    Raises:
        IndexError: a hit names a sequence or filter that is not there. A GPU cannot raise without
            being waited for: there the counts concerned are NaN.

    Example:
        >>> import torch, motifkit as mk
        >>> weight = mk.one_hot(mk.encode("GTG"))
        >>> codes = mk.encode(["CCGTGA", "CACAAA"])
        >>> hits = mk.ops.scan_hits(codes, weight, torch.tensor([2.5]), strands="both")
        >>> mk.ops.align(codes, hits, 3)[0]
        tensor([[0., 0., 0.],
                [0., 0., 0.],
                [2., 0., 2.],
                [0., 2., 0.]], dtype=torch.float64)
    """
    filters = _filters(hits, filters)
    differentiable = weights is not None and weights.requires_grad and torch.is_grad_enabled()
    codes = _common.as_codes(codes)
    if differentiable or not _native.serves(codes):
        return reference(codes, hits, width, offset=offset, weights=weights, filters=filters)
    return torch.ops.motifkit.align(
        codes,
        hits.sequence,
        hits.filter,
        hits.position,
        hits.strand,
        weights,
        filters,
        width,
        offset,
    )


def _filters(hits: Hits, filters: int | None) -> int:
    if filters is not None:
        return filters
    return int(hits.filter.max()) + 1 if len(hits.filter) else 0


def _forward(codes, sequence, filter, position, strand, weights, filters, width, offset):
    counts = codes.new_empty(filters, 4, width, dtype=torch.float64)
    sequence, filter, position, strand = (x.contiguous() for x in (sequence, filter, position, strand))
    weights = _common.widened(weights, torch.float64)
    arguments = (
        codes.shape[0], codes.shape[1], len(sequence), filters, width, offset, codes.data_ptr(),
        codes.stride(0), sequence.data_ptr(), filter.data_ptr(), position.data_ptr(),
        strand.data_ptr(), _native.address(weights), counts.data_ptr(),
    )  # fmt: skip
    if _native.backend(codes.device) == "cuda":  # each filter's hits side by side, in their order
        order = filter.argsort(stable=True)
        arguments = *arguments, order.data_ptr()
    _native.function("align", None, codes.device)(*arguments)
    return counts


_common.define(
    "align(Tensor codes, Tensor sequence, Tensor filter, Tensor position, Tensor strand,"
    " Tensor? weights, int filters, int width, int offset) -> Tensor",
    native=_forward,
    fake=lambda codes, sequence, filter, position, strand, weights, filters, width, offset: codes.new_empty(
        filters, 4, width, dtype=torch.float64
    ),
)
