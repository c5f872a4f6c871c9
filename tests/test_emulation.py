"""The emulation of CUDA (tests/emulation/checks.cu): that it computes what a device would, and finds what a
device would let pass."""

import os
import subprocess

import pytest

from emulated import program

SCHEDULES = ("forward", "reversed", "1", "2", "3")
SANITIZED = ("-fsanitize=address", "-g", "-O0")


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    return program("checks.cu", tmp_path_factory.mktemp("checks"))


@pytest.fixture(scope="module")
def sanitized_checks(tmp_path_factory):
    return program("checks.cu", tmp_path_factory.mktemp("sanitized"), *SANITIZED)


def run(built, name, schedule="forward", **settings):
    """What one check says, a sanitizer's report included."""
    done = subprocess.run(
        [built, name],
        env=os.environ | {"EMULATED_SCHEDULE": schedule, "ASAN_OPTIONS": "detect_leaks=0"} | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("name", ["reduction", "lanes", "counting", "arguments", "refusals", "recovery"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_correct_kernels_are_the_same_in_every_order(checks, name, schedule):
    assert run(checks, name, schedule) == "right"


def test_bits_arithmetic_and_conversions(checks):
    assert run(checks, "arithmetic") == "right"


def test_a_missing_barrier_shows(checks):
    assert run(checks, "forgotten") == "wrong"  # the first warp looks before the others have written


def test_a_missing_barrier_before_reuse_shows(checks):
    assert "wrong" in {run(checks, "overwriting", schedule) for schedule in SCHEDULES}


def test_a_barrier_that_some_threads_miss_is_an_error(checks):
    said = run(checks, "missed_barrier")
    assert said.startswith(
        "missing, block (0, 0, 0) is stuck: 24 have ended; 40 wait at __syncthreads (checks.cu:"
    )


def test_two_barriers_are_not_one(checks):
    assert run(checks, "two_barriers").count("32 wait at __syncthreads (checks.cu:") == 2


def test_an_ended_lane_in_a_mask_is_an_error(checks):
    said = run(checks, "ended_lane")
    assert "28 wait at __ballot_sync (checks.cu:" in said
    assert "mask 0xffffffff" in said


def test_a_lane_outside_its_mask_is_an_error(checks):
    said = run(checks, "lane_outside_mask")
    assert "__syncwarp (checks.cu:" in said
    assert said.endswith("lane 16 calls, but is not in the mask 0x0000ffff")


def test_two_bytes_past_the_dynamic_shared_memory_are_an_error(checks):
    said = run(checks, "dynamic_overrun")
    assert said == "write_dynamic, block (0, 0, 0) wrote past its dynamic shared memory"


@pytest.mark.parametrize("memory", ["dynamic", "static"])
def test_the_address_sanitizer_sees_shared_memory(sanitized_checks, memory):
    said = run(sanitized_checks, f"{memory}_overrun")
    assert "AddressSanitizer" in said
    assert "buffer-overflow" in said
    assert "checks.cu" in said


@pytest.mark.parametrize("name", ["reduction", "lanes", "counting", "arguments", "recovery"])
def test_fibers_and_sanitizers_get_along(sanitized_checks, name):
    assert run(sanitized_checks, name, schedule="7") == "right"


def test_shared_memory_starts_with_garbage(checks):
    assert run(checks, "garbage") == "right"


@pytest.mark.parametrize(
    ("kilobytes", "asked", "fits"),
    [(48, 49152, True), (99, 101376, True), (99, 101380, False), (227, 232448, True), (227, 232449, False)],
)
def test_shared_memory_has_the_limit_that_is_set(checks, kilobytes, asked, fits):
    said = run(checks, "limit", EMULATED_SHARED_KB=str(kilobytes), CHECK_BYTES=str(asked))
    assert said == f"{kilobytes * 1024} " + ("right" if fits else "CUDA: nothing: invalid argument")
