"""Real sequences to a SequenceDataset: tables and FASTA files."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motifkit.data.dataset import SPLITS, SequenceDataset, random_splits
from motifkit.data.shuffle import dinucleotide_shuffle
from motifkit.errors import InputError, require
from motifkit.sequences import N, encode, open_text, read_fasta

Paths = Sequence[str | os.PathLike[str]]
_SEQUENCE_COLUMNS = ("sequence", "seq", "dna")
_ANONYMOUS_LABELS = ("bound", "label", "labels", "y", "target", "class")


@dataclass
class _Labelled:
    codes: Tensor  # (records, length) uint8
    targets: np.ndarray  # (records, classes)
    class_names: list[str]


def prepare(
    *,
    tables: Paths = (),
    positives: Paths = (),
    negatives: Paths = (),
    test: Paths = (),
    sequence_column: str | None = None,
    label_columns: Sequence[str] = (),
    shuffles: int | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> SequenceDataset:
    """Make a data set of tables or FASTA files.

    Args:
        tables: tab- or comma-separated files with a header, plain or gzip-compressed. One table: its
            label columns are the classes. Several: one class each, named by the file (without
            "_train" and the like); rows labelled 0 belong to no class.
        positives: FASTA files, one class each, named by the file. negatives: FASTA files of no class.
        test: files of the same kind for the test split, matched to classes by name; for FASTA, a
            file whose name contains "neg" or "shuf" holds negatives. The rest is shared between
            train and valid.
        sequence_column: "sequence", "seq" or "dna" where it is not given.
        label_columns: all columns of zeros and ones where they are not given.
        shuffles: dinucleotide shuffles added as negatives for each training and validation positive.
            By default 1 where there would be no negatives otherwise.
        fractions: of train, valid and test; with test files, of train and valid alone.
        seed: of the split and the shuffles.

    Returns:
        SequenceDataset. Shorter sequences are padded with N on the right.

    Raises:
        InputError: naming file, record and remedy.

    Example:
        >>> import motifkit as mk
        >>> data = mk.prepare(positives=["SRF.fa"])  # doctest: +SKIP
    """
    if bool(tables) == bool(positives):
        raise InputError("give either tables or FASTA positives")
    if negatives and tables:
        raise InputError("negatives go with FASTA positives; label rows of a table with 0 instead")

    if tables:
        read = [_read_table(path, sequence_column, label_columns) for path in tables]
        main = _merge(read, tables)
    else:
        main = _merge_fasta(positives, negatives)
    held_out = None
    if test:
        if tables:
            parts = [_read_table(path, sequence_column, label_columns) for path in test]
            held_out = _merge(parts, test, main.class_names)
        else:
            held_out = _merge_fasta(
                [p for p in test if not _is_negative(p)], [p for p in test if _is_negative(p)],
                main.class_names,
            )  # fmt: skip
    if shuffles is None:
        shuffles = 1 if not (main.targets.sum(1) == 0).any() and len(main.class_names) == 1 else 0
    if shuffles == 0:
        _refuse_constant(main)
    return _assemble(main, held_out, shuffles, fractions, seed, [*tables, *positives, *negatives, *test])


def class_name(path: str | os.PathLike[str]) -> str:
    """The class a file stands for: its name up to the first dot, less "_train" and the like."""
    stem = Path(path).name.split(".")[0]
    return re.sub(r"[_-](train|test|valid|pos|positives?|peaks?)$", "", stem, flags=re.IGNORECASE)


def _is_negative(path) -> bool:
    return bool(re.search(r"neg|shuf", Path(path).name, flags=re.IGNORECASE))


def _read_table(path, sequence_column, label_columns) -> _Labelled:
    pandas = require("pandas", "train")
    with open_text(path) as handle:
        try:
            header = handle.readline()
        except (EOFError, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error}); is it cut short?") from None
    if not header.strip():
        raise InputError(f"{path}: is empty; expected a header line and rows")
    separator = "\t" if "\t" in header else ","
    try:
        with open_text(path) as handle:
            frame = pandas.read_csv(handle, sep=separator, dtype=str, keep_default_na=False)
    except (pandas.errors.ParserError, EOFError, OSError) as error:
        raise InputError(f"{path}: {str(error).strip()}; every row needs the header's columns") from None
    if len(frame) == 0:
        raise InputError(f"{path}: has a header and no rows")
    column = _sequence_column(path, frame, sequence_column)
    labels = list(label_columns) or [
        name for name in frame.columns if name != column and set(frame[name]) <= {"0", "1", "0.0", "1.0"}
    ]
    for name in labels:
        if name not in frame.columns:
            raise InputError(f"{path}: no column {name!r}; it has {', '.join(map(str, frame.columns))}")
    targets = np.zeros((len(frame), len(labels)))
    for index, name in enumerate(labels):
        values = pandas.to_numeric(frame[name], errors="coerce")
        wrong = ~values.isin([0, 1])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{path}: row {row + 2}: label {name!r} is {frame[name].iloc[row]!r}, expected 0 or 1"
            )
        targets[:, index] = values
    return _Labelled(_encode_rows(path, frame[column].tolist()), targets, labels)


def _sequence_column(path, frame, wanted) -> str:
    if wanted is not None:
        if wanted not in frame.columns:
            raise InputError(f"{path}: no column {wanted!r}; it has {', '.join(map(str, frame.columns))}")
        return wanted
    for name in frame.columns:
        if str(name).lower() in _SEQUENCE_COLUMNS:
            return name
    raise InputError(f"{path}: no column named sequence, seq or dna; name it with --sequence-column")


def _encode_rows(path, rows: list[str]) -> Tensor:
    empty = [i for i, row in enumerate(rows) if not row]
    if empty:
        raise InputError(f"{path}: row {empty[0] + 2} has no sequence; is the table ragged?")
    try:
        return encode(rows, length=max(map(len, rows)))
    except InputError as error:
        number = re.match(r"sequence (\d+): (.*)", str(error))
        if number:
            raise InputError(f"{path}: row {int(number[1]) + 1}: {number[2]}") from None
        raise


def _merge(parts: list[_Labelled], paths: Paths, class_names: list[str] | None = None) -> _Labelled:
    """Tables side by side: the columns of a single one, or one class a file."""
    by_column = len(parts) == 1 and (
        len(parts[0].class_names) > 1
        or (parts[0].class_names and parts[0].class_names[0].lower() not in _ANONYMOUS_LABELS)
    )
    if by_column:
        part = parts[0]
        if class_names is None:
            return part
        missing = [name for name in class_names if name not in part.class_names]
        if missing:
            raise InputError(f"{paths[0]}: no column for class {missing[0]!r}")
        order = [part.class_names.index(name) for name in class_names]
        return _Labelled(part.codes, part.targets[:, order], class_names)
    names = [class_name(path) for path in paths]
    known = class_names or names
    if len(set(names)) < len(names):
        raise InputError(f"two files stand for the same class: {', '.join(names)}; rename one")
    columns = []
    for part, name, path in zip(parts, names, paths, strict=True):
        if name not in known:
            raise InputError(f"{path}: unknown class {name!r}; the classes are {', '.join(known)}")
        if len(part.class_names) > 1:
            raise InputError(
                f"{path}: has label columns {', '.join(part.class_names)}; of several tables each may"
                " have one, name it with --label-columns"
            )
        bound = part.targets[:, 0] if part.class_names else np.ones(len(part.codes))
        columns.append(_one_class(bound, known.index(name), len(known)))
    return _Labelled(_stack([part.codes for part in parts]), np.concatenate(columns), list(known))


def _merge_fasta(positives: Paths, negatives: Paths, class_names=None) -> _Labelled:
    names = [class_name(path) for path in positives]
    known = class_names or names
    if len(set(names)) < len(names):
        raise InputError(f"two files stand for the same class: {', '.join(names)}; rename one")
    codes, columns = [], []
    for path, name in zip(positives, names, strict=True):
        if name not in known:
            raise InputError(f"{path}: unknown class {name!r}; the classes are {', '.join(known)}")
        _, part = read_fasta(path)
        codes.append(part)
        columns.append(_one_class(np.ones(len(part)), known.index(name), len(known)))
    for path in negatives:
        _, part = read_fasta(path)
        codes.append(part)
        columns.append(np.zeros((len(part), len(known))))
    return _Labelled(_stack(codes), np.concatenate(columns), list(known))


def _one_class(bound: np.ndarray, index: int, classes: int) -> np.ndarray:
    targets = np.zeros((len(bound), classes))
    targets[:, index] = bound
    return targets


def _stack(parts: list[Tensor]) -> Tensor:
    length = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, length - part.shape[1]), value=N) for part in parts])


def _refuse_constant(main: _Labelled) -> None:
    for name, column in zip(main.class_names, main.targets.T, strict=True):
        if column.min() == column.max():
            raise InputError(
                f"class {name!r} is {column[0]:.0f} in every record: nothing can be learned; give"
                " negatives, or --shuffles 1 for dinucleotide-shuffled ones"
            )


def _assemble(main, held_out, shuffles, fractions, seed, paths) -> SequenceDataset:
    generator = np.random.default_rng([seed, 11])
    if held_out is not None:
        train = fractions[0] / (fractions[0] + fractions[1])
        fractions = (train, 1 - train, 0.0)
    splits = random_splits(len(main.codes), fractions, generator)
    codes, targets = [main.codes], [main.targets]
    count = len(main.codes)
    if shuffles:
        # A shuffle goes where its sequence goes. Given test files keep their own negatives.
        for name in SPLITS:
            rows = splits[name]
            rows = rows[torch.from_numpy(main.targets[rows].any(1))]
            copies = dinucleotide_shuffle(main.codes[rows.repeat(shuffles)], seed)
            codes.append(copies)
            targets.append(np.zeros((len(copies), len(main.class_names))))
            splits[name] = torch.cat([splits[name], torch.arange(count, count + len(copies))])
            count += len(copies)
    if held_out is not None:
        codes.append(held_out.codes)
        targets.append(held_out.targets)
        splits["test"] = torch.arange(count, count + len(held_out.codes))
    return SequenceDataset(
        _stack(codes),
        torch.from_numpy(np.concatenate(targets).astype(np.uint8)),
        main.class_names,
        splits,
        origin={
            "made_by": "prepare", "files": [Path(p).name for p in paths], "seed": seed,
            "shuffles": shuffles,
        },
    )  # fmt: skip
