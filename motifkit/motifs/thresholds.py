"""Scores of windows in whole steps, and how probable each is by chance, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motifkit.motifs.motif import Motif

STEP = 1e-3  # bits: what one unit of an integer score is worth
_FIRST_SPAN = 8192  # units below the maximum that the distribution is computed over at first


@dataclass(frozen=True)
class IntegerPWM:
    """A motif's log-odds in units of 0.001 bit, and the chance of every score down to its threshold.

    Sums of integers are exact in float32, so a window's score is the same bits in whatever order it
    is added up, and the chance of a score is that of the very matrix that is scanned. What rounding
    costs: each letter's log-odds moves by at most half a unit, a window's score by at most width / 2
    units: 0.0095 bit for a motif of 19 columns.

    Attributes:
        units: (4, width) int64 log-odds. maximum: the largest possible score, in units.
        lowest: the least score that is a hit, in units; above `maximum` where no word is rare enough.
        tail: tail[d] is the chance that a random word scores at least maximum - d, for every d down
            to `lowest`.
    """

    units: np.ndarray
    maximum: int
    lowest: int
    tail: np.ndarray

    def p_value(self, score: np.ndarray) -> np.ndarray:
        """Chance of scoring at least `score` (units; not below `lowest`)."""
        return self.tail[self.maximum - score]


def integer_pwm(
    motif: Motif,
    background: Sequence[float],
    *,
    pseudocount: float,
    p_value: float | None = None,
    threshold: float | None = None,
    fraction: float | None = None,
) -> IntegerPWM:
    """A motif ready to be scanned with, its hits defined by one of three thresholds.

    Args:
        motif: with at least one column. background: frequencies of A, C, G, T.
        pseudocount: letters added to each column, shared out as the background; above 0.
        p_value: hits are words whose score a random word reaches with at most this probability.
        threshold: hits score at least so many bits.
        fraction: hits score at least this part of the largest possible score.

    Returns:
        IntegerPWM.

    Example:
        >>> import motifkit as mk
        >>> motif = mk.Motif("m", mk.one_hot(mk.encode("GATTACA"))[0].numpy() * 20, 20)
        >>> pwm = integer_pwm(motif, [0.25] * 4, pseudocount=0.1, p_value=1e-4)
        >>> pwm.maximum, bool(pwm.p_value(pwm.maximum) == 4**-7)  # one word in 16384
        (13965, True)
    """
    units = np.rint(motif.pwm(background, pseudocount) / STEP).astype(np.int64)
    maximum = int(units.max(0).sum())
    whole = maximum - int(units.min(0).sum())  # from the best word to the worst
    deficits = units.max(0) - units
    if p_value is None:
        bits = threshold if threshold is not None else fraction * maximum * STEP
        lowest = int(np.ceil(bits / STEP - 1e-6))
        return IntegerPWM(units, maximum, lowest, _tail(deficits, background, max(maximum - lowest, -1)))
    span = min(_FIRST_SPAN, whole)
    while True:
        tail = _tail(deficits, background, span)
        if tail[-1] > p_value or span >= whole:
            break
        span = min(2 * span, whole)
    kept = int(np.searchsorted(tail, p_value * (1 + 1e-12), side="right"))  # entries not above p_value
    return IntegerPWM(units, maximum, maximum - kept + 1, tail[:kept])


def _tail(deficits: np.ndarray, background: Sequence[float], span: int) -> np.ndarray:
    """(span + 1,) probability that a random word falls short of the best by at most 0..span units.

    Dynamic programming over the columns. Words that have already fallen short by more than `span` are
    dropped: they can only fall further.
    """
    if span < 0:
        return np.zeros(0)
    chance = np.zeros(span + 1)
    chance[0] = 1.0
    reach = 0  # the largest deficit so far
    for column in deficits.T[np.argsort(deficits.max(0), kind="stable")]:
        following = np.zeros(span + 1)
        for deficit, frequency in zip(column, background, strict=True):
            if deficit <= span:
                length = min(reach, span - deficit) + 1
                following[deficit : deficit + length] += frequency * chance[:length]
        chance, reach = following, min(span, reach + int(column.max()))
    return np.minimum(np.cumsum(chance), 1.0)
