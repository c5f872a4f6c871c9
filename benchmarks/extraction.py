"""Motifs of a large first layer over many sequences: time and peak memory.

    python benchmarks/extraction.py [--sequences 100000] [--rules paper basset] [--threads 2]

A 300-filter, 19-wide first layer with batch norm and ReLU reads 100,000 sequences of 600 nt. Its activations
would take 72 GB in float32. Filters are random; one in three sequences has a filter's best word planted, so
that every filter has windows to find. Before timing, motifs of a small part are checked against a direct
computation from PyTorch's own activations. Peak memory is getrusage's, of the whole process, sequences
(60 MB) and Python included; the line "before" says what it was when extraction began.
"""

import argparse
import resource
import time

import numpy as np
import torch

import motifkit as mk
from motifkit.motifs.rules import RULES


def peak() -> float:
    """Peak resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make(sequences: int, length: int, filters: int, width: int):
    generator = torch.Generator().manual_seed(0)
    conv = torch.nn.Conv1d(4, filters, width, padding="same")
    norm = torch.nn.BatchNorm1d(filters)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * 0.3)
        conv.bias.zero_()
        norm.running_var.fill_(width * 0.09 * 0.75)
        norm.bias.fill_(-2.0)
    codes = torch.randint(0, 4, (sequences, length), generator=generator, dtype=torch.uint8)
    words = conv.weight.detach().argmax(1).to(torch.uint8)  # each filter's best
    for row in range(0, sequences, 3):
        start = 30 + row % (length - 60)
        codes[row, start : start + width] = words[(row // 3) % filters]
    return torch.nn.Sequential(conv, norm, torch.nn.ReLU()).eval(), codes


def check(model, codes) -> None:
    """The paper's rule, from stored activations, on a few sequences and all filters."""
    found = mk.extract_motifs(model, codes)
    names = {motif.name: motif for motif in found}
    with torch.no_grad():
        activations = model(mk.one_hot(codes))
        scale = (model[1].running_var + model[1].eps).rsqrt() * model[1].weight
        shift = model[1].bias - model[1].running_mean * scale
        folded = model[0].weight * scale[:, None, None]
        possible = torch.relu(folded.amax(1).sum(1) + shift + model[0].bias * scale)
    value, at = activations.max(2)
    half, length = (model[0].kernel_size[0] - 1) // 2, codes.shape[1]
    for f in range(activations.shape[1]):
        keep = (value[:, f] > 0.7 * possible[f]) & (at[:, f] >= half) & (at[:, f] < length - half)
        windows = [
            mk.one_hot(codes[n : n + 1, at[n, f] - half : at[n, f] + half + 1])[0]
            for n in keep.nonzero()[:, 0]
        ]
        if windows:
            np.testing.assert_array_equal(names[f"filter{f}"].counts, sum(windows).numpy())
        else:
            assert f"filter{f}" in found.dead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=600)
    parser.add_argument("--filters", type=int, default=300)
    parser.add_argument("--width", type=int, default=19)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rules", nargs="+", default=["paper"], choices=tuple(RULES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, codes = make(arguments.sequences, arguments.length, arguments.filters, arguments.width)
    check(model, codes[:60])
    letters = codes.numel()
    print(
        f"{arguments.filters} filters of width {arguments.width}, {len(codes):,} x {arguments.length} nt,"
        f" {arguments.threads} threads; activations would take {4e-9 * letters * arguments.filters:.0f} GB"
    )
    print(f"before: peak {peak():.0f} MB")
    for rule in arguments.rules:
        start, used = time.perf_counter(), time.process_time()
        motifs = mk.extract_motifs(model, codes, rule=rule)
        taken, used = time.perf_counter() - start, time.process_time() - used
        windows = sum(motif.nsites for motif in motifs)
        print(
            f"{rule}: {taken:.1f} s wall, {used:.1f} s processor, peak {peak():.0f} MB, {len(motifs)} motifs"
            f" of {windows:,.0f} windows",
            flush=True,
        )


if __name__ == "__main__":
    main()
