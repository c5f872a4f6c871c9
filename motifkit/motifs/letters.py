"""Sequences of any length as a stream of letters, cut into overlapping chunks."""

import contextlib
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from motifkit.errors import InputError
from motifkit.sequences import INVALID, LETTER_TABLE, N

_BLOCK = 1 << 20  # bytes read at once
_SPACE = b" \t\r\n\v\f"
_LOWER = bytes(range(97, 123))

Piece = tuple[str | None, bytes]  # the name of a record that begins here, or None; and codes


class Chunk(NamedTuple):
    """A stretch of the stream: the letters of windows that begin in it.

    Records stand one behind the other with an N between them.
    """

    codes: np.ndarray  # (starts + overlap,) uint8
    starts: int  # windows begin at the first so many letters
    marks: list[tuple[int, int, str, int]]  # letter of the chunk, number and name of the record, its letter

    def places(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of record, its name, and position in it, for letters of the chunk."""
        at, number, name, first = zip(*self.marks, strict=True)
        which = np.searchsorted(at, position, side="right") - 1
        names = np.array(name, dtype=object)
        return np.array(number)[which], names[which], position - np.array(at)[which] + np.array(first)[which]


def chunks(pieces: Iterator[Piece], size: int, overlap: int) -> Iterator[Chunk]:
    """Cut a stream into chunks of `size` window starts, each followed by `overlap` more letters."""
    parts: list[bytes] = []
    held, record, letters = 0, -1, 0  # letters held; number of the record, and letters of it so far
    marks: list[tuple[int, int, str, int]] = []
    name = ""
    for begins, codes in pieces:
        if begins is not None:
            if held:
                parts.append(bytes([N]))
                held += 1
            record, letters, name = record + 1, 0, begins
            marks.append((held, record, name, 0))
        parts.append(codes)
        held, letters = held + len(codes), letters + len(codes)
        if held < size + overlap:
            continue
        whole = np.frombuffer(b"".join(parts), dtype=np.uint8)
        start = 0
        while held - start >= size + overlap:
            inside = [(max(at - start, 0), r, n, first + max(start - at, 0)) for at, r, n, first in marks]
            inside = [mark for mark in inside if mark[0] < size]
            yield Chunk(whole[start : start + size + overlap], size, inside)
            start += size
            marks = _from(marks, start)
        parts, held = [whole[start:].tobytes()], held - start
        marks = [(at - start, r, n, first) for at, r, n, first in marks]
    if held:
        rest = np.frombuffer(b"".join(parts) + bytes([N]) * overlap, dtype=np.uint8)
        yield Chunk(rest, held, [(max(at, 0), r, n, first - min(at, 0)) for at, r, n, first in marks])


def _from(marks, start):
    """Marks that say anything of letters from `start` on: the last one before it, and those after."""
    before = sum(at <= start for at, *_ in marks)
    return marks[max(before - 1, 0) :]


def pieces_of(sequences: Tensor | Sequence[str]) -> Iterator[Piece]:
    """Codes (batch, length) or strings as a stream; records are named by their number, from 0."""
    for number, row in enumerate(sequences):
        if isinstance(row, str):
            yield str(number), _encoded(row.encode(), f"sequence {number + 1}", 0, False)
        else:
            yield str(number), row.cpu().numpy().tobytes()


def fasta_pieces(
    path: str | os.PathLike[str], *, mask_lower: bool = False, seen: list[int] | None = None
) -> Iterator[Piece]:
    """Records of a FASTA file, plain or gzip, "-" for standard input, a megabyte at a time.

    Args:
        path: the file. mask_lower: lower case (soft-masked) letters are N.
        seen: its first entry is kept at the number of bytes read, for progress bars.

    Raises:
        InputError: no such file, no records, letters before the first header, a letter that is not
            DNA, or a file that is cut short.
    """
    name, position, header = None, 0, b""
    state = "start"  # then "header" (inside one that is not at its end) or "letters"
    any_records = False
    last = b"\n"  # the byte before the block
    for block in _blocks(path, seen):
        at = 0
        while at < len(block):
            if state == "header":
                end = block.find(b"\n", at)
                header += block[at : end if end >= 0 else len(block)]
                at = end + 1 if end >= 0 else len(block)
                if end >= 0:
                    name, position = (header.decode("utf-8", "replace").split() or ["unnamed"])[0], 0
                    header, state, any_records = b"", "letters", True
                    yield name, b""
                continue
            end = block.find(b">", at)
            letters = block[at : end if end >= 0 else len(block)]
            at = end + 1 if end >= 0 else len(block)
            if name is None and letters.strip():
                raise InputError(
                    f"{path}: begins with {letters.strip()[:20].decode('utf-8', 'replace')!r}, not a '>'"
                    " header; is this a FASTA file?"
                )
            if name is not None and letters:
                codes = _encoded(letters, f"{path}: record {name!r}", position, mask_lower)
                position += len(codes)
                yield None, codes
            if end >= 0:
                if (block[end - 1 : end] or last) not in b"\r\n":
                    raise InputError(f"{path}: record {name!r}: '>' within a line; headers begin one")
                state = "header"
        last = block[-1:]
    if state == "header":  # the last header has no line end: a record without letters
        yield (header.decode("utf-8", "replace").split() or ["unnamed"])[0], b""
    elif not any_records:
        raise InputError(f"{path}: holds no FASTA records")


def _encoded(letters: bytes, where: str, position: int, mask_lower: bool) -> bytes:
    codes = letters.translate(_MASKED if mask_lower else _PLAIN, _SPACE)
    wrong = codes.find(INVALID)
    if wrong >= 0:
        letter = letters.translate(None, _SPACE)[wrong : wrong + 1].decode("latin-1")
        raise InputError(
            f"{where}: {letter!r} at position {position + wrong + 1} is not a DNA letter; A, C, G, T, U, N"
            " and IUPAC codes are read"
        )
    return codes


_PLAIN = LETTER_TABLE.tobytes()
_MASKED = bytes(N if i in _LOWER and code != INVALID else code for i, code in enumerate(_PLAIN))


def _blocks(path, seen: list[int] | None) -> Iterator[bytes]:
    try:
        raw = sys.stdin.buffer if str(path) == "-" else Path(path).open("rb")  # noqa: SIM115
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        with contextlib.nullcontext(raw) if str(path) == "-" else raw:
            buffered = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
            compressed = buffered.peek(2)[:2] == b"\x1f\x8b"
            handle = gzip.GzipFile(fileobj=buffered) if compressed else buffered
            while block := handle.read(_BLOCK):
                if seen is not None and str(path) != "-":
                    seen[0] = raw.tell()
                yield block
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); is it cut short?") from None
