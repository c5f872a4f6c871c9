"""scan_summary: the largest score of each filter over all windows, and their sum."""

from typing import NamedTuple

import torch
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common, onehot_conv1d, scan
from motifkit.ops._common import Padding
from motifkit.ops.hits import STRANDS, strand_code


class ScanSummary(NamedTuple):
    """All windows of each filter in two numbers."""

    largest: Tensor  # (filters,): the largest score; -inf where there is no sequence
    total: Tensor | None  # (filters,) float64: the sum, where it was asked for


def reference(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
    total: str | None = None,
) -> ScanSummary:
    """The plain-PyTorch twin of scan_summary."""
    return _summarised(scan.reference, onehot_conv1d.reference, codes, weight, bias, padding, strands, total)


def scan_summary(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
    total: str | None = None,
) -> ScanSummary:
    """Largest score of each filter over all windows of all sequences, and the sum of all scores.

    Args:
        codes, weight, bias, padding, strands: as `scan`.
        total: None for the largest alone, which is faster; "score" to sum the scores of all windows,
            "relu" to sum those above 0.

    Returns:
        ScanSummary: largest (filters,), total (filters,) float64 or None. On the CPU scores are added
        in the dtype of `weight` and, from 2,048 windows on, in float64; the bits do not depend on the
        number of threads. Not differentiable. Weights must be finite.

    Raises:
        ValueError: shapes do not fit, or an unknown choice.

    Example:
        >>> import motifkit as mk
        >>> weight = mk.one_hot(mk.encode("GTG"))
        >>> mk.ops.scan_summary(mk.encode(["CCGTGA", "ACACAA"]), weight, total="score")
        ScanSummary(largest=tensor([3.]), total=tensor([4.], dtype=torch.float64))
    """
    _common.check_weight(weight)
    _common.check_per_filter(weight.shape[0], bias=bias)
    code = strand_code(strands)
    if total not in (None, "score", "relu"):
        raise ValueError(f"total must be None, 'score' or 'relu', not {total!r}")
    if _common.is_dense(codes) or not _native.serves(codes):
        return reference(codes, weight, bias, padding=padding, strands=strands, total=total)
    codes = _common.as_codes(codes)
    pads = _common.resolve_padding(padding, weight.shape[2])
    _common.conv_length(codes.shape[1], weight.shape[2], pads)
    dtype = _common.compute_dtype(weight.dtype)
    largest, sums = torch.ops.motifkit.scan_summary(
        codes, *(_common.widened(x if x is None else x.detach(), dtype) for x in (weight, bias)), *pads, code,
        total is not None, total == "relu",
    )  # fmt: skip
    return ScanSummary(largest.to(weight.dtype), None if total is None else sums)


def _summarised(scan, convolve, codes, weight, bias, padding, strands, total) -> ScanSummary:
    """From the ops named, which are this op's neighbours or their twins."""
    with torch.no_grad():
        if len(codes) == 0:
            largest = weight.new_full((weight.shape[0],), -torch.inf)
        else:
            largest = scan(codes, weight, bias, padding=padding, strands=strands).score.amax(0)
        if total is None:
            return ScanSummary(largest, None)
        sums = weight.new_zeros(weight.shape[0], dtype=torch.float64)
        for sign in (s for s, name in ((1, "+"), (-1, "-")) if strands in ("both", name)):
            z = convolve(codes, weight if sign > 0 else weight.flip(1, 2), bias, padding)
            sums += (z.relu() if total == "relu" else z).sum((0, 2), dtype=torch.float64)
        return ScanSummary(largest, sums)


def _forward(codes, weight, bias, left, right, strands, summed, relu):
    filters, _, width = weight.shape
    if _native.backend(codes.device) == "cuda":
        name = next(name for name, code in STRANDS.items() if code == strands)
        total = ("relu" if relu else "score") if summed else None
        found = _summarised(
            scan.scan, onehot_conv1d.onehot_conv1d, codes, weight, bias, (left, right), name, total
        )
        return found.largest, weight.new_empty(0, dtype=torch.float64) if found.total is None else found.total
    largest = weight.new_empty(filters)
    total = weight.new_empty(filters if summed else 0, dtype=torch.float64)
    _native.function("scan_summary", weight.dtype, codes.device)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), _native.address(bias), largest.data_ptr(),
        total.data_ptr() if summed else 0, *codes.shape, filters, width, left, right, strands, relu,
        torch.get_num_threads(),
    )  # fmt: skip
    return largest, total


def _fake(codes, weight, bias, left, right, strands, summed, relu):
    filters = weight.shape[0]
    return weight.new_empty(filters), weight.new_empty(filters if summed else 0, dtype=torch.float64)


_common.define(
    "scan_summary(Tensor codes, Tensor weight, Tensor? bias, int left, int right, int strands, bool summed,"
    " bool relu) -> (Tensor, Tensor)",
    native=_forward,
    fake=_fake,
)
