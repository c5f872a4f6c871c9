"""The other ops, each beside what PyTorch or the fastest public scanner takes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import motifkit as mk


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize("contender", ["motifkit", "eager"])
def test_onehot_conv1d(measure, benchmark, generator, contender):
    benchmark.group = "onehot_conv1d (100, 1000, 30, 19)"
    codes = torch.randint(0, 4, (100, 1000), generator=generator, dtype=torch.uint8)
    weight = torch.randn(30, 4, 19, generator=generator)
    x = mk.one_hot(codes)
    torch.testing.assert_close(
        mk.ops.onehot_conv1d(codes, weight), F.conv1d(x, weight, padding="same"), rtol=1e-4, atol=1e-4
    )
    calls = {
        "motifkit": lambda: mk.ops.onehot_conv1d(codes, weight),
        "eager": lambda: F.conv1d(x, weight, padding="same"),
    }
    measure(calls, contender, positions=100_000, bytes_out=100_000 * 30 * 4)


@pytest.mark.parametrize("contender", ["motifkit", "eager"])
@pytest.mark.parametrize("mode", ["forward", "training"])
@pytest.mark.parametrize("length", [200, 1000])
def test_max_pool1d(measure, benchmark, generator, length, mode, contender):
    benchmark.group = f"max_pool1d {mode} 50/2 (100, 30, {length})"
    x = torch.randn(100, 30, length, generator=generator, requires_grad=mode == "training")
    upstream = torch.randn(100, 30, length // 2, generator=generator)

    def call(pool):
        def forward():
            return pool(x, 50, 2, 24)

        return forward if mode == "forward" else lambda: torch.autograd.grad(forward(), x, upstream)[0]

    ours, rival = call(mk.ops.max_pool1d), call(F.max_pool1d)
    torch.testing.assert_close(ours(), rival(), rtol=1e-5, atol=1e-5)
    measure({"motifkit": ours, "eager": rival}, contender, positions=x.numel())


@pytest.fixture(scope="module")
def database():
    """(519, 4, width) log-odds of JASPAR 2016's vertebrate profiles, zero beyond each one's width."""
    jaspar = mk.MotifSet.from_jaspar("JASPAR2016")
    matrices = [np.log2((m.ppm * m.nsites + 0.25) / (m.nsites + 1) / 0.25) for m in jaspar]
    weight = torch.zeros(len(matrices), 4, max(m.shape[1] for m in matrices))
    for row, matrix in zip(weight, matrices, strict=True):
        row[:, : matrix.shape[1]] = torch.from_numpy(matrix)
    return weight, matrices


@pytest.mark.parametrize("contender", ["motifkit", "lightmotif"])
def test_scan_of_a_database(measure, benchmark, request, floor, generator, database, contender):
    """519 JASPAR profiles, both strands: the best window of each."""
    quick = request.config.getoption("--quick")
    letters = 1_000_000 if quick else 10_000_000
    benchmark.group = f"scan 519 profiles, both strands, {letters // 1_000_000} Mb"
    weight, matrices = database
    codes = torch.randint(0, 4, (1, letters), generator=generator, dtype=torch.uint8)
    best = lambda: mk.ops.scan(codes, weight, strands="both")  # noqa: E731
    if contender == "motifkit":
        part = codes[:, :200_000]
        dense = F.conv1d(mk.one_hot(part), weight[:8]).amax(2)
        forward = mk.ops.scan(part, weight[:8])
        torch.testing.assert_close(forward.score, dense, rtol=1e-4, atol=1e-4)
        # Narrow profiles share blocks, so the floor is that of their own widths.
        widths = sorted(m.shape[1] for m in matrices)
        blocks = [widths[i : i + 32] for i in range(0, len(widths), 32)]
        seconds = sum(2 * floor(32, block[-1]) for block in blocks)
        measure(
            {contender: best},
            contender,
            positions=letters,
            bytes_in=letters,
            floor_ms=seconds * letters * 1e3,
        )
        return
    lightmotif = pytest.importorskip("lightmotif", reason="lightmotif is not installed")
    striped = lightmotif.stripe(mk.decode(codes)[0])
    scorers = []
    for matrix in matrices:
        for oriented in (matrix, matrix[::-1, ::-1]):
            columns = {letter: list(map(float, row)) for letter, row in zip("ACGT", oriented, strict=True)}
            columns["N"] = [0.0] * oriented.shape[1]
            scorers.append(lightmotif.ScoringMatrix(columns))
    score = scorers[0].calculate(striped)
    ours = mk.ops.scan(codes, weight[:1]).score.item()
    assert abs(score.max() - ours) < 1e-3
    rival = lambda: [scorer.calculate(striped).argmax() for scorer in scorers]  # noqa: E731
    measure({"motifkit": best, contender: rival}, contender, positions=letters)


def windows_of(x, row, start, width):
    """(hits, 4, width): windows of one-hot sequences; letters beyond an end are zero."""
    x = F.pad(x, (width, width))
    return x[row[:, None], :, start[:, None] + width + torch.arange(width)].transpose(1, 2)


def batched_pytorch(rule, weight, codes, batch=500):
    """Each rule as plain PyTorch does it best: convolution, maximum or mask, gather of windows, index_add."""
    filters, _, width = weight.shape
    left = (width - 1) // 2
    counts = torch.zeros(filters, 4, width)
    if rule == "code":  # every window above half of the largest activation, weighted
        parts = (
            F.conv1d(mk.one_hot(part), weight, padding="same").amax((0, 2)) for part in codes.split(batch)
        )
        top = torch.stack(list(parts)).amax(0)
    possible = weight.amax(1).sum(1)
    for part in codes.split(batch):
        x = mk.one_hot(part)
        z = F.conv1d(x, weight, padding="same")
        if rule == "code":
            row, filter, at = (z > 0.5 * top[:, None]).nonzero(as_tuple=True)
            windows = windows_of(x, row, at - left, width) * z[row, filter, at][:, None, None]
        else:
            score, position = z.max(2)
            keep = score > (0.7 * possible if rule == "paper" else 0)
            if rule == "paper":
                keep &= (position >= left) & (position - left + width <= part.shape[1])
            row, filter = keep.nonzero(as_tuple=True)
            windows = windows_of(x, row, position[row, filter] - left, width)
        counts.index_add_(0, filter, windows)
    return counts


@pytest.mark.parametrize("contender", ["motifkit", "pytorch"])
@pytest.mark.parametrize("rule", ["paper", "code", "best"])
@pytest.mark.parametrize(("sequences", "length"), [(5_000, 200), (25_000, 1_000)])
def test_extract_motifs(measure, benchmark, request, generator, floor, sequences, length, rule, contender):
    if request.config.getoption("--quick") and sequences > 5_000 and rule != "paper":
        pytest.skip("PyTorch takes half a minute: without --quick")
    benchmark.group = f"extract_motifs, rule {rule}, {sequences} x {length}"
    codes = torch.randint(0, 4, (sequences, length), generator=generator, dtype=torch.uint8)
    weight = torch.randn(30, 4, 19, generator=generator)
    ours, theirs = (
        mk.extract_motifs(weight, codes[:1000], rule=rule),
        batched_pytorch(rule, weight, codes[:1000]),
    )
    for motif in ours:
        expected = theirs[int(motif.name.removeprefix("filter"))].numpy()
        np.testing.assert_allclose(motif.counts, expected, rtol=1e-4)  # float32 sums of weighted windows
    calls = {
        "motifkit": lambda: mk.extract_motifs(weight, codes, rule=rule),
        "pytorch": lambda: batched_pytorch(rule, weight, codes),
    }
    work = {"positions": codes.numel(), "bytes_in": codes.numel()}
    if contender == "motifkit":
        work["floor_ms"] = floor(30, 19) * codes.numel() * 1e3
    measure(calls, contender, **work)
