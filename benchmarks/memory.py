"""Peak memory of the first block, forward and backward: ours from codes, PyTorch's from a one-hot tensor.

    python benchmarks/memory.py

Each side runs in a process of its own, which reports how far its peak resident memory rose above what it held
before the call. Linux only (getrusage).
"""

import resource
import subprocess
import sys

SHAPES = [(100, 1000, 30, 19, 25), (100, 1000, 120, 19, 25), (512, 1000, 300, 19, 25)]


def child(which: str, shape: tuple[int, ...]) -> None:
    """Print the rise in MB."""
    import torch

    import motifkit as mk
    from motifkit.ops import reference

    torch.set_num_threads(1)
    batch, length, filters, width, pool = shape
    codes = torch.randint(0, 4, (batch, length), dtype=torch.uint8)
    weight = torch.randn(filters, 4, width, requires_grad=True)
    gain = torch.ones(filters, requires_grad=True)
    x, op = (codes, mk.ops.conv_pool) if which == "motifkit" else (mk.one_hot(codes), reference.conv_pool)

    def run(x):
        out = op(x, weight, norm_weight=gain, training=True, pool_size=pool)
        torch.autograd.grad(out, [weight, gain], torch.ones_like(out))

    run(x[:2])  # libraries load, buffers of fixed size come into being
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(x)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    """Print the table."""
    print("| (batch, length, filters, width, pool) | motifkit, MB | eager, MB | one in |")
    print("| --- | ---: | ---: | ---: |")
    for shape in SHAPES:
        rise = {}
        for which in ("motifkit", "eager"):
            command = [sys.executable, __file__, which, *map(str, shape)]
            rise[which] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ours, theirs = rise["motifkit"], rise["eager"]
        print(f"| {shape} | {ours:.1f} | {theirs:.0f} | {theirs / max(ours, 0.1):.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1], tuple(map(int, sys.argv[2:])))
    else:
        main()
