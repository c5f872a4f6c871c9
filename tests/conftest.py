import numpy as np
import pytest
import torch

from emulated import module
from motifkit import Motif, MotifSet, _native

INSTRUCTION_SETS = _native.module().available_instruction_sets().split() if _native.module() else []


@pytest.fixture(params=INSTRUCTION_SETS or ["none"])
def instruction_set(request):
    """Each instruction set this processor has, in turn."""
    native = _native.module()
    if native is None:
        pytest.skip("the compiled module is not there")
    before = native.instruction_set()
    assert native.use_instruction_set(request.param)
    yield request.param
    native.use_instruction_set(before)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(20191219)


@pytest.fixture
def small_motifs():
    """Three motifs that no database is needed for."""

    def motif(name, consensus):
        counts = np.full((4, len(consensus)), 2.0)
        for column, letter in enumerate(consensus):
            counts["ACGT".index(letter), column] = 94.0
        return Motif(name, counts, 100)

    return MotifSet([motif("one", "TGACTCAGCA"), motif("two", "CCATATATGG"), motif("three", "GGGGCGGGGC")])


@pytest.fixture(scope="session")
def emulated():
    """The CUDA kernels compiled for the CPU, every CUDA thread a fiber; skipped without a C++ compiler."""
    return module()
