"""MEME motif files, in the dialects people write."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from motifkit.errors import InputError
from motifkit.files import written
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.sequences import read_text

DEFAULT_NSITES = 20  # what MEME assumes where a file does not say
UNIFORM = (0.25, 0.25, 0.25, 0.25)
_KEY = re.compile(r"\b(alength|w|nsites|E)\s*=\s*(\S+)")
_MATRIX = re.compile(r"(letter-probability|log-odds) matrix\b", re.IGNORECASE)
_FREQUENCY = re.compile(r"([ACGTU])\s+([0-9.eE+-]+)", re.IGNORECASE)
_LOG_ODDS_SLACK = 0.1  # how far the probabilities that log-odds stand for may be from summing to 1


def read_meme(path: str | os.PathLike[str]) -> MotifSet:
    """Motifs of a MEME file, plain or gzip-compressed: minimal format or MEME's own text output.

    Everything but the matrices may be missing: version, alphabet, strands and background lines, `w=`
    and `nsites=` (20, as MEME takes it). nsites may be fractional, rows separated by spaces or tabs,
    lines ended as DOS does, the alphabet RNA (U is read as T). A motif with a letter-probability
    matrix is read from it; one with a log-odds matrix alone (in bits, or hundredths as MEME prints
    them) is turned back into probabilities with the file's background. The first word of a MOTIF line
    is the name, the rest the label; where that would name two motifs of a block alike, the whole
    title is the name. Of several blocks in one file (files set one behind the other) a name that was
    there before gets a number behind it.

    Returns:
        MotifSet, counts being probabilities times nsites. `origin` holds "file" and, where the file
        states it, "background": frequencies of A, C, G, T.

    Raises:
        InputError: naming file, line, motif and remedy.
    """
    return parse_meme(read_text(path).splitlines(), path)


@dataclass
class _Entry:
    """What stands between one MOTIF line and the next."""

    title: str
    line: int
    block: int
    background: tuple[float, ...]
    matrices: dict[str, tuple[list[list[float]], dict[str, str], int]] = field(default_factory=dict)


def parse_meme(lines: Sequence[str], path: str | os.PathLike[str]) -> MotifSet:
    """As read_meme, of lines already read; `path` is for messages."""
    entries: list[_Entry] = []
    block, background, stated = 0, UNIFORM, None
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if line.startswith("MEME version"):
            block, background = block + 1, UNIFORM
        elif line.startswith("ALPHABET"):
            _check_alphabet(path, number, line)
        elif line.startswith("Background letter frequencies"):
            found, number = _background(path, lines, number)
            background = found or background
            stated = stated or found
        elif line.split(maxsplit=1)[:1] == ["MOTIF"]:
            title = re.split(r"\s+width\s*=", line[len("MOTIF") :])[0].strip()
            if not title:
                raise InputError(f"{path}: line {number}: MOTIF without a name; write one behind it")
            entries.append(_Entry(title, number, block, background))
        elif match := _MATRIX.match(line):
            if not entries:
                raise InputError(
                    f"{path}: line {number}: a matrix before any MOTIF line; put 'MOTIF name' above it"
                )
            kind, keys, at = match[1].lower(), dict(_KEY.findall(line)), number
            rows, number = _rows(path, lines, number, entries[-1], kind, keys)
            entries[-1].matrices[kind] = rows, keys, at
    if not block and not entries:
        raise InputError(f"{path}: no 'MEME version' line; is this a MEME motif file?")
    if not entries:
        raise InputError(f"{path}: holds no motifs; each begins with a line 'MOTIF name'")
    names = _names(path, entries)
    motifs = [_motif(path, entry, *name) for entry, name in zip(entries, names, strict=True)]
    origin: dict[str, object] = {"file": str(path)}
    if stated:
        origin["background"] = list(stated)
    return MotifSet(motifs, origin=origin)


def _check_alphabet(path, number: int, line: str) -> None:
    if "=" in line:
        letters = line.split("=")[-1].strip().upper().replace("U", "T")
        if letters and letters != "ACGT":
            raise InputError(
                f"{path}: line {number}: alphabet {letters!r}, expected ACGT or ACGU; only DNA and RNA"
                " motifs are read"
            )
    elif "PROTEIN-LIKE" in line or '"Protein"' in line:
        raise InputError(f"{path}: line {number}: a protein alphabet; only DNA and RNA motifs are read")


def _background(path, lines: Sequence[str], number: int) -> tuple[tuple[float, ...] | None, int]:
    """Frequencies of A, C, G, T from the lines behind the heading, or None where there are none."""
    found: dict[str, float] = {}
    start = number
    while number < len(lines) and len(found) < 4:
        pairs = _FREQUENCY.findall(lines[number])
        if lines[number].strip() and not pairs:
            break
        try:
            found |= {letter.upper().replace("U", "T"): float(value) for letter, value in pairs}
        except ValueError:
            raise InputError(
                f"{path}: line {number + 1}: background {lines[number].strip()!r} is not letters and"
                " numbers; write it as 'A 0.25 C 0.25 G 0.25 T 0.25'"
            ) from None
        number += 1
    if not found:
        return None, start
    values = tuple(found.get(letter, 0.0) for letter in "ACGT")
    if min(values) <= 0 or abs(sum(values) - 1) > 0.02:
        raise InputError(
            f"{path}: line {number}: background frequencies {values} must be positive and sum to 1"
        )
    return tuple(value / sum(values) for value in values), number


def _rows(path, lines, number, entry: _Entry, kind: str, keys) -> tuple[list[list[float]], int]:
    where = f"motif {entry.title.split()[0]!r}"
    width = int(keys["w"]) if keys.get("w", "").isdigit() else 0
    rows: list[list[float]] = []
    while number < len(lines):
        words = lines[number].split()
        if not words:
            if rows and len(rows) >= width:
                break
            number += 1  # blank lines before the matrix, or between rows that w= promises
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            if not re.match(r"[-+.\d]*\d", words[0]):
                break
            raise InputError(
                f"{path}: line {number + 1}: {where}: {lines[number].strip()!r} is not a row of numbers;"
                " write four, for A, C, G and T"
            ) from None
        if len(values) != 4:
            raise InputError(
                f"{path}: line {number + 1}: {where}: a row needs 4 numbers, for A, C, G and T; found"
                f" {len(values)}"
            )
        if not np.isfinite(values).all() and kind == "letter-probability":
            raise InputError(f"{path}: line {number + 1}: {where}: probabilities must be finite numbers")
        if kind == "letter-probability" and (min(values) < 0 or not 0.98 <= sum(values) <= 1.02):
            raise InputError(
                f"{path}: line {number + 1}: {where}: probabilities sum to {sum(values):g}, not 1; counts"
                " are read from JASPAR files"
            )
        rows.append(values)
        number += 1
    return rows, number


def _names(path, entries: Sequence[_Entry]) -> list[tuple[str, str]]:
    """Name and label of each entry; see read_meme."""
    titles: dict[tuple[int, str], list[_Entry]] = {}
    for entry in entries:
        titles.setdefault((entry.block, entry.title.split()[0]), []).append(entry)
    out, taken = [], set()
    for entry in entries:
        name, _, label = entry.title.replace("\t", " ").partition(" ")
        alike = [other for other in titles[entry.block, name] if other is not entry]
        if any(other.title == entry.title for other in alike):
            lines = sorted(other.line for other in alike)
            raise InputError(
                f"{path}: line {max(entry.line, *lines)}: motif {name!r} stands there twice; rename one"
            )
        if alike:
            name, label = entry.title, ""
        unique, copy = name, 1
        while unique in taken:
            copy += 1
            unique = f"{name}_{copy}"
        taken.add(unique)
        out.append((unique, label.strip()))
    return out


def _motif(path, entry: _Entry, name: str, label: str) -> Motif:
    kind = next((k for k in ("letter-probability", "log-odds") if k in entry.matrices), None)
    if kind is None:
        raise InputError(
            f"{path}: motif {name!r} has no letter-probability matrix below line {entry.line}; add one or"
            " remove its MOTIF line"
        )
    rows, keys, line = entry.matrices[kind]
    where = f"{path}: line {line}: motif {name!r}"
    if not rows:
        raise InputError(f"{where}: the matrix has no rows; write one a position")
    try:
        alength = int(keys.get("alength", 4))
        width = int(float(keys.get("w", len(rows))))
        nsites = float(keys.get("nsites", DEFAULT_NSITES))
    except ValueError:
        raise InputError(f"{where}: alength=, w= and nsites= must be numbers") from None
    if alength != 4:
        raise InputError(f"{where}: alength= {alength}, expected 4; only DNA and RNA motifs are read")
    if width != len(rows):
        raise InputError(
            f"{where}: w= {width}, but the matrix has {len(rows)} rows; correct w= or leave it out"
        )
    nsites = nsites if np.isfinite(nsites) and nsites > 0 else DEFAULT_NSITES
    ppm = np.array(rows).T
    if kind == "log-odds":
        ppm = _probabilities(where, ppm, np.array(entry.background))
    return Motif(name, ppm / ppm.sum(0) * nsites, nsites, label)


def _probabilities(where: str, scores: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(4, width) probabilities of log-odds: bits, or integer hundredths where those sum to 1 better."""
    scales = (1, 100) if (scores % 1 == 0).all() else (1,)
    candidates = [background[:, None] * np.exp2(scores / scale) for scale in scales]
    wrong = [float(np.abs(p.sum(0) - 1).max()) for p in candidates]
    best = int(np.argmin(wrong))
    if not wrong[best] <= _LOG_ODDS_SLACK:
        raise InputError(
            f"{where}: its log-odds, in bits or hundredths of bits against the background, give columns"
            f" that miss 1 by up to {wrong[best]:.2g}; state the background they were made with, or give"
            " a letter-probability matrix"
        )
    return candidates[best]


def write_meme(motifs: MotifSet, path: str | os.PathLike[str]) -> None:
    """Write motifs in MEME minimal format; the file appears whole or not at all.

    Spaces in names become underscores. The background is the one in the set's `origin`, else uniform.
    """
    background = motifs.origin.get("background", UNIFORM)
    frequencies = " ".join(f"{x} {p:.6g}" for x, p in zip("ACGT", background, strict=True))
    parts = [
        f"MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n{frequencies}\n"
    ]
    for motif in motifs:
        name, label = "_".join(motif.name.split()), " ".join(motif.label.split())
        parts.append(f"\nMOTIF {name} {label}".rstrip())
        parts.append(
            f"\nletter-probability matrix: alength= 4 w= {len(motif)} nsites= {motif.nsites:.10g} E= 0\n"
        )
        parts.extend(" ".join(f"{p:.6f}" for p in column) + "\n" for column in motif.ppm.T)
    with written(path) as temporary:
        Path(temporary).write_text("".join(parts))
