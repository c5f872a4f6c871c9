"""Published networks before and after motifkit.accelerate: time and memory of a training step.

taskset -c 0 python benchmarks/models.py [--seconds 5] [NAME ...]

One process and one thread; the answers are checked first; the contenders take turns and medians of
processor time are quoted. Memory is how far the process grew during a step, parameters and inputs aside.
Writes benchmarks/results/models.json, the table of docs/models/README.md and the figures of each page there.
"""

import argparse
import copy
import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import motifkit as mk

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "models"
RESULTS = ROOT / "benchmarks" / "results" / "models.json"

# name: batch, letters (the paper's, but for Basenji2: 131,072 take minutes a step on one core), and how
# many of the first layers are the first block
CASES = {
    "DeepBind": (64, 101, 3),
    "DeepSEA": (16, 1000, 3),
    "Basset": (16, 600, 4),
    "DanQ": (16, 1000, 0),
    "Basenji2": (1, 8192, 3),
    "scBasset": (8, 1344, 4),
    "BPNet": (8, 1000, 0),
    "ChromBPNet": (1, 2114, 0),
    "ExplaiNN": (100, 200, 4),
    "CNN-local-exp": (100, 200, 3),
    "CNN-dist-exp": (100, 200, 3),
}


def first_block(model: nn.Module, layers: int) -> nn.Sequential:
    """The first layers as a module of their own."""
    if layers:
        return nn.Sequential(*copy.deepcopy(list(model.children())[:layers]))
    if hasattr(model, "stem"):
        return nn.Sequential(*copy.deepcopy([model.stem, model.relu]))
    return nn.Sequential(*copy.deepcopy([model.conv, nn.ReLU(), model.pool]))


def step_of(model: nn.Module, x: Tensor) -> Callable[[], list[Tensor]]:
    """Forward, a loss, backward; the outputs and the gradients of the first convolution."""
    parameters = list(model.parameters())

    def step() -> list[Tensor]:
        outputs = model(x)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(out.square().mean() for out in outputs).backward()
        result = [*(out.detach() for out in outputs), parameters[0].grad]
        for parameter in parameters:
            parameter.grad = None
        return result

    return step


def check(contenders: dict[str, Callable[[], list[Tensor]]]) -> None:
    """Equal but for rounding, as a whole: a value next to zero may pass ReLU in one and not in the other."""
    expected = contenders["eager"]()
    for name, step in contenders.items():
        for ours, theirs in zip(step(), expected, strict=True):
            difference = (ours - theirs).norm() / theirs.norm()
            assert difference < 1e-3, f"{name}: off by {difference:.1e}"


def medians(contenders: dict[str, Callable], seconds: float) -> dict[str, float]:
    """Median milliseconds of each, taking turns for about that long, at least three times.

    Processor time of the one thread: on a machine that others use, the wall's clock counts their work too.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.process_time() + seconds
    while time.process_time() < end or len(times["eager"]) < 3:
        for name, step in contenders.items():
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
    return {name: round(statistics.median(each) * 1e3, 3) for name, each in times.items()}


def peak_megabytes(step: Callable) -> float:
    """How far the process grew during a step, by the kernel's account (Linux; NaN elsewhere)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier steps freed
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except (OSError, AttributeError):
        return float("nan")
    before = _status("VmRSS")
    step()
    return round((_status("VmHWM") - before) / 1e3, 1)


def _status(field: str) -> int:
    """Kilobytes that /proc/self/status states."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(model: nn.Module, codes: Tensor, seconds: float) -> dict:
    """One module before and after, on one-hot and on codes."""
    fast = mk.accelerate(model, verbose=False)
    x = mk.one_hot(codes)
    contenders = {"eager": step_of(model, x), "one-hot": step_of(fast, x), "codes": step_of(fast, codes)}
    dropouts = [m for net in (model, fast) for m in net.modules() if isinstance(m, nn.Dropout)]
    rates = [m.p for m in dropouts]
    for module in dropouts:
        module.p = 0.0
    check(contenders)
    for module, rate in zip(dropouts, rates, strict=True):
        module.p = rate
    times = medians(contenders, seconds)
    memory = {name: peak_megabytes(step) for name, step in contenders.items()}
    return {"milliseconds": times, "megabytes": memory}


def run(name: str, seconds: float) -> dict:
    """The whole network and its first block."""
    batch, length, layers = CASES[name]
    torch.manual_seed(0)
    classes = 100 if name in ("scBasset", "Basenji2") else None
    model = mk.models.build(name, length, classes, plain=True)
    codes = torch.randint(0, 4, (batch, length), dtype=torch.uint8)
    return {
        "batch": batch,
        "length": length,
        "block": measure(first_block(model, layers), codes, seconds),
        "network": measure(model, codes, seconds),
    }


def row(name: str, result: dict) -> str:
    """A line of the table: eager, accelerated, ratio, for time and memory."""
    cells = []
    for part in ("block", "network"):
        times, memory = result[part]["milliseconds"], result[part]["megabytes"]
        for values in (times, memory):
            cells.append(f"{values['eager']:.4g} | {values['codes']:.4g}")
        cells.append(f"{times['eager'] / times['codes']:.1f} ({times['eager'] / times['one-hot']:.1f})")
    return f"| [{name}]({name.lower()}.md) | {result['batch']} x {result['length']} | {' | '.join(cells)} |"


_PART = "{}, ms | accelerated | {}, MB | accelerated | times faster from codes (one-hot) |"
HEADER = (
    f"| network | batch x letters | {_PART.format('block', 'block')} {_PART.format('step', 'step')}\n"
    f"| --- | --- |{' ---: |' * 10}"
)


def sentence(result: dict) -> str:
    """The figures as a page states them."""
    lines = [
        f"Batch {result['batch']}, {result['length']} letters, forward and backward:\n",
        "| | before | after, from codes | after, from one-hot |",
        "| --- | ---: | ---: | ---: |",
    ]
    for part, what in (("block", "first block"), ("network", "whole network")):
        times, memory = result[part]["milliseconds"], result[part]["megabytes"]
        cells = [
            f"{times[name]:.3g} ms ({times['eager'] / times[name]:.1f}x)" if name != "eager" else
            f"{times[name]:.3g} ms"
            for name in ("eager", "codes", "one-hot")
        ]  # fmt: skip
        lines.append(f"| {what}, time | {' | '.join(cells)} |")
        cells = [f"{memory[name]:.3g} MB" for name in ("eager", "codes", "one-hot")]
        lines.append(f"| {what}, memory | {' | '.join(cells)} |")
    return "\n".join(lines)


def between_marks(path: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    page = path.read_text()
    begin, end = "<!-- measured -->\n", "<!-- end -->"
    before, rest = page.split(begin)
    path.write_text(f"{before}{begin}{text}\n{end}{rest.split(end)[1]}")


def main() -> None:
    """Measure, and write the results where they are shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks; by default all of them")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each of the two parts of a network")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"networks": {}}
    stored["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "motifkit": mk.build_info(),
    }
    for name in arguments.names or CASES:
        stored["networks"][name] = run(name, arguments.seconds)
        print(row(name, stored["networks"][name]), flush=True)
    stored["networks"] = {name: stored["networks"][name] for name in CASES if name in stored["networks"]}
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n")
    rows = [row(name, result) for name, result in stored["networks"].items()]
    between_marks(PAGES / "README.md", "\n".join([HEADER, *rows]))
    for name, result in stored["networks"].items():
        between_marks(PAGES / f"{name.lower()}.md", sentence(result))


if __name__ == "__main__":
    main()
