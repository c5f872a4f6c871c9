"""The synthetic data of Koo & Eddy (2019), with every embedded motif's place kept."""

import numpy as np
import torch

from motifkit.data.dataset import PLACEMENT, SequenceDataset, random_splits
from motifkit.errors import InputError
from motifkit.motifs.motif import MotifSet

_MOTIFS_A_SEQUENCE = (0.50, 0.25, 0.17, 0.05, 0.03)  # probabilities of 1, 2, ... 5


def simulate(
    n: int = 25000,
    length: int = 200,
    motifs: MotifSet | None = None,
    seed: int = 0,
    *,
    motif_probabilities: tuple[float, ...] = _MOTIFS_A_SEQUENCE,
    minimum_gap: int = 1,
    gaps: str = "even",
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
) -> SequenceDataset:
    """Random sequences with known motifs embedded, labelled by which.

    Each sequence gets 1 to 5 motifs, drawn with replacement from `motifs` on either strand, in
    random order, with random gaps of at least `minimum_gap` letters between them and to the ends.
    Letters of a motif are drawn from its probability matrix, all others evenly. The label of a class
    is 1 where its motif stands on either strand.

    Args:
        n: sequences. length: letters of each.
        motifs: what to embed, one class each, named by it; the paper's 12 from JASPAR 2016 by
            default (needs pyjaspar).
        seed: the same seed gives the same data, on every machine.
        motif_probabilities: of 1, 2, ... motifs a sequence.
        minimum_gap: letters at least between motifs and to the ends; the paper's is 1, its program's is 0.
        gaps: "even", every arrangement is as likely as any other, or "scaled", as the authors' program
            does: a uniform draw a gap, all scaled to fill the sequence. A lone motif then stands in the
            middle twice as often, and at an end half as often, as anywhere on average.
        fractions: of train, valid and test.

    Returns:
        SequenceDataset with placements. 25,000 sequences take under a second.

    Raises:
        InputError: sequences too short for the motifs, fractions that do not sum to 1, or unknown gaps.

    Example:
        >>> import motifkit as mk
        >>> data = mk.simulate(n=1000, seed=1)  # doctest: +SKIP
        >>> data.codes.shape, data.targets.shape  # doctest: +SKIP
        (torch.Size([1000, 200]), torch.Size([1000, 12]))

    Source: doi:10.1371/journal.pcbi.1007560, Methods.
    """
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    if motifs is None:
        from motifkit.motifs.jaspar import paper_motifs

        motifs = paper_motifs()
    probabilities = np.asarray(motif_probabilities, dtype=np.float64)
    if probabilities.ndim != 1 or (probabilities < 0).any() or not np.isclose(probabilities.sum(), 1):
        raise InputError(f"motif_probabilities must sum to 1, got {motif_probabilities}")
    if gaps not in _GAPS:
        raise InputError(f"gaps must be one of {', '.join(_GAPS)}, not {gaps!r}")
    widths = np.array([len(motif) for motif in motifs])
    most = len(probabilities)
    needed = int(widths.max()) * most + minimum_gap * (most + 1)
    if needed > length:
        raise InputError(
            f"length {length} cannot hold {most} motifs of up to {widths.max()} letters with gaps of "
            f"{minimum_gap}; it must be at least {needed}"
        )
    background, choice, places, letters, split = (
        np.random.default_rng([seed, stream]) for stream in range(5)
    )
    codes = background.integers(0, 4, (n, length), dtype=np.uint8)
    placed = _place(n, length, widths, probabilities, minimum_gap, _GAPS[gaps], choice, places)
    _write(codes, placed, motifs, letters)
    targets = np.zeros((n, len(widths)), dtype=np.uint8)
    targets[placed["sequence"], placed["motif"]] = 1
    origin = {
        "made_by": "simulate", "n": n, "length": length, "seed": seed, "minimum_gap": minimum_gap,
        "gaps": gaps, "motifs": [f"{motif.name} {motif.label}".strip() for motif in motifs],
    }  # fmt: skip
    return SequenceDataset(
        torch.from_numpy(codes),
        torch.from_numpy(targets),
        [motif.name for motif in motifs],
        random_splits(n, fractions, split),
        placed,
        widths.tolist(),
        origin,
    )


def _place(n, length, widths, probabilities, minimum_gap, spread, choice, places) -> np.ndarray:
    """Which motif goes where: placements ordered by sequence and position."""
    most = len(probabilities)
    count = choice.choice(most, size=n, p=probabilities) + 1
    motif = choice.integers(0, len(widths), (n, most))
    strand = choice.integers(0, 2, (n, most)) * 2 - 1
    used = np.arange(most) < count[:, None]
    occupied = np.where(used, widths[motif], 0)
    free = length - occupied.sum(1) - minimum_gap * (count + 1)
    cuts = spread(free, used, places)
    before = np.concatenate([np.zeros((n, 1), dtype=np.int64), occupied.cumsum(1)[:, :-1]], axis=1)
    position = cuts + before + minimum_gap * (np.arange(most) + 1)
    sequence, slot = np.nonzero(used)
    placed = np.empty(len(sequence), dtype=PLACEMENT)
    placed["sequence"], placed["motif"] = sequence, motif[sequence, slot]
    placed["position"], placed["strand"] = position[sequence, slot], strand[sequence, slot]
    return placed


def _even(free: np.ndarray, used: np.ndarray, generator) -> np.ndarray:
    """Free letters before each motif: cut points are drawn and sorted."""
    cuts = generator.random(used.shape)
    cuts = np.sort(np.where(used, cuts, 2.0), axis=1)  # unused ones last
    return np.floor(np.minimum(cuts, 1) * (free + 1)[:, None]).astype(np.int64)


def _scaled(free: np.ndarray, used: np.ndarray, generator) -> np.ndarray:
    """Free letters before each motif: gaps are uniform draws, scaled and rounded, again until they fill."""
    exists = np.pad(used, ((0, 0), (1, 0)), constant_values=True)  # one gap more than motifs
    sizes = np.zeros(exists.shape, dtype=np.int64)
    todo = np.arange(len(free))
    while len(todo):
        draws = np.where(exists[todo], generator.random((len(todo), exists.shape[1])), 0.0)
        sizes[todo] = np.rint(draws / draws.sum(1, keepdims=True) * free[todo, None])
        todo = todo[sizes[todo].sum(1) != free[todo]]
    return sizes.cumsum(1)[:, :-1]


_GAPS = {"even": _even, "scaled": _scaled}


def _write(codes: np.ndarray, placed: np.ndarray, motifs: MotifSet, letters) -> None:
    """Draw the letters of every placement."""
    for index, motif in enumerate(motifs):
        for strand in (1, -1):
            here = placed[(placed["motif"] == index) & (placed["strand"] == strand)]
            ppm = (motif if strand > 0 else motif.reverse_complement()).ppm
            cumulative = ppm.cumsum(0)[:3]  # (3, width)
            draws = letters.random((len(here), len(motif)))
            drawn = (draws[:, None, :] > cumulative).sum(1).astype(np.uint8)
            columns = here["position"][:, None] + np.arange(len(motif))
            codes[here["sequence"][:, None], columns] = drawn
