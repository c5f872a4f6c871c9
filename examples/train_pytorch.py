"""Train a CNN on DNA with a plain PyTorch loop.

python examples/train_pytorch.py [--plain]
"""

import time

import torch
from data import Net, arguments, planted
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

import motifkit as mk


def main() -> None:
    """Train, and print the mean loss of the first and the last tenth of the steps."""
    options = arguments(__doc__)
    torch.manual_seed(0)
    sequences, classes = planted(options.steps * options.batch)
    model = Net(classes)
    if not options.plain:
        model = mk.accelerate(model)  # the one line
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    start = time.perf_counter()
    for x, y in DataLoader(sequences, options.batch, shuffle=True):
        loss = binary_cross_entropy_with_logits(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    seconds = time.perf_counter() - start
    tenth = max(1, len(losses) // 10)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    print(f"loss {first:.4f} to {last:.4f} in {len(losses)} steps, {1e3 * seconds / len(losses):.1f} ms each")


if __name__ == "__main__":
    main()
