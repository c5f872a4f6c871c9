"""The compiled module: loaded once, missed with one warning, and what it can do."""

import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

try:
    if os.environ.get("MOTIFKIT_DISABLE_NATIVE") == "1":
        raise ImportError("MOTIFKIT_DISABLE_NATIVE is 1")
    from motifkit import _C  # type: ignore[attr-defined]
except ImportError as error:
    _module: ModuleType | None = None
    _failure = str(error)
else:
    _module = _C
    wanted = os.environ.get("MOTIFKIT_CPU", _C.instruction_set())
    if wanted != _C.instruction_set():
        warnings.warn(
            f"MOTIFKIT_CPU={wanted} is not available here; using {_C.instruction_set()} "
            f"(available: {_C.available_instruction_sets()})",
            stacklevel=2,
        )


_has_cuda = _module is not None and bool(_module.cuda_architectures)


def module() -> ModuleType | None:
    """The compiled module, or None (with one warning) where it cannot be loaded."""
    if _module is None:
        _warn()
    return _module


@cache
def _warn() -> None:
    remedy = "Reinstall motifkit where a C++ compiler is found."
    if (Path(__file__).parents[1] / "CMakeLists.txt").exists():
        remedy = (
            "This is motifkit's source tree, found before any installed copy: start Python in another"
            " folder, or install it from here with pip install -e."
        )
    warnings.warn(
        f"motifkit's compiled module cannot be loaded ({_failure}); every op runs its slower PyTorch"
        f" reference. {remedy}",
        stacklevel=3,
    )


def backend(device: torch.device) -> str:
    """Which family of entry points takes tensors on a device: "cpu" or "cuda". The one place where that
    is chosen: the tests of the emulated kernels put "cuda" here for tensors on the CPU."""
    return device.type


def function(name: str, dtype: torch.dtype | None, device: torch.device) -> Callable[..., Any]:
    """The entry point of an op for tensors on `device`, of float32 or float64 (None: of no one type).

    On either device it takes the same arguments; on a GPU it works on PyTorch's current stream.
    """
    return _entry(name, dtype, device, backend(device))


@cache
def _entry(name: str, dtype: torch.dtype | None, device: torch.device, family: str) -> Callable[..., Any]:
    suffix = {None: "", torch.float32: "_float32", torch.float64: "_float64"}[dtype]
    if family == "cpu":
        return getattr(module(), name + suffix)
    run = getattr(cuda_module(), f"cuda_{name}{suffix}")
    scratch_bytes = getattr(cuda_module(), f"cuda_{name}_scratch{suffix}", lambda *_: 0)
    index = device.index or 0

    def call(*arguments):
        # From PyTorch's allocator, which knows streams and CUDA graphs: nothing is allocated below.
        size = scratch_bytes(*arguments, index)
        scratch = torch.empty(size, dtype=torch.uint8, device=device) if size else None
        return run(*arguments, address(scratch), _stream(device), index)

    return call


def _stream(device: torch.device) -> int:
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def serves(tensor: torch.Tensor) -> bool:
    """Whether the compiled kernels can take tensors on this one's device."""
    family = backend(tensor.device)
    if family == "cpu":
        return module() is not None
    return family == "cuda" and cuda_module() is not None


def cuda_module() -> ModuleType | None:
    """The module with the CUDA entry points: the compiled one, where it was built with them."""
    return _module if _has_cuda else None


def address(tensor: torch.Tensor | None) -> int:
    """Where a tensor's data starts; 0 for an absent one."""
    return 0 if tensor is None else tensor.data_ptr()


def build_info() -> dict[str, Any]:
    """What was built and what is in use.

    Returns:
        version: of motifkit. native: whether the compiled module loads. instruction_set: the one
        in use ("generic", "avx2", "avx512"; choose with the environment variable MOTIFKIT_CPU).
        instruction_sets: those this processor has. cuda: whether CUDA kernels were built.
        cuda_architectures: what for. devices: names of the GPUs that PyTorch sees. threads: as
        torch.get_num_threads() says.

    Example:
        >>> import motifkit as mk
        >>> sorted(mk.build_info())[:3]
        ['cuda', 'cuda_architectures', 'devices']
    """
    from motifkit import __version__

    native = module()
    architectures = native.cuda_architectures if native else ""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "version": __version__,
        "native": native is not None,
        "instruction_set": native.instruction_set() if native else None,
        "instruction_sets": native.available_instruction_sets().split() if native else [],
        "cuda": bool(architectures),
        "cuda_architectures": architectures.split(";") if architectures else [],
        "devices": devices,
        "threads": torch.get_num_threads(),
    }
