"""conv_pool: convolution, batch norm, activation and max-pool in one pass, with nothing as long as
the sequences ever stored.

The affine y = g (z - m) / sqrt(v + eps) + b and every activation offered keep or reverse the order of
values, so the pool can be taken over the convolution z itself: its maximum where g >= 0, its minimum where
g < 0. Batch mean and variance follow from how often each pair of letters stands at each pair of window
positions (`window_counts`), which no weight enters. Backward scatters the pooled gradients to the windows
they were kept from; the batch statistics' share of the gradient is again a product with those counts.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common, onehot_conv1d
from motifkit.ops._common import Padding

# How each activation is applied to pooled values. GELU and SiLU fall before they rise: a window's
# largest value is then at its largest or its smallest input.
ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": F.relu,
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
}
_TWO_SIDED = ("gelu", "silu")


def reference(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str = "relu",
    pool_size: int = 1,
    pool_stride: int | None = None,
    pool_padding: int = 0,
    padding: Padding = "same",
) -> Tensor:
    """The plain-PyTorch twin of conv_pool: convolution, batch norm, activation, max-pool in turn."""
    dtype = _common.compute_dtype(weight.dtype)
    wide = [_common.widened(x, dtype) for x in (weight, bias, norm_weight, norm_bias)]
    z = onehot_conv1d.reference(codes, wide[0], wide[1], padding)
    if _has_norm(norm_weight, norm_bias, running_mean, running_var):
        z = F.batch_norm(z, running_mean, running_var, wide[2], wide[3], training, momentum, eps)
    y = ACTIVATIONS[activation](z)
    if (pool_size, pool_stride or pool_size, pool_padding) != (1, 1, 0):
        y = F.max_pool1d(y, pool_size, pool_stride, pool_padding)
    return y.to(weight.dtype)


def conv_pool(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str = "relu",
    pool_size: int = 1,
    pool_stride: int | None = None,
    pool_padding: int = 0,
    padding: Padding = "same",
    check_onehot: bool = True,
) -> Tensor:
    r"""Convolution, batch norm, activation and max-pool of one-hot sequences in one pass.

    .. math:: o_{n,f,j} = \max_{t \in window(j)} act(g_f (z_{n,f,t} - m_f) / \sqrt{v_f + eps} + b_f)

    with z the convolution of `onehot_conv1d`. Exactly conv1d, then batch_norm where any of the
    norm and running arguments is given, then the activation, then max_pool1d.

    Args:
        codes: (batch, length) uint8 codes or a float one-hot tensor (batch, 4, length), as
            `onehot_conv1d` takes them. N adds nothing to a window.
        weight: (filters, 4, width). bias: (filters,) or None.
        norm_weight, norm_bias: (filters,), g and b of the batch norm.
        running_mean, running_var: (filters,). Used where training is False; where it is True they
            are moved towards the batch's statistics in place (the variance unbiased).
        training: normalise by the batch's own mean and variance, over all windows of all sequences.
        momentum, eps: of the batch norm.
        activation: "identity", "relu", "exp", "sigmoid", "tanh", "softplus", "gelu" or "silu".
        pool_size, pool_stride, pool_padding: the pool; stride None means the size.
        padding: of the convolution, as `onehot_conv1d`.
        check_onehot: False takes your word that a float input is one-hot.

    Returns:
        (batch, filters, windows), of weight's dtype. Where values tie within a window the gradient
        goes to the lowest position. The same bits for any number of threads.

    Raises:
        ValueError: shapes do not fit, an unknown activation, no running statistics to use, or fewer
            than two windows to take batch statistics of.

    Example:
        >>> import torch, motifkit as mk
        >>> weight = torch.zeros(1, 4, 3); weight[0, 2, 0] = weight[0, 3, 1] = weight[0, 2, 2] = 1
        >>> mk.ops.conv_pool(mk.encode("CCGTGAAT"), weight, padding="valid", pool_size=3)
        tensor([[[3., 0.]]])
        >>> mk.ops.conv_pool(mk.encode("CCGTGAAT"), weight, torch.tensor([-1.]), pool_size=4)
        tensor([[[2., 0.]]])

    Source: the layer is that of Koo & Eddy (2019), doi:10.1371/journal.pcbi.1007560.
    """
    _common.check_weight(weight)
    for name, value in (
        ("bias", bias),
        ("norm_weight", norm_weight),
        ("norm_bias", norm_bias),
        ("running_mean", running_mean),
        ("running_var", running_var),
    ):
        _common.check_per_filter(name, value, weight.shape[0])
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    normalise = _has_norm(norm_weight, norm_bias, running_mean, running_var)
    batch_statistics = normalise and training
    if normalise and not training and (running_mean is None or running_var is None):
        raise ValueError("batch norm outside training needs running_mean and running_var")

    if _common.is_dense(codes, check_onehot) or not _native.serves(codes):
        return reference(
            codes, weight, bias, norm_weight=norm_weight, norm_bias=norm_bias,
            running_mean=running_mean, running_var=running_var, training=training,
            momentum=momentum, eps=eps, activation=activation, pool_size=pool_size,
            pool_stride=pool_stride, pool_padding=pool_padding, padding=padding,
        )  # fmt: skip

    codes = _common.as_codes(codes)
    pads = _common.resolve_padding(padding, weight.shape[2])
    length = _common.conv_length(codes.shape[1], weight.shape[2], pads)
    stride = pool_size if pool_stride is None else pool_stride
    _common.pool_length(length, pool_size, stride, pool_padding)
    windows = codes.shape[0] * length
    dtype = _common.compute_dtype(weight.dtype)
    wide_weight, wide_bias, norm_weight, norm_bias = (
        _common.widened(x, dtype) for x in (weight, bias, norm_weight, norm_bias)
    )
    mean = variance = gram = None
    if batch_statistics:
        if windows < 2:
            raise ValueError(f"batch statistics need at least 2 windows, got {windows}")
        gram = window_counts(codes, weight.shape[2], pads)
    elif normalise:
        mean, variance = _common.widened(running_mean, dtype), _common.widened(running_var, dtype)

    def extreme(minimum: bool) -> _Pooled:
        arguments = (
            codes, wide_weight, wide_bias, norm_weight, norm_bias, mean, variance, gram, windows,
            eps, *pads, pool_size, stride, pool_padding, minimum, activation == "relu",
        )  # fmt: skip
        if torch.compiler.is_compiling():
            return _Pooled(*torch.ops.motifkit.conv_pool(*arguments))
        if not torch.is_grad_enabled():
            return _Pooled(*_forward(*arguments, keep=False))
        return _Pooled(*_ConvPool.apply(*arguments))

    pooled = extreme(minimum=False)
    if batch_statistics and running_mean is not None and running_var is not None:
        with torch.no_grad():
            batch_mean = pooled.mean if wide_bias is None else pooled.mean + wide_bias
            running_mean.lerp_(batch_mean.to(running_mean.dtype), momentum)
            unbiased = pooled.variance * (windows / (windows - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    out = pooled.out
    if activation != "relu":
        out = ACTIVATIONS[activation](out)
    if activation in _TWO_SIDED and pool_size > 1:
        out = torch.maximum(out, ACTIVATIONS[activation](extreme(minimum=True).out))
    return out.to(weight.dtype)


def window_counts(codes: Tensor, width: int, pads: tuple[int, int]) -> Tensor:
    """How many windows hold letter a at position k and letter b at position l, for all four.

    Args:
        codes: (batch, length) uint8. width: letters a window. pads: letters of N at both ends.

    Returns:
        (4 * width, 4 * width) int64, rows and columns indexed by letter * width + position. Counts
        of several batches, or of several processes, add up.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.ops.conv_pool import window_counts
        >>> window_counts(mk.encode("AAC"), 1, (0, 0)).diagonal()
        tensor([2, 1, 0, 0])
    """
    return torch.ops.motifkit.window_counts(codes, width, *pads)


def _has_norm(*arguments: Tensor | None) -> bool:
    return any(x is not None for x in arguments)


class _Pooled(NamedTuple):
    out: Tensor  # (batch, filters, windows)
    kept: Tensor  # (batch, windows, padded filters) int32: position each maximum was kept from
    mean: Tensor  # (filters,) of the convolution without bias; empty without batch norm
    variance: Tensor  # (filters,)
    weight_cov: Tensor  # (filters, 4 * width) float64: weight x covariance of the batch's windows


def _counts(codes: Tensor, width: int, left: int, right: int) -> Tensor:
    gram = torch.empty(4 * width, 4 * width, dtype=torch.int64)
    _native.module().window_counts(
        codes.data_ptr(), codes.stride(0), gram.data_ptr(), codes.shape[0], codes.shape[1], width,
        left, right, torch.get_num_threads(),
    )  # fmt: skip
    return gram


def _geometry(codes, weight, left, right, size, stride, padding):
    """The integers that follow the addresses in conv_pool's native entry points."""
    batch, length = codes.shape
    filters, _, width = weight.shape
    positions = length + left + right - width + 1
    pooled = _common.pool_length(positions, size, stride, padding)
    return batch, length, filters, width, left, right, size, stride, padding, pooled


def _forward(
    codes, weight, bias, norm_weight, norm_bias, mean, variance, gram, windows, eps, left, right,
    size, stride, padding, minimum, relu, keep=True,
):  # fmt: skip
    geometry = _geometry(codes, weight, left, right, size, stride, padding)
    batch, filters, pooled = geometry[0], geometry[2], geometry[-1]
    native = _native.module()
    weight_cov = weight.new_empty(0, dtype=torch.float64)
    if gram is not None:
        wide = weight.double()
        mean64, variance64 = torch.empty(2, filters, dtype=torch.float64)
        weight_cov = torch.empty(filters, gram.shape[0], dtype=torch.float64)
        native.batch_statistics(
            filters, gram.shape[0], windows, wide.data_ptr(), gram.data_ptr(), mean64.data_ptr(),
            variance64.data_ptr(), weight_cov.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        scale, shift = (variance64 + eps).rsqrt(), norm_bias
        mean, variance = mean64.to(weight.dtype), variance64.to(weight.dtype)
        centre = mean
    elif mean is not None:
        scale, shift = (variance.double() + eps).rsqrt(), norm_bias
        centre = mean if bias is None else mean - bias
        mean, variance = mean.clone(), variance.clone()
    else:
        scale, shift = weight.new_ones(filters), bias
        centre = mean = variance = weight.new_zeros(filters)
        variance = variance.clone()
        mean = mean.clone()
    if norm_weight is not None:
        scale = scale * norm_weight
    scale = scale.to(weight.dtype)
    if shift is None:
        shift = weight.new_zeros(filters)
    out = weight.new_empty(batch, filters, pooled)
    kept = torch.empty((batch, pooled, native.padded_filters(filters)) if keep else (0,), dtype=torch.int32)
    _native.function("conv_pool", weight.dtype)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), centre.data_ptr(), scale.data_ptr(),
        shift.data_ptr(), out.data_ptr(), kept.data_ptr() if keep else 0, *geometry, minimum, relu,
        torch.get_num_threads(),
    )  # fmt: skip
    return out, kept, mean, variance, weight_cov


def _backward(
    grad, out, kept, codes, weight, bias, norm_weight, mean, variance, weight_cov, gram, windows,
    normalised, eps, left, right, size, stride, padding, relu,
):  # fmt: skip
    """Gradients of weight, bias, norm_weight and norm_bias, in that order."""
    grad = grad.contiguous()
    filters, _, width = weight.shape
    scattered = torch.empty(filters, 4 * width, dtype=torch.float64)
    total = torch.empty(filters, dtype=torch.float64)
    _native.function("conv_pool_backward", weight.dtype)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), grad.data_ptr(), out.data_ptr(),
        kept.data_ptr(), scattered.data_ptr(), total.data_ptr(),
        *_geometry(codes, weight, left, right, size, stride, padding), relu,
        torch.get_num_threads(),
    )  # fmt: skip
    dtype = weight.dtype
    if not normalised:
        return (
            scattered.view_as(weight).to(dtype),
            total.to(dtype),
            total.to(dtype),
            total.to(dtype),
        )
    rstd = (variance.double() + eps).rsqrt()
    scale = rstd if norm_weight is None else rstd * norm_weight
    centre = mean.double() if bias is None or gram is not None else mean.double() - bias
    # Sum of gradient x normalised value: the kept windows' convolutions are in <scattered, weight>.
    products = torch.linalg.vecdot(scattered, weight.reshape(filters, -1).double())
    grad_norm_weight = rstd * (products - centre * total)
    if gram is not None:
        letters = gram.diagonal().double() / windows
        scattered -= total[:, None] * letters
        scattered -= (grad_norm_weight * rstd)[:, None] * weight_cov
        grad_bias = torch.zeros_like(total)  # the batch mean takes any bias away
    else:
        grad_bias = scale * total
    scattered *= scale[:, None]
    return (
        scattered.view_as(weight).to(dtype), grad_bias.to(dtype), grad_norm_weight.to(dtype),
        total.to(dtype),
    )  # fmt: skip


def _save(ctx, inputs, output):
    (codes, weight, bias, norm_weight, norm_bias, running_mean, _, gram, windows, eps, left, right,
     size, stride, padding, _, relu) = inputs  # fmt: skip
    out, kept, mean, variance, weight_cov = output
    # Without relu the output is not read again: an empty stand-in keeps the shape of the call.
    saved_out = out if relu else out.new_empty(0)
    ctx.save_for_backward(saved_out, kept, codes, weight, bias, norm_weight, mean, variance, weight_cov, gram)
    normalised = gram is not None or running_mean is not None
    ctx.scalars = windows, normalised, eps, left, right, size, stride, padding, relu
    ctx.given = bias is not None, norm_weight is not None, norm_bias is not None
    ctx.mark_non_differentiable(kept, mean, variance, weight_cov)
    ctx.set_materialize_grads(False)


def _gradients(ctx, backward, grad):
    if grad is None:
        return (None,) * 17
    weight, *rest = backward(grad, *ctx.saved_tensors, *ctx.scalars)
    rest = [value if given else None for value, given in zip(rest, ctx.given, strict=True)]
    return None, weight, *rest, *(None,) * 12


class _ConvPool(torch.autograd.Function):
    """The eager path."""

    @staticmethod
    def forward(ctx, *inputs):
        differentiable = any(ctx.needs_input_grad)
        output = _forward(*inputs, keep=differentiable)
        if differentiable:
            _save(ctx, inputs, output)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad, *_):
        return _gradients(ctx, _backward, grad)


def _registered_backward(ctx, grad, *_):
    return _gradients(ctx, torch.ops.motifkit.conv_pool_backward, grad)


def _fake(
    codes, weight, bias, norm_weight, norm_bias, mean, variance, gram, windows, eps, left, right,
    size, stride, padding, minimum, relu,
):  # fmt: skip
    *_, pooled = _geometry(codes, weight, left, right, size, stride, padding)
    batch, filters = codes.shape[0], weight.shape[0]
    full, rest = filters // 32 * 32, filters % 32
    padded = full + (0 if rest == 0 else 16 if rest <= 16 else 32)
    return (
        weight.new_empty(batch, filters, pooled),
        codes.new_empty(batch, pooled, padded, dtype=torch.int32),
        weight.new_empty(filters),
        weight.new_empty(filters),
        weight.new_empty((filters, gram.shape[0]) if gram is not None else (0,), dtype=torch.float64),
    )


def _fake_backward(grad, out, kept, codes, weight, *_):
    per_filter = weight.new_empty(weight.shape[0])
    return torch.empty_like(weight), *(torch.empty_like(per_filter) for _ in range(3))


_common.define(
    "window_counts(Tensor codes, int width, int left, int right) -> Tensor",
    cpu=_counts,
    fake=lambda codes, width, left, right: codes.new_empty(4 * width, 4 * width, dtype=torch.int64),
)
_common.define(
    "conv_pool_backward(Tensor grad, Tensor out, Tensor kept, Tensor codes, Tensor weight,"
    " Tensor? bias, Tensor? norm_weight, Tensor mean, Tensor variance, Tensor weight_cov,"
    " Tensor? gram, SymInt windows, bool normalised, float eps, int left, int right, int size,"
    " int stride, int padding, bool relu) -> (Tensor, Tensor, Tensor, Tensor)",
    cpu=_backward,
    fake=_fake_backward,
)
_common.define(
    "conv_pool(Tensor codes, Tensor weight, Tensor? bias, Tensor? norm_weight, Tensor? norm_bias,"
    " Tensor? mean, Tensor? variance, Tensor? gram, SymInt windows, float eps, int left, int right,"
    " int size, int stride, int padding, bool minimum, bool relu)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    cpu=_forward,
    fake=_fake,
    setup_context=_save,
    backward=_registered_backward,
)
