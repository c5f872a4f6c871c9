"""Drop-in layers."""

from functools import partial

import torch
from torch import Tensor, nn

from motifkit import ops
from motifkit.nn.strands import COMBINE, conv_pool_both


class Exp(nn.Module):
    """Exponential activation (Koo & Ploenzke 2021): first-layer filters become motifs more readily."""

    def forward(self, x: Tensor) -> Tensor:
        """exp(x), elementwise."""
        return torch.exp(x)


class OneHotConv1d(nn.Conv1d):
    """torch.nn.Conv1d over DNA, computed from codes: same initialisation, parameters, state_dict.

    Args:
        in_channels: 4. out_channels: filters. kernel_size: letters a filter covers.
        padding: an int, "same" or "valid". bias: whether filters have one.

    The input is codes (batch, length) uint8 or one-hot (batch, 4, length); the output is
    (batch, out_channels, windows). See `motifkit.ops.onehot_conv1d`.

    Example:
        >>> import motifkit as mk
        >>> mk.nn.OneHotConv1d(4, 30, 19)(mk.encode("ACGT" * 50)).shape
        torch.Size([1, 30, 200])
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 30,
        kernel_size: int = 19,
        padding: int | str = "same",
        bias: bool = True,
    ):
        if in_channels != 4:
            raise ValueError(f"DNA has 4 channels, not {in_channels}")
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve codes or a one-hot tensor."""
        return ops.onehot_conv1d(x, self.weight, self.bias, conv_padding(self))


class MaxPool1d(nn.MaxPool1d):
    """torch.nn.MaxPool1d in time that does not grow with the overlap of the windows."""

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, ceil_mode: bool = False
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Pool (batch, channels, length)."""
        return ops.max_pool1d(x, *pool_geometry(self), self.ceil_mode)


class ConvPool(nn.Module):
    """Convolution, batch norm, activation and max-pool as one op; see `motifkit.ops.conv_pool`.

    Args:
        conv: a Conv1d over 4 channels with stride, dilation and groups of 1.
        norm: a BatchNorm1d or None. activation: a torch.nn activation (Identity, ReLU, Sigmoid,
            Tanh, Softplus, GELU, SiLU), `motifkit.nn.Exp`, or None. pool: a MaxPool1d or None.
        strands: "+", or "both": every filter on both strands of each window, with one batch norm over the
            two; see `motifkit.nn.strands`. combine: "max" keeps the larger strand (filters outputs), "concat"
            gives the filters on their own strand and then on the other (2 * filters outputs).

    The modules given are kept as `conv`, `norm`, `activation` and `pool`, so parameters, buffers and
    state_dict keys are theirs.

    Raises:
        ValueError: a module that does not fuse exactly; the message says which and why.

    Example:
        >>> import torch, motifkit as mk
        >>> block = mk.nn.ConvPool(torch.nn.Conv1d(4, 30, 19, padding="same", bias=False),
        ...                        torch.nn.BatchNorm1d(30), torch.nn.ReLU(), torch.nn.MaxPool1d(25))
        >>> block(mk.encode("ACGT" * 50)).shape
        torch.Size([1, 30, 8])
    """

    def __init__(
        self,
        conv: nn.Conv1d,
        norm: nn.BatchNorm1d | None = None,
        activation: nn.Module | None = None,
        pool: nn.MaxPool1d | None = None,
        *,
        strands: str = "+",
        combine: str = "max",
    ):
        super().__init__()
        check_conv(conv)
        if strands not in ("+", "both"):
            raise ValueError(f"strands must be '+' or 'both', not {strands!r}")
        if combine not in COMBINE:
            raise ValueError(f"combine must be one of {', '.join(COMBINE)}, not {combine!r}")
        if norm is not None and not isinstance(norm, nn.BatchNorm1d):
            raise ValueError(f"norm must be a BatchNorm1d, not {type(norm).__name__}")
        if pool is not None:
            if not isinstance(pool, nn.MaxPool1d):
                raise ValueError(f"pool must be a MaxPool1d, not {type(pool).__name__}")
            if single(pool.dilation) != 1 or pool.ceil_mode or pool.return_indices:
                raise ValueError("pool must have dilation 1, floor mode and no returned indices")
        self.conv, self.norm, self.activation, self.pool = conv, norm, activation, pool
        self.activation_name = activation_name(activation)
        self.strands, self.combine = strands, combine

    def forward(self, x: Tensor) -> Tensor:
        """Codes (batch, length) or one-hot (batch, 4, length) to (batch, filters, windows)."""
        size, stride, padding = (1, 1, 0) if self.pool is None else pool_geometry(self.pool)
        arguments = {} if self.norm is None else norm_arguments(self.norm, self.conv.weight)
        op = ops.conv_pool
        if self.strands == "both":
            op = partial(conv_pool_both, combine=self.combine)
        return op(
            x, self.conv.weight, self.conv.bias, activation=self.activation_name, pool_size=size,
            pool_stride=stride, pool_padding=padding, padding=conv_padding(self.conv), **arguments,
        )  # fmt: skip


def norm_arguments(norm: nn.Module, like: Tensor) -> dict:
    """conv_pool's arguments for this call of a batch norm, which counts the batch as the module would."""
    momentum = 0.0 if norm.momentum is None else norm.momentum
    if norm.training and norm.track_running_stats and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1.0 / float(norm.num_batches_tracked)
    tracked = norm.track_running_stats or not norm.training
    mean, variance = (norm.running_mean, norm.running_var) if tracked else (None, None)
    gain = norm.weight
    if gain is None and mean is None:  # else conv_pool would take it that there is no batch norm
        gain = like.new_ones(norm.num_features)
    batch_statistics = norm.training or norm.running_mean is None
    arguments = {
        "norm_weight": gain,
        "norm_bias": norm.bias,
        "running_mean": mean,
        "running_var": variance,
        "training": batch_statistics,
        "momentum": momentum,
        "eps": norm.eps,
    }
    window_sums = getattr(norm, "window_sums", None)  # of a motifkit.train.distributed.SyncBatchNorm1d
    if batch_statistics and window_sums is not None:
        arguments["window_sums"] = window_sums
    return arguments


def check_conv(conv: nn.Conv1d) -> None:
    """Refuse a convolution that the ops do not compute."""
    if not isinstance(conv, nn.Conv1d):
        raise ValueError(f"conv must be a Conv1d, not {type(conv).__name__}")
    if conv.in_channels != 4 or conv.groups != 1:
        raise ValueError(f"conv must read 4 channels in one group, not {conv.in_channels}")
    if single(conv.stride) != 1 or single(conv.dilation) != 1:
        raise ValueError("conv must have stride 1 and dilation 1")
    if conv.padding_mode != "zeros":
        raise ValueError(f"conv must pad with zeros, not {conv.padding_mode!r}")


def activation_name(activation: nn.Module | None) -> str:
    """conv_pool's name of an activation module; ValueError where it has none."""
    simple = {
        nn.Identity: "identity", nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh",
        nn.SiLU: "silu", Exp: "exp",
    }  # fmt: skip
    if activation is None:
        return "identity"
    if type(activation) in simple:
        return simple[type(activation)]
    if type(activation) is nn.GELU:
        return "gelu" if activation.approximate == "none" else "gelu_tanh"
    if type(activation) is nn.Softplus and activation.beta == 1 and activation.threshold == 20:
        return "softplus"
    raise ValueError(f"activation {activation} is not one that conv_pool computes")


def conv_padding(conv: nn.Conv1d) -> int | str:
    """The padding argument of the ops."""
    return conv.padding if isinstance(conv.padding, str) else single(conv.padding)


def pool_geometry(pool: nn.MaxPool1d) -> tuple[int, int, int]:
    """(size, stride, padding) as plain ints."""
    return single(pool.kernel_size), single(pool.stride), single(pool.padding)


def single(value) -> int:
    """A size that torch.nn keeps as an int or a tuple of one."""
    return value[0] if isinstance(value, tuple) else value
