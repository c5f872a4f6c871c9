"""Published one-hot data, read block by block into codes: DeepSEA's bundle, and the paper's own files."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from motifkit.data.dataset import SPLITS, SequenceDataset
from motifkit.errors import InputError, require
from motifkit.sequences import ALPHABET, N

# Zero-based columns of DeepSEA's 919 labels that stand for the paper's 12 factors (its S1 Table).
DEEPSEA_COLUMNS = {
    "Arid3a": 592, "CEBPB": 602, "FOSL1": 344, "Gabpa": 345, "MAFK": 635, "MAX": 636, "MEF2A": 349,
    "NFYB": 642, "SP1": 359, "SRF": 361, "STAT1": 661, "YY1": 369,
}  # fmt: skip
_DEEPSEA_ORDER = "AGCT"
_BLOCK = 16384  # sequences read at once: 64 MB of one-hot bytes
_CLEARLY = 1.25  # how many times as frequent as GC CG must be to refuse an order, and by how many
_DEVIATIONS = 6  # standard deviations of their difference


def read_deepsea(
    folder: str | os.PathLike[str],
    *,
    columns: dict[str, int] | None = None,
    channels: str | None = None,
) -> SequenceDataset:
    """DeepSEA's training bundle, cut down as the paper does: sequences of at least one of the classes.

    train.mat is MATLAB v7.3, that is HDF5 with its axes reversed: trainxdata (1000, 4, N) and traindata
    (919, N). valid.mat and test.mat are MATLAB v5: validxdata (N, 4, 1000) and validdata (N, 919), and so
    for test. Channels stand in the order **A, G, C, T**. Blocks of sequences are read and turned into
    codes one after the other; of 4.4 million sequences only those kept are ever held.

    Args:
        folder: holds the three files. columns: class names and their zero-based columns; the paper's 12 by
            default. channels: take this order without the check below.

    Returns:
        SequenceDataset, split as the bundle is.

    Raises:
        InputError: a file is missing, cut short or of another form, or its channels contradict the order.
            The order is checked, not guessed: in genomes CG is much rarer than GC, so that the two orders
            tell themselves apart.

    Example:
        >>> from motifkit.data.onehot_files import read_deepsea
        >>> data = read_deepsea("deepsea_train")  # doctest: +SKIP
        >>> len(data.splits["train"]), len(data.splits["test"])  # doctest: +SKIP
        (270382, 23768)

    Source: Zhou & Troyanskaya (2015), doi:10.1038/nmeth.3547.
    """
    folder = Path(folder)
    columns = DEEPSEA_COLUMNS if columns is None else columns
    wanted = np.array(list(columns.values()))
    for split in SPLITS:
        if not (folder / f"{split}.mat").exists():
            raise InputError(
                f"{folder / f'{split}.mat'}: no such file; unpack deepsea_train_bundle.v0.9.tar.gz, published"
                " at http://deepsea.princeton.edu/help/, and name its folder"
            )
    blocks = {
        "train": _hdf5_blocks(folder / "train.mat", wanted),
        "valid": _matlab_blocks(folder / "valid.mat", "valid", wanted),
        "test": _matlab_blocks(folder / "test.mat", "test", wanted),
    }
    return _collect(blocks, list(columns), channels, _DEEPSEA_ORDER, folder, {"made_by": "deepsea"})


def read_authors(path: str | os.PathLike[str], *, channels: str | None = None) -> SequenceDataset:
    """The HDF5 files of the paper's program: X_train, Y_train, and so for valid and test.

    Args:
        path: X_* are one-hot (N, 4, L) or (N, 4, L, 1), channels A, C, G, T; Y_* are (N, classes). Twelve
            classes get the paper's names. channels: take this order without the check of `read_deepsea`.

    Returns:
        SequenceDataset. What else is in the file (model_train and so on) is left.

    Raises:
        InputError: keys or shapes are not these, or the channels contradict the order.

    Example:
        >>> from motifkit.data.onehot_files import read_authors
        >>> data = read_authors("synthetic_dataset.h5")  # doctest: +SKIP
    """
    h5py = require("h5py", "train")
    try:
        with h5py.File(path, "r") as file:
            missing = [key for s in SPLITS for key in (f"X_{s}", f"Y_{s}") if key not in file]
            if missing:
                raise InputError(f"{path}: has no {missing[0]}; it holds {', '.join(file) or 'nothing'}")
            classes = file["Y_train"].shape[-1]
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({error}); is it cut short?") from None
    names = list(DEEPSEA_COLUMNS) if classes == 12 else [f"class{i}" for i in range(classes)]
    blocks = {split: _author_blocks(path, split) for split in SPLITS}
    return _collect(blocks, names, channels, ALPHABET, path, {"made_by": "authors"})


Block = tuple[np.ndarray, np.ndarray]  # one-hot (sequences, 4, length), targets (sequences, classes)


def _hdf5_blocks(path: Path, wanted: np.ndarray) -> Iterator[Block]:
    """Sequences of train.mat with a wanted label, block by block."""
    h5py = require("h5py", "train")
    try:
        with h5py.File(path, "r") as file:
            for key in ("trainxdata", "traindata"):
                if key not in file:
                    raise InputError(f"{path}: has no {key}; is it DeepSEA's train.mat?")
            x, y = file["trainxdata"], file["traindata"]
            if x.ndim != 3 or x.shape[1] != 4 or y.ndim != 2 or y.shape[1] != x.shape[2]:
                raise InputError(
                    f"{path}: trainxdata {x.shape} and traindata {y.shape}, expected (length, 4, N) and"
                    " (labels, N)"
                )
            _check_columns(path, y.shape[0], wanted)
            order = np.argsort(wanted)  # HDF5 reads rows in rising order
            labels = np.empty((len(wanted), y.shape[1]), dtype=np.uint8)
            labels[order] = y[wanted[order], :]
            for start in range(0, x.shape[2], _BLOCK):
                part = labels[:, start : start + _BLOCK]
                keep = part.any(0)
                if keep.any():
                    block = x[:, :, start : start + _BLOCK][:, :, keep]
                    yield block.transpose(2, 1, 0), part[:, keep].T
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read as HDF5 (MATLAB v7.3) ({error}); is it cut short?"
        ) from None


def _matlab_blocks(path: Path, split: str, wanted: np.ndarray) -> Iterator[Block]:
    """Sequences of valid.mat or test.mat with a wanted label; one variable in memory at a time."""
    scipy_io = require("scipy.io", "train")
    loaded = {}
    for key in (f"{split}data", f"{split}xdata"):  # the labels say which sequences to keep
        try:
            content = scipy_io.loadmat(str(path), variable_names=[key])
        except (ValueError, OSError, NotImplementedError, EOFError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as MATLAB v5 ({error}); is it cut short?") from None
        if key not in content:
            raise InputError(f"{path}: has no {key}; is it DeepSEA's {split}.mat, and whole?")
        if key == f"{split}data":
            if content[key].ndim != 2:
                raise InputError(f"{path}: {key} {content[key].shape}, expected (N, labels)")
            _check_columns(path, content[key].shape[1], wanted)
            loaded["y"] = content[key][:, wanted]
            loaded["keep"] = np.flatnonzero(loaded["y"].any(1))
        else:
            x = content[key]
            if x.ndim != 3 or x.shape[:2] != (len(loaded["y"]), 4):
                raise InputError(f"{path}: {key} {x.shape}, expected ({len(loaded['y'])}, 4, length)")
            for rows in np.array_split(loaded["keep"], max(1, len(loaded["keep"]) // _BLOCK)):
                yield x[rows], loaded["y"][rows]


def _author_blocks(path: str | os.PathLike[str], split: str) -> Iterator[Block]:
    h5py = require("h5py", "train")
    with h5py.File(path, "r") as file:
        x, y = file[f"X_{split}"], file[f"Y_{split}"]
        one_hot = (x.ndim == 3 or (x.ndim == 4 and x.shape[3] == 1)) and x.shape[1] == 4
        if not one_hot or y.ndim != 2 or len(y) != len(x):
            raise InputError(
                f"{path}: X_{split} {x.shape} and Y_{split} {y.shape}, expected (N, 4, length) or (N, 4,"
                " length, 1), and (N, classes)"
            )
        for start in range(0, len(x), _BLOCK):
            block = x[start : start + _BLOCK]
            yield block.reshape(block.shape[:3]), y[start : start + _BLOCK]


def _check_columns(path: Path, labels: int, wanted: np.ndarray) -> None:
    if labels <= wanted.max():
        raise InputError(f"{path}: has {labels} labels, but column {wanted.max()} is wanted; DeepSEA has 919")


def _collect(blocks, names, channels, order, path, origin) -> SequenceDataset:
    """Codes, targets and splits of all blocks, channels put in the order A, C, G, T."""
    if channels is not None and sorted(channels) != sorted(ALPHABET):
        raise InputError(f"channels must be an order of A, C, G and T, not {channels!r}")
    to_code = np.array([ALPHABET.index(letter) for letter in channels or order], dtype=np.uint8)
    codes, targets, splits, count = [], [], {}, 0
    for split, parts in blocks.items():
        start = count
        for one_hot, labels in parts:
            codes.append(_codes(one_hot, to_code, path))
            targets.append(np.ascontiguousarray(labels).astype(np.uint8))
            if targets[-1].max(initial=0) > 1:
                raise InputError(f"{path}: {split} labels must be 0 or 1, found {targets[-1].max()}")
            count += len(codes[-1])
        splits[split] = torch.arange(start, count)
    if not count:
        raise InputError(f"{path}: no sequence has one of the labels {', '.join(names)}")
    lengths = {part.shape[1] for part in codes}
    if len(lengths) > 1:
        raise InputError(f"{path}: sequences of {min(lengths)} and of {max(lengths)} letters; expected one")
    every = np.concatenate(codes)
    if channels is None:
        _check_order(every, order, path)
    return SequenceDataset(
        torch.from_numpy(every), torch.from_numpy(np.concatenate(targets)), names, splits,
        origin=origin | {"files": Path(path).name, "channels": channels or order},
    )  # fmt: skip


def _codes(one_hot: np.ndarray, to_code: np.ndarray, path) -> np.ndarray:
    """(sequences, length) codes of one-hot columns; all zeros are N."""
    marked = one_hot != 0
    total = marked.sum(1)
    if total.max(initial=0) > 1 or one_hot.max(initial=0) > 1 or one_hot.min(initial=0) < 0:
        raise InputError(f"{path}: sequences are not one-hot: a column must hold a single 1, or zeros for N")
    return np.where(total == 0, np.uint8(N), to_code[marked.argmax(1)])


def _check_order(codes: np.ndarray, order: str, path) -> None:
    """Refuse channels that would make CG more frequent than GC, which no genome has."""
    sample = codes[:: max(1, len(codes) // 5000)]
    before, after = sample[:, :-1], sample[:, 1:]
    cg = int(((before == 1) & (after == 2)).sum())
    gc = int(((before == 2) & (after == 1)).sum())
    if cg > _CLEARLY * gc and cg - gc > _DEVIATIONS * (cg + gc) ** 0.5:
        other = order.translate(str.maketrans("CG", "GC"))
        raise InputError(
            f"{path}: with channels in the order {', '.join(order)}, CG would be {cg / max(gc, 1):.1f} times"
            f" as frequent as GC, which no genome has; the order is likely {', '.join(other)}: say --channels"
            f" {other}, or --channels {order} to have it as it is"
        )
