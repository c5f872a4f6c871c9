"""MEME minimal format, as people really write it."""

import os
import re
from pathlib import Path

import numpy as np

from motifkit.errors import InputError
from motifkit.files import written
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.sequences import open_text

_DEFAULT_NSITES = 20  # what MEME assumes where a file does not say
_KEY = re.compile(r"(alength|w|nsites|E)\s*=\s*(\S+)")


def read_meme(path: str | os.PathLike[str]) -> MotifSet:
    """Motifs of a MEME file.

    `w=` and `nsites=` may be missing, nsites may be fractional, rows may be separated by spaces or
    tabs, and U is read as T. Counts are probabilities times nsites.
    """
    with open_text(path) as handle:
        lines = handle.read().splitlines()
    if not any(line.startswith("MEME version") for line in lines[:50]):
        raise InputError(f"{path}: no 'MEME version' line; is this a MEME motif file?")
    motifs: list[Motif] = []
    name, label, names = None, "", set()
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if line.startswith("ALPHABET"):
            letters = line.split("=")[-1].strip().replace("U", "T")
            if letters and not line.startswith('ALPHABET "') and letters != "ACGT":
                raise InputError(f"{path}: line {number}: alphabet {letters!r}, expected ACGT or ACGU")
        elif line.startswith("MOTIF"):
            words = line.split(maxsplit=2)[1:]
            if not words:
                raise InputError(f"{path}: line {number}: MOTIF without a name")
            name, label = words[0], words[1] if len(words) > 1 else ""
            if name in names:
                raise InputError(f"{path}: line {number}: motif {name!r} stands there twice")
            names.add(name)
        elif line.startswith("letter-probability matrix"):
            if name is None:
                raise InputError(f"{path}: line {number}: a matrix before any MOTIF line")
            keys = dict(_KEY.findall(line))
            rows, number = _rows(path, lines, number, name)
            motifs.append(_motif(path, name, label, rows, keys))
            name = None
    if name is not None:
        raise InputError(f"{path}: motif {name!r} has no letter-probability matrix")
    if not motifs:
        raise InputError(f"{path}: holds no motifs")
    return MotifSet(motifs, origin={"file": str(path)})


def _rows(path, lines, number, name):
    rows = []
    while number < len(lines):
        words = lines[number].split()
        if not words and not rows:  # blank lines before the matrix
            number += 1
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            if words[0][0].isdigit():
                raise InputError(
                    f"{path}: line {number + 1}: motif {name!r}: {lines[number].strip()!r} is not"
                    " a row of numbers"
                ) from None
            break
        if not values:
            break
        if len(values) != 4:
            raise InputError(
                f"{path}: line {number + 1}: motif {name!r}: a row needs 4 numbers, found {len(values)}"
            )
        if min(values) < 0 or not 0.98 <= sum(values) <= 1.02:
            raise InputError(
                f"{path}: line {number + 1}: motif {name!r}: probabilities sum to {sum(values):g}, not 1"
            )
        rows.append(values)
        number += 1
    return rows, number


def _motif(path, name, label, rows, keys):
    if not rows:
        raise InputError(f"{path}: motif {name!r}: the matrix has no rows")
    try:
        width = int(keys.get("w", len(rows)))
        nsites = float(keys.get("nsites", _DEFAULT_NSITES))
    except ValueError:
        raise InputError(f"{path}: motif {name!r}: w= and nsites= must be numbers") from None
    if width != len(rows):
        raise InputError(f"{path}: motif {name!r}: w= {width}, but the matrix has {len(rows)} rows")
    nsites = nsites if nsites > 0 else _DEFAULT_NSITES
    ppm = np.array(rows).T
    return Motif(name, ppm / ppm.sum(0) * nsites, nsites, label)


def write_meme(motifs: MotifSet, path: str | os.PathLike[str]) -> None:
    """Write motifs in MEME minimal format; the file appears whole or not at all."""
    parts = [
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
        "Background letter frequencies\nA 0.25 C 0.25 G 0.25 T 0.25\n"
    ]
    for motif in motifs:
        name = "_".join(motif.name.split())
        parts.append(f"\nMOTIF {name} {motif.label}".rstrip())
        parts.append(
            f"\nletter-probability matrix: alength= 4 w= {len(motif)} nsites= {motif.nsites:g} E= 0\n"
        )
        parts.extend(" ".join(f"{p:.6f}" for p in column) + "\n" for column in motif.ppm.T)
    with written(path) as temporary:
        Path(temporary).write_text("".join(parts))
