"""Builds CUDA code for the CPU: the module of all kernels, and programs of one file.

See docs/cuda-emulation.md.
"""

import fcntl
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
EMULATION = ROOT / "tests" / "emulation"
BUILD = ROOT / "build" / "emulated"  # kept between runs: an unchanged source is not compiled again


@functools.cache
def module() -> ModuleType:
    """The emulated twin of the compiled module, with its CUDA entry points alone.

    The environment variable MOTIFKIT_EMULATED names a folder that holds it ready made (`make sanitize`,
    `make cuda-coverage`). Otherwise it is built, in the source tree's build/emulated.
    """
    ready = os.environ.get("MOTIFKIT_EMULATED")
    if not ready:
        _build()
    (path,) = Path(ready or BUILD).glob("_emulated*.so")
    spec = importlib.util.spec_from_file_location("_emulated", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _build() -> None:
    compiler()
    if not shutil.which("cmake"):
        pytest.skip("no cmake to build the emulated kernels with")
    pybind11 = pytest.importorskip("pybind11")
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BUILD / "CMakeCache.txt").exists():
            generator = ["-G", "Ninja"] if shutil.which("ninja") else []
            _run(
                "cmake", *generator, "-S", ROOT, "-B", BUILD, "-DMOTIFKIT_EMULATE=ON",
                "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", f"-DPython_EXECUTABLE={sys.executable}",
            )  # fmt: skip
        _run("cmake", "--build", BUILD, "--parallel", os.cpu_count() or 1)


def compiler() -> str:
    """A C++ compiler, or the test is skipped."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    if not found:
        pytest.skip("no C++ compiler to run CUDA code on the CPU with")
    return found


def program(source: str, folder: Path, *flags: str) -> Path:
    """An executable of one CUDA file of tests/emulation."""
    out = folder / "program"
    _run(
        compiler(), "-std=c++20", "-O1", "-DMK_EMULATE", *flags, "-Wall", "-Wextra", "-Werror",
        "-Wno-unknown-pragmas", "-Wno-restrict", f"-I{ROOT / 'csrc'}", f"-I{EMULATION}",
        "-x", "c++", EMULATION / source, "-o", out,
    )  # fmt: skip
    return out


def _run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
