"""Sites as BED."""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from motifkit.errors import require
from motifkit.files import written
from motifkit.motifs.motif import MotifSet
from motifkit.motifs.scanning import Sites

Formatter = Callable[[Sites], str]
_BLOCK = 60_000  # bytes handed to a BGZF block at once: below its 64 KiB


def bed_names(motifs: MotifSet) -> list[str]:
    """A name for each motif that BED can hold: no white space or control characters, none twice.

    Example:
        >>> import motifkit as mk, numpy as np
        >>> motifs = [mk.Motif(name, np.ones((4, 1)), 4) for name in ("two words", "two_words", "")]
        >>> bed_names(mk.MotifSet(motifs))
        ['two_words', 'two_words_2', 'motif']
    """
    out: list[str] = []
    for motif in motifs:
        name = re.sub(r"[\s\x00-\x1f\x7f]+", "_", motif.name.strip()) or "motif"
        unique, copy = name, 1
        while unique in out:
            copy += 1
            unique = f"{name}_{copy}"
        out.append(unique)
    return out


def bed_lines(names: list[str], score: str = "bits") -> Formatter:
    """Formats sites as lines of seven columns.

    chrom, start (from 0), end (exclusive), motif, score, strand, p-value. The score is the log-odds in
    bits; or, with score="browser", -100 log10 of the p-value between 0 and 1000 in whole numbers, which
    is what genome browsers take.
    """

    def lines(sites: Sites) -> str:
        if score == "browser":
            scores = np.minimum(-100 * np.log10(sites.p_value), 1000).astype(np.int64).astype(str).tolist()
        else:
            scores = [f"{value:.3f}" for value in sites.score.tolist()]
        rows = zip(
            sites.name, sites.start.tolist(), sites.end.tolist(), sites.motif.tolist(), scores,
            sites.strand.tolist(), sites.p_value.tolist(), strict=True,
        )  # fmt: skip
        return "".join(
            f"{name}\t{start}\t{end}\t{names[motif]}\t{value}\t{'+' if strand > 0 else '-'}\t{p:.3g}\n"
            for name, start, end, motif, value, strand, p in rows
        )

    return lines


def json_lines(names: list[str]) -> Formatter:
    """Formats sites as a JSON object a line."""

    def lines(sites: Sites) -> str:
        return "".join(
            json.dumps(
                {
                    "sequence": str(sites.name[i]), "start": int(sites.start[i]), "end": int(sites.end[i]),
                    "motif": names[int(sites.motif[i])], "score": round(float(sites.score[i]), 3),
                    "strand": "+" if sites.strand[i] > 0 else "-", "p_value": float(sites.p_value[i]),
                }
            )
            + "\n"
            for i in range(len(sites.start))
        )  # fmt: skip

    return lines


@contextlib.contextmanager
def text_output(path: str | os.PathLike[str] | None) -> Iterator[Callable[[str], object]]:
    """A function that writes text to standard output, or to a file that appears whole or not at all.

    A path that ends in .gz is written in BGZF blocks: gzip to every reader, and fit for tabix. The same
    text gives the same bytes.
    """
    if path is None:
        yield sys.stdout.write
        sys.stdout.flush()
        return
    with written(path) as temporary:
        if Path(path).suffix != ".gz":
            with Path(temporary).open("w", encoding="utf-8") as handle:
                yield handle.write
            return
        with require("Bio.bgzf", "motifs").BgzfWriter(str(temporary), "wb") as handle:

            def write(text: str) -> None:
                data = io.BytesIO(text.encode("utf-8"))
                while block := data.read(_BLOCK):
                    handle.write(block)

            yield write
