"""A grid of independent training runs in a folder: which there are, where each is kept, what it was asked.

DIR/grid.json            the settings all runs share
DIR/data.h5              the sequences, where they were simulated
DIR/runs/NET/INIT-TRIAL  a run: run.json, best.ckpt, history.tsv as `motifkit train` writes them, then
                         motifs-*.meme, matches-*.tsv and, last of all, result.json
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from motifkit import models
from motifkit.errors import InputError
from motifkit.files import writable_folder, written
from motifkit.models.paper import ARCHITECTURES

RESULT = "result.json"
ERROR = "error.log"
ATTEMPTS = "attempts.tsv"
_GRID = "grid.json"


@dataclass(frozen=True)
class Recipe:
    """What the paper's Methods and the program behind its numbers do differently.

    Attributes:
        gaps, minimum_gap: of `simulate`. lr, beta1: of Adam.
    """

    gaps: str
    minimum_gap: int
    lr: float
    beta1: float


RECIPES = {
    # The program names a rate of 0.0003, but a misspelled variable loses it: Adam runs at the default.
    "program": Recipe("scaled", 0, 1e-3, 0.95),
    "paper": Recipe("even", 1, 3e-4, 0.9),
}


@dataclass(frozen=True)
class Settings:
    """What all runs of a grid share.

    Attributes:
        data: absolute path of the data set. origin: how it was made, to tell another one apart.
        recipe: in RECIPES. epochs, batch_size, lr, beta1, weight_decay, patience: as `fit`.
        target, evalue: database and largest E-value of a match.
        seed: trial t of every net is trained with seed + t.
    """

    data: str
    origin: dict
    recipe: str = "paper"
    epochs: int = 100
    batch_size: int = 100
    lr: float = 3e-4
    beta1: float = 0.9
    weight_decay: float = 1e-6
    patience: int = 20
    target: str = "JASPAR2016"
    evalue: float = 0.1
    seed: int = 0

    def claim(self, folder: str | os.PathLike[str]) -> None:
        """Write grid.json, or refuse a folder whose runs were made with other settings."""
        path = writable_folder(folder) / _GRID
        if path.exists():
            earlier = Settings.load(folder)
            mine, theirs = asdict(self), asdict(earlier)
            # A moved data set is still the same one.
            differing = [key for key in mine if key != "data" and mine[key] != theirs[key]]
            if differing:
                key = differing[0]
                raise InputError(
                    f"{path}: its runs were made with {key} {theirs[key]}, not {mine[key]}; name another"
                    " folder with --out, or ask for the same"
                )
        with written(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Settings":
        """Read grid.json; InputError where the folder holds no grid."""
        path = Path(folder) / _GRID
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise InputError(f"{folder}: holds no grid of runs (no {_GRID})") from None
        except (TypeError, ValueError, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error}); remove it and run again") from None


@dataclass(frozen=True, order=True)
class Job:
    """One run of the grid: a net, the initial values it gets, and its trial, counted from 0."""

    model: str
    init: str
    trial: int

    @property
    def name(self) -> str:
        """Words for progress and logs."""
        return f"{self.model}, {self.init}, trial {self.trial}"

    def folder(self, out: str | os.PathLike[str]) -> Path:
        """Where in the grid's folder the run is kept."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", self.model).strip("-")
        return Path(out) / "runs" / slug / f"{self.init}-{self.trial}"

    def finished(self, out: str | os.PathLike[str]) -> bool:
        """Whether its result is there."""
        return (self.folder(out) / RESULT).exists()


def jobs(models_trials: dict[str, int], inits: Sequence[str]) -> list[Job]:
    """Every run asked for: all nets' first trial, then all second ones, so that a table fills evenly."""
    most = max(models_trials.values())
    return [
        Job(model, init, trial)
        for trial in range(most)
        for init in inits
        for model, trials in models_trials.items()
        if trial < trials
    ]


def parse_models(wanted: Sequence[str], trials: int, default: Sequence[str]) -> dict[str, int]:
    """Trials of each net, from words such as "CNN-25:5,CNN-1:1", "CNN-2" or "CNN-25 (60):3".

    Args:
        wanted: what was asked for; nothing means `default`. trials: of a net that names no number.

    Raises:
        InputError: an unknown net, one named twice, or a number of trials below 1.

    Example:
        >>> from motifkit.experiments.grid import parse_models
        >>> parse_models(["CNN-25:5,CNN-1:1", "CNN-2"], 3, [])
        {'CNN-25': 5, 'CNN-1': 1, 'CNN-2': 3}
    """
    words = [word.strip() for part in wanted for word in part.split(",") if word.strip()]
    out: dict[str, int] = {}
    for word in words or default:
        name, colon, number = word.partition(":")
        if name not in ARCHITECTURES:
            raise InputError(f"unknown model {name!r}; there are {', '.join(models.names())}")
        if name in out:
            raise InputError(f"model {name!r} is named twice")
        if colon and not number.isdigit():
            raise InputError(f"{word!r}: the trials of {name} must be a number, such as {name}:5")
        out[name] = int(number) if colon else trials
    for name, number in out.items():
        if number < 1:
            raise InputError(f"{name}: trials must be at least 1, got {number}")
    return out
