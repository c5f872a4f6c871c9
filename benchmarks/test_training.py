"""A whole training step of CNN-25: forward, loss, backward, Adam."""

import pytest
import torch
from torch import nn

import motifkit as mk


def plain_pytorch(model):
    """The same network on one-hot tensors, its first block as four PyTorch layers."""
    block = model.block1
    first = nn.Sequential(block.conv, block.norm, block.activation, nn.MaxPool1d(block.pool.kernel_size))
    return nn.Sequential(first, *list(model.children())[1:])


@pytest.mark.parametrize("contender", ["motifkit", "eager"])
@pytest.mark.parametrize("length", [200, 1000])
def test_training_step(measure, benchmark, length, contender):
    benchmark.group = f"CNN-25 training step, 100 x {length}"
    torch.manual_seed(0)
    model = mk.models.build("CNN-25", length)
    codes = torch.randint(0, 4, (100, length), dtype=torch.uint8)
    targets = torch.randint(0, 2, (100, 12)).float()
    plain = plain_pytorch(model)
    x = mk.one_hot(codes)
    torch.testing.assert_close(model.eval()(codes), plain.eval()(x), rtol=1e-3, atol=1e-3)
    network, data = (model, codes) if contender == "motifkit" else (plain, x)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-4, fused=contender == "motifkit")

    def step():
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(data), targets).backward()
        optimiser.step()

    measure(step, positions=codes.numel())
