"""max_pool1d: F.max_pool1d in time that does not grow with the overlap of the windows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common


def reference(
    x: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The plain-PyTorch twin of max_pool1d."""
    return F.max_pool1d(x, kernel_size, stride, padding, ceil_mode=ceil_mode, return_indices=return_indices)


def max_pool1d(
    x: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest value of each window, with the arguments and results of F.max_pool1d.

    Windows that overlap cost no more than windows that do not: the row is cut into segments of one
    stride, and running maxima of segments, from the left and from the right, meet in each window
    (van Herk 1992; Gil and Werman 1993).

    Args:
        x: (batch, channels, length) or (channels, length).
        kernel_size, stride, padding, ceil_mode: as F.max_pool1d. Padding never wins a window.
        return_indices: also return where each maximum stood, int64.

    Returns:
        Pooled values, or (values, indices). Ties go to the lowest position; NaN wins. The backward
        pass adds each gradient at its index in a fixed order: the same bits on every run.

    Raises:
        ValueError: no window fits, or padding exceeds half the window.

    Example:
        >>> import torch, motifkit as mk
        >>> mk.ops.max_pool1d(torch.tensor([[[1., 5., 2., 4., 3.]]]), 3, stride=1)
        tensor([[[5., 5., 4.]]])
    """
    stride = kernel_size if stride is None else stride
    if x.dim() not in (2, 3):
        raise ValueError(f"expected (batch, channels, length), got shape {tuple(x.shape)}")
    _common.pool_length(x.shape[-1], kernel_size, stride, padding, ceil_mode)
    if not _native.serves(x) or not x.is_floating_point():
        return reference(x, kernel_size, stride, padding, ceil_mode, return_indices)
    wide = x.to(_common.compute_dtype(x.dtype))
    if torch.compiler.is_compiling():
        out, indices = torch.ops.motifkit.max_pool1d(wide, kernel_size, stride, padding, ceil_mode)
    elif return_indices or (wide.requires_grad and torch.is_grad_enabled()):
        out, indices = _MaxPool1d.apply(wide, kernel_size, stride, padding, ceil_mode)
    else:
        out, indices = _pool(wide, kernel_size, stride, padding, ceil_mode, False), None
    out = out.to(x.dtype)
    return (out, indices) if return_indices else out


def _pool(x, size, stride, padding, ceil_mode, with_indices):
    x = x.contiguous()
    length = x.shape[-1]
    rows = x.numel() // length if length else 0
    out_length = _common.pool_length(length, size, stride, padding, ceil_mode)
    out = x.new_empty(*x.shape[:-1], out_length)
    indices = torch.empty_like(out, dtype=torch.int64) if with_indices else None
    _native.function("max_pool1d", x.dtype, x.device)(
        x.data_ptr(), out.data_ptr(), _native.address(indices), rows, length, size, stride, padding,
        out_length, torch.get_num_threads(),
    )  # fmt: skip
    return (out, indices) if with_indices else out


def _forward(x, size, stride, padding, ceil_mode):
    return _pool(x, size, stride, padding, ceil_mode, True)


def _backward(grad: Tensor, indices: Tensor, length: int) -> Tensor:
    grad = grad.contiguous()
    grad_x = grad.new_empty(*grad.shape[:-1], length)
    out_length = grad.shape[-1]
    _native.function("max_pool1d_backward", grad.dtype, grad.device)(
        grad.data_ptr(), indices.data_ptr(), grad_x.data_ptr(), grad.numel() // out_length, length,
        out_length, torch.get_num_threads(),
    )  # fmt: skip
    return grad_x


class _MaxPool1d(torch.autograd.Function):
    """The eager path."""

    @staticmethod
    def forward(ctx, x, size, stride, padding, ceil_mode):
        out, indices = _forward(x, size, stride, padding, ceil_mode)
        ctx.save_for_backward(indices)
        ctx.length = x.shape[-1]
        ctx.mark_non_differentiable(indices)
        return out, indices

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad, _):
        return _backward(grad, ctx.saved_tensors[0], ctx.length), None, None, None, None


def _fake(x, size, stride, padding, ceil_mode):
    shape = *x.shape[:-1], _common.pool_length(x.shape[-1], size, stride, padding, ceil_mode)
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(output[1])
    ctx.length = inputs[0].shape[-1]
    ctx.mark_non_differentiable(output[1])


def _registered_backward(ctx, grad, _):
    grad_x = torch.ops.motifkit.max_pool1d_backward(grad, ctx.saved_tensors[0], ctx.length)
    return grad_x, None, None, None, None


_common.define(
    "max_pool1d_backward(Tensor grad, Tensor indices, int length) -> Tensor",
    native=_backward,
    fake=lambda grad, indices, length: grad.new_empty(*grad.shape[:-1], length),
)
_common.define(
    "max_pool1d(Tensor x, int size, int stride, int padding, bool ceil_mode) -> (Tensor, Tensor)",
    native=_forward,
    fake=_fake,
    setup_context=_setup_context,
    backward=_registered_backward,
)
