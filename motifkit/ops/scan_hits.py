"""scan_hits: every window above a filter's threshold."""

import torch
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common, onehot_conv1d
from motifkit.ops._common import Padding
from motifkit.ops.hits import Hits, strand_code, window_gradient


def reference(
    codes: Tensor,
    weight: Tensor,
    threshold: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
    max_hits_per_sequence: int | None = None,
) -> Hits:
    """The plain-PyTorch twin of scan_hits."""
    strand_code(strands)
    left, _ = _common.resolve_padding(padding, weight.shape[2])
    signs = [s for s, name in ((1, "+"), (-1, "-")) if strands in ("both", name)]
    z = torch.stack(  # (batch, filters, windows, strands)
        [
            onehot_conv1d.reference(codes, weight if s > 0 else weight.flip(1, 2), bias, padding)
            for s in signs
        ],
        dim=3,
    )
    above = z > threshold.to(z.dtype)[:, None, None]
    if max_hits_per_sequence is not None:
        flat = torch.where(above, z, -torch.inf).flatten(2)
        rank = flat.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
        above &= (rank < max_hits_per_sequence).view_as(above)
    sequence, filter, position, which = above.nonzero(as_tuple=True)
    strand = torch.tensor(signs, dtype=torch.int8, device=z.device)[which]
    return Hits(sequence, filter, position - left, strand, z[above])


def scan_hits(
    codes: Tensor,
    weight: Tensor,
    threshold: Tensor,
    bias: Tensor | None = None,
    *,
    padding: Padding = "valid",
    strands: str = "+",
    max_hits_per_sequence: int | None = None,
) -> Hits:
    """All windows that score strictly more than their filter's threshold.

    Args:
        codes, weight, bias, padding, strands: as `scan`.
        threshold: (filters,) or a number.
        max_hits_per_sequence: keep only so many best hits of each sequence and filter (both strands
            together), the earliest where scores tie.

    Returns:
        Hits ordered by sequence, filter, position, forward strand first. Scores can be
        differentiated with respect to weight and bias.

    Raises:
        ValueError: shapes do not fit, unknown strands, or max_hits_per_sequence below 1.

    Example:
        >>> import motifkit as mk
        >>> hits = mk.ops.scan_hits(mk.encode("GTGTG"), mk.one_hot(mk.encode("GTG")), 2.5)
        >>> hits.position.tolist()
        [0, 2]
    """
    _common.check_weight(weight)
    threshold = torch.as_tensor(threshold, device=weight.device, dtype=weight.dtype)
    threshold = threshold.expand(weight.shape[0]) if threshold.dim() == 0 else threshold
    _common.check_per_filter(weight.shape[0], threshold=threshold, bias=bias)
    code = strand_code(strands)
    if max_hits_per_sequence is not None and max_hits_per_sequence < 1:
        raise ValueError(f"max_hits_per_sequence must be at least 1, got {max_hits_per_sequence}")
    if _common.is_dense(codes) or not _native.serves(codes):
        return reference(
            codes, weight, threshold, bias, padding=padding, strands=strands,
            max_hits_per_sequence=max_hits_per_sequence,
        )  # fmt: skip
    codes = _common.as_codes(codes)
    pads = _common.resolve_padding(padding, weight.shape[2])
    _common.conv_length(codes.shape[1], weight.shape[2], pads)
    dtype = _common.compute_dtype(weight.dtype)
    hits = torch.ops.motifkit.scan_hits(
        codes, _common.widened(weight, dtype), _common.widened(threshold, dtype),
        _common.widened(bias, dtype), *pads, code, max_hits_per_sequence or 0,
    )  # fmt: skip
    return Hits(*hits[:4], hits[4].to(weight.dtype))


def _forward(codes, weight, threshold, bias, left, right, strands, most):
    if _native.backend(codes.device) == "cuda":
        return _forward_cuda(codes, weight, threshold, bias, left, right, strands, most)
    filters, _, width = weight.shape
    run = _native.function("scan_hits", weight.dtype, codes.device)

    def scan(codes, columns):
        return run(
            codes.data_ptr(), codes.stride(0), weight.data_ptr(), _native.address(bias),
            threshold.data_ptr(), *codes.shape, filters, width, left, right, strands, most,
            len(columns[0]), *(column.data_ptr() for column in columns), torch.get_num_threads(),
        )  # fmt: skip

    def room(size):
        columns = [torch.empty(size, dtype=torch.int64) for _ in range(3)]
        return [*columns, torch.empty(size, dtype=torch.int8), weight.new_empty(size)]

    # How many there will be is guessed from a part; where that is too few the count comes back, for another
    # scan.
    part = _sample(codes, width)
    share = codes.numel() / max(part.numel(), 1)
    capacity = 1024 + (int(1.2 * share * scan(part, room(0))) if share > 1 else len(codes) * filters * 2)
    while (count := scan(codes, columns := room(capacity))) > capacity:
        capacity = count
    return tuple(column[:count].clone() for column in columns)


def _sample(codes, width):
    """About a sixty-fourth of the sequences, or of a few long ones' letters; all, where that is little."""
    batch, length = codes.shape
    if batch * length < 1 << 16:
        return codes
    return codes[::64] if batch >= 128 else codes[:, : max(width, length // 64)]


def _forward_cuda(codes, weight, threshold, bias, left, right, strands, most):
    """Count the hits of each span of windows, make room, and write them where they belong."""
    batch, length = codes.shape
    filters, _, width = weight.shape
    spans = _native.cuda_module().cuda_hit_spans(length + left + right - width + 1)
    counts = codes.new_empty(batch, filters, spans, dtype=torch.int64)

    def run(name, columns, cells):
        _native.function(name, weight.dtype, codes.device)(
            codes.data_ptr(), codes.stride(0), weight.data_ptr(), _native.address(bias),
            threshold.data_ptr(), batch, length, filters, width, left, right, strands, most, 0,
            *(_native.address(column) for column in columns), 0, cells.data_ptr(),
        )  # fmt: skip

    run("count_hits", (None,) * 5, counts)
    ends = counts.flatten().cumsum(0)
    total = int(ends[-1]) if len(ends) else 0  # the one place that waits for the device
    hits = [codes.new_empty(total, dtype=torch.int64) for _ in range(3)]
    hits += [codes.new_empty(total, dtype=torch.int8), weight.new_empty(total)]
    run("write_hits", hits, ends.view_as(counts) - counts)
    return _best_of_each(hits, filters, most) if most else tuple(hits)


def _best_of_each(hits, filters, most):
    """Keep the `most` best hits of each sequence and filter, the earliest where scores tie."""
    pair = hits[0] * filters + hits[1]  # never falls
    order = hits[4].argsort(descending=True, stable=True)
    order = order[pair[order].argsort(stable=True)]  # by pair, best first
    rank = torch.arange(len(pair), device=pair.device) - torch.searchsorted(pair, pair)
    keep = torch.empty_like(pair, dtype=torch.bool)
    keep[order] = rank < most
    return tuple(column[keep] for column in hits)


def _setup_context(ctx, inputs, output):
    codes, weight, _, bias, *_ = inputs
    ctx.save_for_backward(codes, *output[:4])
    ctx.shape, ctx.has_bias = weight.shape, bias is not None
    ctx.mark_non_differentiable(*output[:4])


def _backward(ctx, *grads):
    codes, sequence, filter, position, strand = ctx.saved_tensors
    grad = grads[4]
    filters, _, width = ctx.shape
    hits = Hits(sequence, filter, position, strand, grad)
    weight = window_gradient(codes, hits, grad, filters, width).to(grad.dtype)
    bias = grad.new_zeros(filters).index_add(0, filter, grad) if ctx.has_bias else None
    return None, weight, None, bias, None, None, None, None


def _fake(codes, weight, threshold, bias, left, right, strands, most):
    count = torch.library.get_ctx().new_dynamic_size()
    return (
        *(codes.new_empty(count, dtype=torch.int64) for _ in range(3)),
        codes.new_empty(count, dtype=torch.int8),
        weight.new_empty(count),
    )


_common.define(
    "scan_hits(Tensor codes, Tensor weight, Tensor threshold, Tensor? bias, int left, int right,"
    " int strands, int most) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    native=_forward,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
