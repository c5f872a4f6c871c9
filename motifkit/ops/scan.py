"""scan: the best window of each sequence for each filter."""

import torch
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common, onehot_conv1d
from motifkit.ops._common import Padding
from motifkit.ops.hits import ScanResult, strand_code, window_gradient


def reference(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
) -> ScanResult:
    """The plain-PyTorch twin of scan."""
    strand_code(strands)
    left, _ = _common.resolve_padding(padding, weight.shape[2])
    best = None
    for sign in (1, -1):
        if strands not in ("both", "+" if sign > 0 else "-"):
            continue
        oriented = weight if sign > 0 else weight.flip(1, 2)
        z = onehot_conv1d.reference(codes, oriented, bias, padding)
        score = z.amax(2)
        position = (z == score[:, :, None]).int().argmax(2)  # the first of equals
        found = ScanResult(score, position - left, torch.full_like(position, sign, dtype=torch.int8))
        if best is None:
            best = found
            continue
        better = (found.score > best.score) | ((found.score == best.score) & (found.position < best.position))
        best = ScanResult(*(torch.where(better, a, b) for a, b in zip(found, best, strict=True)))
    return best


def scan(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
) -> ScanResult:
    """Best window of each sequence for each filter, on one strand or both.

    Args:
        codes: (batch, length) uint8 codes, or a one-hot tensor (batch, 4, length). N scores 0.
        weight: (filters, 4, width). Narrower motifs are padded with columns of zeros, which cost
            nothing. bias: (filters,), added to every score.
        padding: as `onehot_conv1d`; "valid" considers only windows inside the sequence.
        strands: "+", "-" or "both". A window of the minus strand scores what its reverse complement
            would.

    Returns:
        ScanResult: score (batch, filters), position (batch, filters) int64, the window's first
        letter in the sequence (negative inside left padding), strand (batch, filters) int8. Ties go
        to the lowest position, then to the forward strand. Scores can be differentiated with
        respect to weight and bias.

    Raises:
        ValueError: shapes do not fit, or unknown strands.

    Example:
        >>> import motifkit as mk
        >>> best = mk.ops.scan(mk.encode(["CCGTGA", "ACACAA"]), mk.one_hot(mk.encode("GTG")),
        ...                    strands="both")
        >>> best.score.flatten().tolist(), best.position.flatten().tolist()
        ([3.0, 3.0], [2, 1])
        >>> best.strand.flatten().tolist()
        [1, -1]
    """
    _common.check_weight(weight)
    _common.check_per_filter(weight.shape[0], bias=bias)
    code = strand_code(strands)
    if _common.is_dense(codes) or not _native.serves(codes):
        return reference(codes, weight, bias, padding=padding, strands=strands)
    codes = _common.as_codes(codes)
    pads = _common.resolve_padding(padding, weight.shape[2])
    _common.conv_length(codes.shape[1], weight.shape[2], pads)
    dtype = _common.compute_dtype(weight.dtype)
    score, position, strand = torch.ops.motifkit.scan(
        codes, _common.widened(weight, dtype), _common.widened(bias, dtype), *pads, code
    )
    return ScanResult(score.to(weight.dtype), position, strand)


def _forward(codes, weight, bias, left, right, strands):
    batch, length = codes.shape
    filters, _, width = weight.shape
    score = weight.new_empty(batch, filters)
    position = codes.new_empty(batch, filters, dtype=torch.int64)
    strand = codes.new_empty(batch, filters, dtype=torch.int8)
    _native.function("scan", weight.dtype, codes.device)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), _native.address(bias),
        score.data_ptr(), position.data_ptr(), strand.data_ptr(), batch, length, filters, width,
        left, right, strands, torch.get_num_threads(),
    )  # fmt: skip
    return score, position, strand


def _setup_context(ctx, inputs, output):
    codes, weight, bias, *_ = inputs
    _, position, strand = output
    ctx.save_for_backward(codes, position, strand)
    ctx.width, ctx.has_bias = weight.shape[2], bias is not None
    ctx.mark_non_differentiable(position, strand)


def _backward(ctx, grad, *_):
    codes, position, strand = ctx.saved_tensors
    hits = ScanResult(grad, position, strand).hits()
    weight = window_gradient(codes, hits, hits.score, grad.shape[1], ctx.width)
    return None, weight.to(grad.dtype), grad.sum(0) if ctx.has_bias else None, None, None, None


def _fake(codes, weight, bias, left, right, strands):
    shape = codes.shape[0], weight.shape[0]
    return (
        weight.new_empty(shape),
        codes.new_empty(shape, dtype=torch.int64),
        codes.new_empty(shape, dtype=torch.int8),
    )


_common.define(
    "scan(Tensor codes, Tensor weight, Tensor? bias, int left, int right, int strands)"
    " -> (Tensor, Tensor, Tensor)",
    native=_forward,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
