"""Knock-outs against models whose answer is known, and against knocking out one at a time."""

import numpy as np
import pytest
import torch
from torch import nn

import motifkit as mk
from motifkit.motifs.importance import auroc_of

pandas = pytest.importorskip("pandas")
WORDS = ["TGACTCA", "CCATATT", "GGGCGGG", "ACGTACG"]


class Reader(nn.Module):
    """Class c is told by filter c alone; filter 3 is not listened to, filter 4 is a copy of 0."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 7, padding="same")
        self.act, self.pool = nn.ReLU(), nn.AdaptiveMaxPool1d(1)
        self.out = nn.Linear(5, 3)
        with torch.no_grad():
            for row, word in zip(self.conv.weight, [*WORDS, WORDS[0]], strict=True):
                row.copy_(mk.one_hot(mk.encode(word))[0])
            self.conv.bias.fill_(-4.0)
            self.out.weight.zero_()
            self.out.weight[0, 0] = self.out.weight[0, 4] = 1.0
            self.out.weight[1, 1] = self.out.weight[2, 2] = 2.0
            self.out.bias.fill_(-4.0)

    def forward(self, x):
        return self.out(self.pool(self.act(self.conv(x)))[:, :, 0])


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 4, (240, 60), generator=generator, dtype=torch.uint8)
    targets = torch.zeros(240, 3)
    for n in range(240):
        c = n % 4  # every fourth row holds none
        if c < 3:
            codes[n, 20:27] = mk.encode(WORDS[c])[0]
            targets[n, c] = 1
    return codes, targets


@pytest.fixture(scope="module")
def table(data):
    return mk.knock_out(Reader(), *data, layer="act", bootstrap=100)


def pick(table, filter, replaced, name):
    rows = table[(table["filter"] == filter) & (table["replaced"] == replaced) & (table["class"] == name)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_filter_matters_to_its_class_alone(table):
    assert len(table) == 5 * 2 * 4
    own = pick(table, "filter1", "zero", "class1")
    assert own["auroc"] < -0.2
    assert own["auroc_high"] < -0.1
    assert own["loss_low"] > 0.1
    np.testing.assert_allclose(own["logit"], -6, atol=1e-5)  # 2 x (7 - 4), from every positive
    assert own["positives"] == 60
    other = pick(table, "filter1", "zero", "class2")
    assert (other["auroc"], other["loss"], other["logit"]) == (0, 0, 0)
    assert (other["auroc_low"], other["auroc_high"]) == (0, 0)


def test_a_filter_that_nobody_reads_does_not_matter(table):
    rows = table[table["filter"] == "filter3"]
    assert (rows[["loss", "auroc", "logit", "loss_low", "loss_high"]] == 0).all(axis=None)


def test_knocking_out_to_the_mean_replaces_every_position(data):
    codes, targets = data
    model = Reader()
    with torch.no_grad():
        hidden = model.act(model.conv(mk.one_hot(codes)))
        mean = hidden[:, 1].mean()
        hidden[:, 1] = mean
        logits = model.out(hidden.amax(2))
        before = model(mk.one_hot(codes))
        mine = targets[:, 1] > 0
        expected = (logits - before)[mine, 1].mean()
    found = pick(mk.knock_out(model, codes, targets, layer="act", bootstrap=0), "filter1", "mean", "class1")
    np.testing.assert_allclose(found["logit"], expected, atol=1e-5)
    assert np.isnan(found["logit_low"])


def test_copies_hide_each_other_until_they_go_together(data):
    table = mk.knock_out(
        Reader(), *data, layer="act", replace="zero", bootstrap=0,
        groups={"one": [0], "copy": [4], "both": [0, 4]},
    )  # fmt: skip
    one = pick(table, "one", "zero", "class0")
    assert one["auroc"] == 0  # the copy still ranks the sequences the same
    assert pick(table, "both", "zero", "class0")["auroc"] < -0.2
    np.testing.assert_allclose(pick(table, "both", "zero", "class0")["logit"], 2 * one["logit"], atol=1e-5)


class HoldsItsInput(nn.Module):
    """The part behind the layer reads the input again: one sequence cannot stand for all."""

    def __init__(self):
        super().__init__()
        self.reader = Reader()

    def forward(self, x):
        return self.reader(x) + x[:, :3].mean(2)


def test_every_way_to_run_gives_what_one_at_a_time_gives(data):
    codes, targets = data
    torch.manual_seed(0)
    nets = {
        "block1": mk.models.build("CNN-25", length=100, classes=3),
        "reader.act": HoldsItsInput(),
    }
    rows = torch.randint(0, 4, (60, 100), dtype=torch.uint8)
    for layer, model in nets.items():
        x = rows if layer == "block1" else codes[:60]
        y = targets[:60]
        model.train()
        channels = [0, 3]
        table = mk.knock_out(
            model, x, y, layer=layer, replace="zero", bootstrap=0, batch_size=17,
            groups={str(c): [c] for c in channels},
        )  # fmt: skip
        assert model.training
        assert not any(m._forward_hooks for m in model.modules())
        model.eval()
        module = model.get_submodule(layer)
        for c in channels:

            def silence(_, __, out, c=c):
                out = out.clone()
                out[:, c] = 0
                return out

            with torch.no_grad():
                before = model(mk.one_hot(x))
                handle = module.register_forward_hook(silence)
                after = model(mk.one_hot(x))
                handle.remove()
            loss = nn.functional.binary_cross_entropy_with_logits
            expected = loss(after[:, 1], y[:, 1]) - loss(before[:, 1], y[:, 1])
            np.testing.assert_allclose(pick(table, str(c), "zero", "class1")["loss"], expected, atol=2e-6)


def test_auroc_counts_pairs():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randint(0, 6, (40,), generator=generator).float()  # many ties
    labels = torch.randint(0, 2, (40,), generator=generator).float()
    weights = torch.randint(0, 4, (7, 40), generator=generator).float()
    wins = (scores[:, None] > scores).double() + 0.5 * (scores[:, None] == scores).double()
    pairs = labels[:, None] * (1 - labels) * wins
    for row, found in zip(weights, auroc_of(scores, labels, weights), strict=True):
        both = (row[:, None] * row * labels[:, None] * (1 - labels)).sum()
        expected = (row[:, None] * row * pairs).sum() / both
        np.testing.assert_allclose(float(found), float(expected), rtol=1e-6)
    assert auroc_of(scores, torch.ones(40), weights).isnan().all()


def test_intervals_repeat_and_cover(data):
    one = mk.knock_out(Reader(), *data, layer="act", bootstrap=60, seed=3)
    two = mk.knock_out(Reader(), *data, layer="act", bootstrap=60, seed=3, batch_size=31)
    # Sums in another order differ by rounding.
    numbers = one.select_dtypes("number").columns
    np.testing.assert_allclose(one[numbers], two[numbers], atol=1e-5)
    inside = (one["loss_low"] <= one["loss"] + 1e-6) & (one["loss"] <= one["loss_high"] + 1e-6)
    assert inside.mean() > 0.9
    wider = mk.knock_out(Reader(), *data, layer="act", bootstrap=60, seed=3, confidence=0.99)
    assert (wider["loss_high"] >= one["loss_high"] - 1e-9).all()


def test_a_data_set_and_its_classes(small_motifs):
    data = mk.simulate(200, 100, small_motifs, seed=2)
    model = mk.models.build("CNN-25", length=100, classes=3)
    table = mk.knock_out(model, data, bootstrap=0)
    assert table["class"].unique().tolist() == ["one", "two", "three", "mean"]
    assert len(table) == 30 * 2 * 4
    assert set(table.attrs["intact"]) == {"one", "two", "three"}


def test_bad_arguments_are_refused(data):
    codes, targets = data
    for arguments, words in (
        ({"layer": "conw"}, "did you mean 'conv'"),
        ({"replace": "median"}, "replace must be among"),
        ({"groups": {"g": [9]}}, "channels must be among 0..4"),
        ({"layer": "out"}, r"must be \(sequences, channels, positions\)"),
        ({"output": "odds"}, "output must be"),
        ({"class_names": ["a"]}, "1 class names for 3"),
    ):
        with pytest.raises(ValueError, match=words):
            mk.knock_out(Reader(), codes, targets, **arguments)
    with pytest.raises(ValueError, match="a row for each"):
        mk.knock_out(Reader(), codes, targets[:4])
    with pytest.raises(ValueError, match=r"output must be \(sequences, classes\)"):
        mk.knock_out(Reader(), codes, targets[:, :2])
