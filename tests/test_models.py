"""The published networks: sizes as published, layers as described, and the same after accelerate.

Numbers of parameters: DeepSEA, DanQ and Basset are those of the authors' distributed models (52,843,119;
46,926,479, where Keras' LSTM has one bias a gate and PyTorch's two: 2 x 4 x 320 more; 4,135,064), Basenji2's
is 30.09 million. The others are summed by hand from the layers' sizes in the papers.
"""

import pytest
import torch
from torch import nn

import motifkit as mk
from helpers import random_codes
from motifkit.models.published import PUBLISHED
from motifkit.nn._fusion import installed

# name: parameters with the published length and classes
PARAMETERS = {
    "DeepBind": (16 * 4 * 24 + 16) + (16 * 32 + 32) + (32 + 1),
    "DeepSEA": 52_843_119,
    "Basset": 4_135_064,
    "DanQ": 46_926_479 + 2 * 4 * 320,
    "BPNet": (64 * 4 * 25 + 64) + 9 * (64 * 64 * 3 + 64) + (64 * 25 * 2 + 2) + (64 * 2 + 2),
    "ChromBPNet": (512 * 4 * 21 + 512) + 8 * (512 * 512 * 3 + 512) + (512 * 75 + 1) + (512 + 1),
    # A unit: 19 x 4 + 1, batch norm 2, 26 x 100 + 100, batch norm 200, 100 + 1, batch norm 2.
    "ExplaiNN": 100 * (77 + 2 + 2700 + 200 + 101 + 2) + 101,
}
# name: (letters, output shapes) for a batch of 2 and 3 classes, short enough for a test
SMALL = {
    "DeepBind": (60, [(2, 3)]),
    "DeepSEA": (200, [(2, 3)]),
    "Basset": (200, [(2, 3)]),
    "DanQ": (120, [(2, 3)]),
    "Basenji2": (512, [(2, 3, 2)]),  # four bins, one cropped at both ends
    "scBasset": (192, [(2, 3)]),
    "BPNet": (100, [(2, 3, 100), (2, 3)]),
    # Convolutions lose 20, 2 x (2 + 4 + ... + 256) and 74 letters: 2,114 leave the paper's 1,000.
    "ChromBPNet": (1116, [(2, 3, 1116 - 2114 + 1000), (2, 3)]),
    "ExplaiNN": (100, [(2, 3)]),
    "CNN-local-exp": (200, [(2, 3)]),
    "CNN-dist-exp": (200, [(2, 3)]),
}
FUSED = {  # what runs as one; the convolution's name alone where dropout or the rest of the net stops it
    "DeepBind": "conv, rectify and pool as one",
    "DeepSEA": "conv1, relu1 and pool1 as one",
    "Basset": "conv1, norm1, relu1 and pool1 as one",
    "DanQ": "conv and pool as one",  # torch.relu is a call
    "Basenji2": "0, 1 and 2 as one",
    "scBasset": "0, 1, 2 and 3 as one",
    "BPNet": "stem alone",
    "ChromBPNet": "stem alone",
    "ExplaiNN": "conv, norm1 and pool as one",
    "CNN-local-exp": "0 and 1 as one",
    "CNN-dist-exp": "0 and 1 as one",
}


def tensors(out):
    return out if isinstance(out, tuple) else (out,)


def test_every_published_network_is_offered():
    assert list(SMALL) == list(FUSED) == list(PUBLISHED) == mk.models.names()[-len(PUBLISHED) :]
    assert mk.models.names()[0] == "CNN-1"


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_published(name):
    with torch.device("meta"):
        model = mk.models.build(name, plain=True)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_basenji_has_the_size_and_the_bins_of_the_paper():
    with torch.device("meta"):
        model = mk.models.build("Basenji2", plain=True).eval()
        out = model(torch.empty(1, 4, 131072))
    assert out.shape == (1, 5313, 896)
    assert [m.out_channels for m in model if isinstance(m, nn.Conv1d)][:7] == [
        288,
        339,
        399,
        470,
        554,
        652,
        768,
    ]
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 30.09


def test_scbasset_ends_on_the_papers_seven_positions():
    with torch.device("meta"):
        model = mk.models.build("scBasset", plain=True).eval()
        before = model[: [type(m) for m in model].index(nn.Flatten)](torch.empty(1, 4, 1344))
    assert before.shape == (1, 256, 7)


@pytest.mark.parametrize("name", SMALL)
def test_accelerated_it_is_the_same(name, generator, capsys):
    """Float64, where only the order of additions differs: far below 1e-9 of the largest value."""
    length, shapes = SMALL[name]
    torch.manual_seed(0)
    plain = mk.models.build(name, length, 3, plain=True).double()
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the draws fall on tensors of another size where the pool came first
    capsys.readouterr()
    fast = mk.accelerate(plain)
    assert FUSED[name] in capsys.readouterr().err
    codes = random_codes(2, length, generator)
    x = mk.one_hot(codes, torch.float64)
    batch_norms = any(isinstance(module, nn.BatchNorm1d) for module in plain.modules())
    for training, given in [(True, codes), (False, x)] if batch_norms else [(True, codes)]:
        results = []
        for model, sequences in ((plain, x), (fast, given)):
            model.train(training).zero_grad()
            outputs = tensors(model(sequences))
            assert [tuple(out.shape) for out in outputs] == shapes
            sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outputs).backward()
            gradients = [p.grad for p in model.parameters()]
            results.append((*(out.detach() for out in outputs), *gradients, *model.buffers()))
        for a, b in zip(results[1], results[0], strict=True):
            scale = max(1.0, b.double().abs().max().item())
            torch.testing.assert_close(a.double(), b.double(), rtol=1e-9, atol=1e-9 * scale)


def test_build_gives_what_takes_codes_and_the_plain_one():
    torch.manual_seed(0)
    fast = mk.models.build("Basset", 200, 2)
    torch.manual_seed(0)
    plain = mk.models.build("Basset", 200, 2, plain=True)
    assert list(installed(fast))
    assert not list(installed(plain))
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in fast.state_dict().items())
    assert fast(torch.zeros(2, 200, dtype=torch.uint8)).shape == (2, 2)


def test_initial_values_and_errors():
    torch.manual_seed(0)
    weight = mk.models.build("Basset", 200, 2, init="he").conv1.weight
    assert abs(weight.std().item() / (2 / 76) ** 0.5 - 1) < 0.03  # 22,800 draws: six standard errors
    with pytest.raises(mk.InputError, match="Basset needs sequences of at least 168"):
        mk.models.build("Basset", 167)
    with pytest.raises(mk.InputError, match="init must be"):
        mk.models.build("Basset", init="zeros")
    for name, network in PUBLISHED.items():
        mk.models.build(name, network.shortest, 1).eval()(torch.zeros(1, network.shortest, dtype=torch.uint8))


def test_a_published_network_trains():
    data = mk.simulate(n=200, length=200, motifs=None, seed=1)
    model = mk.models.build("ExplaiNN", 200, len(data.class_names))
    result = mk.fit(model, data, epochs=1)
    assert result.best_epoch == 1
