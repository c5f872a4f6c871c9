"""JASPAR and TRANSFAC files: count matrices, parsed by Biopython a record at a time."""

import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np

from motifkit.errors import InputError, require
from motifkit.files import written
from motifkit.motifs.meme import DEFAULT_NSITES
from motifkit.motifs.motif import Motif, MotifSet

Record = tuple[int, list[str]]  # number of the first line, and the lines

_LETTER_ROW = re.compile(r"([ACGTUacgtu])\s*[\[|:]?\s*([^\]]*?)\s*\]?")


def parse_jaspar(text: str, path: str | os.PathLike[str]) -> MotifSet:
    """Motifs of JASPAR's matrix files: '>' headers, then a row each of A, C, G and T counts.

    Rows may carry their letter and brackets or not; a file of one matrix may lack the header, and is
    then named by the file. What follows the identifier in the header is the label.
    """
    motifs = []
    for line, (header, *rows) in _fasta_like(text, path):
        identifier, label = _title(header, path)
        where = f"{path}: line {line}: record {identifier!r}"
        if len(rows) != 4:
            raise InputError(
                f"{where}: {len(rows)} rows of counts; a JASPAR matrix has four, of A, C, G and T, with a"
                " column a position"
            )
        plain = [
            f"{row[1].upper().replace('U', 'T')} [ {row[2]} ]" if (row := _LETTER_ROW.fullmatch(r)) else r
            for r in rows
        ]
        parsed = _biopython(where, "\n".join([f">{identifier}", *plain]), "jaspar")
        motifs.append(_motif(where, identifier, label, parsed))
    return MotifSet(_distinct(path, motifs), origin={"file": str(path)})


def parse_sites(text: str, path: str | os.PathLike[str]) -> MotifSet:
    """The motif of a JASPAR sites file: aligned sequences whose upper-case letters are the site."""
    text = "".join(
        f"{record[0]}\n{''.join(record[1:])}\n" for _, record in _fasta_like(text.replace("U", "T"), path)
    )
    where = f"{path}: its sites"
    parsed = _biopython(where, text, "sites")
    name = _stem(path)
    return MotifSet([_motif(where, name, "", parsed)], origin={"file": str(path)})


def parse_transfac(text: str, path: str | os.PathLike[str]) -> MotifSet:
    """Motifs of a TRANSFAC file: named by ID (else AC, else NA), labelled by NA (else BF or DE)."""
    motifs = []
    for line, record in _until_slashes(text):
        # Biopython wants DNA letters, in the order it expects.
        record = [re.sub(r"^(P[0O]\s+A\s+C\s+G\s+)U", r"\1T", text.strip()) for text in record]
        if not any(re.match(r"P[0O]\s", text) for text in record):
            continue  # the version block that stands before the motifs
        where = f"{path}: line {line}: record {len(motifs) + 1}"
        parsed = _biopython(where, "\n".join([*record, "//", ""]), "transfac", strict=False)
        keys = {key: _first(parsed.get(key)) for key in ("ID", "AC", "NA", "BF", "DE")}
        name = keys["ID"] or keys["AC"] or keys["NA"] or f"motif{len(motifs) + 1}"
        label = next((keys[k] for k in ("NA", "BF", "DE") if keys[k] and keys[k] != name), "")
        motifs.append(_motif(where, name, label, parsed))
    if not motifs:
        raise InputError(f"{path}: holds no TRANSFAC matrix; each begins with a line 'P0  A  C  G  T'")
    return MotifSet(_distinct(path, motifs), origin={"file": str(path)})


def write_jaspar(motifs: MotifSet, path: str | os.PathLike[str]) -> None:
    """Write counts in JASPAR's format, to 10 digits; the file appears whole or not at all."""
    parts = []
    for motif in motifs:
        label = " ".join(motif.label.split())
        parts.append(f">{'_'.join(motif.name.split())}" + (f"\t{label}" if label else ""))
        for letter, row in zip("ACGT", motif.counts, strict=True):
            parts.append(f"{letter} [ {' '.join(f'{value:.10g}' for value in row)} ]")
    with written(path) as temporary:
        Path(temporary).write_text("\n".join(parts) + "\n")


def _biopython(where: str, text: str, kind: str, **options):
    motifs = require("Bio.motifs", "motifs")
    try:
        parsed = motifs.parse(StringIO(text), kind, **options)
    except Exception as error:  # its parsers raise whatever the broken line makes them raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{where}: cannot be read as {kind} ({reason}); correct or remove it") from None
    if len(parsed) != 1:
        raise InputError(f"{where}: holds no {kind} matrix; correct or remove it")
    return parsed[0]


def _motif(where: str, name: str, label: str, parsed) -> Motif:
    counts = np.array([parsed.counts[letter] for letter in "ACGT"], dtype=np.float64)
    totals = counts.sum(0)
    if not counts.size or not np.isfinite(counts).all() or counts.min() < 0 or totals.min() <= 0:
        raise InputError(f"{where}: every position needs counts that are not negative, and some above 0")
    if np.abs(totals - 1).max() <= 0.02 and (counts % 1).any():  # probabilities, of unknown sites
        counts, totals = counts / totals * DEFAULT_NSITES, np.array([DEFAULT_NSITES])
    return Motif(name, counts, float(totals.max()), label)


def _fasta_like(text: str, path) -> Iterator[Record]:
    """Records that begin with '>', blank lines left out; a file without any is one record."""
    record, start = [], 1
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line.startswith(">"):
            if record:
                yield start, record
            record, start = [line], number
        elif line:
            record = record or [f">{_stem(path)}"]
            record.append(line)
    if record:
        yield start, record


def _until_slashes(text: str) -> Iterator[Record]:
    record, start = [], 1
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() == "//":
            yield start, record
            record, start = [], number + 1
        elif line.strip():
            record.append(line)
    if record:
        yield start, record


def _title(header: str, path) -> tuple[str, str]:
    identifier, _, label = header[1:].strip().replace("\t", " ").partition(" ")
    return identifier or _stem(path), label.strip()


def _stem(path) -> str:
    return Path(path).name.removesuffix(".gz").rsplit(".", 1)[0]


def _first(value) -> str:
    value = value[0] if isinstance(value, list) and value else value
    return str(value or "").strip()


def _distinct(path, motifs: list[Motif]) -> list[Motif]:
    names = set()
    for motif in motifs:
        if motif.name in names:
            raise InputError(f"{path}: motif {motif.name!r} stands there twice; rename one")
        names.add(motif.name)
    return motifs
