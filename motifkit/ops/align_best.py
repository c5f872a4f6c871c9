"""align_best: letter counts of the best windows of sequences, no window listed."""

import torch
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common, align
from motifkit.ops.align_above import WEIGHINGS, Aligned, checked_width, empty, named, stacked
from motifkit.ops.hits import ScanResult


def reference(
    codes: Tensor,
    best: ScanResult,
    threshold: Tensor,
    own: int,
    *,
    weights: str | None = None,
    width: int | None = None,
    ends: str = "keep",
    ambiguous: str = "keep",
) -> Aligned:
    """The plain-PyTorch twin of align_best."""
    return _by_hits(align.reference, codes, best, threshold, own, width or own, weights, ends, ambiguous)


def align_best(
    codes: Tensor,
    best: ScanResult,
    threshold: Tensor | float,
    own: int,
    *,
    weights: str | None = None,
    width: int | None = None,
    ends: str = "keep",
    ambiguous: str = "keep",
) -> Aligned:
    """Count the letters of those best windows that score strictly more than their filter's threshold.

    What `align` makes of `best.hits(best.score > threshold)`, without the list.

    Args:
        codes: (batch, length) uint8, or a one-hot tensor: the sequences that were scanned.
        best: from `scan`. threshold: (filters,) or a number.
        own: width of the filters that were scanned with.
        weights, width, ends, ambiguous: as `align_above`.

    Returns:
        Aligned, as of `align_above`.

    Raises:
        ValueError: shapes do not fit, a width below the filters', or an unknown choice.

    Example:
        >>> import motifkit as mk
        >>> codes = mk.encode(["CCGTGA", "ACACAA"])
        >>> best = mk.ops.scan(codes, mk.one_hot(mk.encode("GTG")))
        >>> mk.ops.align_best(codes, best, 2.5, 3).nsites.tolist()
        [1]
    """
    score = best.score.detach()
    filters = score.shape[1]
    threshold = torch.as_tensor(threshold, device=score.device, dtype=score.dtype)
    threshold = threshold.expand(filters) if threshold.dim() == 0 else threshold
    _common.check_per_filter(filters, threshold=threshold)
    width = checked_width(own, width, weights, ends, ambiguous)
    codes = _common.as_codes(codes)
    if len(codes) != len(score):
        raise ValueError(f"best must have a row for each of {len(codes)} sequences, got {len(score)}")
    if not _native.serves(codes):
        return reference(
            codes, best, threshold, own, weights=weights, width=width, ends=ends, ambiguous=ambiguous
        )
    dtype = _common.compute_dtype(score.dtype)
    found = torch.ops.motifkit.align_best(
        codes, _common.widened(score, dtype), best.position, best.strand, _common.widened(threshold, dtype),
        own, WEIGHINGS[weights], width, ends == "drop", ambiguous == "drop",
    )  # fmt: skip
    return Aligned(*found)


def _by_hits(stack, codes, best, threshold, own, width, weights, ends, ambiguous) -> Aligned:
    hits = best.hits(best.score > threshold)
    return stacked(stack, codes, hits, best.score.shape[1], own, width, weights, ends, ambiguous)


def _forward(codes, score, position, strand, threshold, own, weighing, width, whole, known):
    if _native.backend(codes.device) == "cuda":
        best = ScanResult(score, position, strand)
        return tuple(
            _by_hits(align.align, codes, best, threshold, own, width, *named(weighing, whole, known))
        )
    filters = score.shape[1]
    position, strand = position.contiguous(), strand.contiguous()
    counts, nsites, total = found = empty(codes, filters, width)
    _native.function("align_best", score.dtype, codes.device)(
        codes.data_ptr(), codes.stride(0), score.data_ptr(), position.data_ptr(), strand.data_ptr(),
        threshold.data_ptr(), *codes.shape, filters, own, weighing, width, whole, known, counts.data_ptr(),
        nsites.data_ptr(), total.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return found


def _fake(codes, score, position, strand, threshold, own, weighing, width, whole, known):
    return empty(codes, score.shape[1], width)


_common.define(
    "align_best(Tensor codes, Tensor score, Tensor position, Tensor strand, Tensor threshold, int own,"
    " int weighing, int width, bool whole, bool known) -> (Tensor, Tensor, Tensor)",
    native=_forward,
    fake=_fake,
)
