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
    measure(calls[contender], positions=100_000, bytes_out=100_000 * 30 * 4)


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
    measure(ours if contender == "motifkit" else rival, positions=x.numel())


@pytest.mark.parametrize("contender", ["motifkit", "lightmotif"])
def test_scan_of_a_database(measure, benchmark, generator, contender):
    """519 JASPAR profiles, both strands, over 1 Mb: the best window of each."""
    benchmark.group = "scan 519 profiles, both strands, 1 Mb"
    letters = 1_000_000
    jaspar = mk.MotifSet.from_jaspar("JASPAR2016")
    codes = torch.randint(0, 4, (1, letters), generator=generator, dtype=torch.uint8)
    matrices = [np.log2((m.ppm * m.nsites + 0.25) / (m.nsites + 1) / 0.25) for m in jaspar]
    width = max(m.shape[1] for m in matrices)
    weight = torch.zeros(len(matrices), 4, width)
    for row, matrix in zip(weight, matrices, strict=True):
        row[:, : matrix.shape[1]] = torch.from_numpy(matrix)
    if contender == "motifkit":
        best = mk.ops.scan(codes, weight, strands="both")
        dense = F.conv1d(mk.one_hot(codes), weight[:8]).amax(2)
        forward = mk.ops.scan(codes, weight[:8])
        torch.testing.assert_close(forward.score, dense, rtol=1e-4, atol=1e-4)
        assert (best.score[:, :8] >= forward.score).all()
        measure(lambda: mk.ops.scan(codes, weight, strands="both"), positions=letters)
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
    expected = F.conv1d(mk.one_hot(codes), weight[:1, :, : matrices[0].shape[1]]).amax().item()
    assert abs(score.max() - expected) < 1e-3
    measure(lambda: [scorer.calculate(striped).argmax() for scorer in scorers], positions=letters)


def best_batched_pytorch(weight, bias, codes, batch=500):
    """The paper's rule as plain PyTorch does it best: convolution, amax, gather of windows, index_add."""
    filters, _, width = weight.shape
    left = (width - 1) // 2
    least = 0.7 * (weight.amax(1).sum(1) + bias)
    counts = torch.zeros(filters, 4, width)
    for part in codes.split(batch):
        x = mk.one_hot(part)
        score, position = F.conv1d(x, weight, bias, padding="same").max(2)
        keep = (score > least) & (position >= left) & (position - left + width <= part.shape[1])
        row, filter = keep.nonzero(as_tuple=True)
        start = position[row, filter] - left
        windows = x[row[:, None], :, start[:, None] + torch.arange(width)].transpose(1, 2)
        counts.index_add_(0, filter, windows)
    return counts


@pytest.mark.parametrize("contender", ["motifkit", "pytorch"])
@pytest.mark.parametrize(("sequences", "length"), [(5_000, 200), (25_000, 1_000)])
def test_extract_motifs(measure, benchmark, generator, sequences, length, contender):
    benchmark.group = f"extract_motifs, the paper's rule, {sequences} x {length}"
    codes = torch.randint(0, 4, (sequences, length), generator=generator, dtype=torch.uint8)
    weight = torch.randn(30, 4, 19, generator=generator)
    ours = mk.extract_motifs(weight, codes[:2000], threshold=0.7)
    theirs = best_batched_pytorch(weight, torch.zeros(30), codes[:2000])
    for motif in ours:
        expected = theirs[int(motif.name.removeprefix("filter"))]
        np.testing.assert_allclose(motif.counts, expected.numpy())
    calls = {
        "motifkit": lambda: mk.extract_motifs(weight, codes),
        "pytorch": lambda: best_batched_pytorch(weight, torch.zeros(30), codes),
    }
    measure(calls[contender], positions=codes.numel())
