"""Letters and codes: a sequence is uint8, 0..3 = A, C, G, T and 4 = N."""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motifkit.errors import InputError

ALPHABET = "ACGT"
N = 4
_IUPAC = b"RYSWKMBDHVN"  # letters that stand for several bases read as N
_GAPS = b".-*"
INVALID = 255


def _letter_table() -> np.ndarray:
    table = np.full(256, INVALID, dtype=np.uint8)
    for letters, code in ((b"A", 0), (b"C", 1), (b"G", 2), (b"TU", 3), (_IUPAC + b"X", N)):
        for letter in letters:
            table[letter] = table[letter + 32] = code
    for gap in _GAPS:
        table[gap] = N
    return table


LETTER_TABLE = _letter_table()
_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
_COMPLEMENT = torch.tensor([3, 2, 1, 0, 4], dtype=torch.uint8)


def _codes_of(text: str, where: str) -> np.ndarray:
    try:
        raw = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: {text[error.start]!r} at position {error.start + 1} is not a DNA letter"
        ) from None
    codes = LETTER_TABLE[raw]
    if codes.max(initial=0) == INVALID:
        at = int(np.argmax(codes == INVALID))
        raise InputError(
            f"{where}: {text[at]!r} at position {at + 1} is not a DNA letter; "
            "A, C, G, T, U, N and IUPAC codes are read"
        )
    return codes


def encode(seqs: str | Sequence[str] | Tensor, length: int | None = None) -> Tensor:
    """Codes of sequences.

    Args:
        seqs: a sequence, a list of them, or a float one-hot tensor (batch, 4, length). Lower case
            is upper case, U is T; other IUPAC letters and gaps (``.-*``) are N.
        length: pad shorter sequences with N on the right to this length. Without it all sequences
            must have the same length.

    Returns:
        (batch, length) uint8: 0..3 = A, C, G, T; 4 = N. A single string gives batch 1; an empty
        list gives (0, length or 0).

    Raises:
        InputError (a ValueError): a letter that is not DNA, lengths that differ, or a sequence
            longer than `length`.

    Example:
        >>> import motifkit as mk
        >>> mk.encode(["ACGT", "nnAC"])
        tensor([[0, 1, 2, 3],
                [4, 4, 0, 1]], dtype=torch.uint8)
    """
    if isinstance(seqs, Tensor):
        from motifkit.ops import _common

        return _common.as_codes(seqs, check_onehot=seqs.is_cuda)
    rows = [seqs] if isinstance(seqs, str) else list(seqs)
    lengths = {len(row) for row in rows}
    if length is None:
        if len(lengths) > 1:
            raise InputError(
                f"sequences have lengths from {min(lengths)} to {max(lengths)}; give length= to pad"
                " the shorter ones with N"
            )
        length = lengths.pop() if lengths else 0
    elif lengths and max(lengths) > length:
        raise InputError(f"a sequence has {max(lengths)} letters, more than length={length}")
    out = np.full((len(rows), length), N, dtype=np.uint8)
    if rows and lengths == {length}:  # all as long as asked for: one look-up for all
        out[:] = _codes_together(rows).reshape(len(rows), length)
    else:
        for index, row in enumerate(rows):
            out[index, : len(row)] = _codes_of(row, f"sequence {index + 1}")
    return torch.from_numpy(out)


def _codes_together(rows: list[str]) -> np.ndarray:
    try:
        codes = LETTER_TABLE[np.frombuffer("".join(rows).encode("ascii"), dtype=np.uint8)]
        if codes.max(initial=0) != INVALID:
            return codes
    except UnicodeEncodeError:
        pass
    for index, row in enumerate(rows):  # find the culprit
        _codes_of(row, f"sequence {index + 1}")
    raise AssertionError("no culprit")


def decode(codes: Tensor) -> list[str]:
    """Letters of codes (batch, length); every code above 3 is N.

    Example:
        >>> import motifkit as mk
        >>> mk.decode(mk.encode("acgtr"))
        ['ACGTN']
    """
    rows = codes.detach().cpu().numpy()
    if rows.dtype != np.uint8 or rows.ndim != 2:
        raise ValueError(f"codes must be uint8 of shape (batch, length), got {codes.dtype}")
    letters = _LETTERS[np.minimum(rows, N)]
    return [row.tobytes().decode("ascii") for row in letters]


def one_hot(codes: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """One-hot (batch, 4, length) of codes (batch, length), channels A, C, G, T; N is all zero.

    Example:
        >>> import motifkit as mk
        >>> mk.one_hot(mk.encode("AN"))[0, :, 0]
        tensor([1., 0., 0., 0.])
    """
    letters = torch.arange(4, dtype=torch.uint8, device=codes.device)[None, :, None]
    return (codes[:, None, :] == letters).to(dtype)


def reverse_complement(codes: Tensor) -> Tensor:
    """The other strand, read 5' to 3'. Codes (batch, length) in, the same shape out; N stays N.

    Example:
        >>> import motifkit as mk
        >>> mk.decode(mk.reverse_complement(mk.encode("AACGN")))
        ['NCGTT']
    """
    table = _COMPLEMENT.to(codes.device)
    return table[codes.clamp(max=N).flip(-1).long()]


def open_text(path: str | os.PathLike[str]):
    """Open a text file, gzip-compressed or not (told by its first bytes)."""
    path = Path(path)
    try:
        with path.open("rb") as handle:
            compressed = handle.read(2) == b"\x1f\x8b"
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if compressed:
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def read_text(path: str | os.PathLike[str]) -> str:
    """All of a text file, plain or gzip, without a byte order mark; InputError if it is cut short."""
    try:
        with open_text(path) as handle:
            return handle.read().removeprefix("\ufeff")
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); is it cut short?") from None


def fasta_records(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Names (up to the first space) and letters of each FASTA record, one at a time."""
    name, parts = None, []
    try:
        with open_text(path) as handle:
            for number, line in enumerate(handle, start=1):
                line = line.strip()
                if line.startswith(">"):
                    if name is not None:
                        yield name, "".join(parts)
                    name, parts = (line[1:].split() or [f"record_{number}"])[0], []
                elif line and name is None:
                    raise InputError(
                        f"{path}: line {number} comes before any '>' header; is this a FASTA file?"
                    )
                elif line:
                    parts.append(line)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); is it cut short?") from None
    if name is not None:
        yield name, "".join(parts)


def read_fasta(path: str | os.PathLike[str]) -> tuple[list[str], Tensor]:
    """Read a FASTA file, plain or gzip-compressed.

    Args:
        path: the file.

    Returns:
        (names, codes): names up to the first space, and codes (records, longest record) uint8,
        shorter records padded with N on the right.

    Raises:
        InputError: no such file, no records, a record without letters, or a letter that is not DNA;
            the message names file and record.

    Example:
        >>> import motifkit as mk
        >>> names, codes = mk.read_fasta("peaks.fa.gz")  # doctest: +SKIP
    """
    names, rows = [], []
    for name, letters in fasta_records(path):
        if not letters:
            raise InputError(f"{path}: record {name!r} has no letters")
        names.append(name)
        rows.append(_codes_of(letters, f"{path}: record {name!r}"))
    if not rows:
        raise InputError(f"{path}: holds no FASTA records")
    codes = np.full((len(rows), max(map(len, rows))), N, dtype=np.uint8)
    for out, row in zip(codes, rows, strict=True):
        out[: len(row)] = row
    return names, torch.from_numpy(codes)
