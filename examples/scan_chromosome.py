#!/usr/bin/env python3
"""Scan a chromosome that lies in CuPy's memory, and go on in CuPy with what was found: nothing is copied.

    python examples/scan_chromosome.py                       a random chromosome with sites planted in it
    python examples/scan_chromosome.py chr21.fa FILTERS.meme your own
    python examples/scan_chromosome.py --arrays numpy        the same program on NumPy arrays

Without a GPU it says so and takes NumPy.
"""

import argparse
import sys
import time

import numpy as np

import motifkit as mk


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chromosome", nargs="?", help="FASTA; the longest record is taken")
    parser.add_argument("motifs", nargs="?", help="MEME file of motifs")
    parser.add_argument("--arrays", choices=["auto", "cupy", "numpy"], default="auto")
    parser.add_argument("--length", type=int, default=10_000_000, help="letters of the random chromosome")
    parser.add_argument(
        "--fraction", type=float, default=0.8, help="hits score more than this of the possible"
    )
    parser.add_argument("--bin", type=int, default=100_000, help="letters a bin of the density")
    options = parser.parse_args(arguments)
    xp = array_library(options.arrays)
    if xp is None:
        return 0
    codes = read_chromosome(options)
    motifs = mk.MotifSet.from_meme(options.motifs) if options.motifs else [example_motif()]
    weight, threshold = scoring(motifs, options.fraction)

    codes, weight, threshold = map(xp.asarray, (codes, weight, threshold))  # to the device, once
    start = time.perf_counter()
    motif, position, strand, score = scan(xp, codes, weight, threshold)
    density = xp.bincount(position // options.bin, minlength=-(-len(codes) // options.bin))
    densest = int(density.argmax())  # waits for the device
    seconds = time.perf_counter() - start

    print(f"{len(codes):,} letters, {len(motifs)} motifs, both strands, {xp.__name__}: {seconds:.3f} s")
    print(f"{len(position):,} hits; most, {int(density[densest])}, in the {options.bin:,} letters from "
          f"{densest * options.bin:,}")  # fmt: skip
    for i in xp.argsort(-score)[:5].tolist():
        sign = "+" if int(strand[i]) > 0 else "-"
        print(f"{motifs[int(motif[i])].name}\t{int(position[i])}\t{sign}\t{float(score[i]):.2f}")
    return 0


def scan(xp, codes, weight, threshold, step: int = 65_536):
    """Motif, position, strand and score of all hits in codes (length,).

    The chromosome becomes rows that overlap by a window less one letter, as a view of the same memory: each
    window lies wholly in one row.
    """
    width = weight.shape[2]
    rows = max(1, -(-(len(codes) - width + 1) // step))
    padded = xp.full(rows * step + width - 1, 4, dtype=xp.uint8)
    padded[: len(codes)] = codes
    view = xp.lib.stride_tricks.as_strided(padded, (rows, step + width - 1), (step, 1))
    hits = mk.ops.scan_hits(view, weight, threshold, strands="both")
    return hits.filter, hits.sequence * step + hits.position, hits.strand, hits.score


def scoring(motifs, fraction: float):
    """Log-odds (motifs, 4, width) as float32, and the threshold of each motif."""
    matrices = [np.log2((m.ppm * m.nsites + 0.25) / (m.nsites + 1) / 0.25) for m in motifs]
    weight = np.zeros((len(motifs), 4, max(m.shape[1] for m in matrices)), np.float32)
    for row, matrix in zip(weight, matrices, strict=True):
        row[:, : matrix.shape[1]] = matrix
    return weight, (fraction * weight.max(1).sum(1)).astype(np.float32)


def example_motif() -> mk.Motif:
    """AP-1, from counts of our own making."""
    counts = np.full((4, 10), 2.0)
    counts[["ACGT".index(letter) for letter in "TGACTCAGCA"], range(10)] = 94.0
    return mk.Motif("AP-1", counts, 100)


def read_chromosome(options) -> np.ndarray:
    """The codes of the record, or of random letters with a cluster of sites in the middle."""
    if options.chromosome:
        _, codes = mk.read_fasta(options.chromosome)
        return max(codes, key=lambda row: int((row < 4).sum())).numpy()
    codes = np.random.default_rng(1).integers(0, 4, options.length, dtype=np.uint8)
    site = mk.encode("TGACTCAGCA").numpy()[0]
    for place in range(options.length // 2, min(options.length // 2 + 40_000, options.length - 10), 400):
        codes[place : place + 10] = site
    return codes


def array_library(wanted: str):
    """CuPy or NumPy; None, and a line that says why, where CuPy is wanted and cannot run."""
    if wanted == "numpy":
        return np
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
        return cupy
    except Exception as error:  # no library, no driver, no device: each has an exception of its own
        reason = f"no GPU for CuPy here ({type(error).__name__}: {error})"
    if wanted == "cupy":
        print(f"{reason}; --arrays numpy runs the same program on the CPU")
        return None
    print(f"{reason}; on NumPy instead")
    return np


if __name__ == "__main__":
    sys.exit(main())
