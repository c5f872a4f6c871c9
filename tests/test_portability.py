"""The CPU ops on other processors: the C++ test program, and the module itself, under qemu-user.

Each test skips, with a word, where the emulator or the compiler it needs is not installed (Debian: qemu-user,
g++-aarch64-linux-gnu).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from motifkit import _native

ROOT = Path(__file__).parents[1]


def tool(name: str) -> str:
    """Where a program is; skips the test where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, *options: str) -> Path:
    """The test program of the ops, in `folder`."""
    configure = [tool("cmake"), "-S", str(ROOT), "-B", str(folder), "-DMOTIFKIT_CPP_TESTS=ON"]
    run(*configure, "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1", *options)
    run("cmake", "--build", str(folder), "--parallel", str(os.cpu_count()))
    return folder / "test_ops"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    tool("c++")
    return build(tmp_path_factory.mktemp("native"))


def test_ops_against_plain_loops_on_every_instruction_set(program):
    out = run(str(program), "40")
    assert out.endswith(" 0 failures\n")
    assert out.split(":")[0].split() == _native.module().available_instruction_sets().split()


# What each processor has: no AVX at all, and AVX2 but not AVX-512.
OLDER = {"Nehalem": "generic", "Haswell": "generic avx2"}


@pytest.mark.parametrize("processor", OLDER)
def test_ops_on_an_older_processor(program, processor):
    out = run(tool("qemu-x86_64"), "-cpu", processor, str(program), "4")
    assert out.startswith(f"{OLDER[processor]}: ")
    assert out.endswith(" 0 failures\n")


# A look-up of two filters in the module, called with bare addresses: neither torch nor numpy is emulated.
SCRIPT = """
import ctypes, importlib.util, sys
spec = importlib.util.spec_from_file_location("_C", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
codes = (ctypes.c_uint8 * 6)(0, 1, 2, 3, 4, 0)  # ACGTNA
weight = (ctypes.c_float * 8)(1, 2, 3, 4, 10, 20, 30, 40)  # (2 filters, 4 letters, width 1)
out = (ctypes.c_float * 12)()
at = ctypes.addressof
module.onehot_conv1d_float32(at(codes), 6, at(weight), 0, at(out), 1, 6, 2, 1, 0, 0, 1)
assert list(out) == [1, 2, 3, 4, 0, 1, 10, 20, 30, 40, 0, 10], list(out)
print(module.available_instruction_sets())
"""


@pytest.mark.parametrize("processor", OLDER)
def test_the_module_on_an_older_processor(processor):
    python = os.path.realpath(sys.executable)
    module = _native.module().__file__
    if not os.path.exists(module):
        pytest.skip("the compiled module is not a file")
    out = run(tool("qemu-x86_64"), "-cpu", processor, python, "-S", "-c", SCRIPT, module)
    assert out.strip() == OLDER[processor]


def test_ops_on_arm(tmp_path):
    compiler = tool("aarch64-linux-gnu-g++")
    emulator = tool("qemu-aarch64")
    program = build(
        tmp_path, "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_EXE_LINKER_FLAGS=-static",
    )  # fmt: skip
    out = run(emulator, str(program), "6")
    assert out.startswith("generic: ")
    assert out.endswith(" 0 failures\n")
