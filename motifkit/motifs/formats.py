"""Motif files of any format: which one it is, and reading and writing it."""

import csv
import json
import os
import re
import zipfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np

from motifkit.errors import InputError
from motifkit.files import written
from motifkit.motifs import count_matrices
from motifkit.motifs.meme import parse_meme, write_meme
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.sequences import read_text

_TSV_COLUMNS = ["name", "label", "nsites", "position", "A", "C", "G", "T"]
_NPZ_FORMAT = "motifkit-motifs-1"


def read_motifs(path: str | os.PathLike[str], format: str | None = None) -> MotifSet:
    """See MotifSet.read."""
    if format is not None and format not in (*_READERS, "npz"):
        raise ValueError(f"format must be one of {', '.join((*_READERS, 'npz'))}, not {format!r}")
    if format == "npz" or (format is None and _is_zip(path)):
        return read_npz(path)
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: is empty; expected motifs")
    format = format or detect(text)
    if format is None:
        raise InputError(
            f"{path}: not a motif file of a known kind (MEME, JASPAR, JASPAR sites, TRANSFAC, TSV with the"
            f" columns {' '.join(_TSV_COLUMNS)}, or NPZ); begins {text.strip().splitlines()[0][:40]!r}"
        )
    return _READERS[format](text, path)


def detect(text: str) -> str | None:
    """Name of the format that a file's text is in, or None.

    Example:
        >>> from motifkit.motifs.formats import detect
        >>> detect(">MA0001.1 AGL3\\n0 3 79\\n94 75 4\\n1 0 3\\n2 19 11\\n"), detect("MEME version 4\\n")
        ('jaspar', 'meme')
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("MEME version") for line in lines[:50]):
        return "meme"
    if any(re.match(r"MOTIF\s", line) for line in lines) and "matrix" in text:
        return "meme"
    if any(re.match(r"P[0O]\s+A\s+C\s+G\s+[TU]\b", line) for line in lines):
        return "transfac"
    if {"name", "A", "C", "G", "T"} <= set(lines[0].split("\t")):
        return "tsv"
    if lines[0].startswith(">"):
        return "sites" if len(lines) > 1 and re.fullmatch(r"[A-Za-z]{2,}", lines[1]) else "jaspar"
    if len(lines) == 4 and all(re.match(r"([ACGTU]\s*[\[|:]?\s*)?[\d.]", line) for line in lines):
        return "jaspar"
    return None


def write_motifs(motifs: MotifSet, path: str | os.PathLike[str], format: str | None = None) -> None:
    """See MotifSet.write."""
    if format is None:
        suffix = Path(path).suffix.lower()
        if suffix not in _SUFFIXES:
            raise InputError(f"{path}: motifs are written as {', '.join(_SUFFIXES)}; choose one of these")
        format = _SUFFIXES[suffix]
    if format not in _WRITERS:
        raise ValueError(f"format must be one of {', '.join(_WRITERS)}, not {format!r}")
    _WRITERS[format](motifs, path)


def write_tsv(motifs: MotifSet, path: str | os.PathLike[str]) -> None:
    """Counts as a table, a row a position: name, label, nsites, position (from 1), A, C, G, T.

    Numbers have all their digits: reading gives the same counts.
    """
    with written(path) as temporary, Path(temporary).open("w", newline="") as handle:
        table = csv.writer(handle, delimiter="\t", lineterminator="\n")
        table.writerow(_TSV_COLUMNS)
        for motif in motifs:
            nsites = repr(float(motif.nsites)).removesuffix(".0")
            for position, column in enumerate(motif.counts.T, start=1):
                counts = [repr(float(value)).removesuffix(".0") for value in column]
                table.writerow([motif.name, motif.label, nsites, position, *counts])


def parse_tsv(text: str, path: str | os.PathLike[str]) -> MotifSet:
    """What write_tsv writes; label and nsites may be missing (nsites: the largest column's sum)."""
    columns: dict[str, list[list[float]]] = {}
    about: dict[str, tuple[str, str]] = {}
    table = csv.DictReader(StringIO(text), delimiter="\t")
    missing = {"name", *"ACGT"} - set(table.fieldnames or ())
    if missing:
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}; expected {' '.join(_TSV_COLUMNS)}")
    for row in table:
        where = f"{path}: line {table.line_num}: motif {row['name']!r}"
        own = columns.setdefault(row["name"], [])
        try:
            own.append([float(row[letter]) for letter in "ACGT"])
            if row.get("position") and int(row["position"]) != len(own):
                raise InputError(f"{where}: position {row['position']}, expected {len(own)}; sort the rows")
            about[row["name"]] = (row.get("label") or "", row.get("nsites") or "")
            float(row.get("nsites") or 0)
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where}: nsites, position, A, C, G and T must be numbers") from None
    if not columns:
        raise InputError(f"{path}: holds no motifs, only a heading")
    motifs = []
    for name, rows in columns.items():
        counts, (label, nsites) = np.array(rows).T, about[name]
        try:
            motifs.append(Motif(name, counts, float(nsites or counts.sum(0).max()), label))
        except ValueError as error:
            raise InputError(f"{path}: {error}; correct its rows") from None
    return MotifSet(motifs, origin={"file": str(path)})


def write_npz(motifs: MotifSet, path: str | os.PathLike[str]) -> None:
    """Everything a MotifSet holds, exactly, in NumPy's archive format.

    Arrays: names, labels, nsites (motifs,); widths (motifs,); counts (4, sum of widths), the motifs
    side by side; dead, names of dead filters; origin, JSON; format.
    """
    counts = [motif.counts for motif in motifs]
    with written(path) as temporary, Path(temporary).open("wb") as handle:
        np.savez_compressed(
            handle,
            format=np.array(_NPZ_FORMAT),
            names=np.array([motif.name for motif in motifs], dtype=str),
            labels=np.array([motif.label for motif in motifs], dtype=str),
            nsites=np.array([motif.nsites for motif in motifs], dtype=np.float64),
            widths=np.array([len(motif) for motif in motifs], dtype=np.int64),
            counts=np.concatenate(counts, axis=1) if counts else np.zeros((4, 0)),
            dead=np.array(motifs.dead, dtype=str),
            origin=np.array(json.dumps(motifs.origin, default=str)),
        )


def read_npz(path: str | os.PathLike[str]) -> MotifSet:
    """What write_npz wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["format"]) != _NPZ_FORMAT:
                raise KeyError("format")
            ends = np.cumsum(file["widths"])[:-1]
            parts = np.split(file["counts"], ends, axis=1) if len(file["names"]) else []
            motifs = [
                Motif(str(name), counts.copy(), float(nsites), str(label))
                for name, counts, nsites, label in zip(
                    file["names"], parts, file["nsites"], file["labels"], strict=True
                )
            ]
            return MotifSet(motifs, [str(x) for x in file["dead"]], json.loads(str(file["origin"])))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not an archive of motifs as MotifSet.to_npz writes it ({error}); write it again"
        ) from None


def _is_zip(path) -> bool:
    try:
        with Path(path).open("rb") as handle:
            return handle.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # read_text says what is wrong


_READERS: dict[str, Callable[[str, str | os.PathLike[str]], MotifSet]] = {
    "meme": lambda text, path: parse_meme(text.splitlines(), path),
    "jaspar": count_matrices.parse_jaspar,
    "sites": count_matrices.parse_sites,
    "transfac": count_matrices.parse_transfac,
    "tsv": parse_tsv,
}
_WRITERS: dict[str, Callable[[MotifSet, str | os.PathLike[str]], None]] = {
    "meme": write_meme,
    "jaspar": count_matrices.write_jaspar,
    "tsv": write_tsv,
    "npz": write_npz,
}
_SUFFIXES = {
    ".meme": "meme", ".txt": "meme", ".jaspar": "jaspar", ".pfm": "jaspar", ".tsv": "tsv", ".npz": "npz",
}  # fmt: skip
