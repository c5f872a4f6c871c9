"""Ops take arrays of other libraries without a copy and return the same kind."""

import inspect

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.ops import Hits, ScanResult, _arrays

CODES = mk.encode(["CCGTGATTGTGC", "ACACAANNGTGA", "TTTTTTTTTTTT"])
WEIGHT = torch.stack([mk.one_hot(mk.encode("GTG"))[0], mk.one_hot(mk.encode("TCA"))[0]])


class Foreign:
    """An array of a library that nobody knows: DLPack is all that it has."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


class Standard(Foreign):
    """An array of a library that follows the array API standard."""

    def __array_namespace__(self):
        return Standard

    @staticmethod
    def from_dlpack(tensor):
        return Standard(torch.from_dlpack(tensor))


KINDS = {
    "numpy": (torch.Tensor.numpy, torch.from_numpy, np.ndarray),
    "standard": (Standard, lambda array: array.tensor, Standard),
    "foreign": (Foreign, lambda tensor: tensor, torch.Tensor),
    "cupy": (
        lambda tensor: pytest.importorskip("cupy").asarray(tensor.numpy()),
        lambda array: torch.from_numpy(array.get()),
        None,
    ),
}
CALLS = {
    "onehot_conv1d": lambda wrap: mk.ops.onehot_conv1d(wrap(CODES), wrap(WEIGHT), padding=(1, 2)),
    "max_pool1d": lambda wrap: mk.ops.max_pool1d(wrap(WEIGHT), 2, return_indices=True),
    "conv_pool": lambda wrap: mk.ops.conv_pool(
        wrap(CODES), wrap(WEIGHT), bias=wrap(torch.ones(2)), pool_size=3
    ),
    "scan": lambda wrap: mk.ops.scan(wrap(CODES), wrap(WEIGHT), strands="both"),
    "scan_hits": lambda wrap: mk.ops.scan_hits(wrap(CODES), wrap(WEIGHT), wrap(torch.tensor([2.5, 1.5]))),
    "best hits": lambda wrap: mk.ops.scan(wrap(CODES), wrap(WEIGHT)).hits(),
    "align": lambda wrap: mk.ops.align(
        wrap(CODES), Hits(*map(wrap, mk.ops.scan_hits(CODES, WEIGHT, 2.5))), 3, filters=2
    ),
}


@pytest.fixture(params=["numpy", "standard", "foreign", pytest.param("cupy", marks=pytest.mark.cuda)])
def kind(request):
    if request.param == "cupy" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    return KINDS[request.param]


@pytest.mark.parametrize("call", CALLS)
def test_every_op_gives_back_what_it_was_given(call, kind):
    wrap, unwrap, expected = kind
    result, wanted = CALLS[call](wrap), CALLS[call](lambda tensor: tensor)
    assert type(result) is type(wanted) or not isinstance(wanted, tuple)  # ScanResult, Hits
    for part, true in zip(_fields(result), _fields(wanted), strict=True):
        assert expected is None or type(part) is expected
        got = unwrap(part)
        assert got.dtype == true.dtype
        assert torch.equal(got.cpu(), true)


def _fields(result):
    return result if isinstance(result, tuple) else (result,)


def test_the_signatures_stay():
    assert list(inspect.signature(mk.ops.scan).parameters) == [
        "codes",
        "weight",
        "bias",
        "padding",
        "strands",
    ]


def test_memory_is_shared_with_numpy():
    codes = CODES.numpy()
    assert _arrays.to_tensor(codes).data_ptr() == codes.ctypes.data
    every_other = codes[::2, 1::2]
    assert _arrays.to_tensor(every_other).data_ptr() == every_other.ctypes.data
    result = _arrays.like(CODES, codes)
    assert result.ctypes.data == CODES.data_ptr()


def test_arrays_that_cannot_be_written_are_read(recwarn):
    codes = CODES.numpy().copy()
    codes.flags.writeable = False
    assert np.array_equal(mk.ops.scan(codes, WEIGHT).score, mk.ops.scan(CODES, WEIGHT).score)
    assert not recwarn


def test_reversed_arrays_are_read():
    turned = CODES.numpy()[:, ::-1]
    assert np.array_equal(mk.ops.scan(turned, WEIGHT).score, mk.ops.scan(CODES.flip(1), WEIGHT).score)


def test_tensors_beside_arrays():
    assert isinstance(mk.ops.scan(CODES.numpy(), WEIGHT).score, np.ndarray)
    assert isinstance(mk.ops.scan(CODES.numpy(), torch.nn.Parameter(WEIGHT)).score, np.ndarray)


def test_running_statistics_move_in_the_arrays_given():
    mean, variance = np.zeros(2, np.float32), np.ones(2, np.float32)
    mk.ops.conv_pool(CODES.numpy(), WEIGHT.numpy(), running_mean=mean, running_var=variance, training=True)
    true_mean = torch.zeros(2)
    mk.ops.conv_pool(CODES, WEIGHT, running_mean=true_mean, running_var=torch.ones(2), training=True)
    assert mean.any()
    assert np.array_equal(mean, true_mean)


def test_gradients_and_compilation_pass_through():
    weight = WEIGHT.clone().requires_grad_()
    mk.ops.scan(CODES, weight).score.sum().backward()
    assert weight.grad.any()
    compiled = torch.compile(mk.ops.scan, fullgraph=True, backend="eager")
    assert torch.equal(compiled(CODES, WEIGHT).position, mk.ops.scan(CODES, WEIGHT).position)


@pytest.mark.parametrize(("stream", "waits"), [(None, []), (1, ["default"]), (2, [2]), (0x7F00, [0x7F00])])
def test_a_cuda_array_interface_says_which_stream_to_wait_for(monkeypatch, stream, waits):
    # Without a GPU: which calls PyTorch would receive.
    class Device:
        def __init__(self):
            memory = {"shape": (3,), "typestr": "<f4", "data": (64, False), "version": 3}
            self.__cuda_array_interface__ = memory | {"stream": stream}

    class Current:
        def wait_stream(self, other):
            waited.append(other)

    waited, asked = [], []
    monkeypatch.setattr(torch, "as_tensor", lambda value, device: asked.append((value, device)) or "a tensor")
    monkeypatch.setattr(torch.cuda, "current_stream", Current)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda: "default")
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda pointer: pointer)
    array = Device()
    assert _arrays.to_tensor(array) == "a tensor"
    assert asked == [(array, "cuda")]
    assert waited == waits


@pytest.mark.cuda
def test_cupy_shares_memory_and_its_stream():
    cupy = pytest.importorskip("cupy")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        codes = cupy.zeros((64, 1 << 20), dtype=cupy.uint8)
        assert _arrays.to_tensor(codes).data_ptr() == codes.data.ptr
        weight = cupy.asarray(WEIGHT.numpy())
        for letter in range(4):  # each scan has to see the letters written just before, and no later ones
            codes[:] = letter
            best = mk.ops.scan(codes, weight)
            codes[:] = 4
            true = float((WEIGHT[0, letter] == 1).sum())
            assert (best.score[:, 0] == true).all()
        stream.synchronize()
    assert isinstance(best, ScanResult)
