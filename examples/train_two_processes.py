"""Train a CNN on DNA in two processes, each on its half of the batches.

torchrun --nproc-per-node 2 examples/train_two_processes.py [--plain]
"""

import time

import torch
import torch.distributed as dist
from data import Net, arguments, planted
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

import motifkit as mk


def main() -> None:
    """Train, and print the mean loss of the first and the last tenth of the steps, over both processes."""
    options = arguments(__doc__)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    sequences, classes = planted(options.steps * options.batch * dist.get_world_size())
    model = Net(classes)
    if not options.plain:
        model = mk.accelerate(model, verbose=dist.get_rank() == 0)  # the one line
    model = DistributedDataParallel(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    start = time.perf_counter()
    for x, y in DataLoader(sequences, options.batch, sampler=DistributedSampler(sequences)):
        loss = binary_cross_entropy_with_logits(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    seconds = time.perf_counter() - start
    mean = torch.stack(losses)
    dist.all_reduce(mean)
    mean /= dist.get_world_size()
    tenth = max(1, len(mean) // 10)
    if dist.get_rank() == 0:
        first, last = mean[:tenth].mean(), mean[-tenth:].mean()
        print(f"loss {first:.4f} to {last:.4f} in {len(mean)} steps, {1e3 * seconds / len(mean):.1f} ms each")
    dist.barrier()  # neither leaves while the other still talks to it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
