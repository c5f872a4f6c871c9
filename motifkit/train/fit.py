"""fit: train on a SequenceDataset with Lightning.

The data stay in memory as codes: a batch is one row selection. The order of an epoch and its random draws
follow from (seed, epoch) alone, so a run that was killed and resumed ends on the same bits as one that was
not.
"""

import csv
import logging
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import InputError, require
from motifkit.files import writable_folder
from motifkit.train import distributed

HISTORY = "history.tsv"
_COLUMNS = ("epoch", "train_loss", "valid_loss", "seconds", "best")
_EVALUATION_BATCH = 500


@dataclass
class FitResult:
    """What training did.

    Attributes:
        model: the model given, with the parameters of the lowest validation loss.
        history: a dict an epoch: epoch (from 1), train_loss, valid_loss, seconds, best (whether the
            validation loss was the lowest so far).
        best_epoch, best_loss: of the parameters kept.
        seconds: of training in this call. out: the folder of the run, or None.
    """

    model: nn.Module
    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float
    seconds: float
    out: Path | None


def fit(
    model: nn.Module,
    dataset: SequenceDataset,
    *,
    epochs: int = 100,
    batch_size: int = 100,
    lr: float = 3e-4,
    beta1: float = 0.9,
    weight_decay: float = 1e-6,
    patience: int = 20,
    seed: int = 0,
    device: torch.device | str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> FitResult:
    """Train by Adam on binary cross-entropy; keep the parameters of the lowest validation loss.

    Under torchrun each process trains on its part of every batch, with batch norm's statistics over the whole
    batch (Lightning's DDP): the same training as in one process but for rounding and the draws of dropout.

    Args:
        model: codes (batch, length) uint8 to logits (batch, classes). Trained in place.
        dataset: its "train" split is learned, its "valid" split decides when to stop.
        epochs: at most. batch_size: sequences a step. lr, beta1: of Adam.
        weight_decay: L2 on weights of two or more dimensions; batch norm and biases are left alone.
        patience: epochs without a lower validation loss before training stops.
        seed: of the order of the data and of dropout. A run repeats bit for bit on the CPU. The
            model's own initial values are drawn before, by whoever builds it.
        device: "cpu", "cuda" or "cuda:1"; by default a GPU where there is one.
        out: folder for best.ckpt, last.ckpt and history.tsv.
        resume: continue from last.ckpt in `out`, where there is one.
        progress: show Lightning's progress bar.

    Returns:
        FitResult.

    Raises:
        InputError: no sequences to train or validate on, `out` cannot be written, or a checkpoint
            of another architecture.

    Example:
        >>> import motifkit as mk
        >>> data = mk.simulate(n=1000)  # doctest: +SKIP
        >>> result = mk.fit(mk.models.build("CNN-25"), data, epochs=5)  # doctest: +SKIP
    """
    with _quiet():
        lightning = require("lightning.pytorch", "train")
        from motifkit.train import lightning_parts as parts
    for name in ("train", "valid"):
        if len(dataset.splits.get(name, ())) == 0:
            raise InputError(f"the data set has no {name} sequences; give it a larger fraction")
    if epochs < 1 or batch_size < 1:
        raise InputError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    _check_output(model, dataset)
    folder = None if out is None else writable_folder(out)
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        last = place / "last.ckpt"
        resuming = resume and last.exists()
        leads = distributed.rank() == 0
        if not resuming:
            for stale in ("best.ckpt", "last.ckpt", HISTORY) if leads else ():
                (place / stale).unlink(missing_ok=True)
        log = History(place / HISTORY if leads else None)
        accelerator, devices = _accelerator(device)
        processes = distributed.world()
        if processes > 1:
            devices = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
            distributed.synchronise(model)
        checkpoint = parts.checkpoint(place)
        callbacks = [parts.Log(log, progress), checkpoint, parts.early_stopping(patience)]
        with _quiet():
            trainer = lightning.Trainer(
                max_epochs=epochs, accelerator=accelerator, devices=devices, logger=False,
                callbacks=callbacks, enable_progress_bar=progress, enable_model_summary=False,
                num_sanity_val_steps=0, log_every_n_steps=1 << 30, use_distributed_sampler=False,
                **({"strategy": "ddp", "num_nodes": processes // devices} if processes > 1 else {}),
            )  # fmt: skip
            module = parts.Classifier(model, lr, beta1, weight_decay, seed)
            codes, targets = dataset.split("train")
            train = Batches(codes, targets, batch_size, seed, lambda: trainer.current_epoch)
            valid = Batches(*dataset.split("valid"), max(batch_size, _EVALUATION_BATCH))
            start = time.perf_counter()
            try:
                trainer.fit(module, train, valid, ckpt_path=last if resuming else None, weights_only=False)
            except RuntimeError as error:
                if resuming and "state_dict" in str(error):
                    raise InputError(
                        f"{last}: a checkpoint of another architecture; name the model it was trained"
                        " with, or another folder"
                    ) from None
                raise
            seconds = time.perf_counter() - start
        if trainer.interrupted:
            raise KeyboardInterrupt
        best = Path(checkpoint.best_model_path or place / "best.ckpt")
        if processes > 1:
            best = Path(trainer.strategy.broadcast(str(best)))
            distributed.unsynchronise(model)
        load_weights(model, best)
        trainer.strategy.barrier()  # nobody's folder goes while another reads it
        kept = min(log.rows, key=lambda row: row["valid_loss"])
        return FitResult(model, log.rows, int(kept["epoch"]), kept["valid_loss"], seconds, folder)


class Batches:
    """Batches of codes, targets and a weight, in an order that (seed, epoch) fixes; in file order without
    a seed. Of several processes each gets its part of every batch; the weight makes the average of their mean
    losses the mean over the batch."""

    def __init__(
        self,
        codes: Tensor,
        targets: Tensor,
        size: int,
        seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
    ):
        self.codes, self.targets, self.size = codes, targets.float(), size
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return math.ceil(len(self.codes) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, float]]:
        processes, mine = distributed.world(), distributed.rank()
        order = torch.arange(len(self.codes))
        if self.seed is not None:
            generator = torch.Generator().manual_seed(stream_seed(self.seed, self.epoch(), "order"))
            order = torch.randperm(len(self.codes), generator=generator)
        for rows in order.split(self.size):
            # Batch norm has no statistics of one sequence, and nobody may be left without one.
            if len(rows) < max(processes, 2) and self.seed is not None:
                continue
            own = rows.tensor_split(processes)[mine]
            yield self.codes[own], self.targets[own], len(own) * processes / len(rows)


def _check_output(model: nn.Module, dataset: SequenceDataset) -> None:
    """Refuse a model that does not give one logit a class, before any training."""
    weight = next(model.parameters(), None)
    codes = dataset.codes[:2] if weight is None else dataset.codes[:2].to(weight.device)
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            out = model.eval()(codes)
    finally:
        for module, training in modes.items():
            module.training = training
    wanted = (len(codes), len(dataset.class_names))
    if not isinstance(out, torch.Tensor) or out.shape != wanted:
        found = f"shape {tuple(out.shape)}" if isinstance(out, torch.Tensor) else f"a {type(out).__name__}"
        raise InputError(
            f"training needs one logit a class, {wanted} for {wanted[0]} sequences; this model gives {found}."
            " Train it with a loss of its own; its motifs can be read out all the same"
        )


def stream_seed(seed: int, epoch: int, stream: str) -> int:
    """A seed for one named stream of random draws in one epoch."""
    number = {"order": 1, "dropout": 2}[stream]
    return (seed * 1_000_003 + epoch) * 8 + number


class History:
    """One line an epoch, in a tab-separated file and in `rows`."""

    def __init__(self, path: Path | None):
        self.path = path  # None where another process writes it
        self.rows: list[dict[str, float]] = read_history(path) if path and path.exists() else []

    def add(self, epoch: int, train_loss: float, valid_loss: float, seconds: float) -> None:
        """Append an epoch (from 1) and write the file again."""
        self.rows = [row for row in self.rows if row["epoch"] < epoch]  # a resumed epoch is redone
        lowest = min((row["valid_loss"] for row in self.rows), default=math.inf)
        self.rows.append(
            {
                "epoch": epoch, "train_loss": train_loss, "valid_loss": valid_loss,
                "seconds": seconds, "best": float(valid_loss < lowest),
            }
        )  # fmt: skip
        if self.path is None:
            return
        with self.path.open("w", newline="") as handle:
            writer = csv.writer(handle, delimiter="\t")
            writer.writerow(_COLUMNS)
            for row in self.rows:
                writer.writerow(
                    [int(row["epoch"]), f"{row['train_loss']:.6f}", f"{row['valid_loss']:.6f}",
                     f"{row['seconds']:.2f}", int(row["best"])]
                )  # fmt: skip


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.tsv."""
    with path.open(newline="") as handle:
        return [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(handle, delimiter="\t")
        ]


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a run's checkpoint into a model; InputError where they do not belong together."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
        state = checkpoint["state_dict"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; train the model first") from None
    except Exception as error:
        raise InputError(f"{path}: not a checkpoint of motifkit ({error})") from None
    prefix = "model."
    state = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise InputError(
            f"{path}: a checkpoint of another architecture; name the model it was trained with"
        ) from None


def _accelerator(device: torch.device | str | None) -> tuple[str, Any]:
    if device is None:
        return ("gpu", 1) if torch.cuda.is_available() else ("cpu", 1)
    wanted = torch.device(device)
    if wanted.type == "cpu":
        return "cpu", 1
    if not torch.cuda.is_available():
        raise InputError(f"device {device!r}: PyTorch sees no GPU here; use --device cpu")
    return "gpu", [wanted.index or 0]


@contextmanager
def _quiet():
    """Lightning's advice about workers, loggers and folders does not apply here."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
