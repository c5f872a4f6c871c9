"""SequenceDataset: sequences as codes, their labels, splits, and, where known, what was embedded."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motifkit.errors import InputError, require
from motifkit.files import written

SPLITS = ("train", "valid", "test")
_FORMAT = "motifkit-dataset-1"
PLACEMENT = np.dtype(
    [("sequence", np.int64), ("motif", np.int16), ("position", np.int32), ("strand", np.int8)]
)


@dataclass
class SequenceDataset:
    """Sequences with labels, all in memory at one byte a letter.

    Attributes:
        codes: (sequences, length) uint8, 0..3 = A, C, G, T; 4 = N.
        targets: (sequences, classes) uint8, 0 or 1.
        class_names: one a column of targets.
        splits: "train", "valid" and "test", each the row numbers (int64) it holds.
        placements: for simulated data, a NumPy record a motif embedded: sequence (row), motif (index
            into class_names), position (first letter), strand (+1 or -1). None for real data.
        motif_widths: letters of each embedded motif, by index; empty for real data.
        origin: how the data were made.

    Example:
        >>> import motifkit as mk
        >>> data = mk.simulate(n=100)  # doctest: +SKIP
        >>> data.save("synthetic.h5")  # doctest: +SKIP
    """

    codes: Tensor
    targets: Tensor
    class_names: list[str]
    splits: dict[str, Tensor]
    placements: np.ndarray | None = None
    motif_widths: list[int] = field(default_factory=list)
    origin: dict[str, object] = field(default_factory=dict)

    def __post_init__(self):
        if self.codes.dtype != torch.uint8 or self.codes.dim() != 2:
            raise ValueError("codes must be uint8 of shape (sequences, length)")
        if tuple(self.targets.shape) != (len(self.codes), len(self.class_names)):
            raise ValueError(
                f"targets must have shape ({len(self.codes)}, {len(self.class_names)}), "
                f"got {tuple(self.targets.shape)}"
            )

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.codes)

    @property
    def length(self) -> int:
        """Letters a sequence."""
        return self.codes.shape[1]

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Codes and targets of one split."""
        if name not in self.splits:
            raise ValueError(f"no split {name!r}; there are {', '.join(self.splits)}")
        rows = self.splits[name]
        return self.codes[rows], self.targets[rows]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write HDF5; the file appears whole or not at all."""
        h5py = require("h5py", "train")
        with written(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["format"] = _FORMAT
            file.attrs["origin"] = json.dumps(self.origin)
            file.attrs["class_names"] = json.dumps(self.class_names)
            compression = {"compression": "gzip", "compression_opts": 1}
            file.create_dataset("codes", data=self.codes.numpy(), **compression)
            file.create_dataset("targets", data=self.targets.numpy(), **compression)
            for name, rows in self.splits.items():
                file.create_dataset(f"splits/{name}", data=rows.numpy())
            if self.placements is not None:
                file.create_dataset("placements", data=self.placements, **compression)
                file.attrs["motif_widths"] = json.dumps(self.motif_widths)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SequenceDataset":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, one that is cut short or not HDF5, or one of another kind.
        """
        h5py = require("h5py", "train")
        if not Path(path).exists():
            raise InputError(f"{path}: no such file; make one with 'motifkit simulate' or 'prepare'")
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != _FORMAT:
                    raise InputError(f"{path}: not a motifkit data set; make one with 'motifkit prepare'")
                placements = file["placements"][:] if "placements" in file else None
                dataset = cls(
                    torch.from_numpy(file["codes"][:]),
                    torch.from_numpy(file["targets"][:]),
                    json.loads(file.attrs["class_names"]),
                    {name: torch.from_numpy(file["splits"][name][:]) for name in file["splits"]},
                    placements,
                    json.loads(file.attrs.get("motif_widths", "[]")),
                    json.loads(file.attrs["origin"]),
                )
        except (OSError, KeyError) as error:
            raise InputError(
                f"{path}: cannot be read as HDF5 ({error}); is it cut short? Make it again"
            ) from None
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: {error}; make it again") from None
        for name, rows in dataset.splits.items():
            if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= len(dataset)):
                raise InputError(f"{path}: split {name!r} names rows that are not there; make it again")
        return dataset


def random_splits(
    count: int, fractions: tuple[float, float, float], generator: np.random.Generator
) -> dict[str, Tensor]:
    """Rows 0..count-1 shared at random between train, valid and test."""
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"fractions must be three numbers that sum to 1, got {fractions}")
    order = generator.permutation(count)
    ends = np.round(np.cumsum(fractions) * count).astype(int)
    parts = np.split(order, ends[:2])
    return {name: torch.from_numpy(np.sort(part)) for name, part in zip(SPLITS, parts, strict=True)}
