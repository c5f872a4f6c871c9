"""Both strands of a convolution, against a twin in plain PyTorch that turns the sequences round instead."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import motifkit as mk
from helpers import integer_weight, random_codes
from motifkit.nn.strands import conv_pool_both, reference

ACTIVATIONS = {
    "identity": nn.Identity, "relu": nn.ReLU, "exp": mk.nn.Exp, "gelu": nn.GELU, "softplus": nn.Softplus,
}  # fmt: skip


class Twin(nn.Module):
    """The sequences and their reverse complements through one convolution, stacked for the batch norm."""

    def __init__(self, block):
        super().__init__()
        self.block = copy.deepcopy(block)

    def forward(self, codes):
        block, pool = self.block, self.block.pool
        weight, width = block.conv.weight, block.conv.kernel_size[0]
        left, right = ((width - 1) // 2, width // 2) if block.conv.padding == "same" else (0, 0)
        forward = F.pad(mk.one_hot(codes, weight.dtype), (left, right))
        strands = [
            F.conv1d(forward, weight, block.conv.bias),
            F.conv1d(forward.flip(1, 2), weight, block.conv.bias).flip(2),
        ]
        z = torch.cat(strands)
        y = (block.activation or nn.Identity())(block.norm(z) if block.norm else z)
        y = F.max_pool1d(y, pool.kernel_size, pool.stride, pool.padding) if pool else y
        own, other = y.chunk(2)
        return (
            torch.cat([own, other], 1) if block.combine == "concat" else torch.where(own >= other, own, other)
        )


def block_of(combine, activation="relu", norm=True, pool=(6, 6, 0), padding="same", width=8, bias=True):
    torch.manual_seed(0)
    batch_norm = nn.BatchNorm1d(5) if norm else None
    if norm:
        nn.init.uniform_(batch_norm.weight, -1, 1)
    block = mk.nn.ConvPool(
        nn.Conv1d(4, 5, width, padding=padding, bias=bias), batch_norm, ACTIVATIONS[activation](),
        nn.MaxPool1d(*pool) if pool else None, strands="both", combine=combine,
    )  # fmt: skip
    return block.double()


@pytest.mark.parametrize("combine", ["max", "concat"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"activation": "exp"}, {"activation": "gelu"}, {"activation": "identity", "pool": (9, 2, 4)},
        {"activation": "softplus", "padding": "valid", "width": 7}, {"norm": False}, {"pool": None},
        {"bias": False},
    ],
    ids=lambda options: ",".join(f"{k}={v}" for k, v in options.items()) or "usual",
)  # fmt: skip
def test_outputs_gradients_and_statistics_are_the_twins(generator, combine, options):
    codes = random_codes(6, 80, generator)
    block = block_of(combine, **options)
    twin = Twin(block)
    x = mk.one_hot(codes, torch.float64)
    nets = (twin, codes), (block, codes), (copy.deepcopy(block), x)
    for training in (True, False):
        results = []
        for net, given in nets:
            net.train(training)
            net.zero_grad()
            out = net(given)
            (out * torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out)).sum().backward()
            results.append((out.detach(), *(p.grad for p in net.parameters()), *net.buffers()))
        for ours in results[1:]:
            for a, b in zip(ours, results[0], strict=True):
                # float64 sums of some hundred numbers near 1: the order changes them by 1e-13 or so.
                torch.testing.assert_close(a.double(), b.double(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("combine", ["max", "concat"])
def test_integer_weights_agree_bit_for_bit(instruction_set, generator, combine):
    codes = random_codes(5, 90, generator)
    arguments = integer_weight(33, 8, generator), torch.arange(33.0)
    settings = {"combine": combine, "pool_size": 7, "pool_stride": 3, "padding": (2, 5)}
    ours = conv_pool_both(codes, *arguments, **settings)
    assert torch.equal(ours, reference(codes, *arguments, **settings))


def test_a_site_scores_the_same_on_either_strand(generator):
    """Training, with batch statistics: the reverse complement of a batch is the batch turned round."""
    codes = random_codes(4, 90, generator)
    for combine in ("max", "concat"):
        block = block_of(combine, width=9, pool=(10,)).train()
        forward, backward = block(codes), block(mk.reverse_complement(codes)).flip(2)
        if combine == "concat":
            backward = torch.cat(backward.chunk(2, 1)[::-1], 1)
        torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-12)


def test_a_motif_is_found_on_the_other_strand():
    weight = mk.one_hot(mk.encode("GATTACA"))
    codes = mk.encode(["CCGATTACACC", "CCTGTAATCCC"])  # GATTACA, and its reverse complement
    best = {"padding": "valid", "pool_size": 5}
    assert conv_pool_both(codes, weight, **best).flatten().tolist() == [7, 7]
    # Each strand by itself finds its own; the other one fits by chance at best.
    separate = conv_pool_both(codes, weight, combine="concat", **best)[..., 0]
    assert separate[0, 0] == separate[1, 1] == 7
    assert max(separate[0, 1], separate[1, 0]) < 5


def test_gradcheck_attribution_and_compile(generator):
    codes = random_codes(3, 40, generator)
    block = block_of("max", activation="softplus", norm=True, pool=(5,), width=5)
    parameters = [p.detach().requires_grad_() for p in block.parameters()]
    names = [n for n, _ in block.named_parameters()]

    def call(*values):
        return torch.func.functional_call(
            copy.deepcopy(block), dict(zip(names, values, strict=True)), (codes,)
        )

    assert torch.autograd.gradcheck(call, parameters)
    x = mk.one_hot(codes, torch.float64).requires_grad_()
    block.eval()(x).sum().backward()
    assert x.grad.abs().sum() > 0
    block = block_of("concat").float().train()
    expected = copy.deepcopy(block)(codes)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")(codes)
    torch.testing.assert_close(compiled, expected)


def test_state_and_errors():
    block = mk.nn.ConvPool(nn.Conv1d(4, 5, 7), nn.BatchNorm1d(5), strands="both")
    plain = mk.nn.ConvPool(nn.Conv1d(4, 5, 7), nn.BatchNorm1d(5))
    plain.load_state_dict(block.state_dict())
    with pytest.raises(ValueError, match="strands"):
        mk.nn.ConvPool(nn.Conv1d(4, 5, 7), strands="-")
    with pytest.raises(ValueError, match="combine"):
        mk.nn.ConvPool(nn.Conv1d(4, 5, 7), strands="both", combine="mean")
    with pytest.raises(ValueError, match="at least 2 windows"):
        block(mk.encode("ACGTACG"))
