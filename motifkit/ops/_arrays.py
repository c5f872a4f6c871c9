"""Arrays of other libraries: into the ops without a copy, and out of them as what came in.

    NumPy                        shares its memory with a tensor on the CPU
    CuPy                         shares its memory; the op runs on CuPy's current stream
    anything with DLPack         shares its memory; its stream and PyTorch's wait for each other
    __cuda_array_interface__     the same, with the stream that the interface names

What comes out is of the kind of the first array, the sequences: NumPy, CuPy, what `from_dlpack` of its array
namespace makes (JAX and other libraries of the Python array API standard), a Numba device array. A kind that
offers none of these gets PyTorch tensors, which speak both protocols themselves. Gradients are PyTorch's.
"""

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def takes_arrays(op: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """An op that takes tensors, made to take arrays of any library where its first argument is one."""

    @functools.wraps(op)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if args and type(args[0]) is Tensor:  # as nearly always: no other cost
            return op(*args, **kwargs)
        if not any(_foreign(value) is not None for value in (*args, *kwargs.values())):
            return op(*args, **kwargs)
        return _converted(op, args, kwargs)

    return call


def _foreign(value: Any) -> Any:
    """The first array in an argument that is none of PyTorch's, or None. Results of scans hold several."""
    if isinstance(value, tuple):
        return next((part for part in value if _foreign(part) is not None), None)
    if isinstance(value, Tensor):
        return None
    known = isinstance(value, np.ndarray) or hasattr(value, "__dlpack__")
    return value if known or hasattr(value, "__cuda_array_interface__") else None


def _converted(op: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    arrays = [found for value in (*args, *kwargs.values()) if (found := _foreign(value)) is not None]
    with _stream_of(arrays):
        result = op(
            *(_each(to_tensor, value) for value in args),
            **{name: _each(to_tensor, value) for name, value in kwargs.items()},
        )
        return _each(lambda part: like(part, arrays[0]), result)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """`change` applied to an argument or a result, or to every field of one that is a tuple."""
    if not isinstance(value, tuple):
        return change(value)
    parts = (_each(change, part) for part in value)
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def to_tensor(value: Any) -> Any:
    """A tensor on the memory of an array; anything else as it is."""
    if _foreign(value) is None:
        return value
    if isinstance(value, np.ndarray):
        if any(stride < 0 for stride in value.strides):
            value = value.copy()  # the one layout that a tensor cannot have
        with warnings.catch_warnings():
            if not value.flags.writeable:  # no op writes to its sequences or weights
                warnings.filterwarnings("ignore", message=".*not writable")
            return torch.from_numpy(value)
    if hasattr(value, "__dlpack__"):
        return torch.from_dlpack(value)
    tensor = torch.as_tensor(value, device="cuda")
    _wait_for(value.__cuda_array_interface__.get("stream"))
    return tensor


def like(tensor: Any, model: Any) -> Any:
    """A tensor as an array of the model's kind; anything else as it is."""
    if not isinstance(tensor, Tensor):
        return tensor
    tensor = tensor.detach()
    if isinstance(model, np.ndarray):
        return tensor.cpu().numpy()
    if _is_cupy(model):
        return sys.modules["cupy"].from_dlpack(tensor)
    if hasattr(model, "__array_namespace__"):
        return model.__array_namespace__().from_dlpack(tensor)
    if type(model).__module__.startswith("numba."):
        return sys.modules["numba.cuda"].as_cuda_array(tensor)
    return tensor


def _is_cupy(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "cupy"


def _stream_of(arrays: list[Any]) -> contextlib.AbstractContextManager:
    """CuPy's current stream for CuPy's arrays, so that its memory pool, which knows that stream alone, cannot
    give away what an op still reads; for all others PyTorch's."""
    model = next((array for array in arrays if _is_cupy(array)), None)
    if model is None:
        return contextlib.nullcontext()
    with model.device:
        pointer = sys.modules["cupy"].cuda.get_current_stream().ptr
    device = torch.device("cuda", model.device.id)
    if pointer == torch.cuda.current_stream(device).cuda_stream:
        return contextlib.nullcontext()
    return torch.cuda.stream(torch.cuda.ExternalStream(pointer, device))


def _wait_for(stream: int | None) -> None:
    """Let PyTorch's stream wait for the one that a __cuda_array_interface__ names: None says that there is
    nothing to wait for, 1 is the legacy default stream, 2 the one of each thread."""
    if stream is None:
        return
    other = torch.cuda.default_stream() if stream == 1 else torch.cuda.ExternalStream(stream)
    torch.cuda.current_stream().wait_stream(other)
