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


DEVICES = ("emulated", pytest.param("cuda", marks=pytest.mark.cuda))


@pytest.fixture(params=(*(INSTRUCTION_SETS or ["cpu"]), *DEVICES))
def device(request):
    """Where the ops run, in turn: on the CPU with each of its instruction sets; on the CPU through the CUDA
    kernels, emulated; on a GPU."""
    return request.getfixturevalue("_run_on")(request.param)


@pytest.fixture(params=("cpu", *DEVICES))
def place(request):
    """As `device`, with the CPU's best instruction set alone."""
    return request.getfixturevalue("_run_on")(request.param)


@pytest.fixture
def _run_on(request, monkeypatch):
    """Makes a named place the one that the ops run on, and gives its tensors' device."""
    native = _native.module()
    before = native.instruction_set() if native else None

    def run_on(name):
        if name in INSTRUCTION_SETS:
            assert native.use_instruction_set(name)
        if name == "emulated":
            kernels = request.getfixturevalue("emulated")
            monkeypatch.setattr(_native, "backend", lambda device: "cuda")
            monkeypatch.setattr(_native, "cuda_module", lambda: kernels)
        if name == "cuda":
            if not torch.cuda.is_available() or _native.cuda_module() is None:
                pytest.skip("no GPU, or no kernels for it")
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    yield run_on
    if native:
        native.use_instruction_set(before)


@pytest.fixture
def is_emulated(request):
    """Whether the test's place is the emulation, where a thread is a fiber and work has to be small."""
    callspec = request.node.callspec.params
    return "emulated" in (callspec.get("device"), callspec.get("place"))


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
