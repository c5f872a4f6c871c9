"""`motifkit scan`: where motifs occur, as BED."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from motifkit.errors import InputError
from motifkit.motifs.bed import bed_lines, bed_names, json_lines, text_output
from motifkit.motifs.meme import UNIFORM
from motifkit.motifs.motif import MotifSet
from motifkit.motifs.scanning import PSEUDOCOUNT, PVALUE, Sites, scan_sequences

DESCRIPTION = (
    "Every window of a FASTA file that scores enough, as BED: sequence, start (from 0), end, motif, log-odds"
    " in bits, strand, p-value; ordered by sequence and position. Windows that hold an N are left out."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "filters", type=Path, metavar="FILTERS.meme", help="motifs: MEME, JASPAR, TRANSFAC, ..."
    )
    parser.add_argument("sequences", type=Path, metavar="SEQS.fa", help="FASTA, plain or .gz; - reads stdin")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        "--pvalue", type=float, metavar="P",
        help="sites score what a random word reaches with at most this probability; where no limit is given,"
        f" {PVALUE:g}",
    )  # fmt: skip
    limits.add_argument("--threshold", type=float, metavar="BITS", help="sites score at least so much")
    limits.add_argument(
        "--fraction", type=float, metavar="F", help="sites score at least this part of the motif's maximum"
    )
    parser.add_argument("--strands", default="both", choices=("both", "+", "-"), help="strands to scan")
    parser.add_argument(
        "--background", default="file", metavar="A,C,G,T",
        help="'uniform', 'file' (as the motif file states it, else uniform), or four frequencies",
    )  # fmt: skip
    parser.add_argument(
        "--pseudocount", type=float, default=PSEUDOCOUNT, help="letters added to each column of a motif"
    )
    parser.add_argument("--trim", action="store_true", help="cut the motifs' uninformative flanks first")
    parser.add_argument("--mask-lower", action="store_true", help="skip soft-masked (lower case) letters")
    parser.add_argument(
        "--score", default="bits", choices=("bits", "browser"),
        help="the score column: log-odds in bits, or -100 log10 p in whole numbers up to 1000",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE.bed", help="standard output by default; .gz compresses"
    )


def run(arguments: argparse.Namespace, progress: bool, say: Callable[[str], None]) -> dict | None:
    """Scan and write; a summary, unless the sites went to standard output."""
    motifs = MotifSet.read(arguments.filters)
    if arguments.trim:
        motifs = motifs.trim()
    background = _background(arguments.background)
    try:
        found = scan_sequences(
            motifs, arguments.sequences, pvalue=arguments.pvalue, threshold=arguments.threshold,
            fraction=arguments.fraction, strands=arguments.strands, background=background,
            pseudocount=arguments.pseudocount, mask_lower=arguments.mask_lower, progress=progress,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{arguments.filters}: {error}; give motifs with informative columns") from None
    except ValueError as error:
        raise InputError(f"motifkit scan: {error}") from None
    names = bed_names(motifs)
    to_json = arguments.json and arguments.out is None
    lines = json_lines(names) if to_json else bed_lines(names, arguments.score)
    counts = np.zeros(len(motifs), dtype=np.int64)
    with text_output(arguments.out) as write:
        for sites in _counted(found, counts):
            write(lines(sites))
    silent = [name for name, count in zip(names, counts, strict=True) if not count]
    say(
        f"{counts.sum():,} sites of {len(motifs) - len(silent)} motifs"
        + (f"; none of {_some(silent)}" if silent else "")
    )
    if arguments.out is None:
        return None
    return {
        "file": str(arguments.out), "sites": int(counts.sum()),
        "motifs": dict(zip(names, counts.tolist(), strict=True)),
    }  # fmt: skip


def _counted(found: Iterator[Sites], counts: np.ndarray) -> Iterator[Sites]:
    for sites in found:
        counts += np.bincount(sites.motif, minlength=len(counts))
        yield sites


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _background(text: str) -> list[float] | None:
    if text == "file":
        return None
    if text == "uniform":
        return list(UNIFORM)
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or min(values) <= 0 or abs(sum(values) - 1) > 0.01:
        raise InputError(
            f"--background {text!r}: expected 'uniform', 'file', or four positive frequencies of A,C,G,T that"
            " sum to 1, such as 0.3,0.2,0.2,0.3"
        )
    return [value / sum(values) for value in values]
