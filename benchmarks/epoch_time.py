"""Epoch time of the paper's nets beside plain PyTorch, on one thread.

python benchmarks/epoch_time.py [--steps 12] [--length 200] [--models CNN-1 CNN-25] [--json epoch.json]

A step is: take a batch of 100, forward, loss, backward, Adam. Ours takes codes and runs as `motifkit train`
does; the rival takes the same codes, makes them one-hot, and runs the same layers of torch.nn with
torch.optim.Adam. Both are checked to give the same logits and gradients first. They take turns, step by step,
so that whatever else the machine does falls on both; the median counts. An epoch is 175 steps, the paper's
17,500 training sequences. glibc is told to keep freed memory, for both; --plain-malloc leaves it, for both.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import motifkit as mk
from motifkit.train.memory import keep_freed_memory

STEPS_AN_EPOCH = 175
SEVENTEEN = [name for name in mk.models.names() if "(code)" not in name]


def pair(name, length):
    """Our network and the plain one with the same parameters, checked against each other."""
    torch.manual_seed(0)
    ours = mk.models.build(name, length)
    plain = mk.models.build(name, length)
    plain.load_state_dict(ours.state_dict())
    plain = plain.plain()
    codes = torch.randint(0, 4, (100, length), dtype=torch.uint8)
    targets = torch.randint(0, 2, (100, 12)).float()
    for net in (ours, plain):
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()  # compared without its draws
    a, b = ours(codes), plain(mk.one_hot(codes))
    for logits in (a, b):
        binary_cross_entropy_with_logits(logits, targets).backward()
    assert (a - b).norm() <= 1e-3 * b.norm()
    first, second = (next(p for p in net.parameters() if p.dim() == 3).grad for net in (ours, plain))
    assert (first - second).norm() <= 2e-2 * second.norm()  # a ReLU at its corner may fall either way
    return ours.train(), plain.train()


def stepper(net, prepare, optimiser, codes, targets):
    def step():
        rows = torch.randint(0, len(codes), (100,))
        start = time.perf_counter()
        optimiser.zero_grad()
        loss = binary_cross_entropy_with_logits(net(prepare(codes[rows])), targets[rows])
        loss.backward()
        optimiser.step()
        return time.perf_counter() - start

    return step


def measure(name, length, steps):
    """Seconds an epoch: ours, plain."""
    ours, plain = pair(name, length)
    codes = torch.randint(0, 4, (2000, length), dtype=torch.uint8)
    targets = torch.randint(0, 2, (2000, 12)).float()
    groups = [
        {"params": [p for p in ours.parameters() if p.dim() > 1], "weight_decay": 1e-6},
        {"params": [p for p in ours.parameters() if p.dim() <= 1]},
    ]
    fused = torch.optim.Adam(groups, lr=3e-4, fused=True)
    usual = torch.optim.Adam(plain.parameters(), lr=3e-4, weight_decay=1e-6)
    both = [
        stepper(ours, lambda x: x, fused, codes, targets),
        stepper(plain, mk.one_hot, usual, codes, targets),
    ]
    for step in both:
        step()
    times = [[step() for step in both] for _ in range(steps)]
    return [statistics.median(column) * STEPS_AN_EPOCH for column in zip(*times, strict=True)]


def main():
    """Measure, print the table, keep it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=SEVENTEEN)
    parser.add_argument("--plain-malloc", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.plain_malloc:
        keep_freed_memory()
    rows = {}
    print("| net | motifkit, s an epoch | plain PyTorch | ratio |\n| --- | ---: | ---: | ---: |")
    for name in arguments.models:
        ours, plain = measure(name, arguments.length, arguments.steps)
        rows[name] = {"motifkit": round(ours, 3), "plain": round(plain, 3), "ratio": round(plain / ours, 2)}
        print(f"| {name} | {ours:.2f} | {plain:.2f} | {plain / ours:.2f} |", flush=True)
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows.values()))
    print(f"| geometric mean | | | {mean:.2f} |")
    if arguments.json:
        kept = {"torch": torch.__version__, "length": arguments.length, "steps": arguments.steps,
                "instruction_set": mk.build_info()["instruction_set"], "geometric_mean": round(mean, 3),
                "seconds_an_epoch": rows}  # fmt: skip
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
