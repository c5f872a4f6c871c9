"""The first block of a genomics CNN: convolution, batch norm, ReLU, max-pool, forward and backward.

Ours from codes; the rivals are the same four layers of PyTorch on a one-hot tensor made before the clock
starts, eager and under torch.compile.
"""

import pytest
import torch
from block import Block

import motifkit as mk
from motifkit.ops import reference

SHAPES = [  # batch, length, filters, width, pool
    (100, 200, 30, 19, 25),
    (100, 200, 30, 19, 2),
    (100, 1000, 30, 19, 25),
    (100, 1000, 120, 19, 25),
    (512, 1000, 300, 19, 4),
]
MODES = ["forward", "training"]


def check(ours, theirs):
    """Equal but for rounding, as a whole: a value within rounding of zero may pass ReLU in one and not in the
    other, which moves single sums by a whole gradient."""
    for a, b in zip(ours(), theirs(), strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm()


@pytest.mark.parametrize("contender", ["motifkit", "eager", "compiled", "autotuned"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_conv_pool(measure, benchmark, request, floor, shape, mode, contender):
    if contender == "autotuned" and request.config.getoption("--quick"):
        pytest.skip("torch.compile(mode='max-autotune') takes minutes: without --quick")
    benchmark.group = f"conv_pool {mode} {shape}"
    block = Block(shape, training=mode == "training")
    ours = block.call(mk.ops.conv_pool, block.codes)
    if contender == "motifkit":
        check(ours, block.call(reference.conv_pool, mk.one_hot(block.codes)))
        work = block.work()
        if mode == "forward":
            work["floor_ms"] = floor(shape[2], shape[3]) * work["positions"] * 1e3
        measure({contender: ours}, contender, **work)
        return
    op = reference.conv_pool
    if contender != "eager":
        torch._dynamo.reset()
        op = torch.compile(op, mode="max-autotune" if contender == "autotuned" else None)
    rival = block.call(op, mk.one_hot(block.codes))
    check(ours, rival)
    measure({"motifkit": ours, contender: rival}, contender, **block.work())
