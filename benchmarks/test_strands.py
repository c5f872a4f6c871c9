"""Both strands of the first block, against one strand, two calls, and PyTorch.

"Two calls" is what a reader would write with conv_pool: the sequences and their reverse complements, each
with its own batch statistics; the larger of the two is kept.
"""

import pytest
import torch

import motifkit as mk
from motifkit.nn import strands

SHAPES = [  # batch, length, filters, width, pool
    (100, 200, 30, 19, 25),
    (100, 1000, 30, 19, 25),
    (100, 1000, 120, 19, 25),
]


class Block:
    """One shape's tensors, and its training step by each contender."""

    def __init__(self, shape):
        batch, length, filters, width, self.pool = shape
        generator = torch.Generator().manual_seed(1)
        self.codes = torch.randint(0, 4, (batch, length), generator=generator, dtype=torch.uint8)
        self.weight = torch.randn(filters, 4, width, generator=generator).requires_grad_()
        self.gain = (0.5 + torch.rand(filters, generator=generator)).requires_grad_()
        self.upstream = torch.randn(batch, filters, length // self.pool, generator=generator)

    def step(self, op, codes):
        def call():
            out = op(codes, self.weight, norm_weight=self.gain, training=True, pool_size=self.pool)
            return [out.detach(), *torch.autograd.grad(out, [self.weight, self.gain], self.upstream)]

        return call

    def two_calls(self, codes, *arguments, **keywords):
        other = mk.ops.conv_pool(mk.reverse_complement(codes), *arguments, **keywords).flip(2)
        return torch.maximum(mk.ops.conv_pool(codes, *arguments, **keywords), other)

    def contenders(self):
        return {
            "motifkit": self.step(strands.conv_pool_both, self.codes),
            "one strand": self.step(mk.ops.conv_pool, self.codes),
            "two calls": self.step(self.two_calls, self.codes),
            "eager": self.step(strands.reference, mk.one_hot(self.codes)),
        }


@pytest.mark.parametrize("contender", ["motifkit", "one strand", "two calls", "eager"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_both_strands(measure, benchmark, shape, contender):
    benchmark.group = f"both strands, training {shape}"
    block = Block(shape)
    contenders = block.contenders()
    if contender == "motifkit":
        for a, b in zip(contenders["motifkit"](), contenders["eager"](), strict=True):
            assert (a - b).norm() <= 1e-3 * b.norm()
    measure(contenders, contender, positions=block.codes.numel())
