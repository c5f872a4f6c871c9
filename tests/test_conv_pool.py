import pytest
import torch

import motifkit as mk
from helpers import integer_weight, random_codes
from motifkit import _native
from motifkit.ops import reference
from motifkit.ops.conv_pool import ACTIVATIONS, window_counts
from properties import HealthCheck, given, settings, st

# batch, length, filters, width, pool size, stride, pool padding, padding
SHAPES = [
    (5, 200, 30, 19, 25, 25, 0, "same"),  # scatter by window
    (5, 200, 30, 19, 2, 2, 0, "same"),  # scatter by position
    (3, 90, 12, 8, 50, 2, 24, "same"),  # overlapping: scatter by row
    (3, 60, 33, 8, 20, 9, 2, "valid"),  # overlapping, wide stride
    (2, 40, 48, 5, 3, 5, 1, (2, 0)),  # gaps between windows
    (1, 4300, 7, 11, 10, 10, 0, "same"),  # several tiles a sequence
    (3, 30, 17, 30, 1, 1, 0, "valid"),  # one position
    (2, 24, 3, 2, 24, 24, 0, "same"),  # global pool, even width
]
ALL = pytest.mark.parametrize(
    ("batch", "length", "filters", "width", "size", "stride", "pool_padding", "padding"), SHAPES
)


def pooling(size, stride, pool_padding, padding):
    return {"pool_size": size, "pool_stride": stride, "pool_padding": pool_padding, "padding": padding}


@ALL
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_integer_weights_agree_bit_for_bit(
    device, generator, batch, length, filters, width, size, stride, pool_padding, padding, activation
):
    codes = random_codes(batch, length, generator, device=device)
    weight = integer_weight(filters, width, generator, device=device)
    arguments = pooling(size, stride, pool_padding, padding) | {"activation": activation}
    bias = torch.arange(filters, device=device).float() - filters // 2
    ours = mk.ops.conv_pool(codes, weight, bias, **arguments)
    assert torch.equal(ours, reference.conv_pool(codes, weight, bias, **arguments))


@ALL
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_outputs_gradients_and_running_statistics_are_those_of_the_four_layers(
    device, generator, batch, length, filters, width, size, stride, pool_padding, padding, training,
    activation,
):  # fmt: skip
    codes = random_codes(batch, length, generator, device=device)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)

    # Small weights keep exp from growing; half of the batch-norm weights are negative.
    parameters = [draw(filters, 4, width) / width, draw(filters), draw(filters), draw(filters)]
    parameters = [p.requires_grad_() for p in parameters]
    running = draw(filters), draw(filters).abs() + 0.5
    results = []
    for op in (mk.ops.conv_pool, reference.conv_pool):
        mean, variance = running[0].clone(), running[1].clone()
        out = op(
            codes, parameters[0], parameters[1], norm_weight=parameters[2], norm_bias=parameters[3],
            running_mean=mean, running_var=variance, training=training, momentum=0.3, activation=activation,
            **pooling(size, stride, pool_padding, padding),
        )  # fmt: skip
        upstream = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=device).view_as(out)
        gradients = torch.autograd.grad(out, parameters, upstream)
        if training:  # the batch mean takes the convolution's bias away: its gradient is rounding
            gradients = gradients[:1] + gradients[2:]
        results.append((out, mean, variance, *gradients))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.abs().max().item())


@pytest.mark.parametrize(("training", "size", "stride"), [(True, 4, 4), (True, 6, 2), (False, 9, 9)])
def test_gradcheck(generator, training, size, stride):
    codes = random_codes(3, 30, generator)
    weight = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    gain = torch.tensor([1.0, -0.7, 0.3], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([0.1, 0.2, -0.1], dtype=torch.float64, requires_grad=True)

    def block(weight, gain, shift):
        return mk.ops.conv_pool(
            codes, weight, norm_weight=gain, norm_bias=shift, training=training, activation="tanh",
            running_mean=torch.zeros(3, dtype=torch.float64),
            running_var=torch.ones(3, dtype=torch.float64), pool_size=size, pool_stride=stride,
        )  # fmt: skip

    assert torch.autograd.gradcheck(block, (weight, gain, shift))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shape(place, data):
    """Random shapes, N content, signs and slices; every number an integer, so every bit must agree."""
    width = data.draw(st.integers(1, 24), "width")
    padding = data.draw(
        st.one_of(st.just("same"), st.tuples(st.integers(0, width), st.integers(0, width))), "padding"
    )
    pads = sum(padding) if isinstance(padding, tuple) else width - 1
    length = data.draw(st.integers(max(1, width - pads), 90), "length")
    positions = length + pads - width + 1
    size = data.draw(st.integers(1, positions), "size")
    pool_padding = data.draw(st.integers(0, size // 2), "pool padding")
    stride = data.draw(st.integers(1, size + 3), "stride")
    batch, filters = data.draw(st.integers(0, 4), "batch"), data.draw(st.integers(1, 70), "filters")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31), "seed"))
    letters = data.draw(st.sampled_from([1, 4, 5, 9]), "letters")
    codes = random_codes(batch, length, generator, letters, place)
    weight = integer_weight(filters, width, generator, device=place).requires_grad_()
    gain = torch.randint(-1, 2, (filters,), generator=generator).to(place).float() * 2  # exact, some zero
    ones = torch.ones(filters, device=place)
    arguments = pooling(size, stride, pool_padding, padding) | {
        "norm_weight": gain, "norm_bias": ones, "running_mean": ones, "running_var": ones, "eps": 0.0,
        "activation": data.draw(st.sampled_from(["identity", "relu"])),
    }  # fmt: skip
    upstream = None
    results = []
    for op in (mk.ops.conv_pool, reference.conv_pool):
        out = op(codes, weight, **arguments)
        if upstream is None:
            upstream = torch.randint(-3, 4, out.shape, generator=generator).to(place).float()
        results.append((out.detach(), torch.autograd.grad(out, weight, upstream)[0]))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_results_do_not_depend_on_the_number_of_threads(instruction_set, generator):
    codes = random_codes(64, 700, generator)
    weight = torch.randn(70, 4, 12, generator=generator, requires_grad=True)
    upstream = torch.randn(64, 70, 700 // 5, generator=generator)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            mean, variance = torch.zeros(70), torch.ones(70)
            out = mk.ops.conv_pool(
                codes, weight, norm_bias=torch.zeros(70), running_mean=mean, running_var=variance,
                training=True, pool_size=5,
            )  # fmt: skip
            results.append((out, mean, variance, torch.autograd.grad(out, weight, upstream)[0]))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


def test_every_instruction_set_gives_the_same_bits(generator):
    native = _native.module()
    if native is None:
        pytest.skip("the compiled module is not there")
    codes = random_codes(8, 200, generator)
    weight = torch.randn(30, 4, 19, generator=generator)
    before, outputs = native.instruction_set(), []
    try:
        for name in native.available_instruction_sets().split():
            native.use_instruction_set(name)
            outputs.append(
                mk.ops.conv_pool(codes, weight, norm_bias=torch.zeros(30), training=True, pool_size=25)
            )
    finally:
        native.use_instruction_set(before)
    for other in outputs[1:]:
        assert torch.equal(outputs[0], other)


@pytest.mark.parametrize(
    ("width", "pads"), [(1, (0, 0)), (5, (2, 2)), (8, (0, 0)), (9, (12, 3)), (70, (34, 35))]
)
@pytest.mark.parametrize(("batch", "length"), [(3, 80), (70, 100), (1, 40000)])
def test_window_counts_count_windows(device, generator, width, pads, batch, length):
    codes = random_codes(batch, length, generator, device=device)
    padded = torch.nn.functional.pad(codes, pads, value=4)
    windows = mk.one_hot(padded, torch.float64).unfold(2, width, 1)  # (batch, 4, windows, width)
    flat = windows.permute(0, 2, 1, 3).reshape(-1, 4 * width)
    assert torch.equal(window_counts(codes, width, *pads), (flat.T @ flat).long())


def test_statistics_keep_their_digits_far_from_zero(place, generator):
    codes = random_codes(50, 500, generator, letters=4, device=place)
    # Each window scores 5000 and a little: one-pass sums of squares in float32 would lose all of it.
    weight = 1000 + torch.randn(4, 4, 5, generator=generator).to(place)
    mean, variance = torch.zeros(2, 4, device=place).unbind()
    mk.ops.conv_pool(
        codes, weight, running_mean=mean, running_var=variance, training=True, momentum=1.0, padding="valid"
    )
    z = reference.onehot_conv1d(codes, weight.double(), padding="valid")
    torch.testing.assert_close(mean.double(), z.mean((0, 2)), rtol=2**-23, atol=0)
    torch.testing.assert_close(variance.double(), z.var((0, 2)), rtol=2**-22, atol=0)


def test_statistics_of_a_hundred_million_windows(generator):
    """Sums of float32 would stop growing at 2^24; counts do not. Each sequence stands 1,000 times in the
    batch, so its statistics are those of the 100 sequences, taken here in float64."""
    few = random_codes(100, 1000, generator)
    weight = torch.randn(2, 4, 7, generator=generator) + 100  # a mean of 700, a variance near 7
    z = reference.onehot_conv1d(few, weight.double(), padding="same")
    mean, variance = torch.zeros(2), torch.ones(2)
    codes = few.repeat(1000, 1)
    assert codes.numel() == 10**8
    mk.ops.conv_pool(
        codes, weight, running_mean=mean, running_var=variance, training=True, momentum=1.0, pool_size=1000
    )
    # Both are computed in float64 and rounded once.
    torch.testing.assert_close(mean, z.mean((0, 2)).float(), rtol=2**-23, atol=0)
    n = 10**8
    unbiased = z.var((0, 2), unbiased=False) * n / (n - 1)
    torch.testing.assert_close(variance, unbiased.float(), rtol=2**-23, atol=0)


def test_zero_batch_norm_weight_keeps_the_first_position(place, generator):
    """All values tie: the gradient of the batch-norm weight is taken where max_pool1d would take it."""
    codes = random_codes(4, 40, generator, device=place)
    weight = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64).to(place)
    results = []
    for op in (mk.ops.conv_pool, reference.conv_pool):
        gain = torch.zeros(3, dtype=torch.float64, device=place, requires_grad=True)
        out = op(codes, weight, norm_weight=gain, norm_bias=torch.ones_like(gain), training=True, pool_size=4)
        out.square().sum().backward()
        results.append(gain.grad)
    torch.testing.assert_close(*results)


def test_bad_arguments_are_refused():
    codes, weight = mk.encode("ACGTACGT"), torch.ones(2, 4, 3)
    with pytest.raises(ValueError, match="activation"):
        mk.ops.conv_pool(codes, weight, activation="swish")
    with pytest.raises(ValueError, match="running_mean and running_var"):
        mk.ops.conv_pool(codes, weight, norm_weight=torch.ones(2))
    with pytest.raises(ValueError, match="at least 2 windows"):
        mk.ops.conv_pool(mk.encode("ACG"), weight, norm_weight=torch.ones(2), training=True, padding="valid")
    with pytest.raises(ValueError, match="norm_bias"):
        mk.ops.conv_pool(codes, weight, norm_bias=torch.ones(3), training=True)
    with pytest.raises(ValueError, match="does not fit"):
        mk.ops.conv_pool(codes, weight, pool_size=9)
