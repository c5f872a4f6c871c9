import pytest
import torch
import torch.nn.functional as F

import motifkit as mk

# size, stride, padding, ceil_mode: apart, touching, overlapping by whole strides and not, gaps.
POOLS = [
    (25, 25, 0, False),
    (50, 2, 24, False),
    (7, 3, 2, False),
    (3, 5, 1, False),
    (4, 1, 0, False),
    (10, 4, 5, True),
    (2, 2, 1, True),
    (1, 1, 0, False),
    (64, 63, 32, False),
]


@pytest.mark.parametrize(("size", "stride", "padding", "ceil_mode"), POOLS)
@pytest.mark.parametrize("length", [64, 201, 4500])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_indices_and_gradients_are_those_of_torch(
    device, generator, size, stride, padding, ceil_mode, length, dtype
):
    # Few distinct values: ties everywhere.
    x = torch.randint(-3, 4, (2, 9, length), generator=generator).to(device, dtype)
    ours_x, theirs_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, at = mk.ops.max_pool1d(ours_x, size, stride, padding, ceil_mode, return_indices=True)
    theirs, expected = F.max_pool1d(theirs_x, size, stride, padding, ceil_mode=ceil_mode, return_indices=True)
    assert torch.equal(ours, theirs)
    assert torch.equal(at, expected)
    upstream = torch.randint(-5, 6, ours.shape, generator=generator).to(device, dtype)
    ours.backward(upstream)
    theirs.backward(upstream)
    assert torch.equal(ours_x.grad, theirs_x.grad)


@pytest.mark.parametrize(("size", "stride"), [(3, 3), (6, 2), (5, 3)])
def test_nan_wins_its_windows(device, generator, size, stride):
    x = torch.randn(3, 4, 40, generator=generator).to(device)
    x[0, 1, 7] = x[2, 3, 0] = x[1, 0, 39] = float("nan")
    x[1, 2, :10] = -torch.inf
    ours, theirs = mk.ops.max_pool1d(x, size, stride), F.max_pool1d(x, size, stride)
    torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=0, atol=0)


def test_slices_two_dimensions_and_empty_batches(place, generator):
    x = torch.randn(5, 6, 90, generator=generator).to(place)[::2, 1:, 3:-4]
    assert torch.equal(mk.ops.max_pool1d(x, 5, 2), F.max_pool1d(x, 5, 2))
    assert torch.equal(mk.ops.max_pool1d(x[0], 5, 2), F.max_pool1d(x[0], 5, 2))
    assert mk.ops.max_pool1d(torch.empty(0, 3, 10, device=place), 2).shape == (0, 3, 5)


def test_bad_pools_are_refused():
    x = torch.zeros(1, 1, 5)
    with pytest.raises(ValueError, match="half"):
        mk.ops.max_pool1d(x, 4, padding=3)
    with pytest.raises(ValueError, match="does not fit"):
        mk.ops.max_pool1d(x, 6)
    with pytest.raises(ValueError, match="at least 1"):
        mk.ops.max_pool1d(x, 2, stride=0)
