"""Tomtom: which known motif does each motif resemble, and how surprising is that."""

import os
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motifkit.errors import InputError, require
from motifkit.motifs.jaspar import load_jaspar
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.tomtom import tomtom

if TYPE_CHECKING:
    import pandas

COLUMNS = [
    "query", "target", "target_name", "p_value", "e_value", "q_value", "offset", "overlap", "strand",
]  # fmt: skip
DISTANCES = ("euclidean", "pearson")
_PSEUDOCOUNT = 0.1  # MEME 4.12 adds this many letters, shared evenly, to queries and targets


def compare(
    query: MotifSet,
    target: MotifSet | str | os.PathLike[str] = "JASPAR2016",
    *,
    evalue: float = 0.1,
    distance: str = "euclidean",
    calibrate: int = 0,
    seed: int = 0,
    quiet: bool = False,
) -> "pandas.DataFrame":
    """Compare motifs with a database by Tomtom (Gupta et al. 2007).

    The settings are MEME's `-evalue -thresh 0.1 -dist ed`: Euclidean distance (as memelite computes it),
    both strands, complete scores, and MEME's pseudocount p' = (p nsites + 0.025) / (nsites + 0.1) on both
    sides. A motif without a column of more than 0.5 bits gets no name: near-uniform motifs are close to
    each other's flanks, and Euclidean distance calls that significant.

    With `calibrate`, each motif is shuffled so many times (`shuffled`), and the shuffles are compared
    too: `empirical_p` of a match is (1 + shuffles whose own best match is at least as good) / (1 +
    shuffles). A name that a motif's shuffles get as easily says nothing about the order of its letters.

    Args:
        query: motifs to name; trim them first (MotifSet.trim), as flat flanks cost significance.
        target: a MotifSet, the name of a JASPAR release (its vertebrate CORE profiles), or the
            path of a MEME file.
        evalue: matches up to this E-value are returned.
        distance: "euclidean", or "pearson" (MEME's `-dist pearson`: correlation of columns).
        calibrate: shuffles of each motif; 0 for none. seed: of the shuffles; a motif's depend on its
            name and the seed alone.
        quiet: do not announce the one-minute compilation of a first call.

    Returns:
        One row a match: query, target, target_name, p_value, e_value (p times the number of
        targets), q_value (Benjamini-Hochberg over the targets of one query), offset (of the query
        within the target), overlap (columns), strand of the target ("+" or "-"), and with
        `calibrate` empirical_p. Queries in order, best match first.

    Raises:
        InputError: an unknown release or broken file. ValueError: an unknown distance.

    Example:
        >>> import motifkit as mk
        >>> mk.compare(mk.MotifSet.from_meme("filters.meme"))  # doctest: +SKIP
    """
    pandas = require("pandas", "motifs")
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, not {distance!r}")
    if calibrate < 0:
        raise InputError(f"calibrate must not be negative, got {calibrate}")
    columns = [*COLUMNS, "empirical_p"] if calibrate else COLUMNS
    targets = load_targets(target)
    queries = [motif for motif in query if len(motif.trim())]
    if not queries or not len(targets):
        return pandas.DataFrame(columns=columns)
    p_values, _, offsets, overlaps, strands = _tomtom(queries, list(targets), distance, quiet)
    null = _best_of_shuffles(queries, targets, distance, calibrate, seed) if calibrate else None
    frames = []
    for i, motif in enumerate(queries):
        e_values = p_values[i] * len(targets)
        order = np.argsort(p_values[i], kind="stable")
        q_values = _benjamini_hochberg(p_values[i][order])
        kept = e_values[order] <= evalue
        for j, q in zip(order[kept], q_values[kept], strict=True):
            frames.append(
                (motif.name, targets[j].name, targets[j].label or targets[j].name, p_values[i, j],
                 e_values[j], q, int(offsets[i, j]), int(overlaps[i, j]),
                 "-" if strands[i, j] else "+",
                 *([(1 + int((null[i] <= p_values[i, j]).sum())) / (1 + calibrate)] if calibrate else []))
            )  # fmt: skip
    return pandas.DataFrame(frames, columns=columns)


def shuffled(motif: Motif, generator: np.random.Generator) -> Motif:
    """A motif of the same letters in another order: columns permuted, and in each column, by the toss of a
    coin, A and T exchanged, and C and G. Information and GC content of every column stay.

    Example:
        >>> import motifkit as mk, numpy as np
        >>> motif = mk.Motif("m", mk.one_hot(mk.encode("GATTACA"))[0].numpy(), 1)
        >>> other = shuffled(motif, np.random.default_rng(0))
        >>> sum(letter in "CG" for letter in other.consensus), len(other)
        (2, 7)
    """
    columns = motif.counts[:, generator.permutation(len(motif))].copy()
    for pair in ((0, 3), (1, 2)):
        swap = np.flatnonzero(generator.integers(0, 2, len(motif)))
        columns[np.ix_(pair, swap)] = columns[np.ix_(pair[::-1], swap)]
    return Motif(motif.name, columns, motif.nsites)


def _best_of_shuffles(queries, targets, distance, count, seed) -> np.ndarray:
    """(queries, shuffles) p-value of the best match of each shuffle."""
    best = np.empty((len(queries), count))
    for row, motif in zip(best, queries, strict=True):
        generator = np.random.default_rng([seed, zlib.crc32(motif.name.encode())])
        others = [shuffled(motif, generator) for _ in range(count)]
        row[:] = _tomtom(others, list(targets), distance, quiet=True)[0].min(1)
    return best


def load_targets(target: MotifSet | str | os.PathLike[str]) -> MotifSet:
    """A database by name of its JASPAR release, or path of a motif file."""
    if isinstance(target, MotifSet):
        return target
    if str(target).upper().startswith("JASPAR") and not Path(target).exists():
        return load_jaspar(str(target), "vertebrates", "CORE")
    return MotifSet.read(target)


def _benjamini_hochberg(ordered: np.ndarray) -> np.ndarray:
    """q-values of p-values in rising order."""
    scaled = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
    return np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)


def _smoothed(motif: Motif) -> np.ndarray:
    p = motif.ppm
    return (p * motif.nsites + _PSEUDOCOUNT / 4) / (motif.nsites + _PSEUDOCOUNT)


def _tomtom(queries: list[Motif], targets: list[Motif], distance: str, quiet: bool):
    if distance != "euclidean":
        return tomtom([_smoothed(m) for m in queries], [_smoothed(m) for m in targets], distance)
    cold = "memelite" not in sys.modules
    if cold and not quiet:
        print(
            "motifkit: preparing Tomtom (compiled on first use in an environment: about a minute)",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    start = time.monotonic()
    memelite = require("memelite", "motifs")
    result = memelite.tomtom([_smoothed(m) for m in queries], [_smoothed(m) for m in targets])
    if cold and not quiet and time.monotonic() - start > 20:
        print(f"motifkit: Tomtom ready after {time.monotonic() - start:.0f} s", file=sys.stderr)
    return result
