"""conv_pool: convolution, batch norm, activation and max-pool in one pass, with nothing as long as
the sequences ever stored.

The affine y = g (z - m) / sqrt(v + eps) + b and every activation offered keep or reverse the order of
values, so the pool can be taken over the convolution z itself: its maximum where g >= 0, its minimum where
g < 0. Batch mean and variance follow from how often each pair of letters stands at each pair of window
positions (`window_counts`), which no weight enters. Backward scatters the pooled gradients to the windows
they were kept from; the batch statistics' share of the gradient is again a product with those counts.
"""

from collections.abc import Callable
from functools import partial
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
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}
_TWO_SIDED = ("gelu", "gelu_tanh", "silu")


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
    window_sums: Callable[[Tensor], Tensor] | None = None,
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
        activation: "identity", "relu", "exp", "sigmoid", "tanh", "softplus", "gelu", "gelu_tanh"
            (GELU by its tanh approximation) or "silu".
        pool_size, pool_stride, pool_padding: the pool; stride None means the size.
        padding: of the convolution, as `onehot_conv1d`.
        check_onehot: False takes your word that a float input is one-hot.
        window_sums: given where the batch is shared out over processes: sums an int64 tensor over them
            (torch.distributed.all_reduce). Statistics are then of the whole batch. Each process's gradients
            are its part of the whole batch's, which are their sum.

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
        tensor([[[3., 1.]]])
        >>> mk.ops.conv_pool(mk.encode("CCGTGAAT"), weight, torch.tensor([-1.]), pool_size=4)
        tensor([[[2., 0.]]])

    Source: the layer is that of Koo & Eddy (2019), doi:10.1371/journal.pcbi.1007560.
    """
    _common.check_weight(weight)
    _common.check_per_filter(
        weight.shape[0], bias=bias, norm_weight=norm_weight, norm_bias=norm_bias,
        running_mean=running_mean, running_var=running_var,
    )  # fmt: skip
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    normalise = _has_norm(norm_weight, norm_bias, running_mean, running_var)
    batch_statistics = normalise and training
    if normalise and not training and (running_mean is None or running_var is None):
        raise ValueError("batch norm outside training needs running_mean and running_var")

    if _common.is_dense(codes, check_onehot) or not _native.serves(codes):
        if batch_statistics and window_sums is not None:
            raise ValueError("window_sums needs codes or a one-hot tensor on a device with kernels")
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
    compiling, differentiable = torch.compiler.is_compiling(), torch.is_grad_enabled()
    wide_weight, wide_bias, norm_weight, norm_bias, mean, variance = (
        _common.widened(x, dtype) for x in (weight, bias, norm_weight, norm_bias, running_mean, running_var)
    )
    gram, running = None, _STILL
    if batch_statistics:
        if windows < 2:
            raise ValueError(f"batch statistics need at least 2 windows, got {windows}")
        gram = (window_counts if compiling else _counts)(codes, weight.shape[2], *pads)
        if window_sums is not None:
            if compiling:
                raise ValueError("batch statistics over processes do not compile; disable it for this block")
            sums = window_sums(torch.cat([gram.flatten(), gram.new_tensor([windows])]))
            gram, windows = sums[:-1].view_as(gram), int(sums[-1])
        if not compiling and mean is not None and variance is not None:
            running = _Running(mean, variance, momentum)
        mean = variance = None
    elif normalise and differentiable and not compiling:
        mean, variance = mean.clone(), variance.clone()  # a later step may move them before backward

    def extreme(minimum: bool, running: _Running) -> _Pooled:
        tensors = codes, wide_weight, wide_bias, norm_weight, norm_bias
        rest = (
            mean, variance, gram, windows, eps, *pads, pool_size, stride, pool_padding, minimum,
            activation == "relu",
        )  # fmt: skip
        if compiling:
            return _Pooled(*torch.ops.motifkit.conv_pool(*tensors, *rest))
        if not differentiable:
            return _forward(*tensors, *rest, running=running, keep=False)
        return _Pooled(_ConvPool.apply(running, rest, *tensors), None, None, None, None)

    pooled = extreme(False, running)
    if batch_statistics and running_mean is not None and running_var is not None:
        if compiling:
            batch_mean = pooled.mean if wide_bias is None else pooled.mean + wide_bias
            _common.move_running(running_mean, running_var, batch_mean, pooled.variance, windows, momentum)
        else:
            running.written_to(running_mean, running_var)
    out = pooled.out
    if activation != "relu":
        out = ACTIVATIONS[activation](out)
    if activation in _TWO_SIDED and pool_size > 1:
        other = extreme(True, _STILL)
        out = torch.maximum(out, ACTIVATIONS[activation](other.out))
    return out if out.dtype == weight.dtype else out.to(weight.dtype)


def window_counts(codes: Tensor, width: int, left: int, right: int) -> Tensor:
    """How many windows hold letter a at position k and letter b at position l, for all four.

    Args:
        codes: (batch, length) uint8. width: letters a window. left, right: letters of N at the ends.

    Returns:
        (4 * width, 4 * width) int64, rows and columns indexed by letter * width + position. Counts
        of several batches, or of several processes, add up.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.ops.conv_pool import window_counts
        >>> window_counts(mk.encode("AAC"), 1, 0, 0).diagonal()
        tensor([2, 1, 0, 0])
    """
    return torch.ops.motifkit.window_counts(codes, width, left, right)


def _has_norm(*arguments: Tensor | None) -> bool:
    return any(x is not None for x in arguments)


class _Running(NamedTuple):
    """Running statistics that the kernel moves in place, in the dtype it computes in; None: nothing moves."""

    mean: Tensor | None  # (filters,)
    variance: Tensor | None  # (filters,)
    momentum: float

    def written_to(self, running_mean: Tensor, running_var: Tensor) -> None:
        """Tell autograd of the change, and copy it where a buffer of another dtype was widened."""
        for moved, buffer in ((self.mean, running_mean), (self.variance, running_var)):
            if moved is buffer:
                torch.autograd.graph.increment_version(buffer)
            else:
                buffer.copy_(moved)


_STILL = _Running(None, None, 0.0)


class _Pooled(NamedTuple):
    out: Tensor  # (batch, filters, windows)
    kept: Tensor | None  # (batch, windows, padded filters): where in its window each maximum stood
    mean: Tensor | None  # (filters,) of the convolution without bias, where statistics are the batch's
    variance: Tensor | None  # (filters,)
    weight_cov: Tensor | None  # (filters, 4 * width) float64: weight x covariance of the windows


def _counts(codes: Tensor, width: int, left: int, right: int) -> Tensor:
    gram = codes.new_empty(4 * width, 4 * width, dtype=torch.int64)
    _native.function("window_counts", None, codes.device)(
        codes.data_ptr(), codes.stride(0), gram.data_ptr(), codes.shape[0], codes.shape[1], width,
        left, right, torch.get_num_threads(),
    )  # fmt: skip
    return gram


def _geometry(codes, weight, left, right, size, stride, padding):
    """The integers that follow the addresses in conv_pool's native entry points."""
    batch, length = codes.shape
    filters, _, width = weight.shape
    pooled = (length + left + right - width + 1 + 2 * padding - size) // stride + 1
    return batch, length, filters, width, left, right, size, stride, padding, pooled


def _kept_shape(batch, filters, pooled, size):
    """Shape and type of the positions kept: filters padded to whole blocks, a byte where that is enough."""
    padded = _native.module().padded_filters(filters)
    return (batch, pooled, padded), torch.uint8 if size <= 255 else torch.int32


def _forward(
    codes, weight, bias, norm_weight, norm_bias, mean, variance, gram, windows, eps, left, right,
    size, stride, padding, minimum, relu, running=_STILL, keep=True,
):  # fmt: skip
    geometry = _geometry(codes, weight, left, right, size, stride, padding)
    batch, filters, pooled = geometry[0], geometry[2], geometry[-1]
    threads, address = torch.get_num_threads(), _native.address
    out = weight.new_empty(batch, filters, pooled)
    shape, dtype = _kept_shape(batch, filters, pooled, size)
    kept = codes.new_empty(shape if keep else 0, dtype=dtype)
    if gram is None:
        batch_mean = batch_variance = weight_cov = None
    else:
        mean, variance = batch_mean, batch_variance = weight.new_empty(filters), weight.new_empty(filters)
        weight_cov = weight.new_empty(filters, gram.shape[0], dtype=torch.float64)
        _native.function("batch_statistics", weight.dtype, weight.device)(
            filters, gram.shape[0], windows, weight.data_ptr(), gram.data_ptr(), mean.data_ptr(),
            variance.data_ptr(), weight_cov.data_ptr(), address(bias), address(running.mean),
            address(running.variance), running.momentum, threads,
        )  # fmt: skip
    _native.function("conv_pool", weight.dtype, weight.device)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), address(bias), address(norm_weight),
        address(norm_bias), address(mean), address(variance), eps, 0 if gram is None else windows,
        out.data_ptr(),
        kept.data_ptr() if keep else 0, *geometry, minimum, relu, threads,
    )  # fmt: skip
    return _Pooled(out, kept, batch_mean, batch_variance, weight_cov)


def _separate_outputs(*arguments):
    """As _forward, with empty tensors for what there is not: a registered op returns tensors."""
    out, kept, mean, variance, weight_cov = _forward(*arguments)
    if mean is None:
        mean, variance = out.new_empty(0), out.new_empty(0)
        weight_cov = out.new_empty(0, dtype=torch.float64)
    return out, kept, mean, variance, weight_cov


def _backward(
    grad, kept, codes, weight, bias, norm_weight, mean, variance, weight_cov, gram, windows, eps, left,
    right, size, stride, padding,
):  # fmt: skip
    """Gradients of weight, and (3, filters) of bias, norm_weight and norm_bias."""
    grad = grad.contiguous()
    grad_weight = torch.empty_like(weight)
    grads = weight.new_empty(3, weight.shape[0])
    address = _native.address
    _native.function("conv_pool_backward", weight.dtype, weight.device)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), address(bias), address(norm_weight),
        address(mean), address(variance), eps, 0 if gram is None else windows, grad.data_ptr(),
        kept.data_ptr(),
        address(weight_cov), address(gram), grad_weight.data_ptr(), grads.data_ptr(),
        *_geometry(codes, weight, left, right, size, stride, padding), torch.get_num_threads(),
    )  # fmt: skip
    return grad_weight, grads


def _save(ctx, inputs, output):
    (codes, weight, bias, norm_weight, norm_bias, mean, variance, gram, windows, eps, left, right,
     size, stride, padding, _, _) = inputs  # fmt: skip
    _, kept, batch_mean, batch_variance, weight_cov = output
    if gram is not None:
        mean, variance = batch_mean, batch_variance
    ctx.save_for_backward(kept, codes, weight, bias, norm_weight, mean, variance, weight_cov, gram)
    ctx.scalars = windows, eps, left, right, size, stride, padding
    ctx.given = bias is not None, norm_weight is not None, norm_bias is not None
    ctx.mark_non_differentiable(kept, batch_mean, batch_variance, weight_cov)
    ctx.set_materialize_grads(False)


class _ConvPool(torch.autograd.Function):
    """The eager path. What the registered op returns beside its output stays with the context here: every
    output of a Function costs microseconds."""

    @staticmethod
    def forward(ctx, running, rest, codes, weight, bias, norm_weight, norm_bias):
        out, ctx.kept, mean, variance, ctx.weight_cov = _forward(
            codes, weight, bias, norm_weight, norm_bias, *rest, running
        )
        ctx.statistics = rest[:2] if mean is None else (mean, variance)
        ctx.save_for_backward(codes, weight, bias, norm_weight)
        ctx.gram, ctx.scalars = rest[2], rest[3:10]
        ctx.given = bias is not None, norm_weight is not None, norm_bias is not None
        return out

    @staticmethod
    def backward(ctx, grad):
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, grad)


def _gradients(ctx, grad):
    weight, others = _backward(
        grad, ctx.kept, *ctx.saved_tensors, *ctx.statistics, ctx.weight_cov, ctx.gram, *ctx.scalars
    )
    return None, None, None, weight, *(others[i] if given else None for i, given in enumerate(ctx.given))


# Refuses to be differentiated again. To be ready for that costs time: asked for only where it may happen.
_gradients_once = torch.autograd.function.once_differentiable(_gradients)


def _registered_backward(ctx, grad, *_):
    if grad is None:
        return (None,) * 17
    weight, *others = torch.ops.motifkit.conv_pool_backward(grad, *ctx.saved_tensors, *ctx.scalars)
    others = [value if given else None for value, given in zip(others, ctx.given, strict=True)]
    return None, weight, *others, *(None,) * 12


def _fake(
    codes, weight, bias, norm_weight, norm_bias, mean, variance, gram, windows, eps, left, right,
    size, stride, padding, minimum, relu,
):  # fmt: skip
    *_, pooled = _geometry(codes, weight, left, right, size, stride, padding)
    batch, filters = codes.shape[0], weight.shape[0]
    shape, dtype = _kept_shape(batch, filters, pooled, size)
    statistics = 0 if gram is None else filters
    return (
        weight.new_empty(batch, filters, pooled),
        codes.new_empty(shape, dtype=dtype),
        weight.new_empty(statistics),
        weight.new_empty(statistics),
        weight.new_empty((filters, gram.shape[0]) if gram is not None else 0, dtype=torch.float64),
    )


def _fake_backward(grad, kept, codes, weight, *_):
    per_filter = weight.new_empty(weight.shape[0])
    return torch.empty_like(weight), *(torch.empty_like(per_filter) for _ in range(3))


def _separate_gradients(*arguments):
    grad_weight, rest = _backward(*arguments)
    return grad_weight, *(x.clone() for x in rest)  # the outputs of an op must not share memory


_common.define(
    "window_counts(Tensor codes, int width, int left, int right) -> Tensor",
    native=_counts,
    fake=lambda codes, width, left, right: codes.new_empty(4 * width, 4 * width, dtype=torch.int64),
)
_common.define(
    "conv_pool_backward(Tensor grad, Tensor kept, Tensor codes, Tensor weight, Tensor? bias,"
    " Tensor? norm_weight, Tensor? mean, Tensor? variance, Tensor? weight_cov, Tensor? gram,"
    " SymInt windows, float eps, int left, int right, int size, int stride, int padding)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    native=_separate_gradients,
    fake=_fake_backward,
)
_common.define(
    "conv_pool(Tensor codes, Tensor weight, Tensor? bias, Tensor? norm_weight, Tensor? norm_bias,"
    " Tensor? mean, Tensor? variance, Tensor? gram, SymInt windows, float eps, int left, int right,"
    " int size, int stride, int padding, bool minimum, bool relu)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    native=_separate_outputs,
    fake=_fake,
    setup_context=_save,
    backward=_registered_backward,
)
