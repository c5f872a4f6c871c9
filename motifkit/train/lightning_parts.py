"""The parts of `fit` that subclass Lightning; imported only where it is installed."""

import time
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from motifkit.train import distributed
from motifkit.train.fit import History, stream_seed


class Classifier(pl.LightningModule):
    """Binary cross-entropy over all classes."""

    def __init__(self, model: nn.Module, lr: float, beta1: float, weight_decay: float, seed: int):
        super().__init__()
        self.model, self.lr, self.beta1 = model, lr, beta1
        self.weight_decay, self.seed = weight_decay, seed
        self.train_loss = self.train_count = self.valid_loss = self.valid_count = 0.0

    def training_step(self, batch: tuple[Tensor, Tensor, float], _: int) -> Tensor:
        codes, targets, share = batch
        loss = binary_cross_entropy_with_logits(self.model(codes), targets)
        self.train_loss = self.train_loss + loss.detach().double() * len(codes)
        self.train_count += len(codes)
        return loss * share

    def validation_step(self, batch: tuple[Tensor, Tensor, float], _: int) -> None:
        codes, targets, _ = batch
        if len(codes) == 0:  # another process's part is the whole batch
            return
        loss = binary_cross_entropy_with_logits(self.model(codes), targets)
        self.valid_loss = self.valid_loss + loss.double() * len(codes)
        self.valid_count += len(codes)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(stream_seed(self.seed, self.current_epoch, "dropout") + (self.global_rank << 40))
        self.train_loss = self.train_count = 0.0

    def on_validation_epoch_start(self) -> None:
        self.valid_loss = self.valid_count = 0.0

    def on_validation_epoch_end(self) -> None:
        if self.trainer.world_size > 1:
            sums = [self.train_loss, self.train_count, self.valid_loss, self.valid_count]
            sums = distributed.summed(torch.tensor([float(x) for x in sums], dtype=torch.float64))
            self.train_loss, self.train_count, self.valid_loss, self.valid_count = sums
        self.log("valid_loss", self.valid_loss / self.valid_count, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.Adam(
            [g for g in groups if g["params"]], lr=self.lr, betas=(self.beta1, 0.999), fused=True
        )


class Log(Callback):
    """Writes history.tsv at the end of each epoch."""

    def __init__(self, history: History, progress: bool):
        self.history, self.progress, self.started = history, progress, 0.0

    def on_train_epoch_start(self, trainer, module) -> None:
        self.started = time.perf_counter()

    def on_validation_end(self, trainer, module) -> None:
        if module.train_count:
            self.history.add(
                trainer.current_epoch + 1,
                float(module.train_loss / module.train_count),
                float(module.valid_loss / module.valid_count),
                time.perf_counter() - self.started,
            )


def checkpoint(folder: Path) -> ModelCheckpoint:
    """best.ckpt by validation loss, and last.ckpt to resume from, after every epoch."""
    return ModelCheckpoint(
        dirpath=folder, filename="best", monitor="valid_loss", mode="min", save_top_k=1,
        save_last=True, enable_version_counter=False, save_on_train_epoch_end=True,
    )  # fmt: skip


def early_stopping(patience: int) -> EarlyStopping:
    """Stop after `patience` epochs without a lower validation loss, or when the loss is not finite."""
    return EarlyStopping("valid_loss", patience=patience, mode="min", check_finite=True)
