"""What stands behind the first block of a CNN: faster ways to the same numbers on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motifkit.nn.layers import single
from motifkit.ops._common import move_running

_BITS = 16  # of a random draw for each element of a dropout mask


class Dropout(nn.Dropout):
    """torch.nn.Dropout with four elements decided by each 64-bit random number.

    An element is dropped with probability round(p * 65536) / 65536; kept ones are scaled so that the
    mean is exact. Draws come from torch's global generator.

    Example:
        >>> import torch, motifkit as mk
        >>> mk.nn.Dropout(0.25)(torch.ones(100_000)).mean().round(decimals=1)
        tensor(1.)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements at random while training; x itself otherwise."""
        levels = 1 << _BITS
        dropped = round(self.p * levels)
        if not self.training or dropped == 0:
            return x
        if x.device.type != "cpu" or self.inplace or dropped >= levels or torch.compiler.is_compiling():
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: x.numel()] >= dropped - levels // 2
        mask = kept.to(x.dtype).mul_(levels / (levels - dropped))
        if x.dim() == 3 and x.stride(1) == 1:  # channels last: so is the mask
            return x * mask.view(x.shape[0], x.shape[2], x.shape[1]).transpose(1, 2)
        return x * mask.view(x.shape)


def conv_norm_relu_pool(
    x: Tensor, conv: nn.Conv1d, norm: nn.BatchNorm1d, pool: nn.MaxPool1d | None
) -> Tensor:
    """pool(relu(norm(conv(x)))) with no tensor between the convolution and the pooled output.

    Batch norm and ReLU keep the order of values (or, where the norm's weight is negative, reverse
    that before ReLU), so the pool is taken of the convolution z and the affine applied to what it
    keeps; backward, the gradient of z is one multiply-add of z and a scatter of the pooled gradients.
    Convolutions run with channels last, in which the CPU's libraries are fastest.

    Args:
        x: (batch, channels, length) float32 or float64 on the CPU. conv, norm, pool: as `fuses`
            accepts them; running statistics move as BatchNorm1d moves them.

    Returns:
        (batch, filters, windows), equal to the plain layers but for rounding.

    Example:
        >>> import torch
        >>> from motifkit.nn.deep_block import conv_norm_relu_pool
        >>> conv, norm = torch.nn.Conv1d(3, 5, 5, padding="same", bias=False), torch.nn.BatchNorm1d(5)
        >>> conv_norm_relu_pool(torch.randn(2, 3, 20), conv, norm, torch.nn.MaxPool1d(10)).shape
        torch.Size([2, 5, 2])
    """
    channels_last = torch.channels_last
    wide = x.unsqueeze(2).contiguous(memory_format=channels_last)  # (batch, channels, 1, length)
    weight = conv.weight.unsqueeze(2).contiguous(memory_format=channels_last)
    z = F.conv2d(wide, weight, padding=(0, (conv.kernel_size[0] - 1) // 2))
    size = 1 if pool is None else single(pool.kernel_size)
    if not norm.training:
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        y = _NormReluPool.pooled(z * scale[:, None, None], size)[0]
        return (y + shift[:, None, None]).relu().squeeze(2)
    y, mean, variance = _NormReluPool.apply(z, norm.weight, norm.bias, norm.eps, size)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        count = z.numel() // z.shape[1]
        move_running(norm.running_mean, norm.running_var, mean, variance, count, norm.momentum)
    return y.squeeze(2)


def fuses(x: Tensor, conv: nn.Module, norm: nn.Module, relu: nn.Module, pool: nn.Module | None) -> bool:
    """Whether `conv_norm_relu_pool` stands for these layers here, with nobody hooked to what it skips."""
    layers = [conv, norm, relu] + ([] if pool is None else [pool])
    return (
        type(conv) is nn.Conv1d
        and type(norm) is nn.BatchNorm1d
        and type(relu) is nn.ReLU
        and x.device.type == "cpu"
        and x.dtype == conv.weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch._C._len_torch_function_stack()  # somebody records the operations
        and not torch.is_autocast_enabled("cpu")
        and _plain_conv(conv)
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and (pool is None or _plain_pool(pool))
        and not any(_hooked(layer) for layer in layers)
    )


def _plain_conv(conv: nn.Conv1d) -> bool:
    width = conv.kernel_size[0]
    return (
        conv.bias is None
        and width % 2 == 1
        and conv.padding in ("same", (width // 2,))
        and (conv.stride, conv.dilation, conv.groups) == ((1,), (1,), 1)
        and conv.padding_mode == "zeros"
    )


def _plain_pool(pool: nn.Module) -> bool:
    size, stride = single(pool.kernel_size), single(pool.stride)
    return (
        isinstance(pool, nn.MaxPool1d)
        and size == stride
        and not pool.ceil_mode
        and not pool.return_indices
        and (single(pool.padding), single(pool.dilation)) == (0, 1)
    )


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
        or module._backward_pre_hooks
    )  # fmt: skip


class _NormReluPool(torch.autograd.Function):
    """Batch norm by the batch's statistics, ReLU and max-pool of z (batch, filters, 1, length)."""

    @staticmethod
    def pooled(z: Tensor, size: int):
        """Maxima of windows of `size`, and where they stood; z itself and None for windows of one."""
        return (z, None) if size == 1 else F.max_pool2d(z, (1, size), return_indices=True)

    @staticmethod
    def forward(ctx, z, weight, bias, eps, size):
        mean, variance = torch.batch_norm_update_stats(z, None, None, 0.0)
        r = (variance + eps).rsqrt()
        negative = weight < 0
        if bool(negative.any()):  # there the pool must keep the smallest
            sign = torch.where(negative, -1.0, 1.0).to(z.dtype)[:, None, None]
            best, at = _NormReluPool.pooled(z * sign, size)
            best = best * sign
        else:
            best, at = _NormReluPool.pooled(z, size)
        normal = (best - mean[:, None, None]) * r[:, None, None]
        out = torch.addcmul(bias[:, None, None], normal, weight[:, None, None]).relu_()
        ctx.save_for_backward(z, weight, mean, r, normal, at, out)
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        return out, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad, *_):
        z, weight, mean, r, normal, at, out = ctx.saved_tensors
        q = grad * (out > 0)
        grad_bias = q.sum((0, 2, 3))
        grad_weight = (q * normal).sum((0, 2, 3))
        count = z.numel() // z.shape[1]
        gain = weight * r
        slope = -gain * r * grad_weight / count  # of the statistics' share: slope z + level
        level = -gain * grad_bias / count - slope * mean
        q = q * gain[:, None, None]
        grad_z = torch.addcmul(level[:, None, None], z, slope[:, None, None])
        if at is None:
            grad_z += q
        else:
            grad_z.squeeze(2).scatter_add_(2, at.squeeze(2), q.squeeze(2))
        return grad_z, grad_weight, grad_bias, None, None
