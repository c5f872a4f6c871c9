"""What the examples share: sequences with planted motifs, a model, and the arguments. Plain PyTorch."""

import argparse

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

MOTIFS = ("TGACTCA", "CCATATTAGG", "GGGGCGGGG")
LENGTH = 200


class Net(nn.Module):
    """Three convolutions and a dense layer, as people write them."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv1d(4, 64, 19, padding="same"), nn.BatchNorm1d(64)
        self.conv2, self.norm2 = nn.Conv1d(64, 64, 5, padding="same"), nn.BatchNorm1d(64)
        self.pool1, self.pool2 = nn.MaxPool1d(10), nn.MaxPool1d(5)
        self.output = nn.Linear(64 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 4, 200) to logits (batch, classes)."""
        x = self.pool1(torch.relu(self.norm1(self.conv1(x))))
        x = self.pool2(torch.relu(self.norm2(self.conv2(x))))
        return self.output(x.flatten(1))


def arguments(description: str | None) -> argparse.Namespace:
    """--steps, --batch and --plain."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100, help="batches to train on (%(default)s)")
    parser.add_argument("--batch", type=int, default=100, help="sequences a batch (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="leave motifkit's line out")
    return parser.parse_args()


def planted(count: int) -> tuple[TensorDataset, int]:
    """Random one-hot sequences (count, 4, 200) in which each motif stands in every second one, at random; the
    classes (count, 3) say which; and the number of classes."""
    letters = torch.randint(0, 4, (count, LENGTH))
    classes = torch.rand(count, len(MOTIFS)) < 0.5
    for column, motif in enumerate(MOTIFS):
        word = torch.tensor(["ACGT".index(letter) for letter in motif])
        for row in classes[:, column].nonzero().flatten().tolist():
            start = int(torch.randint(60, (1,))) + 65 * column  # motifs do not meet
            letters[row, start : start + len(word)] = word
    x = nn.functional.one_hot(letters, 4).transpose(1, 2).float().contiguous()
    return TensorDataset(x, classes.float()), len(MOTIFS)
