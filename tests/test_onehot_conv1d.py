import pytest
import torch
import torch.nn.functional as F

import motifkit as mk
from helpers import integer_weight, random_codes
from motifkit.ops import reference

# Filters around the lane counts 16 and 32, widths around every word length, lengths around a tile of 128.
SHAPES = [
    (3, 50, 30, 19, "same"),
    (2, 127, 16, 8, "same"),
    (2, 129, 17, 4, "valid"),
    (1, 300, 33, 1, 0),
    (4, 20, 5, 20, "valid"),  # one window
    (2, 3, 4, 7, "same"),  # filter wider than the sequence
    (2, 40, 64, 6, (5, 0)),
    (1, 2, 2, 2, (3, 4)),  # windows of padding alone
]


@pytest.mark.parametrize(("batch", "length", "filters", "width", "padding"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_integer_weights_agree_bit_for_bit(device, generator, batch, length, filters, width, padding, dtype):
    codes = random_codes(batch, length, generator, device=device)
    weight = integer_weight(filters, width, generator, dtype, device)
    bias = torch.arange(filters, dtype=dtype, device=device)
    ours = mk.ops.onehot_conv1d(codes, weight, bias, padding)
    assert torch.equal(ours, reference.onehot_conv1d(codes, weight, bias, padding))


@pytest.mark.parametrize(
    ("batch", "length", "filters", "width", "padding"),
    [(2, 20_011, 35, 19, "same"), (1, 120_000, 9, 7, "valid"), (700, 54, 30, 2, 3), (90_000, 7, 2, 1, 0)],
)
def test_outputs_that_no_cache_holds(
    instruction_set, generator, monkeypatch, batch, length, filters, width, padding
):
    """Written another way: along rows, past the caches."""
    codes = random_codes(batch, length, generator)
    weight = integer_weight(filters, width, generator)
    weight[1] = torch.nan
    bias = torch.arange(filters, dtype=torch.float32)
    ours = mk.ops.onehot_conv1d(codes, weight, bias, padding)
    theirs = reference.onehot_conv1d(codes, weight, bias, padding)
    assert ours.nbytes > 4 << 20
    assert ours[:, 1].isnan().all()
    assert torch.equal(ours[:, 0], theirs[:, 0])
    assert torch.equal(ours[:, 2:], theirs[:, 2:])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    again = mk.ops.onehot_conv1d(codes, weight, bias, padding)
    assert torch.equal(again.nan_to_num(), ours.nan_to_num())


def test_random_weights_stay_within_the_rounding_of_their_sums(device, generator):
    codes = random_codes(4, 200, generator, device=device)
    weight = torch.randn(30, 4, 19, generator=generator).to(device)
    ours = mk.ops.onehot_conv1d(codes, weight).double()
    exact = reference.onehot_conv1d(codes, weight.double())
    # K - 1 additions of floats, each rounded by at most half an ulp of a partial sum: |error| is at most
    # (K - 1) * 2^-24 times the sum of absolute values, of which a window takes one a column.
    bound = 18 * 2**-24 * weight.abs().amax(1).sum(1).double()
    assert ((ours - exact).abs() <= bound[None, :, None]).all()


def test_gradients_agree_with_the_dense_convolution(device, generator):
    codes = random_codes(3, 300, generator, device=device)
    shapes = (20, 4, 9), (20,), (3, 20, 300)
    draws = [torch.randn(s, generator=generator, dtype=torch.float64).to(device) for s in shapes]
    weight, bias, upstream = draws[0].requires_grad_(), draws[1].requires_grad_(), draws[2]
    ours = torch.autograd.grad(mk.ops.onehot_conv1d(codes, weight, bias), (weight, bias), upstream)
    theirs = torch.autograd.grad(reference.onehot_conv1d(codes, weight, bias), (weight, bias), upstream)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_one_hot_input_equals_codes(place, generator):
    codes = random_codes(2, 30, generator, device=place)
    weight = integer_weight(8, 5, generator, device=place)
    x = mk.one_hot(codes)
    expected = mk.ops.onehot_conv1d(codes, weight)
    assert torch.equal(mk.ops.onehot_conv1d(x, weight), expected)
    assert torch.equal(mk.ops.onehot_conv1d(x.transpose(1, 2).contiguous().transpose(1, 2), weight), expected)


def test_an_input_that_is_not_one_hot_takes_the_dense_path(generator):
    x = torch.rand(2, 4, 30, generator=generator)
    weight = torch.randn(3, 4, 5, generator=generator)
    torch.testing.assert_close(mk.ops.onehot_conv1d(x, weight), F.conv1d(x, weight, padding="same"))


def test_an_input_that_wants_a_gradient_gets_it(generator):
    codes = random_codes(2, 30, generator)
    weight = torch.randn(3, 4, 5, generator=generator)
    x = mk.one_hot(codes).requires_grad_()
    mk.ops.onehot_conv1d(x, weight).sum().backward()
    y = mk.one_hot(codes).requires_grad_()
    F.conv1d(y, weight, padding="same").sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(place, generator, dtype):
    codes = random_codes(2, 60, generator, device=place)
    weight = torch.randn(5, 4, 7, generator=generator).to(place, dtype)
    ours = mk.ops.onehot_conv1d(codes, weight)
    assert ours.dtype == dtype
    assert torch.equal(ours, mk.ops.onehot_conv1d(codes, weight.float()).to(dtype))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_weights_that_are_not_finite_spoil_their_filter_as_in_a_dense_convolution(place, generator, bad):
    codes = random_codes(2, 40, generator, letters=4, device=place)
    weight = torch.randn(3, 4, 5, generator=generator).to(place)
    weight[1, 2, 3] = bad
    ours, theirs = mk.ops.onehot_conv1d(codes, weight), reference.onehot_conv1d(codes, weight)
    assert ours[:, 1].isnan().all()
    assert theirs[:, 1].isnan().any()
    torch.testing.assert_close(ours[:, [0, 2]], theirs[:, [0, 2]])


def test_empty_batches_and_codes_above_four(place):
    weight = torch.ones(2, 4, 3, device=place, requires_grad=True)
    empty = mk.ops.onehot_conv1d(torch.empty(0, 9, dtype=torch.uint8, device=place), weight)
    assert empty.shape == (0, 2, 9)
    assert not torch.autograd.grad(empty.sum(), weight)[0].any()
    n = torch.full((1, 9), 200, dtype=torch.uint8, device=place)
    assert torch.equal(mk.ops.onehot_conv1d(n, weight), torch.zeros(1, 2, 9, device=place))


def test_bad_arguments_are_refused():
    codes, weight = mk.encode("ACGTACGT"), torch.ones(2, 4, 3)
    with pytest.raises(ValueError, match="does not fit"):
        mk.ops.onehot_conv1d(codes, torch.ones(2, 4, 9), padding="valid")
    with pytest.raises(ValueError, match="shape"):
        mk.ops.onehot_conv1d(codes, torch.ones(2, 3, 3))
    with pytest.raises(ValueError, match="padding"):
        mk.ops.onehot_conv1d(codes, weight, padding="full")
    with pytest.raises(ValueError, match="negative"):
        mk.ops.onehot_conv1d(codes, weight, padding=-1)
    with pytest.raises(ValueError, match="bias"):
        mk.ops.onehot_conv1d(codes, weight, torch.ones(3))
    with pytest.raises(TypeError, match="uint8"):
        mk.ops.onehot_conv1d(codes.long(), weight)
