"""Shuffles that keep every dinucleotide's count."""

import numpy as np
import torch
from torch import Tensor

_LETTERS = 5


def dinucleotide_shuffle(codes: Tensor, seed: int = 0) -> Tensor:
    """Shuffle each sequence, keeping its first and last letter and all dinucleotide counts.

    A random Eulerian walk through the sequence's own dinucleotides (Altschul & Erickson 1985;
    Kandel et al. 1996): uniform over all such shuffles. N is a letter like the others.

    Args:
        codes: (batch, length) uint8. seed: the same seed gives the same shuffles.

    Returns:
        (batch, length) uint8.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.data.shuffle import dinucleotide_shuffle
        >>> codes = mk.encode("ACGTACGGTACCA")
        >>> shuffled = dinucleotide_shuffle(codes, seed=1)
        >>> sorted(mk.decode(shuffled)[0]) == sorted(mk.decode(codes)[0])
        True
    """
    generator = np.random.default_rng([seed, 7])
    rows = np.minimum(codes.numpy(), _LETTERS - 1)
    return torch.from_numpy(np.stack([_shuffle(row, generator) for row in rows]) if len(rows) else rows)


def _shuffle(row: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if len(row) < 4:
        return row.copy()
    end = int(row[-1])
    followers = [row[1:][row[:-1] == letter] for letter in range(_LETTERS)]
    walk = []
    last = _random_tree(followers, end, generator)
    for letter, after in enumerate(followers):
        if letter == end or len(after) == 0:
            walk.append(generator.permutation(after).tolist()[::-1])
            continue
        rest = np.delete(after, np.flatnonzero(after == last[letter])[0])
        walk.append([last[letter], *generator.permutation(rest).tolist()])  # popped from the back
    out = np.empty_like(row)
    letter = int(row[0])
    out[0] = letter
    for i in range(1, len(row)):
        letter = walk[letter].pop()
        out[i] = letter
    return out


def _random_tree(followers, end, generator) -> dict[int, int]:
    """The last way out of each letter: a random tree into `end` (Wilson's loop-erased walks)."""
    onward = {}
    done = {end}
    for start in range(_LETTERS):
        if len(followers[start]) == 0 or start in done:
            continue
        here = start
        while here not in done:
            onward[here] = int(followers[here][generator.integers(len(followers[here]))])
            here = onward[here]
        here = start
        while here not in done:
            done.add(here)
            here = onward[here]
    return onward
