"""Every benchmark checks its answer first, runs on one thread, and says how much work a call is."""

import platform

import numpy as np
import pytest
import torch

import motifkit as mk


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
    """measure(call, positions=..., operations=..., bytes=...): the median of several rounds.

    A call that takes long gets fewer rounds; --quick takes a third of them.
    """
    quick = request.config.getoption("--quick")

    def run(call, **work):
        import time

        call()  # warm: allocator, tables, compiled code
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        rounds = int(np.clip((1.0 if quick else 4.0) / seconds, 3, 200))
        benchmark.extra_info.update(work)
        benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)

    return run


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["motifkit"] = mk.build_info()
    machine_info["torch"] = torch.__version__
    try:
        with open("/proc/cpuinfo") as handle:
            names = {line.split(":")[1].strip() for line in handle if line.startswith("model name")}
        machine_info["processors"] = sorted(names)
    except OSError:
        machine_info["processors"] = [platform.processor()]
