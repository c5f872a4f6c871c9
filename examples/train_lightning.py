"""Train a CNN on DNA with Lightning.

python examples/train_lightning.py [--plain]
"""

import time

import lightning.pytorch as pl
import torch
from data import Net, arguments, planted
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

import motifkit as mk


class Classifier(pl.LightningModule):
    """A network and its loss."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        x, y = batch
        loss = binary_cross_entropy_with_logits(self.network(x), y)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main() -> None:
    """Train, and print the mean loss of the first and the last tenth of the steps."""
    options = arguments(__doc__)
    pl.seed_everything(0, verbose=False)
    sequences, classes = planted(options.steps * options.batch)
    model = Classifier(Net(classes))
    if not options.plain:
        model = mk.accelerate(model)  # the one line
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(model, DataLoader(sequences, options.batch, shuffle=True))
    seconds = time.perf_counter() - start
    losses, tenth = model.losses, max(1, len(model.losses) // 10)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    print(f"loss {first:.4f} to {last:.4f} in {len(losses)} steps, {1e3 * seconds / len(losses):.1f} ms each")


if __name__ == "__main__":
    main()
