"""The figures: what is drawn is right; the files are there and can be looked at."""

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.cli import main
from motifkit.experiments import toy
from motifkit.experiments.worker import layer_motifs

for library in ("matplotlib", "lightning", "memelite", "joblib"):
    pytest.importorskip(library)


def test_a_small_pool_tells_the_patterns_apart_and_a_large_one_does_not():
    codes = toy.toy_sequence()
    text = mk.decode(codes)[0]
    assert [text[s : s + len(p)] for s, p in zip(toy._STARTS, toy.PATTERNS, strict=True)][:2] == [
        "CACGTG",
        "GTGCAC",
    ]
    small = toy.signatures(codes, 3)
    assert not any(torch.equal(a, b) for i, a in enumerate(small) for b in small[:i])
    # CAC before GTG, GTG before CAC, and one pooled position further apart.
    assert [s.nonzero().tolist() for s in small[:2]] == [[[0, 2], [1, 1]], [[0, 0], [1, 1]]]
    assert torch.equal(toy.feature_maps(codes, 20), torch.ones(2, 3))  # every pooled position saw both


@pytest.mark.parametrize("rule", ["paper", "code"])
@pytest.mark.parametrize(("name", "layer", "field"), [("CNN-1", 2, 23), ("CNN-1-1-100", 3, 27)])
def test_deep_filters_are_aligned_over_their_whole_receptive_field(name, layer, field, rule):
    torch.manual_seed(0)
    model = mk.models.build(name, length=100, classes=2).eval()
    codes = torch.randint(0, 4, (40, 100), dtype=torch.uint8)
    motifs = layer_motifs(model, codes, layer, rule)
    assert motifs.filters == 128
    # The same, filter by filter, from the plain layers.
    plain = model.plain().eval()
    stop = [i for i, m in enumerate(plain) if isinstance(m, torch.nn.ReLU)][layer - 1] + 1
    with torch.no_grad():
        active = plain[:stop](mk.one_hot(codes))
    padded = torch.nn.functional.pad(mk.one_hot(codes), (field // 2, field // 2))
    for motif in list(motifs)[:20]:
        rows = active[:, int(motif.name.removeprefix("filter"))]
        counts, sites = torch.zeros(4, field, dtype=torch.float64), 0
        if rule == "paper":
            for sequence, row in enumerate(rows):
                at = int(row.argmax())
                if row[at] > 0.7 * rows.max() and field // 2 <= at < 100 - field // 2:
                    counts += padded[sequence, :, at : at + field]
                    sites += 1
        else:
            for sequence, at in (rows > 0.5 * rows.max()).nonzero().tolist():
                counts += rows[sequence, at].double() * padded[sequence, :, at : at + field]
                sites += 1
        assert motif.nsites == sites
        np.testing.assert_allclose(motif.counts, counts.numpy(), rtol=1e-4)  # float32 activations as weights


def test_attributions():
    pytest.importorskip("captum")
    from motifkit.data.shuffle import dinucleotide_shuffle
    from motifkit.experiments.saliency import deep_lift_shap, gradient_times_input

    torch.manual_seed(4)
    model = mk.models.build("CNN-25", length=100, classes=3).eval()
    codes = torch.randint(0, 4, (1, 100), dtype=torch.uint8)
    codes[0, 10] = 4
    found = deep_lift_shap(model, codes, [0, 2], seed=5)
    with torch.no_grad():
        answer = model(codes)[0, [0, 2]].sum()
        rest = model(dinucleotide_shuffle(codes.repeat(20, 1), 5))[:, [0, 2]].sum(1).mean()
    # They sum to the answer, here in float32, less the mean answer to the shuffles.
    assert float(found.sum()) == pytest.approx(float(answer - rest), abs=1e-4)
    found = gradient_times_input(model, codes, [1])
    assert found[10] == 0
    x = mk.one_hot(codes).double()
    step = torch.zeros_like(x)
    letter = int(codes[0, 50])
    step[0, letter, 50] = 1e-6
    net = model.plain().double().eval()
    with torch.no_grad():
        slope = (net(x + step) - net(x - step))[0, 1] / 2e-6
    assert float(found[50]) == pytest.approx(float(slope), rel=1e-3, abs=1e-5)
    assert not any(module._forward_hooks for module in model.modules())


def test_figures_from_the_command(tmp_path, capsys):
    pytest.importorskip("captum")
    from matplotlib.image import imread

    common = ["--out", str(tmp_path), "--n", "400", "--epochs", "1", "--processes", "1", "--quiet"]
    assert main(["reproduce", "fig2", "--models", "CNN-25", *common]) == 0
    assert main(["reproduce", "saliency", "--models", "CNN-25", "--collect", *common]) == 0
    assert main(["reproduce", "fig1", *common]) == 0
    for name in ("fig1", "fig2", "saliency-CNN-25"):
        picture = imread(tmp_path / f"{name}.png")
        assert min(picture.shape[:2]) > 700  # 200 dots an inch
        assert (picture[..., :3].min(2) < 0.5).mean() > 0.01  # something is drawn
        assert (tmp_path / f"{name}.svg").read_text().rstrip().endswith("</svg>")
    assert main(["reproduce", "fig3", "--models", "CNN-1", *common]) == 2
    assert "fig3 shows CNN9-4, CNN9-25, CNN-50-2, CNN19-1-2, not CNN-1" in capsys.readouterr().err
