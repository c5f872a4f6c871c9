"""Windows counted while scanning, against the list of them, and the summary that thresholds come from."""

import numpy as np
import pytest
import torch

import motifkit as mk
from helpers import integer_weight, random_codes
from motifkit.motifs.rules import RULES
from motifkit.motifs.sources import FirstLayer
from motifkit.ops import reference
from properties import HealthCheck, given, settings, st


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a is b is None or torch.equal(a, b)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_counts_of_any_shape_are_those_of_the_reference(place, data):
    own = data.draw(st.integers(1, 21), "own")
    length = data.draw(st.integers(own, 120), "length")
    padding = data.draw(st.sampled_from(["valid", "same", (3, 1)]), "padding")
    options = {"padding": padding, "strands": data.draw(st.sampled_from(["+", "-", "both"]), "strands")}
    batch, filters = data.draw(st.integers(0, 4), "batch"), data.draw(st.integers(1, 40), "filters")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31), "seed"))
    codes = random_codes(
        batch, length, generator, letters=data.draw(st.sampled_from([4, 5]), "N"), device=place
    )
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]), "dtype")
    weight = integer_weight(filters, own, generator, dtype=dtype).to(place)
    bias = torch.randint(-3, 4, (filters,), generator=generator).to(place, dtype)
    for total in (None, "score", "relu"):
        assert_same(
            *(op.scan_summary(codes, weight, bias, total=total, **options) for op in (mk.ops, reference))
        )
    # From every window to none.
    share = data.draw(st.sampled_from([-torch.inf, -0.5, 0.3, 0.7, torch.inf]), "share")
    threshold = (weight.amax(1).sum(1) + 1) * share
    options |= {
        "weights": data.draw(st.sampled_from([None, "score", "relu"]), "weights"),
        "width": own + data.draw(st.integers(0, 5), "more"),
        "ends": data.draw(st.sampled_from(["keep", "drop"]), "ends"),
        "ambiguous": data.draw(st.sampled_from(["keep", "drop"]), "ambiguous"),
    }
    assert_same(*(op.align_above(codes, weight, threshold, bias, **options) for op in (mk.ops, reference)))
    best = mk.ops.scan(codes, weight, bias, padding=options.pop("padding"), strands=options.pop("strands"))
    assert_same(*(op.align_best(codes, best, threshold, own, **options) for op in (mk.ops, reference)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_sequences_and_wide_rows_on_every_instruction_set(instruction_set, generator, dtype):
    # Tiles of 2,048 windows, several groups, and blocks of filters with a strand's end in one.
    codes = random_codes(3, 40_000, generator)
    weight = integer_weight(45, 9, generator, dtype=dtype)
    weight[::3, :, :4] = 0  # narrow motifs share a block
    threshold = torch.full((45,), 12.0, dtype=dtype)
    options = {"strands": "both", "width": 14, "ends": "drop", "ambiguous": "drop", "weights": "score"}
    assert_same(*(op.align_above(codes, weight, threshold, **options) for op in (mk.ops, reference)))
    assert_same(*(op.scan_summary(codes, weight, strands="both", total="relu") for op in (mk.ops, reference)))
    best = mk.ops.scan(codes, weight, strands="both")
    options.pop("strands")
    assert_same(*(op.align_best(codes, best, threshold, 9, **options) for op in (mk.ops, reference)))


@pytest.mark.parametrize(("batch", "length"), [(70, 333), (2, 20_000)])
def test_best_windows_that_lie_wholly_outside(instruction_set, generator, batch, length):
    """Where every letter costs, the best window is one of N."""
    codes = random_codes(batch, length, generator)
    weight = -1 - integer_weight(20, 9, generator).abs()
    weight[::2] *= -1
    best = mk.ops.scan(codes, weight, padding=(40, 40), strands="both")
    assert (best.position[:, 1] < -9).all()
    assert (best.position[:, 0] >= 0).all()
    options = {"width": 12, "weights": None}
    assert_same(*(op.align_best(codes, best, -1.0, 9, **options) for op in (mk.ops, reference)))


def test_weights_that_are_not_whole_keep_their_precision(generator):
    """200,000 windows of one word: sums in float32 would drift by 1e-3."""
    codes = torch.zeros(100, 2000, dtype=torch.uint8)
    weight = torch.full((1, 4, 3), 0.1)
    found = mk.ops.align_above(codes, weight, 0.0, weights="score")
    score = float(torch.tensor(0.1) + torch.tensor(0.1) + torch.tensor(0.1))
    # 199,800 additions in float64, each off by at most half a unit of the last place.
    np.testing.assert_allclose(found.counts[0, 0], 100 * 1998 * score, rtol=2.0**-53 * 199_800)
    np.testing.assert_allclose(found.total, 100 * 1998 * score, rtol=2.0**-53 * 199_800)
    assert found.nsites.item() == 100 * 1998


def test_counts_do_not_depend_on_the_number_of_threads(generator):
    codes = random_codes(300, 400, generator)
    weight = torch.randn(40, 4, 11, generator=generator)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found = mk.ops.align_above(codes, weight, 4.0, strands="both", weights="score")
            best = mk.ops.align_best(codes, mk.ops.scan(codes, weight), 9.0, 11, weights="score")
            results.append((*found, *best, *mk.ops.scan_summary(codes, weight, strands="both", total="relu")))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert_same(results[0], other)


def test_one_hot_tensors_and_bad_arguments(generator):
    codes, weight = random_codes(5, 30, generator), integer_weight(2, 4, generator)
    assert_same(*(mk.ops.align_above(x, weight, 3.0) for x in (codes, mk.one_hot(codes))))
    with pytest.raises(ValueError, match="width must be at least the filter's, 4, got 3"):
        mk.ops.align_above(codes, weight, 3.0, width=3)
    with pytest.raises(ValueError, match="weights must be None, 'score' or 'relu'"):
        mk.ops.align_above(codes, weight, 3.0, weights="one")
    with pytest.raises(ValueError, match="ends must be 'keep' or 'drop'"):
        mk.ops.align_above(codes, weight, 3.0, ends="cut")
    with pytest.raises(ValueError, match="total must be None, 'score' or 'relu'"):
        mk.ops.scan_summary(codes, weight, total="sum")


@pytest.mark.parametrize("strands", ["+", "both"])
@pytest.mark.parametrize("name", ["code", "basset", "basset-code", "satori", "paper", "best"])
def test_rules_take_the_same_windows_as_from_a_list(generator, monkeypatch, name, strands):
    codes = random_codes(300, 90, generator)
    weight = torch.randn(30, 4, 12, generator=generator)
    assert FirstLayer.counts  # the path that the second run is made to leave
    counted = mk.extract_motifs(weight, codes, rule=RULES[name], strands=strands, batch_size=70)
    monkeypatch.setattr(FirstLayer, "counts", lambda *_: False)
    listed = mk.extract_motifs(weight, codes, rule=RULES[name], strands=strands, batch_size=70)
    assert [(m.name, m.nsites) for m in counted] == [(m.name, m.nsites) for m in listed]
    assert counted.dead == listed.dead
    for a, b in zip(counted, listed, strict=True):
        if RULES[name].weighted:  # float64 sums of thousands of windows, in another order
            np.testing.assert_allclose(a.counts, b.counts, rtol=1e-12)
        else:
            np.testing.assert_array_equal(a.counts, b.counts)
