"""onehot_conv1d: F.conv1d on one-hot sequences, from one byte a letter."""

import torch
import torch.nn.functional as F
from torch import Tensor

from motifkit import _native
from motifkit.ops import _common
from motifkit.ops._common import Padding
from motifkit.sequences import one_hot


def reference(codes: Tensor, weight: Tensor, bias: Tensor | None = None, padding: Padding = "same") -> Tensor:
    """The plain-PyTorch twin of onehot_conv1d."""
    x = codes if codes.is_floating_point() else one_hot(codes, _common.compute_dtype(weight.dtype))
    dtype = _common.compute_dtype(weight.dtype)
    pads = _common.resolve_padding(padding, weight.shape[2])
    _common.conv_length(x.shape[2], weight.shape[2], pads)
    bias = None if bias is None else bias.to(dtype)
    return F.conv1d(F.pad(x.to(dtype), pads), weight.to(dtype), bias).to(weight.dtype)


def onehot_conv1d(
    codes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: Padding = "same",
    *,
    check_onehot: bool = True,
) -> Tensor:
    r"""Cross-correlate one-hot sequences with filters, reading look-up tables instead of letters.

    .. math:: z_{n,f,t} = b_f + \sum_k W_{f,\,c_{n,t+k},\,k}

    Args:
        codes: (batch, length) uint8, 0..3 = A, C, G, T; any other value is N and adds nothing. Or
            a float one-hot tensor (batch, 4, length): converted, or, where it is not one-hot or
            requires grad, convolved densely with the same result.
        weight: (filters, 4, width), float16, bfloat16, float32 or float64. Half-precision inputs
            are computed in float32.
        bias: (filters,) or None.
        padding: letters of N at both ends: an int, a pair (left, right), "same" (width - 1 in all,
            the odd one on the right, as PyTorch does) or "valid" (none).
        check_onehot: False takes your word that a float input is one-hot and saves the check.

    Returns:
        (batch, filters, length + left + right - width + 1), of weight's dtype. Equal to F.conv1d up
        to the order of additions; bit for bit where all partial sums are exact. The same bits for
        any number of threads.

    Raises:
        ValueError: shapes do not fit, or the filter is wider than a padded sequence.
        TypeError: codes are neither uint8 nor floating point.

    Example:
        >>> import torch, motifkit as mk
        >>> weight = torch.zeros(1, 4, 3); weight[0, 2, 0] = weight[0, 3, 1] = weight[0, 2, 2] = 1
        >>> mk.ops.onehot_conv1d(mk.encode("CCGTGA"), weight, padding="valid")  # filter GTG
        tensor([[[1., 0., 3., 0.]]])
    """
    _common.check_weight(weight)
    _common.check_per_filter(weight.shape[0], bias=bias)
    if _common.is_dense(codes, check_onehot) or not _native.serves(codes):
        return reference(codes, weight, bias, padding)
    codes = _common.as_codes(codes)
    pads = _common.resolve_padding(padding, weight.shape[2])
    _common.conv_length(codes.shape[1], weight.shape[2], pads)
    dtype = _common.compute_dtype(weight.dtype)
    arguments = codes, _common.widened(weight, dtype), _common.widened(bias, dtype), *pads
    if torch.compiler.is_compiling():
        out = torch.ops.motifkit.onehot_conv1d(*arguments)
    else:
        out = _OneHotConv1d.apply(*arguments)
    return out.to(weight.dtype)


def _forward(codes: Tensor, weight: Tensor, bias: Tensor | None, left: int, right: int) -> Tensor:
    batch, length = codes.shape
    filters, _, width = weight.shape
    out = weight.new_empty(batch, filters, length + left + right - width + 1)
    _native.function("onehot_conv1d", weight.dtype, codes.device)(
        codes.data_ptr(), codes.stride(0), weight.data_ptr(), _native.address(bias), out.data_ptr(),
        batch, length, filters, width, left, right, torch.get_num_threads(),
    )  # fmt: skip
    return out


def _backward(codes: Tensor, grad: Tensor, width: int, left: int, right: int) -> tuple[Tensor, Tensor]:
    batch, length = codes.shape
    filters = grad.shape[1]
    grad = grad.contiguous()
    grad_weight = grad.new_empty(filters, 4, width, dtype=torch.float64)
    grad_bias = grad.new_empty(filters, dtype=torch.float64)
    _native.function("onehot_conv1d_backward", grad.dtype, codes.device)(
        codes.data_ptr(), codes.stride(0), grad.data_ptr(), grad_weight.data_ptr(),
        grad_bias.data_ptr(), batch, length, filters, width, left, right, torch.get_num_threads(),
    )  # fmt: skip
    return grad_weight.to(grad.dtype), grad_bias.to(grad.dtype)


class _OneHotConv1d(torch.autograd.Function):
    """The eager path: as the registered op, at a third of its cost a call."""

    @staticmethod
    def forward(ctx, codes, weight, bias, left, right):
        ctx.save_for_backward(codes)
        ctx.geometry = weight.shape[2], left, right
        ctx.has_bias = bias is not None
        return _forward(codes, weight, bias, left, right)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        weight, bias = _backward(ctx.saved_tensors[0], grad, *ctx.geometry)
        return None, weight, bias if ctx.has_bias else None, None, None


def _fake(codes, weight, bias, left, right):
    length = codes.shape[1] + left + right - weight.shape[2] + 1
    return weight.new_empty(codes.shape[0], weight.shape[0], length)


def _setup_context(ctx, inputs, output):
    codes, weight, bias, left, right = inputs
    ctx.save_for_backward(codes)
    ctx.geometry = weight.shape[2], left, right
    ctx.has_bias = bias is not None


def _registered_backward(ctx, grad):
    weight, bias = torch.ops.motifkit.onehot_conv1d_backward(ctx.saved_tensors[0], grad, *ctx.geometry)
    return None, weight, bias if ctx.has_bias else None, None, None


_common.define(
    "onehot_conv1d_backward(Tensor codes, Tensor grad, int width, int left, int right) -> (Tensor, Tensor)",
    native=_backward,
    fake=lambda codes, grad, width, left, right: (
        grad.new_empty(grad.shape[1], 4, width),
        grad.new_empty(grad.shape[1]),
    ),
)
_common.define(
    "onehot_conv1d(Tensor codes, Tensor weight, Tensor? bias, int left, int right) -> Tensor",
    native=_forward,
    fake=_fake,
    setup_context=_setup_context,
    backward=_registered_backward,
)
