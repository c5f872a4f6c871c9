"""Any layer of any model: receptive fields, activations followed through pools, nothing left behind."""

import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import motifkit as mk
from motifkit.motifs.trace import ReceptiveField, receptive_field

MOTIF = "TGACTCAGCA"


def random_rows(count, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (count, length), generator=generator, dtype=torch.uint8), generator


# ---- receptive fields ------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Functional calls, padding by hand, a residual sum, two branches, an in-place activation."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(4, 6, 5, padding=2)
        self.b = nn.Conv1d(6, 6, 3, padding=2, dilation=2)
        self.wide, self.narrow = nn.Conv1d(6, 4, 7, padding=3), nn.Conv1d(6, 4, 1)
        self.act = nn.ReLU(inplace=True)
        self.end = nn.Conv1d(8, 5, 3, stride=2)

    def forward(self, x):
        x = F.max_pool1d(self.act(self.a(x)), 3, 2, 1)
        x = x + F.relu(self.b(x))
        x = torch.cat([self.wide(x), self.narrow(x)], 1)
        return self.end(F.pad(F.gelu(x), (2, 1)))


def influence(model, module, length, t):
    """First and last letter whose change changes position t of a module's output, by gradients."""
    x = torch.rand(1, 4, length, requires_grad=True)
    kept = []
    handle = module.register_forward_hook(lambda *a: kept.append(a[2]))
    model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(kept[0][0, :, t].sum(), x)
    seen = gradient[0].abs().sum(0).nonzero()[:, 0]
    return int(seen.min()), int(seen.max())


def test_receptive_field_of_branches_is_what_gradients_show():
    torch.manual_seed(0)
    model = Branches()
    codes, _ = random_rows(2, 120)
    found = receptive_field(model, "end", codes)
    # a: start -2, width 5. pool 3, stride 2, padding 1: start -3, jump 2, width 7. b (span 5, padding 2) in
    # the sum: start -7, width 15. wide (7, padding 3): start -13, width 27. pad 2: start -17. end (3, stride
    # 2): jump 4, width 31.
    assert found == ReceptiveField(-17, 4, 31)
    # Max-pools hide some inputs from one gradient: the union over draws fills the field.
    ends = [influence(model, model.end, 120, 14) for _ in range(30)]
    first, last = min(a for a, _ in ends), max(b for _, b in ends)
    assert (first, last) == (-17 + 14 * 4, -17 + 14 * 4 + 30)


def test_receptive_fields_of_the_papers_models():
    codes, _ = random_rows(2, 200)
    model = mk.models.build("CNN-50-2", length=200)
    # conv 19 "same": start -9, width 19; pool 50, stride 2, padding 24: start -33, jump 2, width 68.
    assert receptive_field(model, "block1", codes) == ReceptiveField(-33, 2, 68)
    assert receptive_field(model, "relu2", codes) == ReceptiveField(-37, 2, 76)


def test_positions_that_cannot_be_followed_are_refused():
    codes, _ = random_rows(2, 60)
    circular = nn.Sequential(
        nn.Conv1d(4, 3, 3), nn.ReLU(), nn.Conv1d(3, 3, 3, padding=1, padding_mode="circular")
    )
    with pytest.raises(ValueError, match="padding of mode 'circular'"):
        mk.extract_motifs(circular, codes, layer="2")
    turned = nn.Sequential(nn.Conv1d(4, 60, 3, padding=1), Turn(), nn.ReLU())
    with pytest.raises(ValueError, match="operation 'flip'"):
        mk.extract_motifs(turned, codes, layer="2")


class Turn(nn.Module):
    def forward(self, x):
        return x.flip(2)


# ---- the truth is known ----------------------------------------------------------------------------------


def halves(pool, fused=False):
    """A net whose one deep filter is the motif: its first layer knows the halves, pools blur them."""
    conv = nn.Conv1d(4, 3, 5, padding="same")
    with torch.no_grad():
        conv.weight[0] = 2 * mk.one_hot(mk.encode(MOTIF[:5]))[0] - 1
        conv.weight[1] = 2 * mk.one_hot(mk.encode(MOTIF[5:]))[0] - 1
        conv.weight[2] = 0.05 * torch.randn(4, 5)
        conv.bias[:] = torch.tensor([-2.5, -2.5, 0.0])
    first = [conv, nn.ReLU(), nn.MaxPool1d(pool)]
    deep = nn.Conv1d(3, 1, 3, padding="same")
    with torch.no_grad():
        deep.weight[0, 0] = torch.tensor([0.2, 1.0, 0.4])  # the first half in this bin or the next
        deep.weight[0, 1] = torch.tensor([0.0, 0.5, 0.9])  # the second half in this bin or the next
        deep.weight[0, 2] = 0.01
        deep.bias[:] = -1.5
    if fused:
        first = [mk.nn.ConvPool(conv, None, nn.ReLU(), first[2])]
    return nn.Sequential(*first, deep, nn.ReLU())


def planted(count, length, seed):
    """Random rows with the motif at a random place of each."""
    codes, generator = random_rows(count, length, seed)
    at = torch.randint(20, length - 30, (count,), generator=generator)
    motif = mk.encode(MOTIF)[0]
    for row, start in zip(codes, at.tolist(), strict=True):
        row[start : start + len(MOTIF)] = motif
    return codes


def likeness(motif, wanted):
    """Largest Pearson correlation of the motif's probabilities with a word's, over all offsets."""
    word = mk.one_hot(mk.encode(wanted))[0].numpy()
    best = -1.0
    for offset in range(len(motif) - len(wanted) + 1):
        part = motif.ppm[:, offset : offset + len(wanted)]
        best = max(best, np.corrcoef(part.ravel(), word.ravel())[0, 1] if part.std() > 0 else -1)
    return best


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("pool", [4, 8])
def test_traced_motif_matches_what_was_embedded_and_the_untraced_one_does_not(pool, fused):
    torch.manual_seed(1)
    codes = planted(300, 160, seed=pool)
    model = halves(pool, fused)
    layer = "1" if fused else "3"
    traced = mk.extract_motifs(model, codes, layer=layer, rule="best")[0]
    untraced = mk.extract_motifs(model, codes, layer=layer, rule="best", traced=False)[0]
    assert traced.nsites >= 290
    assert likeness(traced, MOTIF) > 0.97
    assert MOTIF in traced.trim(pad=0).consensus
    # A pool of size p leaves p places evenly likely: correlation about 1/sqrt(p) of a sharp motif's.
    assert likeness(untraced, MOTIF) < 0.75
    assert untraced.information.max() < traced.information.max() / 2


@pytest.mark.parametrize("strands", ["-", "both"])
def test_windows_of_the_minus_strand_are_turned(strands):
    torch.manual_seed(1)
    codes = mk.reverse_complement(planted(200, 160, seed=5))
    model = halves(4)
    motif = mk.extract_motifs(model, codes, layer="3", rule="best", strands=strands)[0]
    assert likeness(motif, MOTIF) > 0.95


def test_streaming_does_not_change_a_deep_motif():
    torch.manual_seed(1)
    codes = planted(120, 160, seed=9)
    model = halves(4)
    for rule in ("best", "basset", "satori", "eugene"):
        whole = mk.extract_motifs(model, codes, layer="3", rule=rule)
        parts = mk.extract_motifs(model, codes, layer="3", rule=rule, batch_size=7)
        np.testing.assert_allclose(whole[0].counts, parts[0].counts)
        assert whole[0].nsites == parts[0].nsites


class Residual(nn.Module):
    """Three convolutions with a dilated residual branch, a pool between, functional throughout."""

    def __init__(self):
        super().__init__()
        base = halves(4)
        self.first, self.deep = base[0], base[3]
        self.branch = nn.Conv1d(3, 3, 3, padding=2, dilation=2)
        with torch.no_grad():
            self.branch.weight.mul_(0.01)
            self.branch.bias.zero_()

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.first(x)), 4)
        x = x + self.branch(x)
        return F.relu(self.deep(x)).amax(2)


def test_activations_are_followed_through_residual_sums():
    torch.manual_seed(2)
    codes = planted(200, 160, seed=3)
    motif = mk.extract_motifs(Residual(), codes, layer="deep", rule="best")[0]
    assert likeness(motif, MOTIF) > 0.97


class Embedded(nn.Module):
    """Reads codes alone and makes its own one-hot tensor."""

    def __init__(self):
        super().__init__()
        self.net = halves(4)

    def forward(self, codes):
        if codes.dtype != torch.uint8:
            raise TypeError("codes, please")
        letters = torch.arange(4, dtype=torch.uint8)[None, :, None]
        return self.net((codes[:, None, :] == letters).float())


def test_models_that_take_codes_alone_are_recognised():
    torch.manual_seed(1)
    codes = planted(100, 160, seed=4)
    one = mk.extract_motifs(Embedded(), codes, layer="net.3", rule="best")
    torch.manual_seed(1)
    two = mk.extract_motifs(halves(4), codes, layer="3", rule="best")
    np.testing.assert_array_equal(one[0].counts, two[0].counts)
    first = mk.extract_motifs(Embedded(), codes, layer="net.0", rule="best")
    assert first.origin["layer"] == "net.0"
    assert "traced" not in first.origin  # scanned: it reads the sequences themselves
    with pytest.raises(ValueError, match=r"takes neither codes nor one-hot.*say which with input="):
        mk.extract_motifs(nn.Sequential(nn.Conv1d(5, 3, 3), nn.ReLU()), codes, layer="1")
    with pytest.raises(ValueError, match="input must be one of"):
        mk.extract_motifs(halves(4), codes, layer="3", input="letters")


def test_strided_and_four_channel_convolutions_are_run_rather_than_scanned():
    codes, _ = random_rows(60, 50)
    torch.manual_seed(0)
    strided = nn.Sequential(nn.Conv1d(4, 3, 5, stride=2), nn.ReLU())
    found = mk.extract_motifs(strided, codes, rule="best")
    activations = strided(mk.one_hot(codes)).detach()
    value, at = activations[:, 0].max(1)
    counts = sum(
        mk.one_hot(codes[n : n + 1, 2 * at[n] : 2 * at[n] + 5])[0] for n in range(60) if value[n] > 0
    )
    np.testing.assert_array_equal(found["filter0"].counts, counts.numpy())
    narrow = nn.Sequential(nn.Conv1d(4, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3), nn.ReLU())
    assert mk.extract_motifs(narrow, codes, layer="2", rule="best").origin["receptive_field"] == 5


# ---- nothing is left behind --------------------------------------------------------------------------------


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_modes_come_back_and_no_hook_or_graph_stays():
    codes = planted(30, 160, seed=1)
    model = halves(4, fused=True).train()
    model[1].eval()  # a frozen layer stays frozen
    before = {k: v.clone() for k, v in model.state_dict().items()}
    mk.extract_motifs(model, codes, layer="1", rule="best", strands="both")
    assert [m.training for m in model] == [True, False, True]
    assert hooks_of(model) == 0
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    gc.collect()
    # The motifs hold NumPy arrays; no tensor with a graph is alive on their account.
    assert not [x for x in gc.get_objects() if type(x) is torch.Tensor and x.grad_fn is not None]


class Breaks(nn.Module):
    """Runs twice, then fails."""

    def __init__(self, good):
        super().__init__()
        self.left = good

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of order")
        return x


@pytest.mark.parametrize("good", [1, 2, 3, 5])
def test_an_exception_leaves_nothing_either(good):
    codes = planted(30, 160, seed=1)
    base = halves(4)
    model = nn.Sequential(*base[:3], Breaks(good), *base[3:]).train()
    with pytest.raises(RuntimeError, match="out of order"):
        mk.extract_motifs(model, codes, layer="4", rule="best", batch_size=5, input="one-hot")
    assert all(m.training for m in model.modules())
    assert hooks_of(model) == 0


def test_layers_are_named_exactly():
    codes, _ = random_rows(10, 200)
    model = mk.models.build("CNN-25", length=200)
    with pytest.raises(ValueError, match=r"no layer 'rellu2'; did you mean 'relu2'"):
        mk.extract_motifs(model, codes, layer="rellu2")
    with pytest.raises(ValueError, match=r"no layer 'conv'"):
        mk.extract_motifs(model, codes, layer="conv")  # part of a name is no name
    with pytest.raises(ValueError, match=r"'dense'.*must be \(sequences, channels, positions\)"):
        mk.extract_motifs(model, codes, layer="dense")
    unused = nn.Sequential(nn.Conv1d(4, 2, 3), nn.ReLU())
    unused[0].register_module("spare", nn.Identity())
    with pytest.raises(ValueError, match="forward does not use"):
        mk.extract_motifs(unused, codes, layer="0.spare")


def test_a_convolution_in_a_sequential_is_read_behind_its_activation():
    codes, _ = random_rows(40, 200)
    torch.manual_seed(0)
    model = mk.models.build("CNN-25", length=200).eval()
    by_convolution = mk.extract_motifs(model, codes, layer="conv2", rule="best")
    by_activation = mk.extract_motifs(model, codes, layer="relu2", rule="best")
    assert by_convolution.origin["layer"] == "relu2"
    assert [m.nsites for m in by_convolution] == [m.nsites for m in by_activation]
