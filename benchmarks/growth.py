"""How the block's cost and memory grow with each of its sizes, over a factor of 32.

    python benchmarks/growth.py [docs/growth.svg]

Each size in turn runs from a thirty-second of its largest value, the others fixed: forward and backward with
batch statistics, one thread, the least of several rounds. Prints the table of docs; draws the plot if a path
is given. Memory is what a call keeps for backward and returns, counted from its tensors.
"""

import sys
import time

import torch

import motifkit as mk

BASE = {"batch": 64, "length": 1024, "filters": 64, "width": 16, "pool": 16}
RANGES = {
    "batch": [16, 32, 64, 128, 256, 512],
    "length": [256, 512, 1024, 2048, 4096, 8192],
    "filters": [16, 32, 64, 128, 256, 512],
    "width": [4, 8, 16, 32, 64, 128],
    "pool": [2, 4, 8, 16, 32, 64],
}


def measure(batch, length, filters, width, pool, rounds=7):
    """(milliseconds, bytes kept and returned)."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 4, (batch, length), generator=generator, dtype=torch.uint8)
    weight = torch.randn(filters, 4, width, generator=generator, requires_grad=True)
    gain = torch.ones(filters, requires_grad=True)

    def call():
        out = mk.ops.conv_pool(codes, weight, norm_weight=gain, training=True, pool_size=pool)
        kept = out.grad_fn.kept
        torch.autograd.grad(out, [weight, gain], upstream)
        return out.numel() * out.element_size() + kept.numel() * kept.element_size()

    upstream = torch.ones(batch, filters, length // pool)
    size = call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3, size


def main() -> None:
    """Measure, print, draw."""
    torch.set_num_threads(1)
    found = {}
    for name, values in RANGES.items():
        rows = [(value, *measure(**(BASE | {name: value}))) for value in values]
        found[name] = rows
        print(f"\n| {name} | ms | times the row above | kept and returned, MB |")
        print("| ---: | ---: | ---: | ---: |")
        for i, (value, ms, size) in enumerate(rows):
            growth = f"{ms / rows[i - 1][1]:.2f}" if i else ""
            print(f"| {value} | {ms:.2f} | {growth} | {size / 1e6:.2f} |", flush=True)
    if len(sys.argv) > 1:
        draw(found, sys.argv[1])


def draw(found, path) -> None:
    """One small panel a size, both axes logarithmic, a grey line where cost is proportional."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(12, 2.8), sharey=True, layout="constrained")
    for axis, (name, rows) in zip(axes, found.items(), strict=True):
        sizes, times = [r[0] for r in rows], [r[1] for r in rows]
        ends = [sizes[0], sizes[-1]]
        if name != "pool":
            axis.plot(ends, [times[-1] * e / sizes[-1] for e in ends], color="0.75", label="proportional")
        axis.plot(sizes, times, "o-", color="#0a6ebd", markersize=4, label="measured")
        axis.set(xscale="log", yscale="log", xlabel=name, xticks=sizes)
        axis.set_xticklabels([str(s) for s in sizes], fontsize=7, rotation=45)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("ms, forward + backward")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main()
