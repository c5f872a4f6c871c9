"""What every op does with its arguments before any arithmetic."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from motifkit import _native

N = 4  # the code of any letter but A, C, G, T, and of padding

_NOT_ONE_HOT = "expected a one-hot tensor: each column a single 1, or all 0 for N"

Padding = int | tuple[int, int] | str


def define(schema: str, **implementations: Callable[..., Any]) -> None:
    """Register an op: `schema` without its namespace, then native= (for both devices), fake= and, to
    differentiate, backward= and setup_context=."""
    name = "motifkit::" + schema[: schema.index("(")]
    torch.library.define(name, schema[schema.index("(") :], tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):
        torch.library.impl(name, key)(implementations["native"])
    torch.library.register_fake(name)(implementations["fake"])
    if "backward" in implementations:
        torch.library.register_autograd(
            name, implementations["backward"], setup_context=implementations["setup_context"]
        )


def resolve_padding(padding: Padding, width: int) -> tuple[int, int]:
    """Letters of N before and after a sequence, as torch.nn.functional.conv1d would add."""
    if padding == "same":
        return (width - 1) // 2, width - 1 - (width - 1) // 2
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):
        raise ValueError(f"padding must be an int, a pair, 'same' or 'valid', not {padding!r}")
    left, right = (padding, padding) if isinstance(padding, int) else padding
    if left < 0 or right < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    return left, right


def conv_length(length: int, width: int, pads: tuple[int, int]) -> int:
    """Windows of one sequence; at least one, or ValueError."""
    out = length + pads[0] + pads[1] - width + 1
    if out < 1:
        raise ValueError(
            f"a filter of width {width} does not fit sequences of {length} letters with padding {pads}"
        )
    return out


def pool_length(length: int, size: int, stride: int, padding: int, ceil_mode: bool = False) -> int:
    """Windows of one row, as torch.nn.functional.max_pool1d counts them."""
    if size < 1 or stride < 1:
        raise ValueError(f"pool size and stride must be at least 1, got {size} and {stride}")
    if not 0 <= padding <= size // 2:
        raise ValueError(f"pool padding must be between 0 and half the size, got {padding} of {size}")
    span = length + 2 * padding - size
    out = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (out - 1) * stride >= length + padding:
        out -= 1
    if out < 1:
        raise ValueError(f"a pool of size {size} does not fit {length} positions with padding {padding}")
    return out


def check_weight(weight: Tensor) -> None:
    """Refuse what is not a (filters, 4, width) tensor of floating-point numbers."""
    if weight.dim() != 3 or weight.shape[1] != 4 or weight.shape[2] < 1:
        raise ValueError(f"weight must have shape (filters, 4, width), got {tuple(weight.shape)}")
    if not weight.is_floating_point():
        raise TypeError(f"weight must be a floating-point tensor, got {weight.dtype}")


def check_per_filter(filters: int, **values: Tensor | None) -> None:
    """Refuse a per-filter argument of another length."""
    for name, value in values.items():
        if value is not None and value.shape != (filters,):
            raise ValueError(f"{name} must have shape ({filters},), got {tuple(value.shape)}")


def is_dense(x: Tensor, check_onehot: bool = True) -> bool:
    """Whether x must take the dense path: a float input that is not one-hot or wants a gradient."""
    if not x.is_floating_point():
        return False
    if x.requires_grad and torch.is_grad_enabled():
        return True
    if torch.compiler.is_compiling() or not check_onehot or _capturing(x):
        return False
    return not is_onehot(x)


def _capturing(x: Tensor) -> bool:
    """Whether a CUDA graph is being recorded: nothing may wait for the device then."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def is_onehot(x: Tensor) -> bool:
    """Whether every column of x (batch, 4, length) holds a single one, or zeros alone (N)."""
    return bool((((x == 0) | (x == 1)).all() & (x.sum(1) <= 1).all()).item())


def as_codes(x: Tensor, check_onehot: bool = False) -> Tensor:
    """Codes (batch, length), rows contiguous, from codes or a one-hot tensor (batch, 4, length).

    On the CPU a tensor that is not one-hot is always refused; on a GPU where `check_onehot` asks for it."""
    if x.dtype == torch.uint8:
        if x.dim() != 2:
            raise ValueError(f"codes must have shape (batch, length), got {tuple(x.shape)}")
        return x if x.stride(1) == 1 else x.contiguous()
    if not x.is_floating_point():
        raise TypeError(f"sequences must be uint8 codes or a float one-hot tensor, got {x.dtype}")
    if x.dim() != 3 or x.shape[1] != 4:
        raise ValueError(f"a one-hot tensor must have shape (batch, 4, length), got {tuple(x.shape)}")
    if check_onehot and not is_onehot(x):
        raise ValueError(_NOT_ONE_HOT)
    return torch.ops.motifkit.onehot_to_codes(x)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half-precision numbers are computed with in float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def widened(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Contiguous and of `dtype`; None stays None."""
    if value is None or (value.dtype == dtype and value.is_contiguous()):
        return value
    return value.to(dtype).contiguous()


@torch.no_grad()
def move_running(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, count: int, momentum: float
) -> None:
    """Move a batch norm's running statistics towards those of `count` values, the variance unbiased."""
    running_mean.lerp_(mean.to(running_mean.dtype), momentum)
    running_var.lerp_((variance * (count / (count - 1))).to(running_var.dtype), momentum)


def _onehot_to_codes(x: Tensor) -> Tensor:
    batch, _, length = x.shape
    if not _native.serves(x) or x.dtype not in (torch.float32, torch.float64):
        codes = torch.where(x.sum(1) == 0, N, x.argmax(1)).to(torch.uint8)
        valid = _native.backend(x.device) == "cuda" or is_onehot(x)
    else:
        x = x.contiguous()
        codes = x.new_empty(batch, length, dtype=torch.uint8)
        valid = _native.function("onehot_to_codes", x.dtype, x.device)(
            x.data_ptr(), batch, length, codes.data_ptr(), torch.get_num_threads()
        )
    if valid is False:  # on a GPU nobody knows without waiting: the caller has checked, or given its word
        raise ValueError(_NOT_ONE_HOT)
    return codes


define(
    "onehot_to_codes(Tensor x) -> Tensor",
    native=_onehot_to_codes,
    fake=lambda x: x.new_empty((x.shape[0], x.shape[2]), dtype=torch.uint8),
)
