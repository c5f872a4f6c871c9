"""The ops on a GPU, beside PyTorch's. Skipped without one; `benchmarks/gpu.sh` runs it.

The rivals of conv_pool are the same four layers of PyTorch on a one-hot tensor made before the clock starts:
eager (cuDNN, in benchmark mode, with TF32 off and on), under torch.compile, and replayed as a CUDA graph. A
round is a call and the wait for it; `back_to_back_us` is the time of one of many calls that the device works
off without waiting, by CUDA events.
"""

import statistics

import pytest
import torch

import motifkit as mk
from motifkit.ops import reference

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch sees"),
]
SHAPES = [  # batch, length, filters, width, pool
    (100, 200, 30, 19, 25),
    (100, 1000, 30, 19, 25),
    (100, 1000, 120, 19, 25),
    (512, 1000, 300, 19, 4),
]
CONTENDERS = ["motifkit", "motifkit graph", "eager", "eager tf32", "eager tf32 graph", "compiled"]


@pytest.fixture(autouse=True)
def settings():
    """What every contender starts from."""
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = before
    torch.cuda.empty_cache()


@pytest.fixture
def measure_gpu(benchmark):
    """measure_gpu(call, **work): a call with its wait, by the benchmark; many without; the memory."""

    def run(call, **work):
        for _ in range(3):
            call()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        benchmark.extra_info.update(
            work,
            device=torch.cuda.get_device_name(),
            back_to_back_us=back_to_back(call),
            peak_bytes=torch.cuda.max_memory_allocated() - held,
        )

        def and_wait():
            call()
            torch.cuda.synchronize()

        benchmark.pedantic(and_wait, rounds=20, warmup_rounds=2)

    return run


def back_to_back(call, seconds=0.2):
    """Median microseconds of a call among as many as fill `seconds`, in seven runs."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run(count):
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e3 / count

    count = max(1, int(seconds / 7 * 1e6 / max(run(1), 1.0)))
    return statistics.median(run(count) for _ in range(7))


def as_graph(call):
    """The call, recorded once and replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()

    def replay():
        graph.replay()
        return out

    return replay


class Block:
    """One shape's tensors, and a training step of the block: outputs and gradients."""

    def __init__(self, shape):
        batch, length, filters, width, self.pool = shape
        generator = torch.Generator().manual_seed(1)
        draw = lambda *sizes: torch.randn(*sizes, generator=generator)  # noqa: E731
        self.codes = torch.randint(0, 4, (batch, length), generator=generator, dtype=torch.uint8).cuda()
        self.onehot = mk.one_hot(self.codes)
        gain = 0.5 + torch.rand(filters, generator=generator)
        self.parameters = [
            part.cuda().requires_grad_() for part in (draw(filters, 4, width), gain, draw(filters))
        ]
        self.running = torch.zeros(filters).cuda(), torch.ones(filters).cuda()
        self.upstream = draw(batch, filters, length // self.pool).cuda()

    def step(self, op, x):
        def call():
            weight, gain, shift = self.parameters
            mean, variance = self.running
            out = op(
                x, weight, norm_weight=gain, norm_bias=shift, running_mean=mean, running_var=variance,
                training=True, pool_size=self.pool,
            )  # fmt: skip
            return [out.detach(), *torch.autograd.grad(out, self.parameters, self.upstream)]

        return call

    def contender(self, name):
        ours = name.startswith("motifkit")
        torch.backends.cudnn.allow_tf32 = "tf32" in name
        op = mk.ops.conv_pool if ours else reference_layers
        if name == "compiled":
            torch._dynamo.reset()
            op = torch.compile(reference_layers)
        call = self.step(op, self.codes if ours else self.onehot)
        return as_graph(call) if "graph" in name else call


def reference_layers(x, weight, **arguments):
    """The twin of conv_pool, told that x is one-hot already."""
    return reference.conv_pool(x, weight, **arguments)


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_conv_pool(measure_gpu, benchmark, shape, contender):
    benchmark.group = f"conv_pool training {shape}"
    block = Block(shape)
    call = block.contender(contender)
    tolerance = 2e-2 if "tf32" in contender else 1e-3  # of the norm: TF32 keeps 10 bits
    for ours, theirs in zip(call(), block.step(reference_layers, block.onehot)(), strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm()
    batch, length, filters, width, pool = shape
    measure_gpu(call, positions=batch * length, bytes_out=batch * filters * (length // pool) * 4, width=width)


@pytest.mark.parametrize("strands", ["+", "both"])
def test_scan_of_a_chromosome(measure_gpu, benchmark, strands):
    """519 random profiles of widths 6 to 20 over 100 Mb in rows of 1 Mb: the best window of each row."""
    benchmark.group = "scan 519 profiles, 100 Mb"
    generator = torch.Generator().manual_seed(2)
    codes = torch.randint(0, 4, (100, 1_000_000), generator=generator, dtype=torch.uint8).cuda()
    weight = torch.randn(519, 4, 20, generator=generator)
    for row in weight:
        row[:, int(torch.randint(6, 21, (1,), generator=generator)) :] = 0
    weight = weight.cuda()
    best = mk.ops.scan(codes[:1, :20_000], weight, strands=strands)
    true = reference.scan(codes[:1, :20_000], weight, strands=strands)
    torch.testing.assert_close(best.score, true.score, rtol=1e-5, atol=1e-5)
    benchmark.extra_info["windows_scored"] = codes.numel() * 519 * (2 if strands == "both" else 1)
    measure_gpu(lambda: mk.ops.scan(codes, weight, strands=strands), positions=codes.numel())


def test_extract_motifs(measure_gpu, benchmark):
    """Motifs of 30 filters from 25,000 sequences of 1,000 letters: one row for the whole call."""
    benchmark.group = "extract_motifs 25,000 x 1,000"
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 4, (25_000, 1_000), generator=generator, dtype=torch.uint8).cuda()
    weight = torch.randn(30, 4, 19, generator=generator).cuda()
    few = mk.extract_motifs(weight.cpu(), codes[:200].cpu())
    for ours, theirs in zip(mk.extract_motifs(weight, codes[:200], device="cuda"), few, strict=True):
        assert (ours.counts == theirs.counts).all()
    measure_gpu(lambda: mk.extract_motifs(weight, codes, device="cuda"), positions=codes.numel())


@pytest.mark.parametrize("contender", ["motifkit", "eager"])
def test_an_epoch_of_cnn_25(measure_gpu, benchmark, contender):
    """175 steps of Adam on 17,500 sequences of 200 letters, batches of 100, all on the device."""
    benchmark.group = "CNN-25, an epoch of 17,500 x 200"
    torch.manual_seed(4)
    codes = torch.randint(0, 4, (17_500, 200), dtype=torch.uint8).cuda()
    poor_in_gt = (codes < 2).sum(1, keepdim=True) > 100  # what there is to learn
    targets = poor_in_gt.expand(-1, 12).float().contiguous()
    model = mk.models.build("CNN-25", length=200, classes=12).cuda()
    inputs = codes
    if contender == "eager":
        block = model.block1
        model.block1 = torch.nn.Sequential(block.conv, block.norm, torch.nn.ReLU(), torch.nn.MaxPool1d(25))
        inputs = mk.one_hot(codes)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-4)
    loss_of = torch.nn.BCEWithLogitsLoss()

    def epoch():
        total = torch.zeros((), device="cuda")
        for x, y in zip(inputs.split(100), targets.split(100), strict=True):
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(model(x), y)
            loss.backward()
            optimiser.step()
            total += loss.detach()
        return total

    first, later = epoch().item(), [epoch().item() for _ in range(3)][-1]
    assert later < first
    measure_gpu(epoch, positions=codes.numel())
