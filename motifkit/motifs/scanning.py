"""Every place where motifs occur in sequences of any length, in memory that does not grow."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from motifkit import _native, ops
from motifkit.data.dataset import SequenceDataset
from motifkit.errors import InputError
from motifkit.motifs.extract import as_sequences
from motifkit.motifs.letters import Chunk, chunks, fasta_pieces, pieces_of
from motifkit.motifs.meme import UNIFORM
from motifkit.motifs.motif import MotifSet
from motifkit.motifs.thresholds import STEP, IntegerPWM, integer_pwm
from motifkit.ops.hits import strand_code
from motifkit.sequences import N

PVALUE = 1e-4  # FIMO's default, too
PSEUDOCOUNT = 0.1  # letters, as FIMO and Tomtom add
_CHUNK = 1 << 21  # window starts scanned at once
_MOST_SITES = 1 << 21  # sites of a chunk that are expected by chance, at most
_DENSE_SCORES = 1 << 25  # scores held at once where the plain-PyTorch twin must scan


class Sites(NamedTuple):
    """Occurrences, ordered by sequence, start, motif, forward strand first."""

    sequence: np.ndarray  # (sites,) int64: number of the record or row, from 0
    name: np.ndarray  # (sites,) object: its name
    start: np.ndarray  # (sites,) int64: first letter, from 0
    end: np.ndarray  # (sites,) int64: one past the last letter
    motif: np.ndarray  # (sites,) int64: index into the MotifSet
    strand: np.ndarray  # (sites,) int8: +1 or -1
    score: np.ndarray  # (sites,) float64: log-odds, bits
    p_value: np.ndarray  # (sites,) float64: chance that a random word scores as much


def scan_sequences(
    motifs: MotifSet,
    sequences: str | os.PathLike[str] | Tensor | Sequence[str] | SequenceDataset,
    *,
    pvalue: float | None = None,
    threshold: float | None = None,
    fraction: float | None = None,
    strands: str = "both",
    background: Sequence[float] | None = None,
    pseudocount: float = PSEUDOCOUNT,
    mask_lower: bool = False,
    progress: bool = False,
) -> Iterator[Sites]:
    """Scan sequences of any length for motifs, a chunk at a time.

    A window's score is the sum of log2 (p / background) over its letters, p with `pseudocount`
    letters added, each term rounded to 0.001 bit: a score is off by at most width / 2 thousandths
    (0.0095 bit at width 19), and then everything is exact. The p-value of a score is the probability
    that a word drawn from the background scores at least as much, found by dynamic programming over
    the same rounded matrix, so that a p-value threshold is exact for the scores compared with it.

    Args:
        motifs: scanned at their full width; trim them first if their flanks are flat.
        sequences: path of a FASTA file (plain or gzip; "-" is standard input), codes (batch, length),
            a list of strings, or a SequenceDataset, whose test split is used.
        pvalue, threshold, fraction: what a site is, one of: a score that a random word reaches with at
            most this probability (by default 1e-4); a score of at least so many bits; at least this
            part of the motif's largest possible score.
        strands: "both", "+" or "-". Unless "+", the background is averaged with its complement, as
            a word and its reverse complement must be as likely.
        background: frequencies of A, C, G, T; by default those the motif file states, else uniform.
        pseudocount: letters added to every column, shared out as the background.
        mask_lower: read soft-masked (lower case) letters of a FASTA file as N.
        progress: show a bar on standard error (tqdm).

    Yields:
        Sites of one chunk of sequence, at most about two million window starts; empty ones are left
        out. Windows that hold an N, or hang over an end, are no sites. The same on every run and for
        any number of threads.

    Raises:
        InputError: a broken file, or motifs of which none has a column. ValueError: more than one
        threshold, or one out of range; an unknown choice of strands.

    Example:
        >>> import motifkit as mk
        >>> motif = mk.Motif("m", mk.one_hot(mk.encode("GATTACA"))[0].numpy() * 20, 20)
        >>> for sites in scan_sequences(mk.MotifSet([motif]), ["CCGATTACATT", "TGTAATCNN"]):
        ...     for at in zip(sites.name, sites.start, sites.end, sites.strand, sites.score):
        ...         print(*at)
        0 2 9 1 13.965
        1 0 7 -1 13.965
    """
    bank = _bank(motifs, pvalue, threshold, fraction, strands, background, pseudocount)
    return _scan(bank, sequences, mask_lower, progress)


class _Bank(NamedTuple):
    pwms: list[IntegerPWM]
    motif: np.ndarray  # (lanes,) index into the MotifSet
    pwm: np.ndarray  # (lanes,) index into `pwms`
    strand: np.ndarray  # (lanes,) +1 or -1
    widths: np.ndarray  # (lanes,)
    weight: Tensor  # (lanes, 4, width): units above the column's least; narrower motifs end in zeros
    bar: Tensor  # (lanes,) sites score more
    base: np.ndarray  # (lanes,) what scores of `weight` lack: the sum of the columns' least
    density: float  # sites a letter that chance brings


def _bank(motifs, pvalue, threshold, fraction, strands, background, pseudocount) -> _Bank:
    given = {"pvalue": pvalue, "threshold": threshold, "fraction": fraction}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"give one of pvalue, threshold and fraction, not {' and '.join(given)}")
    for name in ("pvalue", "fraction"):
        if not 0 < given.get(name, 1) <= 1:
            raise ValueError(f"{name} must be above 0 and at most 1, got {given[name]:g}")
    if not pseudocount > 0:
        raise ValueError(f"pseudocount must be above 0, got {pseudocount:g}")
    strand_code(strands)
    if background is None:
        background = motifs.origin.get("background", UNIFORM)
    background = np.asarray(background, dtype=np.float64)
    if strands != "+":
        background = (background + background[::-1]) / 2
    chosen = {"p_value" if name == "pvalue" else name: value for name, value in given.items()}
    chosen = chosen or {"p_value": PVALUE}
    kept = [index for index, motif in enumerate(motifs) if len(motif)]
    if not kept:
        raise InputError("no motifs to scan with: none has a column")
    pwms = [integer_pwm(motifs[i], background, pseudocount=pseudocount, **chosen) for i in kept]
    signs = [s for s, name in ((1, "+"), (-1, "-")) if strands in ("both", name)]
    width = max(pwm.units.shape[1] for pwm in pwms)
    weight = torch.zeros(len(pwms), len(signs), 4, width)
    for own, pwm in zip(weight, pwms, strict=True):
        for sign, lane in zip(signs, own, strict=True):
            # N scores 0: above the least letter it would bring false hits wherever bars are low.
            units = pwm.units - pwm.units.min(0)
            lane[:, : units.shape[1]] = torch.from_numpy(units if sign > 0 else units[::-1, ::-1].copy())
    lanes = len(pwms) * len(signs)
    which = np.repeat(np.arange(len(pwms)), len(signs))
    base = np.array([int(pwm.units.min(0).sum()) for pwm in pwms])
    bar = np.array([pwm.lowest for pwm in pwms]) - base - 0.5
    return _Bank(
        pwms,
        np.array(kept)[which],
        which,
        np.tile(np.array(signs, dtype=np.int8), len(pwms)),
        np.array([pwm.units.shape[1] for pwm in pwms])[which],
        weight.view(lanes, 4, width),
        torch.from_numpy(bar[which].astype(np.float32)),
        base[which],
        sum(float(pwm.tail[-1]) for pwm in pwms if len(pwm.tail)) * len(signs),
    )


def _scan(bank: _Bank, sequences, mask_lower: bool, progress: bool) -> Iterator[Sites]:
    lanes, _, width = bank.weight.shape
    size = int(min(_CHUNK, max(4096, _MOST_SITES / max(bank.density, 1e-12))))
    if not _native.serves(bank.weight):
        size = min(size, max(4096, _DENSE_SCORES // lanes))
    seen = [0]
    if isinstance(sequences, str | os.PathLike):
        pieces = fasta_pieces(sequences, mask_lower=mask_lower, seen=seen)
        total = Path(sequences).stat().st_size if Path(sequences).is_file() else None
    else:
        own = isinstance(sequences, Tensor | SequenceDataset)
        codes = as_sequences(sequences) if own else sequences
        pieces, total = pieces_of(codes), None
    stream = chunks(pieces, size, width - 1)
    if not progress:
        for chunk in stream:
            yield from _sites(bank, chunk)
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, desc="scanning", leave=False) as bar:
        for chunk in stream:
            bar.update(seen[0] - bar.n)
            yield from _sites(bank, chunk)


def _sites(bank: _Bank, chunk: Chunk) -> Iterator[Sites]:
    """The chunk's sites, if there are any."""
    width = bank.weight.shape[2]
    # Rows of about as many windows as bring a site a lane; neighbours share width - 1 letters.
    per_lane = bank.density / len(bank.weight)
    row = min(8192, max(256, int(1 / max(per_lane, 1e-12))), max(chunk.starts, 1))
    rows = -(-chunk.starts // row)
    codes = np.full(rows * row + width - 1, N, dtype=np.uint8)
    codes[: len(chunk.codes)] = chunk.codes
    view = torch.from_numpy(codes).as_strided((rows, row + width - 1), (row, 1))
    hits = ops.scan_hits(view, bank.weight, bank.bar)
    lane = hits.filter.numpy()
    start = hits.sequence.numpy() * row + hits.position.numpy()
    end = start + bank.widths[lane]
    unknown = np.zeros(len(codes) + 1, dtype=np.int64)
    np.cumsum(codes >= N, out=unknown[1:])
    keep = np.flatnonzero((unknown[end] == unknown[start]) & (start < chunk.starts))
    keep = keep[np.argsort(start[keep] * len(bank.weight) + lane[keep])]
    if not len(keep):
        return
    start, lane = start[keep], lane[keep]
    units = hits.score.numpy()[keep].astype(np.int64) + bank.base[lane]
    p_value = np.empty(len(keep))
    order = np.argsort(bank.pwm[lane], kind="stable")
    ends = np.cumsum(np.bincount(bank.pwm[lane], minlength=len(bank.pwms)))
    for pwm, own in zip(bank.pwms, np.split(order, ends[:-1]), strict=True):
        if len(own):
            p_value[own] = pwm.p_value(units[own])
    sequence, name, position = chunk.places(start)
    yield Sites(
        sequence, name, position, position + bank.widths[lane], bank.motif[lane], bank.strand[lane],
        units * STEP, p_value,
    )  # fmt: skip
