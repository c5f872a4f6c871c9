"""What only the CUDA kernels choose between: by shared memory, by shape, by the size of a grid."""

import pytest
import torch

import motifkit as mk
from helpers import integer_weight, random_codes
from motifkit.ops import reference


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
def gpu(request):
    return request.getfixturevalue("_run_on")(request.param)


def integers(low, high, shape, generator, device):
    return torch.randint(low, high, shape, generator=generator).to(device, torch.float32)


# batch, length, filters, width, pool size, stride, pool padding; which choice it is for
SHAPES = {
    "tables of words of three": (40, 120, 35, 19, 25, 25, 0),
    "tables of words of three, not seven": (40, 120, 33, 12, 5, 5, 0),
    "no tables in shared memory": (2, 460, 33, 450, 4, 4, 0),
    "a window in pieces": (1, 2300, 3, 5, 2200, 2200, 0),
    "two windows of a tile": (1, 600, 3, 5, 120, 120, 3),
    "overlapping, with heads": (2, 90, 33, 8, 20, 9, 2),
    "overlapping, whole strides": (2, 90, 5, 8, 50, 2, 24),
    "overlapping too far for shared memory": (1, 1500, 2, 4, 1400, 1, 0),
    "kept positions of more than a byte": (2, 700, 17, 4, 300, 100, 0),
    "a column range a block": (1, 260, 3, 240, 3, 3, 0),
}


@pytest.mark.parametrize("shared_kilobytes", [48, 99, 227])
@pytest.mark.parametrize("name", SHAPES)
def test_every_choice_gives_the_same_bits(gpu, generator, monkeypatch, name, shared_kilobytes):
    monkeypatch.setenv("EMULATED_SHARED_KB", str(shared_kilobytes))
    batch, length, filters, width, size, stride, padding = SHAPES[name]
    codes = random_codes(batch, length, generator, device=gpu)
    bias = integers(-3, 4, (filters,), generator, gpu)
    gain = integers(-1, 2, (filters,), generator, gpu) * 2
    ones = torch.ones(filters, device=gpu)
    weights = [integer_weight(filters, width, generator, device=gpu)] * 2
    weights = [weight.clone().requires_grad_() for weight in weights]
    results = []
    for op, weight in zip((mk.ops.conv_pool, reference.conv_pool), weights, strict=True):
        out = op(
            codes, weight, bias, norm_weight=gain, norm_bias=ones, running_mean=ones, running_var=ones,
            eps=0.0, pool_size=size, pool_stride=stride, pool_padding=padding,
        )  # fmt: skip
        upstream = torch.arange(out.numel(), device=gpu).remainder(7).sub(3).float().view_as(out)
        results.append((out.detach(), torch.autograd.grad(out, weight, upstream)[0]))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shared_kilobytes", [48, 227])
@pytest.mark.parametrize(("width", "filters", "strands"), [(19, 40, "both"), (450, 3, "-")])
def test_scans_with_and_without_tables_in_shared_memory(
    gpu, generator, monkeypatch, width, filters, strands, shared_kilobytes
):
    monkeypatch.setenv("EMULATED_SHARED_KB", str(shared_kilobytes))
    codes = random_codes(5, width + 60, generator, device=gpu)
    weight = integer_weight(filters, width, generator, device=gpu)
    ours, theirs = (op.scan(codes, weight, strands=strands) for op in (mk.ops, reference))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    least = theirs.score.amin(0)
    ours, theirs = (op.scan_hits(codes, weight, least, strands=strands) for op in (mk.ops, reference))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("length", "size", "stride"), [(9000, 7000, 1), (400, 64, 3), (5, 5, 4)])
def test_pools_whose_strides_do_not_fit_shared_memory(gpu, generator, monkeypatch, length, size, stride):
    monkeypatch.setenv("EMULATED_SHARED_KB", "48")
    x = integers(-9, 9, (2, length), generator, gpu).requires_grad_()
    ours = mk.ops.max_pool1d(x, size, stride, return_indices=True)
    theirs = reference.max_pool1d(x, size, stride, return_indices=True)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    upstream = integers(-3, 4, ours[0].shape, generator, gpu)
    assert torch.equal(*(torch.autograd.grad(out, x, upstream)[0] for out in (ours[0], theirs[0])))


def test_results_do_not_depend_on_the_device_or_the_schedule(emulated, request, generator, monkeypatch):
    """Weights that no sum is exact in: the same bits for any number of multiprocessors, in any order."""
    gpu = request.getfixturevalue("_run_on")("emulated")
    codes = random_codes(9, 150, generator, device=gpu)
    weight = torch.randn(34, 4, 9, generator=generator).requires_grad_()
    results = []
    for multiprocessors, schedule in ((1, "forward"), (4, "reversed"), (64, "11"), (7, "12")):
        monkeypatch.setenv("EMULATED_MULTIPROCESSORS", str(multiprocessors))
        monkeypatch.setenv("EMULATED_SCHEDULE", schedule)
        mean, variance = torch.zeros(34), torch.ones(34)
        out = mk.ops.conv_pool(
            codes, weight, norm_bias=torch.zeros(34), running_mean=mean, running_var=variance, training=True,
            pool_size=7, pool_stride=3,
        )  # fmt: skip
        upstream = torch.linspace(-1, 1, out.numel()).view_as(out)
        best = mk.ops.scan(codes, weight.detach(), strands="both")
        counts = mk.ops.align(codes, best.hits(), 9, weights=best.score.flatten())
        gradient = torch.autograd.grad(mk.ops.onehot_conv1d(codes, weight).square().sum(), weight)[0]
        results.append(
            (out, mean, variance, *torch.autograd.grad(out, weight, upstream), *best, counts, gradient)
        )
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_one_hot_tensors_become_codes(gpu, generator):
    codes = random_codes(3, 40, generator, device=gpu)
    for dtype in (torch.float32, torch.float64):
        x = mk.one_hot(codes, dtype)
        assert torch.equal(torch.ops.motifkit.onehot_to_codes(x), codes)
        x[1, :, 7] = 0.5  # nobody waits for the device to be told: not one-hot is N
        assert torch.ops.motifkit.onehot_to_codes(x)[1, 7] == 4


@pytest.mark.parametrize("rule", ["paper", "code", "best"])
def test_motifs_are_those_of_the_cpu(gpu, generator, rule, request):
    codes = random_codes(30, 60, generator, letters=4)
    weight = integer_weight(5, 8, generator)
    arguments = {"rule": rule, "threshold": 0.5, "strands": "both", "batch_size": 11}
    ours = mk.extract_motifs(weight, codes, device=gpu, **arguments)
    request.getfixturevalue("monkeypatch").undo()
    theirs = mk.extract_motifs(weight, codes, **arguments)
    assert [m.nsites for m in ours] == [m.nsites for m in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert (a.counts == b.counts).all()


@pytest.mark.cuda
def test_a_training_step_is_captured_in_a_graph(generator):
    """Nothing in it waits for the device: recording would fail."""
    device = torch.device("cuda")
    if not (torch.cuda.is_available() and mk.build_info()["cuda"]):
        pytest.skip("no GPU, or no kernels for it")
    block = mk.nn.ConvPool(
        torch.nn.Conv1d(4, 30, 19, padding="same", bias=False), torch.nn.BatchNorm1d(30), torch.nn.ReLU(),
        torch.nn.MaxPool1d(25),
    ).to(device)  # fmt: skip
    codes = random_codes(10, 200, generator, device=device).contiguous()

    def step():
        block.zero_grad()
        block(codes).square().sum().backward()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    expected = block.conv.weight.grad.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(block.conv.weight.grad, expected)


def test_training_is_that_of_the_cpu(gpu, request):
    """A few steps of a whole network, with batch statistics: losses agree to what float32 leaves."""
    pytest.importorskip("lightning")
    data = mk.simulate(n=60, length=100, seed=3)
    results = []
    for place in (gpu, torch.device("cpu")):
        torch.manual_seed(0)
        model = mk.models.build("CNN-25", length=100, classes=data.targets.shape[1])
        fitted = mk.fit(model, data, epochs=1, batch_size=14, device=place)
        results.append((fitted.best_loss, mk.evaluate(model, data, device=place)["loss"]))
        request.getfixturevalue("monkeypatch").undo()
    assert results[0] == pytest.approx(results[1], rel=1e-3)
