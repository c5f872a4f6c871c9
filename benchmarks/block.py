"""The first block of a CNN at one shape: its tensors, and its calls by ours and by the rivals."""

import torch


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
            # Additions of one vector of 16 filters, four letters at a time: all that a window costs.
            "vector_operations": batch * length * -(-width // 4) * -(-filters // 16),
            "bytes_in": batch * length,
            "bytes_out": batch * filters * pooled * 4,
        }
