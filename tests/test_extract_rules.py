"""Every rule against a direct computation from stored activations, on both sources and all strands."""

from pathlib import Path

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.motifs import select
from motifkit.motifs.rules import RULES, Rule

LENGTH, WIDTH, FILTERS = 40, 7, 6


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Conv1d(4, FILTERS, WIDTH, padding="same"),
        torch.nn.BatchNorm1d(FILTERS),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool1d(1),
    )
    generator = torch.Generator().manual_seed(4)
    codes = torch.randint(0, 4, (90, LENGTH), generator=generator, dtype=torch.uint8)
    codes[::5, 10:13] = 4
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -1.2, 0.7, 1.3, -0.8, 1.0]))
        model[1].bias.copy_(torch.tensor([0.0, 0.1, -0.2, 0.3, 0.0, -50.0]))  # the last one never fires
    model.train()(mk.one_hot(codes))
    targets = torch.randint(0, 2, (90, 3), generator=generator)
    return model.eval(), codes, targets


def windows_of(net, strands):
    """All windows as (sequence, window's first letter, strand, activations (filters,))."""
    model, codes, _ = net
    out = []
    for strand in (1, -1):
        if strands not in ("both", "+" if strand > 0 else "-"):
            continue
        with torch.no_grad():
            read = codes if strand > 0 else mk.reverse_complement(codes)
            a = model[:3](mk.one_hot(read)).numpy()
        for n in range(len(codes)):
            for t in range(LENGTH):
                first = t - 3 if strand > 0 else LENGTH - (t - 3) - WIDTH
                out.append((n, first, strand, a[n, :, t]))
    # Earliest first, forward strand first.
    return sorted(out, key=lambda w: (w[0], w[1], -w[2]))


def expected(net, rule, strands, f):
    """Windows (sequence, first, strand, activation) that a rule takes for filter f, written plainly."""
    targets = net[2]
    windows = [(n, p, s, a[f]) for n, p, s, a in windows_of(net, strands)]
    top = max(w[3] for w in windows)
    best = {}
    for w in windows:
        if w[0] not in best or w[3] > best[w[0]][3]:
            best[w[0]] = w
    if top <= 0:
        return []
    if rule.name in ("best", "scover"):
        return [w for w in best.values() if w[3] > 0]
    if rule.name in ("basset", "code"):
        return [w for w in windows if w[3] > 0.5 * top]
    if rule.name in ("basset-code", "satori"):
        mean = np.mean([w[3] for w in windows], dtype=np.float64)
        return [w for w in windows if w[3] > mean + rule.threshold * (top - mean)]
    if rule.name == "eugene":
        return sorted(sorted(windows, key=lambda w: -w[3])[:100])
    if rule.name == "top":
        chosen = sorted(best.values(), key=lambda w: -w[3])[:1000]
        return [w for w in chosen if w[3] > 0.5 * top]
    assert rule.name == "pysster"
    means = [np.mean([w[3] for w in best.values() if targets[w[0], c]]) for c in range(3)]
    owner = int(np.argmax(means))
    above = [w for w in best.values() if w[3] >= means[owner]]
    chosen = [w for w in above if targets[w[0], owner]]
    return sorted(chosen, key=lambda w: -w[3])[: max(min(750, len(above) // 3), 1)]


def table_of(net, rule, taken):
    """Counts and number of windows."""
    codes = torch.nn.functional.pad(net[1], (30, 30), value=4)
    width = max(WIDTH, rule.width)
    before = (width - WIDTH) // 2
    counts, sites, mass = np.zeros((4, width)), 0, 0.0
    for n, p, strand, a in taken:
        window = codes[n : n + 1, 30 + p - before : 30 + p - before + width]
        if rule.ends == "drop" and (p < 0 or p + WIDTH > LENGTH):
            continue
        if rule.ambiguous == "drop" and (window > 3).any():
            continue
        if strand < 0:
            window = mk.reverse_complement(window)
        weight = float(a) if rule.weighted else 1.0
        counts += weight * mk.one_hot(window)[0].double().numpy()
        sites, mass = sites + 1, mass + weight
    if rule.ambiguous == "share":
        counts += (mass - counts.sum(0)) / 4
    return counts + rule.pseudocount, sites


@pytest.mark.parametrize("strands", ["+", "both"])
@pytest.mark.parametrize("layer", ["0", "2"])  # scanned by tables; read from the running model
@pytest.mark.parametrize("name", [name for name in RULES if name != "paper"])
def test_rules_agree_with_a_plain_computation(net, name, layer, strands):
    model, codes, targets = net
    rule = RULES[name]
    found = mk.extract_motifs(
        model, codes, layer=layer, rule=name, strands=strands, targets=targets, batch_size=17
    )
    assert "filter5" in found.dead
    for f in range(FILTERS):
        counts, sites = table_of(net, rule, expected(net, rule, strands, f))
        if sites < rule.fewest:
            assert f"filter{f}" in found.dead
            continue
        motif = found[f"filter{f}"]
        assert motif.nsites == sites
        np.testing.assert_allclose(motif.counts, counts, rtol=1e-4, atol=1e-9)


def test_the_papers_rule_on_a_deep_layer_takes_the_observed_maximum(net):
    model, codes, _ = net
    found = mk.extract_motifs(model, codes, layer="2", rule="paper")
    assert found.origin["reference"] == "observed"
    for f in range(FILTERS - 1):
        best = {}
        for n, p, s, a in windows_of(net, "+"):
            if n not in best or a[f] > best[n][3]:
                best[n] = (n, p, s, a[f])
        top = max(w[3] for w in best.values())
        taken = [w for w in best.values() if w[3] > 0.7 * top]
        counts, sites = table_of(net, RULES["paper"], taken)
        assert found[f"filter{f}"].nsites == sites
        np.testing.assert_array_equal(found[f"filter{f}"].counts, counts)


@pytest.mark.parametrize("layer", ["0", "2"])
@pytest.mark.parametrize("name", ["basset", "code", "paper", "best"])
def test_hits_that_do_not_fit_cost_a_second_pass_and_change_nothing(net, monkeypatch, name, layer):
    model, codes, _ = net
    whole = mk.extract_motifs(model, codes, layer=layer, rule=name, batch_size=9)
    monkeypatch.setattr(select, "_MOST_HELD", 40)
    parts = mk.extract_motifs(model, codes, layer=layer, rule=name, batch_size=9)
    assert [(m.name, m.nsites) for m in whole] == [(m.name, m.nsites) for m in parts]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.counts, b.counts, rtol=1e-12)


GATC = 3 * mk.one_hot(mk.encode("GATC")) - 1  # scores 8 at best


def test_settings_replace_the_rules_own():
    rows = ["GATCAGATCA", "AAGATNAAAA", "ATCAAAAAAA"]
    every = mk.extract_motifs(GATC, rows, rule="basset", pseudocount=0.0)
    assert every.dead == ["filter0"]  # fewer than ten windows
    rule = Rule("mine", "all", "observed", 0.5, "", "", ambiguous="share")
    motif = mk.extract_motifs(GATC, rows, rule=rule)[0]
    assert motif.nsites == 4  # 8, 8, 6 (one letter is N) and 6 (one before the start)
    np.testing.assert_array_equal(motif.counts[:, 3], [0.25, 3.25, 0.25, 0.25])
    assert mk.extract_motifs(GATC, rows, rule=rule, ambiguous="drop")[0].nsites == 3
    assert mk.extract_motifs(GATC, rows, rule=rule, ends="drop")[0].nsites == 3
    assert mk.extract_motifs(GATC, rows, rule=rule, per_sequence=1)[0].nsites == 3
    assert mk.extract_motifs(GATC, rows, rule=rule, threshold=0.8)[0].nsites == 2
    smooth = mk.extract_motifs(GATC, rows, rule=rule, ambiguous="keep", pseudocount=0.5)[0]
    np.testing.assert_array_equal(smooth.counts[:, 3], [0.5, 3.5, 0.5, 0.5])
    assert mk.extract_motifs(GATC, rows, rule="eugene", top=2)[0].nsites == 2


def test_bad_settings_are_refused(net):
    model, codes, targets = net
    with pytest.raises(ValueError, match="needs targets="):
        mk.extract_motifs(model, codes, rule="pysster")
    with pytest.raises(ValueError, match="a row for each of 90"):
        mk.extract_motifs(model, codes, rule="pysster", targets=targets[:5])
    with pytest.raises(ValueError, match="ends must be one of drop, keep"):
        mk.extract_motifs(model, codes, ends="cut")
    with pytest.raises(ValueError, match="per_sequence must be at least 1"):
        mk.extract_motifs(model, codes, per_sequence=0)
    with pytest.raises(ValueError, match="strands must be one of"):
        mk.extract_motifs(model, codes, strands="plus")


def test_every_rule_is_documented():
    text = (Path(__file__).parent.parent / "docs" / "motif-rules.md").read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` |" in text
        doi = rule.source.rpartition("doi:")[2].split(",")[0]
        assert "doi:" not in rule.source or doi in text
