"""What stands behind the first block: the fused layers are the plain ones, the quick dropout is dropout."""

import pytest
import torch
from torch import nn

import motifkit as mk
from motifkit.nn.deep_block import conv_norm_relu_pool, fuses


def layers(pool, width=5, dtype=torch.float64):
    torch.manual_seed(1)
    conv = nn.Conv1d(3, 6, width, padding="same", bias=False, dtype=dtype)
    norm = nn.BatchNorm1d(6, momentum=0.2, dtype=dtype)
    with torch.no_grad():
        norm.weight.copy_(
            torch.tensor([1.0, -0.5, 2.0, 0.3, -1.0, 0.7])
        )  # negative: the pool must keep minima
        norm.bias.normal_()
    plain = nn.Sequential(conv, norm, nn.ReLU(), *([nn.MaxPool1d(pool)] if pool > 1 else []))
    return conv, norm, (nn.MaxPool1d(pool) if pool > 1 else None), plain


@pytest.mark.parametrize("pool", [1, 2, 5, 20])
@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("training", [True, False])
def test_the_fused_layers_are_the_plain_ones(pool, width, training):
    import copy

    conv, norm, pooling, plain = layers(pool, width)
    other = copy.deepcopy(plain)
    for net in (plain, other):
        net.train(training)
    x = torch.randn(4, 3, 23, dtype=torch.float64, requires_grad=True)
    assert fuses(x, conv, norm, plain[2], pooling)
    found, expected = conv_norm_relu_pool(x, conv, norm, pooling), other(x)
    # Sums of at most 4 x 23 x 15 terms of size 1 in float64.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    upstream = torch.randn_like(expected)
    parameters = [conv.weight, norm.weight, norm.bias]
    found = torch.autograd.grad(found, [x, *parameters], upstream)
    expected = torch.autograd.grad(expected, [x, other[0].weight, other[1].weight, other[1].bias], upstream)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    for name, value in other[1].named_buffers():
        torch.testing.assert_close(norm.get_buffer(name), value, rtol=0, atol=1e-12)


def test_layers_that_somebody_looks_into_run_one_by_one():
    conv, norm, pool, plain = layers(5)
    x = torch.randn(2, 3, 20, dtype=torch.float64)
    seen = []
    handle = norm.register_forward_hook(lambda *_: seen.append(1))
    assert not fuses(x, conv, norm, plain[2], pool)
    handle.remove()
    assert fuses(x, conv, norm, plain[2], pool)
    assert not fuses(x, conv, norm, nn.ELU(), pool)
    assert not fuses(x, conv, norm, plain[2], nn.MaxPool1d(5, 2))
    assert not fuses(x, nn.Conv1d(3, 6, 5), norm, plain[2], pool)
    assert not fuses(x.float(), conv, norm, plain[2], pool)


@pytest.mark.parametrize("name", ["CNN-1", "CNN-25", "CNN-50-2", "CNN-1-1-100"])
def test_a_network_is_its_plain_self(name):
    torch.manual_seed(0)
    model = mk.models.build(name).double().eval()
    codes = torch.randint(0, 5, (3, 200), dtype=torch.uint8)
    expected = model.plain().eval()(mk.one_hot(codes, torch.float64))
    torch.testing.assert_close(model(codes), expected, rtol=0, atol=1e-10)
    assert {type(m).__module__.split(".")[0] for m in model.plain()} == {"torch"}


def test_dropout_drops_the_share_it_should_and_keeps_the_mean():
    torch.manual_seed(3)
    drop = mk.nn.Dropout(0.1)
    x = torch.ones(200_001)
    y = drop(x)
    share = (y == 0).double().mean()
    assert abs(share - 0.1) < 5 * (0.09 / 200_001) ** 0.5  # five standard errors
    assert y.max() == pytest.approx(1 / 0.9, rel=1e-4)
    assert len(y.unique()) == 2
    torch.manual_seed(3)
    assert torch.equal(drop(x), y)
    assert drop.eval()(x) is x
    # Neighbours, which share a draw, are independent: both are dropped in a hundredth of the pairs.
    pairs = (y[:-1].view(-1, 2) == 0).all(1).double().mean()
    assert abs(pairs - 0.01) < 5 * (0.01 / 100_000) ** 0.5


def test_dropout_of_channels_last():
    torch.manual_seed(0)
    x = torch.randn(5, 7, 30).transpose(1, 2).requires_grad_()  # (5, 30, 7), channels last
    y = mk.nn.Dropout(0.5)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient * x, y)
    assert set(gradient.unique().tolist()) == {0.0, 2.0}
