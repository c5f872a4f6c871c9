"""Every CUDA kernel compiles for every target without a warning, and needs no more of the GPU than it did."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "csrc" / "cuda" / "ptxas.py"
_spec = importlib.util.spec_from_file_location("ptxas", PATH)
ptxas = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ptxas)

# As nvcc 13.0 prints it.
REPORT = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN8motifkit4cuda36_GLOBAL__N__89b8bf71_4_t_cu_d96f08014fillIfLi128EEEvPT_lS3_' for 'sm_90'
ptxas info    : Function properties for _ZN8motifkit4cuda36_GLOBAL__N__89b8bf71_4_t_cu_d96f08014fillIfLi128EEEvPT_lS3_
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 10 registers, used 1 barriers, 16 bytes cumulative stack size, 4224 bytes smem
ptxas info    : Compile time = 2.286 ms
ptxas info    : Compiling entry function '_ZN8motifkit4cuda36_GLOBAL__N__89b8bf71_4_t_cu_d96f08014noneEv' for 'sm_90'
ptxas info    : Function properties for _ZN8motifkit4cuda36_GLOBAL__N__89b8bf71_4_t_cu_d96f08014noneEv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 4 registers, used 0 barriers
"""  # noqa: E501


def test_a_report_is_read():
    assert ptxas.parse(REPORT) == {
        "fill<float, 128>": {"registers": 10, "shared": 4224, "stack": 16, "spills": 20},
        "none": {"registers": 4, "shared": 0, "stack": 0, "spills": 0},
    }


def test_a_table_is_written_and_read(tmp_path):
    table = {("a.cu", "fill<float, 4>", 80): dict(registers=10, shared=4, stack=0, spills=0)}
    ptxas.write("13.0", table, tmp_path / "t.tsv")
    assert ptxas.read(tmp_path / "t.tsv") == ("13.0", table)


def test_what_gets_worse_is_named():
    row = ("a.cu", "f", 80)
    known = {row: dict(registers=32, shared=64, stack=0, spills=0)}
    assert ptxas.worse(known, known) == []
    assert ptxas.worse({row: known[row] | {"registers": 31}}, known) == []
    assert ptxas.worse({row: known[row] | {"registers": 33}}, known) == [
        "a.cu: f on sm_80: registers 32 -> 33"
    ]
    assert ptxas.worse({row: known[row] | {"registers": 33}}, known, same_release=False) == []
    spilled = {row: known[row] | {"spills": 8}}
    assert ptxas.worse(spilled, known, same_release=False) == ["a.cu: f on sm_80: 8 bytes of spills"]
    assert ptxas.worse({}, known) == ["a.cu: f on sm_80: gone"]
    assert ptxas.worse(known, {}) == ["a.cu: f on sm_80: not in ptxas.tsv"]


def test_every_kernel_compiles_for_every_target_and_none_got_worse():
    nvcc = ptxas.find_nvcc()
    if nvcc is None:
        pytest.skip("no nvcc to compile the kernels with")
    found = ptxas.measure(nvcc)
    release, known = ptxas.read()
    assert {row[2] for row in found} == {80, 86, 89, 90}
    complaints = ptxas.worse(found, known, release == ptxas.nvcc_release(nvcc))
    assert not complaints, "\n".join([*complaints, "python csrc/cuda/ptxas.py --write renews the table"])
