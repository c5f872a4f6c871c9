"""Several processes as one: who they are, batch statistics of the whole batch, sums over all."""

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn

from motifkit.ops._common import move_running


def rank() -> int:
    """Which of the processes of a torchrun this is; 0 outside one."""
    return dist.get_rank() if _initialised() else int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes torchrun started; 1 outside one."""
    return dist.get_world_size() if _initialised() else int(os.environ.get("WORLD_SIZE", 1))


def _initialised() -> bool:
    return dist.is_available() and dist.is_initialized()


def summed(value: Tensor, group=None) -> Tensor:
    """The sum over all processes; the value itself in a single one. Not differentiable."""
    if not _initialised():
        return value
    out = value.detach().clone()
    dist.all_reduce(out, group=group)
    return out


def largest(value: Tensor, group=None) -> Tensor:
    """The elementwise maximum over all processes; the value itself in a single one."""
    if not _initialised():
        return value
    out = value.detach().clone()
    dist.all_reduce(out, op=dist.ReduceOp.MAX, group=group)
    return out


class _Sum(torch.autograd.Function):
    """Sum over processes; the gradient of what each adds is the sum of all gradients."""

    @staticmethod
    def forward(ctx, value, group):
        ctx.group = group
        return summed(value, group)

    @staticmethod
    def backward(ctx, grad):
        return summed(grad.contiguous(), ctx.group), None


def sync_batch_norm(x: Tensor, norm: "SyncBatchNorm1d") -> Tensor:
    """Batch norm of x (batch, features[, length]) by mean and variance over the batches of all processes."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    own = torch.tensor(x.numel() // x.shape[1], device=x.device)
    count = int(summed(own, norm.process_group))
    mean = _Sum.apply(x.sum(axes), norm.process_group) / count
    centred = x - mean.view(shape)
    variance = _Sum.apply((centred * centred).sum(axes), norm.process_group) / count
    norm.move_running(mean, variance, count)
    y = centred * (variance + norm.eps).rsqrt().view(shape)
    return y if norm.weight is None else y * norm.weight.view(shape) + norm.bias.view(shape)


class SyncBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm1d by the statistics of all processes' batches together, on any device.

    torch.nn.SyncBatchNorm takes CUDA tensors alone; this takes any, and a `motifkit.nn.ConvPool` that
    holds one sums its integer window counts over the processes: its statistics, and after DDP's
    averaging its gradients, are exactly those of the whole batch. `synchronise` puts it in place.
    """

    process_group = None

    @property
    def window_sums(self):
        """What `motifkit.ops.conv_pool` sums its window counts with; None in a single process."""
        return None if world() == 1 else lambda counts: summed(counts, self.process_group)

    def forward(self, x: Tensor) -> Tensor:
        """As BatchNorm1d; outside training, and in a single process, just that."""
        if not self.training or world() == 1:
            return super().forward(x)
        return sync_batch_norm(x, self)

    @torch.no_grad()
    def move_running(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as BatchNorm1d does."""
        if self.running_mean is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        move_running(self.running_mean, self.running_var, mean, variance, count, momentum)


def synchronise(model: nn.Module) -> nn.Module:
    """Replace every BatchNorm1d by a SyncBatchNorm1d over the same parameters and buffers, in place.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.train.distributed import synchronise
        >>> type(synchronise(mk.models.build("CNN-25")).block1.norm).__name__
        'SyncBatchNorm1d'
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = SyncBatchNorm1d  # the same tensors, hooks and keys
    return model


def unsynchronise(model: nn.Module) -> nn.Module:
    """Undo `synchronise`, in place."""
    for module in model.modules():
        if type(module) is SyncBatchNorm1d:
            module.__class__ = nn.BatchNorm1d
    return model
