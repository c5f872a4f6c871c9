"""Every benchmark checks its answer first, runs on one thread, and says how much work a call is."""

import functools
import platform
import time

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit import _native


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="fewer rounds: the whole table in three minutes")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def measure(benchmark, request):
    """measure(calls, contender, positions=..., ...): the median of several rounds, and the work of a call.

    `calls` are the contenders', ours under "motifkit". A rival's rounds are broken every 20 ms by as many of
    ours, and `ratio` is that of the two medians: what slows the machine for a while slows both. The answers
    have been checked by then, so a slow call is warm; a fast one is called until it is. A call that takes
    long gets fewer rounds, and under --quick a single one if it takes a second.
    """
    quick = request.config.getoption("--quick")

    def run(calls, contender, **work):
        call, rival = calls[contender], contender != "motifkit"
        seconds = timed(call)
        if seconds < 1:
            seconds = timed(call)
        rounds = int(np.clip((0.4 if quick else 4.0) / seconds, 1 if quick and seconds > 1 else 3, 200))
        ours = Turns(calls["motifkit"], turn=0.02)
        benchmark.extra_info.update(work)
        benchmark.pedantic(
            call,
            setup=ours if rival else None,
            rounds=rounds,
            warmup_rounds=1 if seconds < 0.1 else 0,
        )
        if rival:
            benchmark.extra_info["ratio"] = benchmark.stats.stats.median / float(np.median(ours.seconds))

    return run


class Turns:
    """Times `call` for a turn, its first call uncounted, whenever others have had one."""

    def __init__(self, call, turn: float):
        self.call, self.turn, self.last = call, turn, -np.inf
        self.seconds: list[float] = []

    def __call__(self):
        if time.perf_counter() - self.last < self.turn:
            return
        self.call()
        until = time.perf_counter() + self.turn
        self.seconds.append(timed(self.call))
        while time.perf_counter() < until:
            self.seconds.append(timed(self.call))
        self.last = time.perf_counter()


def timed(call) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.fixture(scope="session")
def floor():
    """floor(filters, width): seconds a position, by this machine, of the look-ups alone.

    One vector load and one maximum or addition for each word of four letters and each vector of filters, over
    random letters and with tables of the same size: what is left of a scan when nothing else is done.
    """

    @functools.cache
    def seconds(filters: int, width: int) -> float:
        generator = torch.Generator().manual_seed(3)
        codes = torch.randint(0, 4, (1, 4096), generator=generator, dtype=torch.uint8)
        weight = torch.randn(filters, 4, width, generator=generator)
        score = torch.empty(filters)
        run = _native.module().scan_floor_float32
        arguments = codes.data_ptr(), weight.data_ptr(), score.data_ptr(), codes.shape[1], filters, width
        run(*arguments, 20)
        few, many = (min(timed(lambda r=r: run(*arguments, r)) for _ in range(5)) for r in (100, 600))
        windows = run(*arguments, 1)
        return (many - few) / 500 / windows / 2  # of both strands

    return seconds


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["motifkit"] = mk.build_info()
    machine_info["torch"] = torch.__version__
    try:
        with open("/proc/cpuinfo") as handle:
            names = {line.split(":")[1].strip() for line in handle if line.startswith("model name")}
        machine_info["processors"] = sorted(names)
    except OSError:
        machine_info["processors"] = [platform.processor()]
