"""A run on disk: what was trained, on what, and how to get the model back."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from motifkit import models
from motifkit.data.dataset import SequenceDataset
from motifkit.errors import InputError
from motifkit.files import written
from motifkit.train.fit import HISTORY, load_weights, read_history

_FILE = "run.json"


@dataclass
class Run:
    """The description kept in a run's folder as run.json."""

    model: str
    init: str
    length: int
    class_names: list[str]
    data: str
    seed: int
    epochs: int
    batch_size: int
    lr: float
    beta1: float = 0.9

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write run.json."""
        with written(Path(folder) / _FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Run":
        """Read run.json; InputError where the folder holds no run."""
        path = Path(folder) / _FILE
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise InputError(f"{folder}: holds no run (no {_FILE}); make one with 'motifkit train'") from None
        except (TypeError, ValueError, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error}); train again") from None

    def build(self) -> nn.Module:
        """The model with fresh parameters, drawn from the run's seed."""
        torch.manual_seed(self.seed)
        return models.build(self.model, self.length, len(self.class_names), init=self.init)


def load_model(folder: str | os.PathLike[str]) -> tuple[Run, nn.Module]:
    """A run's description and its model with the best parameters."""
    run = Run.load(folder)
    model = run.build()
    load_weights(model, Path(folder) / "best.ckpt")
    return run, model.eval()


def load_history(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """The rows of a run's history, or none."""
    path = Path(folder) / HISTORY
    return read_history(path) if path.exists() else []


def check_dataset(run: Run, dataset: SequenceDataset, path: str | os.PathLike[str]) -> None:
    """Refuse data of another shape than the run was trained on."""
    if dataset.length != run.length:
        raise InputError(
            f"{path}: sequences of {dataset.length} letters, but the model was trained on {run.length}"
        )
    if list(dataset.class_names) != list(run.class_names):
        raise InputError(
            f"{path}: classes {', '.join(dataset.class_names)}, but the model was trained on "
            f"{', '.join(run.class_names)}"
        )
