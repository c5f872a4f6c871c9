"""Both strands at once: every filter and its reverse complement over the same windows.

A window scores z+ = <W, x> on its own strand and z- = <rc(W), x> on the other, rc(W) being W with letters and
positions turned round: what W would score on the window's reverse complement. Batch norm takes one mean and
one variance for a filter, over the windows of both strands: a site counts the same on either, and the reverse
complement of a batch has the statistics of the batch.

conv_pool has statistics of its own for each of the 2F filters [W; rc(W)]; for the shared ones the affine is
folded into the weights, and autograd goes through the fold. With G the counts of pairs of letters in windows
(`window_counts`), those of the other strand are G turned round, so that

    mean = W p,   variance = W C W',   C = (G + rc(G)) / 2n - p p',   p = (G + rc(G))'s diagonal / 2n

and the convolution of s W with shift b - s mean, s = g / sqrt(variance + eps), is the block. Words, counts
and pools are those of one call; only the look-ups double.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from motifkit import _native, ops
from motifkit.ops import _common
from motifkit.ops._common import Padding
from motifkit.ops.conv_pool import ACTIVATIONS, window_counts

COMBINE = ("max", "concat")


def reference(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    combine: str = "max",
    activation: str = "relu",
    pool_size: int = 1,
    pool_stride: int | None = None,
    pool_padding: int = 0,
    padding: Padding = "same",
    **norm,
) -> Tensor:
    """The plain-PyTorch twin of conv_pool_both."""
    filters = len(weight)
    both, both_bias = _twice(weight, bias)
    z = ops.reference.onehot_conv1d(codes, both, both_bias, padding)
    batch = z.shape[0]
    z = z.reshape(batch * 2, filters, -1)  # the strands as further sequences
    if norm:
        z = F.batch_norm(
            z, norm.get("running_mean"), norm.get("running_var"), norm.get("norm_weight"),
            norm.get("norm_bias"), norm.get("training", False), norm.get("momentum", 0.1),
            norm.get("eps", 1e-5),
        )  # fmt: skip
    y = ACTIVATIONS[activation](z)
    if (pool_size, pool_stride or pool_size, pool_padding) != (1, 1, 0):
        y = F.max_pool1d(y, pool_size, pool_stride, pool_padding)
    return _combined(y.reshape(batch, 2 * filters, -1), combine)


def conv_pool_both(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    combine: str = "max",
    activation: str = "relu",
    pool_size: int = 1,
    pool_stride: int | None = None,
    pool_padding: int = 0,
    padding: Padding = "same",
    **norm,
) -> Tensor:
    """Convolution, batch norm, activation and max-pool over both strands.

    Args:
        codes, weight, bias, activation, pool_size, pool_stride, pool_padding, padding: as
            `motifkit.ops.conv_pool`. combine: "max", the larger of a window's two strands, or
            "concat", the filters on their own strand and then on the other.
        norm: norm_weight, norm_bias, running_mean, running_var, training, momentum, eps, as conv_pool
            has them, each (filters,): both strands share them, and batch statistics are those of the
            windows of both strands, before any maximum.

    Returns:
        (batch, filters, windows) or, with "concat", (batch, 2 * filters, windows). With padding that is the
        same at both ends ("same" with an odd width, "valid") the reverse complement of a sequence gives
        the same windows in reverse order, with "concat" the strands changed over. Where the strands tie
        exactly under "max", the gradient goes to the sequence's own strand.

    Raises:
        ValueError: as conv_pool, or an unknown `combine`.

    Example:
        >>> import torch, motifkit as mk
        >>> from motifkit.nn.strands import conv_pool_both
        >>> weight = mk.one_hot(mk.encode("GATTACA"))
        >>> conv_pool_both(mk.encode("CCTGTAATCCC"), weight, padding="valid", pool_size=5)
        tensor([[[7.]]])
    """
    if combine not in COMBINE:
        raise ValueError(f"combine must be one of {', '.join(COMBINE)}, not {combine!r}")
    block = {
        "activation": activation, "pool_size": pool_size, "pool_stride": pool_stride,
        "pool_padding": pool_padding, "padding": padding,
    }  # fmt: skip
    if _common.is_dense(codes) or not _native.serves(codes):
        return reference(codes, weight, bias, combine=combine, **block, **norm)
    codes = _common.as_codes(codes)
    if norm and norm.get("training", False):
        both, both_bias = _folded(codes, weight, bias, padding, **norm)
        norm = {}
    else:
        both, both_bias = _twice(weight, bias)
    settings = {k: _doubled(v) if isinstance(v, Tensor) else v for k, v in norm.items()}
    return _combined(ops.conv_pool(codes, both, both_bias, **block, **settings), combine)


def _folded(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Padding,
    *,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Weight and bias of both strands with the batch norm of this batch's windows in them."""
    width = weight.shape[2]
    pads = _common.resolve_padding(padding, width)
    windows = 2 * codes.shape[0] * _common.conv_length(codes.shape[1], width, pads)
    if windows < 4:
        raise ValueError(f"batch statistics need at least 2 windows, got {windows // 2}")
    counts = window_counts(codes, width, *pads)
    counts = (counts + counts.flip(0, 1)).double() / windows
    frequencies = counts.diagonal()
    covariance = counts - frequencies.outer(frequencies)
    both, shift, mean, variance = _Fold.apply(
        weight, bias, norm_weight, norm_bias, frequencies, covariance, eps
    )  # fmt: skip
    if running_mean is not None and running_var is not None:
        seen = mean if bias is None else mean + bias
        _common.move_running(running_mean, running_var, seen, variance, windows, momentum)
    return both, shift


class _Fold(torch.autograd.Function):
    """Weights s W and their reverse complements, shifts b - s mean twice, mean and variance; float64 within.
    With A and q the gradients of weights and shifts, both strands' added,

        ds = <A, W> - q mean,   dg = r ds,   dv = -g r^3 ds / 2,   dW = s A - s q p' + 2 dv W C,   db = q

    with r = 1 / sqrt(variance + eps). The mean takes the convolution's bias away: its gradient is zero.
    """

    @staticmethod
    def forward(ctx, weight, bias, norm_weight, norm_bias, frequencies, covariance, eps):
        flat = weight.double().flatten(1)
        mean = flat @ frequencies
        weight_cov = flat @ covariance
        variance = (weight_cov * flat).sum(1)
        rate = (variance + eps).rsqrt()
        gain = torch.ones_like(rate) if norm_weight is None else norm_weight.double()
        shift = -gain * rate * mean
        shift = shift if norm_bias is None else shift + norm_bias
        ctx.save_for_backward(flat, mean, weight_cov, rate, gain, frequencies)
        ctx.shape, ctx.dtype = weight.shape, weight.dtype
        ctx.given = bias is not None, norm_weight is not None, norm_bias is not None
        ctx.mark_non_differentiable(mean, variance)
        scaled = ((gain * rate)[:, None] * flat).to(weight.dtype)
        # Letters and positions turned round are the flat row turned round.
        both = torch.cat([scaled, scaled.flip(1)]).unflatten(1, weight.shape[1:])
        return both, _doubled(shift.to(weight.dtype)), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_both, grad_shift, *_):
        flat, mean, weight_cov, rate, gain, frequencies = ctx.saved_tensors
        own, other = grad_both.double().flatten(1).chunk(2)
        grad = own + other.flip(1)
        shift = grad_shift.double().view(2, -1).sum(0)
        scale = gain * rate
        grad_scale = (grad * flat).sum(1) - shift * mean
        grad_variance = -0.5 * gain * rate**3 * grad_scale
        grad_weight = (
            scale[:, None] * grad
            - (scale * shift).outer(frequencies)
            + 2 * grad_variance[:, None] * weight_cov
        )
        gradients = torch.zeros_like(shift), rate * grad_scale, shift
        others = [x.to(ctx.dtype) if given else None for x, given in zip(gradients, ctx.given, strict=True)]
        return grad_weight.to(ctx.dtype).view(ctx.shape), *others, None, None, None


def _twice(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Filters and their reverse complements."""
    return torch.cat([weight, weight.flip(1, 2)]), None if bias is None else _doubled(bias)


def _doubled(value: Tensor) -> Tensor:
    return torch.cat([value, value])


def _combined(y: Tensor, combine: str) -> Tensor:
    if combine == "concat":
        return y
    return _Larger.apply(y) if y.requires_grad else torch.maximum(*y.chunk(2, dim=1))


class _Larger(torch.autograd.Function):
    """The larger half of the channels; where they tie the gradient is the first half's."""

    @staticmethod
    def forward(ctx, y):
        own, other = y.chunk(2, dim=1)
        ctx.save_for_backward(other > own)
        return torch.maximum(own, other)

    @staticmethod
    def backward(ctx, grad):
        others = ctx.saved_tensors[0] * grad
        return torch.cat([grad - others, others], 1)
