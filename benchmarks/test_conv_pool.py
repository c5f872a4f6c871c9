"""The first block of a genomics CNN: convolution, batch norm, ReLU, max-pool, forward and backward.

Ours from codes; the rivals are the same four layers of PyTorch on a one-hot tensor made before the clock
starts, eager and under torch.compile.
"""

import pytest
import torch

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


class Block:
    """One shape's tensors, and its calls by ours and by the rivals."""

    def __init__(self, shape, training):
        batch, length, filters, width, pool = shape
        generator = torch.Generator().manual_seed(1)
        self.codes = torch.randint(0, 4, (batch, length), generator=generator, dtype=torch.uint8)
        self.training = training
        self.weight = torch.randn(filters, 4, width, generator=generator).requires_grad_(training)
        gain = 0.5 + torch.rand(filters, generator=generator)
        self.parameters = [
            self.weight,
            gain.requires_grad_(training),
            torch.randn(filters, generator=generator).requires_grad_(training),
        ]
        self.running = torch.zeros(filters), torch.full((filters,), 20.0)
        self.upstream = torch.randn(batch, filters, length // pool, generator=generator)
        self.pool = pool

    def layers(self, op, x, weight, gain, shift):
        mean, variance = self.running
        return op(
            x, weight, norm_weight=gain, norm_bias=shift, running_mean=mean, running_var=variance,
            training=self.training, pool_size=self.pool,
        )  # fmt: skip

    def call(self, op, x):
        def forward():
            with torch.no_grad():
                return [self.layers(op, x, *self.parameters)]

        def both():
            out = self.layers(op, x, *self.parameters)
            return [out.detach(), *torch.autograd.grad(out, self.parameters, self.upstream)]

        return both if self.training else forward

    def work(self):
        batch, filters, pooled = self.upstream.shape
        length, width = self.codes.shape[1], self.weight.shape[2]
        return {
            "positions": batch * length,
            # Look-ups of one vector of filters: four letters at a time forward.
            "vector_look_ups": batch * length * -(-width // 4) * -(-filters // 16),
            "bytes_out": batch * filters * pooled * 4,
        }


def check(ours, theirs):
    """Equal but for rounding, as a whole: a value within rounding of zero may pass ReLU in one and not in the
    other, which moves single sums by a whole gradient."""
    for a, b in zip(ours(), theirs(), strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm()


@pytest.mark.parametrize("contender", ["motifkit", "eager", "compiled"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_conv_pool(measure, benchmark, shape, mode, contender):
    benchmark.group = f"conv_pool {mode} {shape}"
    block = Block(shape, training=mode == "training")
    ours = block.call(mk.ops.conv_pool, block.codes)
    if contender == "motifkit":
        check(ours, block.call(reference.conv_pool, mk.one_hot(block.codes)))
        measure(ours, **block.work())
        return
    op = reference.conv_pool
    if contender == "compiled":
        torch._dynamo.reset()
        op = torch.compile(reference.conv_pool)
    rival = block.call(op, mk.one_hot(block.codes))
    check(ours, rival)
    measure(rival, **block.work())
