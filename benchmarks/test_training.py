"""CNN-25 as it is trained: one step (forward, loss, backward, Adam), and an epoch of `fit`."""

import pytest
import torch
from torch import nn

import motifkit as mk


@pytest.mark.parametrize("contender", ["motifkit", "eager"])
@pytest.mark.parametrize("length", [200, 1000])
def test_training_step(measure, benchmark, length, contender):
    benchmark.group = f"CNN-25 training step, 100 x {length}"
    torch.manual_seed(0)
    model = mk.models.build("CNN-25", length)
    codes = torch.randint(0, 4, (100, length), dtype=torch.uint8)
    targets = torch.randint(0, 2, (100, 12)).float()
    plain = model.plain()
    x = mk.one_hot(codes)
    torch.testing.assert_close(model.eval()(codes), plain.eval()(x), rtol=1e-3, atol=1e-3)

    def step_of(network, data, fused):
        network.train()
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-4, fused=fused)

        def step():
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(data), targets).backward()
            optimiser.step()

        return step

    calls = {"motifkit": step_of(model, codes, fused=True), "eager": step_of(plain, x, fused=False)}
    measure(calls, contender, positions=codes.numel())


@pytest.fixture(scope="module")
def dataset():
    """17,500 training sequences of 200 letters, 12 classes, as the paper's; a tenth as many to validate."""
    generator = torch.Generator().manual_seed(4)
    codes = torch.randint(0, 4, (19_250, 200), generator=generator, dtype=torch.uint8)
    targets = (torch.rand(19_250, 12, generator=generator) < 0.2).to(torch.uint8)
    splits = {
        "train": torch.arange(17_500),
        "valid": torch.arange(17_500, 19_250),
        "test": torch.arange(17_500, 19_250),
    }
    return mk.SequenceDataset(codes, targets, [f"class{i}" for i in range(12)], splits=splits)


def plain_epochs(net, dataset, epochs):
    """The same epochs as a loop in plain PyTorch: shuffled batches, Adam, the validation loss."""
    loss = nn.functional.binary_cross_entropy_with_logits
    (x, y), (held_x, held_y) = (
        (mk.one_hot(codes), targets.float()) for codes, targets in map(dataset.split, ("train", "valid"))
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-4, weight_decay=1e-6)
    for _ in range(epochs):
        net.train()
        for batch in torch.randperm(len(x)).split(100):
            optimiser.zero_grad()
            loss(net(x[batch]), y[batch]).backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            for part, wanted in zip(held_x.split(500), held_y.split(500), strict=True):
                loss(net(part), wanted)


@pytest.mark.parametrize("contender", ["motifkit", "eager"])
def test_epoch_of_fit(measure, benchmark, dataset, contender):
    benchmark.group = "CNN-25, one epoch of fit, 17,500 x 200"
    torch.manual_seed(0)
    model = mk.models.build("CNN-25")
    codes, _ = dataset.split("valid")
    plain = model.plain().eval()
    torch.testing.assert_close(model.eval()(codes[:50]), plain(mk.one_hot(codes[:50])), rtol=1e-3, atol=1e-3)
    calls = {
        "motifkit": lambda: mk.fit(model, dataset, epochs=1, patience=5, device="cpu"),
        "eager": lambda: plain_epochs(plain, dataset, 1),
    }
    measure(calls, contender, positions=17_500 * 200)
