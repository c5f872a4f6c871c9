"""The compiled module: loaded once, missed with one warning, and what it can do."""

import os
import warnings
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


@cache
def function(name: str, dtype: torch.dtype) -> Any:
    """The entry point of an op for float32 or float64 tensors."""
    suffix = {torch.float32: "float32", torch.float64: "float64"}[dtype]
    return getattr(module(), f"{name}_{suffix}")


def serves(tensor: torch.Tensor) -> bool:
    """Whether the compiled kernels can take tensors on this one's device."""
    return tensor.device.type == "cpu" and module() is not None


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
