"""align_above: letter counts of every window above a filter's threshold, no window listed."""

from typing import NamedTuple

import torch
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common, align, scan_hits
from motifkit.ops._common import Padding
from motifkit.ops.hits import Hits, strand_code

WEIGHINGS = {None: 0, "score": 1, "relu": 2}  # as csrc/ops/align_above.h numbers them


class Aligned(NamedTuple):
    """Windows of each filter, stacked."""

    counts: Tensor  # (filters, 4, width) float64: their letters
    nsites: Tensor  # (filters,) int64: how many they are
    total: Tensor  # (filters,) float64: what they count for together


def reference(
    codes: Tensor,
    weight: Tensor,
    threshold: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
    weights: str | None = None,
    width: int | None = None,
    ends: str = "keep",
    ambiguous: str = "keep",
) -> Aligned:
    """The plain-PyTorch twin of align_above."""
    hits = scan_hits.reference(codes, weight, threshold, bias, padding=padding, strands=strands)
    filters, _, own = weight.shape
    return stacked(align.reference, codes, hits, filters, own, width or own, weights, ends, ambiguous)


def align_above(
    codes: Tensor,
    weight: Tensor,
    threshold: Tensor | float,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
    weights: str | None = None,
    width: int | None = None,
    ends: str = "keep",
    ambiguous: str = "keep",
) -> Aligned:
    """Count the letters of all windows that score strictly more than their filter's threshold.

    What `align` makes of the hits of `scan_hits`, in one scan that lists none: the more windows there are,
    the more that saves.

    Args:
        codes, weight, threshold, bias, padding, strands: as `scan_hits`.
        weights: what a window counts for: 1 (None), its score ("score"), or its score where that is
            positive, else 0 ("relu").
        width: letters counted of a window, at least the filter's width (the default): as many more on
            either side, the odd one behind the window, along its strand.
        ends: "drop" leaves out windows whose letters reach over an end of the sequence.
        ambiguous: "drop" leaves out windows with an N; letters beyond an end are none.

    Returns:
        Aligned: counts (filters, 4, width) float64, nsites (filters,) int64, total (filters,) float64,
        the sum of the weights. Windows of the minus strand are reverse-complemented. N, and letters
        beyond an end, count nothing. Weights are added in float64; the bits do not depend on the number
        of threads. Not differentiable.

    Raises:
        ValueError: shapes do not fit, a width below the filter's, or an unknown choice.

    Example:
        >>> import motifkit as mk
        >>> weight = mk.one_hot(mk.encode("GTG"))
        >>> found = mk.ops.align_above(mk.encode(["CCGTGA", "CACAAA"]), weight, 2.5, strands="both")
        >>> found.counts[0].argmax(0).tolist(), found.nsites.tolist()
        ([2, 3, 2], [2])
    """
    _common.check_weight(weight)
    threshold = torch.as_tensor(threshold, device=weight.device, dtype=weight.dtype)
    threshold = threshold.expand(weight.shape[0]) if threshold.dim() == 0 else threshold
    _common.check_per_filter(weight.shape[0], threshold=threshold, bias=bias)
    own = weight.shape[2]
    width = checked_width(own, width, weights, ends, ambiguous)
    code = strand_code(strands)
    options = {"padding": padding, "strands": strands}
    if _common.is_dense(codes) or not _native.serves(codes):
        return reference(
            codes, weight, threshold, bias, weights=weights, width=width, ends=ends, ambiguous=ambiguous,
            **options,
        )  # fmt: skip
    codes = _common.as_codes(codes)
    pads = _common.resolve_padding(padding, own)
    _common.conv_length(codes.shape[1], own, pads)
    dtype = _common.compute_dtype(weight.dtype)
    weight, threshold, bias = (
        _common.widened(x if x is None else x.detach(), dtype) for x in (weight, threshold, bias)
    )
    found = torch.ops.motifkit.align_above(
        codes, weight, threshold, bias, *pads, code, WEIGHINGS[weights], width, ends == "drop",
        ambiguous == "drop",
    )  # fmt: skip
    return Aligned(*found)


def checked_width(own: int, width: int | None, weights: str | None, ends: str, ambiguous: str) -> int:
    """Letters shown, or ValueError where one of the choices is none."""
    if width is not None and width < own:
        raise ValueError(f"width must be at least the filter's, {own}, got {width}")
    if weights not in WEIGHINGS:
        raise ValueError(f"weights must be None, 'score' or 'relu', not {weights!r}")
    for name, value in {"ends": ends, "ambiguous": ambiguous}.items():
        if value not in ("keep", "drop"):
            raise ValueError(f"{name} must be 'keep' or 'drop', not {value!r}")
    return own if width is None else width


def named(weighing: int, whole: bool, known: bool) -> tuple[str | None, str, str]:
    """weights, ends and ambiguous, from what the registered ops take for them."""
    weights = next(name for name, code in WEIGHINGS.items() if code == weighing)
    return weights, "drop" if whole else "keep", "drop" if known else "keep"


def empty(codes: Tensor, filters: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the parts of Aligned, on the device of `codes`."""
    return (
        codes.new_empty(filters, 4, width, dtype=torch.float64),
        codes.new_empty(filters, dtype=torch.int64),
        codes.new_empty(filters, dtype=torch.float64),
    )


def shown(hits: Hits, own: int, width: int) -> Hits:
    """Hits of windows `own` letters wide, with the first of `width` letters as position."""
    if width == own:
        return hits
    extra = width - own
    before = torch.where(hits.strand >= 0, extra // 2, extra - extra // 2)
    return hits._replace(position=hits.position - before)


def fitting(codes: Tensor, hits: Hits, width: int, whole: bool, known: bool) -> Hits:
    """Without windows over an end, or with N, where these are left out."""
    length = codes.shape[1]
    keep = torch.ones_like(hits.strand, dtype=torch.bool)
    if whole:
        keep &= (hits.position >= 0) & (hits.position + width <= length)
    if known:
        seen = torch.nn.functional.pad((codes > 3).cumsum(1), (1, 0))  # N before each letter
        first, last = hits.position.clamp(0, length), (hits.position + width).clamp(0, length)
        keep &= seen[hits.sequence, last] == seen[hits.sequence, first]
    return hits if bool(keep.all()) else Hits(*(x[keep] for x in hits))


def stacked(stack, codes, hits, filters, own, width, weights, ends, ambiguous) -> Aligned:
    """Aligned of a list of hits; `stack` is align, or its twin."""
    codes = codes if codes.dtype == torch.uint8 else _common.as_codes(codes)
    hits = fitting(codes, shown(hits, own, width), width, ends == "drop", ambiguous == "drop")
    score = hits.score.detach().double()
    each = {None: None, "score": score, "relu": score.relu()}[weights]
    nsites = hits.filter.bincount(minlength=filters)
    total = nsites.double() if each is None else hits.filter.bincount(each, minlength=filters)
    return Aligned(stack(codes, hits, width, weights=each, filters=filters), nsites, total)


def _forward(codes, weight, threshold, bias, left, right, strands, weighing, width, whole, known):
    filters, _, own = weight.shape
    if _native.backend(codes.device) == "cuda":
        hits = Hits(*torch.ops.motifkit.scan_hits(codes, weight, threshold, bias, left, right, strands, 0))
        return tuple(stacked(align.align, codes, hits, filters, own, width, *named(weighing, whole, known)))
    counts, nsites, total = found = empty(codes, filters, width)
    _native.function("align_above", weight.dtype, codes.device)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), _native.address(bias), threshold.data_ptr(),
        *codes.shape, filters, own, left, right, strands, weighing, width, whole, known, counts.data_ptr(),
        nsites.data_ptr(), total.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return found


def _fake(codes, weight, threshold, bias, left, right, strands, weighing, width, whole, known):
    return empty(codes, weight.shape[0], width)


_common.define(
    "align_above(Tensor codes, Tensor weight, Tensor threshold, Tensor? bias, int left, int right,"
    " int strands, int weighing, int width, bool whole, bool known) -> (Tensor, Tensor, Tensor)",
    native=_forward,
    fake=_fake,
)
