import pytest
import torch

import motifkit as mk
from helpers import integer_weight, random_codes
from motifkit.ops import reference
from properties import HealthCheck, given, settings, st


def narrow_some(weight, generator):
    """Cut filters to random extents, as motifs of several widths in one tensor are."""
    width = weight.shape[2]
    for row in weight:
        begin, end = torch.randint(0, width + 1, (2,), generator=generator).sort().values.tolist()
        row[:, :begin] = row[:, end:] = 0
    return weight


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_scans_of_any_shape_are_those_of_the_reference(place, data):
    width = data.draw(st.integers(1, 21), "width")
    length = data.draw(st.integers(width, 120), "length")
    padding = data.draw(st.sampled_from(["valid", "same", (3, 1)]), "padding")
    strands = data.draw(st.sampled_from(["+", "-", "both"]), "strands")
    batch, filters = data.draw(st.integers(0, 4), "batch"), data.draw(st.integers(1, 40), "filters")
    most = data.draw(st.sampled_from([None, 1, 3]), "most")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31), "seed"))
    codes = random_codes(batch, length, generator, device=place)
    weight = narrow_some(integer_weight(filters, width, generator), generator).to(place)
    bias = torch.randint(-3, 4, (filters,), generator=generator).to(place, torch.float32)
    options = {"padding": padding, "strands": strands}
    for ours, theirs in zip(
        mk.ops.scan(codes, weight, bias, **options),
        reference.scan(codes, weight, bias, **options),
        strict=True,
    ):
        assert torch.equal(ours, theirs)
    threshold = weight.amax(1).sum(1) / 2
    ours = mk.ops.scan_hits(codes, weight, threshold, bias, max_hits_per_sequence=most, **options)
    theirs = reference.scan_hits(codes, weight, threshold, bias, max_hits_per_sequence=most, **options)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    weights = torch.randint(0, 5, (len(ours.score),), generator=generator).to(place).double()
    for offset, shown in ((0, width), (-2, width + 4)):
        options = {"offset": offset, "weights": weights, "filters": filters}
        assert torch.equal(
            mk.ops.align(codes, ours, shown, **options), reference.align(codes, theirs, shown, **options)
        )


def test_long_sequences_are_scanned_in_spans(device, is_emulated, generator):
    # More than two spans of scan on the CPU and nine of scan_hits; two of each on a GPU.
    codes = random_codes(2, 1100 if is_emulated else 600_000, generator, device=device)
    weight = integer_weight(3, 9, generator, device=device)
    ours, theirs = (op.scan(codes, weight, strands="both") for op in (mk.ops, reference))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    threshold = ours.score.amin(0) - 4
    hits, expected = (op.scan_hits(codes, weight, threshold, strands="both") for op in (mk.ops, reference))
    for a, b in zip(hits, expected, strict=True):
        assert torch.equal(a, b)


def test_ties_go_to_the_lowest_position_then_the_forward_strand(place):
    palindrome, codes = mk.one_hot(mk.encode("ACGT")).to(place), mk.encode("NACGTNACGTN").to(place)
    best = mk.ops.scan(codes, palindrome, strands="both")
    assert (best.position.item(), best.strand.item()) == (1, 1)
    hits = mk.ops.scan_hits(codes, palindrome, 3.0, strands="both")
    assert hits.position.tolist() == [1, 1, 6, 6]
    assert hits.strand.tolist() == [1, -1, 1, -1]


def test_positions_are_those_of_the_sequence():
    best = mk.ops.scan(mk.encode("TGAAAA"), mk.one_hot(mk.encode("GTG")), padding="same")
    assert best.position.item() == -1  # the window begins one letter before the sequence


def test_a_threshold_is_exceeded_not_met(place):
    codes = mk.encode("GTG").to(place)
    weight = mk.one_hot(codes)
    assert len(mk.ops.scan_hits(codes, weight, 3.0).score) == 0
    # A bias that float32 cannot add exactly must not move a window across the threshold.
    bias = torch.tensor([0.1], device=place)
    assert len(mk.ops.scan_hits(codes, weight, 3.0 + bias, bias).score) == 0


def test_scores_are_differentiable(place, generator):
    codes = random_codes(6, 50, generator, device=place)
    results = []
    for op in (mk.ops, reference):
        weight = torch.randn(4, 4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        weight = weight.to(place).requires_grad_()
        bias = torch.zeros(4, dtype=torch.float64, device=place, requires_grad=True)
        least = torch.full((4,), 2.0, dtype=torch.float64, device=place)
        best = op.scan(codes, weight, bias, strands="both").score.square().sum()
        hits = op.scan_hits(codes, weight, least, bias, strands="both").score.square().sum()
        results.append(torch.autograd.grad(best + hits, (weight, bias)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_align_weights_are_differentiable(generator):
    codes = random_codes(4, 30, generator)
    hits = mk.ops.scan(codes, integer_weight(2, 5, generator)).hits()
    weights = torch.rand(len(hits.score), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: mk.ops.align(codes, hits, 5, weights=w), (weights,))


def test_hits_of_no_sequence_or_filter_spoil_the_counts_of_cuda_kernels(generator, emulated, request):
    """It could not raise without being waited for."""
    request.getfixturevalue("_run_on")("emulated")
    codes = random_codes(3, 20, generator)
    hits = mk.ops.scan(codes, integer_weight(2, 3, generator)).hits()
    sequence = torch.where(hits.filter == 1, hits.sequence + 3, hits.sequence)
    counts = mk.ops.align(codes, hits._replace(sequence=sequence), 3)
    assert counts[0].isfinite().all()
    assert counts[1].isnan().all()
    assert mk.ops.align(codes, hits, 3, filters=1).isnan().all()


def test_results_do_not_depend_on_the_number_of_threads(generator):
    codes = random_codes(300, 400, generator)
    weight = torch.randn(40, 4, 11, generator=generator)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            hits = mk.ops.scan_hits(codes, weight, torch.full((40,), 7.0), strands="both")
            results.append((*mk.ops.scan(codes, weight, strands="both"), *hits))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_bad_arguments_are_refused(generator):
    codes, weight = mk.encode("ACGTACGT"), torch.ones(2, 4, 3)
    with pytest.raises(ValueError, match="strands"):
        mk.ops.scan(codes, weight, strands="forward")
    with pytest.raises(ValueError, match="threshold"):
        mk.ops.scan_hits(codes, weight, torch.ones(3))
    with pytest.raises(ValueError, match="max_hits_per_sequence"):
        mk.ops.scan_hits(codes, weight, 1.0, max_hits_per_sequence=0)
    hits = mk.ops.scan(codes, weight).hits()
    with pytest.raises(IndexError, match="sequence"):
        mk.ops.align(codes, hits._replace(sequence=hits.sequence + 5), 3)
    with pytest.raises(IndexError, match="filter"):
        mk.ops.align(codes, hits, 3, filters=1)
