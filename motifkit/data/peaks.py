"""Peaks and a genome to a SequenceDataset, as DeepSEA labels it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from motifkit.data.dataset import SPLITS, SequenceDataset
from motifkit.data.prepare import class_name
from motifkit.errors import InputError
from motifkit.sequences import N, encode, fasta_records, open_text

VALID_CHROMOSOMES = ("chr7",)
TEST_CHROMOSOMES = ("chr8", "chr9")
_MOST_UNKNOWN = 0.1  # share of N in a sequence from which it is left out


def prepare_peaks(
    beds: Sequence[str | os.PathLike[str]],
    genome: str | os.PathLike[str],
    *,
    bin_size: int = 200,
    length: int = 1000,
    valid_chromosomes: Sequence[str] = VALID_CHROMOSOMES,
    test_chromosomes: Sequence[str] = TEST_CHROMOSOMES,
    background: int | None = None,
    seed: int = 0,
) -> SequenceDataset:
    """A multi-label data set of peaks: one class a BED file, the genome cut into bins.

    The genome is cut into bins of `bin_size` letters. A bin belongs to a class where more than half of it
    is covered by the class's peaks; peaks of different files that meet make bins of several classes. Each
    bin of at least one class is a sequence: its bin in the middle of `length` letters, N beyond the ends
    of the chromosome. Whole chromosomes are held out, so that no sequence overlaps one of another split.

    Args:
        beds: BED files (also narrowPeak and the like), plain or gzip-compressed; a class each, named by
            the file. genome: FASTA, plain or .gz, read a chromosome at a time.
        bin_size: 200 in DeepSEA. length: letters of a sequence, 1,000 in DeepSEA; at least a bin.
        valid_chromosomes, test_chromosomes: held out; all others are trained on.
        background: bins of no class added for each bin of one, drawn evenly from the same chromosome; by
            default 1 for a single class and else 0, as in DeepSEA.
        seed: of the background.

    Returns:
        SequenceDataset, in the order of the genome. Sequences of more than a tenth N are left out.

    Raises:
        InputError: a broken BED line, a chromosome the genome lacks or that is too short, or a split
            that gets no sequence.

    Example:
        >>> from motifkit.data.peaks import prepare_peaks
        >>> data = prepare_peaks(["CTCF.bed", "YY1.bed"], "hg19.fa.gz")  # doctest: +SKIP

    Source: Zhou & Troyanskaya (2015), doi:10.1038/nmeth.3547; Koo & Eddy (2019), Methods.
    """
    if bin_size < 1 or length < bin_size or (length - bin_size) % 2:
        raise InputError(
            f"--length {length} must be at least --bin {bin_size}, and differ from it by an even number"
        )
    names = [class_name(path) for path in beds]
    if len(set(names)) < len(names):
        raise InputError(f"two files stand for the same class: {', '.join(names)}; rename one")
    both = set(valid_chromosomes) & set(test_chromosomes)
    if both:
        raise InputError(f"{', '.join(sorted(both))}: held out for validation and for test; choose one")
    peaks = [_read_bed(path) for path in beds]
    background = (1 if len(beds) == 1 else 0) if background is None else background
    generator = np.random.default_rng([seed, 13])
    rows, targets, split_of, seen = [], [], [], set()
    for chromosome, letters in fasta_records(genome):
        seen.add(chromosome)
        here = [peak.get(chromosome, np.zeros((0, 2), dtype=np.int64)) for peak in peaks]
        if not any(map(len, here)):
            continue
        _check_ends(beds, here, chromosome, len(letters), genome)
        covered = np.stack([_covered(p, len(letters), bin_size) for p in here], axis=1)  # (bins, classes)
        labels = 2 * covered > bin_size
        chosen = np.flatnonzero(labels.any(1))
        if background:
            free = np.flatnonzero(~(covered > 0).any(1))
            extra = generator.choice(free, min(len(free), background * len(chosen)), replace=False)
            chosen = np.sort(np.concatenate([chosen, extra]))
        codes = _windows(letters, chosen * bin_size - (length - bin_size) // 2, length, genome, chromosome)
        known = (codes == N).mean(1) <= _MOST_UNKNOWN
        rows.append(codes[known])
        targets.append(labels[chosen[known]].astype(np.uint8))
        split = "valid" if chromosome in valid_chromosomes else "train"
        split_of += ["test" if chromosome in test_chromosomes else split] * int(known.sum())
    for path, peak in zip(beds, peaks, strict=True):
        unknown = sorted(set(peak) - seen)
        if unknown:
            raise InputError(
                f"{path}: chromosome {unknown[0]!r} is not in {genome} ({', '.join(sorted(seen)[:3])}, ...);"
                " are names and assembly the same?"
            )
    splits = {name: torch.from_numpy(np.flatnonzero(np.array(split_of) == name)) for name in SPLITS}
    for name, option in (("valid", "--valid-chromosomes"), ("test", "--test-chromosomes")):
        if not len(splits[name]):
            raise InputError(
                f"no peak lies on a chromosome held out for {name}; name others with {option} (the genome has"
                f" {', '.join(sorted(seen)[:5])}, ...)"
            )
    if not len(splits["train"]):
        raise InputError("every peak lies on a chromosome that is held out; hold out fewer")
    return SequenceDataset(
        torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(targets)), names, splits,
        origin={
            "made_by": "peaks", "files": [Path(p).name for p in beds], "genome": Path(genome).name,
            "bin_size": bin_size, "valid_chromosomes": list(valid_chromosomes),
            "test_chromosomes": list(test_chromosomes), "background": background, "seed": seed,
        },
    )  # fmt: skip


def _read_bed(path) -> dict[str, np.ndarray]:
    """Intervals (peaks, 2) of each chromosome, 0-based, half-open."""
    found: dict[str, list[tuple[int, int]]] = {}
    try:
        with open_text(path) as handle:
            for number, line in enumerate(handle, start=1):
                fields = line.split()
                if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
                    continue
                try:
                    start, end = int(fields[1]), int(fields[2])
                except (IndexError, ValueError):
                    raise InputError(
                        f"{path}: line {number}: expected chromosome, start and end, got {line.strip()!r}"
                    ) from None
                if not 0 <= start < end:
                    raise InputError(f"{path}: line {number}: start {start} and end {end} make no interval")
                found.setdefault(fields[0], []).append((start, end))
    except (EOFError, OSError) as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); is it cut short?") from None
    if not found:
        raise InputError(f"{path}: holds no peaks")
    return {name: np.array(intervals, dtype=np.int64) for name, intervals in found.items()}


def _check_ends(beds, here, chromosome, letters, genome) -> None:
    for path, peaks in zip(beds, here, strict=True):
        if len(peaks) and peaks[:, 1].max() > letters:
            raise InputError(
                f"{path}: a peak ends at {peaks[:, 1].max()} on {chromosome}, which has {letters} letters in"
                f" {genome}; are they of the same assembly?"
            )


def _covered(peaks: np.ndarray, letters: int, size: int) -> np.ndarray:
    """(bins,) letters of each whole bin that lie under some peak."""
    change = np.zeros(letters + 1, dtype=np.int32)
    np.add.at(change, peaks[:, 0], 1)
    np.add.at(change, peaks[:, 1], -1)
    under = change[:-1].cumsum() > 0  # letters under two peaks count once
    bins = letters // size
    return under[: bins * size].reshape(bins, size).sum(1)


def _windows(letters: str, starts: np.ndarray, length: int, genome, chromosome: str) -> np.ndarray:
    """(windows, length) codes, N beyond the ends."""
    try:
        codes = encode(letters)[0].numpy()
    except InputError as error:
        raise InputError(f"{genome}: record {chromosome!r}: {error}") from None
    at = starts[:, None] + np.arange(length)
    inside = (at >= 0) & (at < len(codes))
    return np.where(inside, codes[at.clip(0, len(codes) - 1)], np.uint8(N))
