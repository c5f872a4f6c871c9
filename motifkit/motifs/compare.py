"""Tomtom: which known motif does each motif resemble, and how surprising is that."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motifkit.errors import require
from motifkit.motifs.jaspar import load_jaspar
from motifkit.motifs.motif import Motif, MotifSet

if TYPE_CHECKING:
    import pandas

COLUMNS = [
    "query", "target", "target_name", "p_value", "e_value", "q_value", "offset", "overlap", "strand",
]  # fmt: skip
_PSEUDOCOUNT = 0.1  # MEME 4.12 adds this many letters, shared evenly, to queries and targets


def compare(
    query: MotifSet,
    target: MotifSet | str | os.PathLike[str] = "JASPAR2016",
    *,
    evalue: float = 0.1,
    distance: str = "euclidean",
    quiet: bool = False,
) -> "pandas.DataFrame":
    """Compare motifs with a database by Tomtom (Gupta et al. 2007), as memelite computes it.

    The settings are MEME's `-evalue -thresh 0.1 -dist ed`: Euclidean distance, both strands,
    complete scores, and MEME's pseudocount p' = (p nsites + 0.025) / (nsites + 0.1) on both sides.

    Args:
        query: motifs to name; trim them first (MotifSet.trim), as flat flanks cost significance.
        target: a MotifSet, the name of a JASPAR release (its vertebrate CORE profiles), or the
            path of a MEME file.
        evalue: matches up to this E-value are returned.
        distance: "euclidean".
        quiet: do not announce the one-minute compilation of a first call.

    Returns:
        One row a match: query, target, target_name, p_value, e_value (p times the number of
        targets), q_value (Benjamini-Hochberg over the targets of one query), offset (of the query
        within the target), overlap (columns), strand of the target ("+" or "-"). Queries in
        order, best match first.

    Raises:
        InputError: an unknown release or broken file. ValueError: an unknown distance.

    Example:
        >>> import motifkit as mk
        >>> mk.compare(mk.MotifSet.from_meme("filters.meme"))  # doctest: +SKIP
    """
    pandas = require("pandas", "motifs")
    if distance != "euclidean":
        raise ValueError(f"distance must be 'euclidean', not {distance!r}")
    targets = load_targets(target)
    queries = [motif for motif in query if len(motif)]
    if not queries:
        return pandas.DataFrame(columns=COLUMNS)
    p_values, _, offsets, overlaps, strands = _tomtom(queries, list(targets), quiet)
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
                 "-" if strands[i, j] else "+")
            )  # fmt: skip
    return pandas.DataFrame(frames, columns=COLUMNS)


def load_targets(target: MotifSet | str | os.PathLike[str]) -> MotifSet:
    """A database by name of its JASPAR release, or path of a MEME file."""
    if isinstance(target, MotifSet):
        return target
    if str(target).upper().startswith("JASPAR") and not Path(target).exists():
        return load_jaspar(str(target), "vertebrates", "CORE")
    return MotifSet.from_meme(target)


def _benjamini_hochberg(ordered: np.ndarray) -> np.ndarray:
    """q-values of p-values in rising order."""
    scaled = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
    return np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)


def _smoothed(motif: Motif) -> np.ndarray:
    p = motif.ppm
    return (p * motif.nsites + _PSEUDOCOUNT / 4) / (motif.nsites + _PSEUDOCOUNT)


def _tomtom(queries: list[Motif], targets: list[Motif], quiet: bool):
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
