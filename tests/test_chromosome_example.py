"""A chromosome scanned from NumPy or CuPy memory: examples/scan_chromosome.py."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import motifkit as mk

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("scan_chromosome", EXAMPLES / "scan_chromosome.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("arrays", ["numpy", pytest.param("cupy", marks=pytest.mark.cuda)])
def test_a_chromosome_is_scanned(example, capsys, arrays):
    if arrays == "cupy" and example.array_library("cupy") is None:
        pytest.skip(capsys.readouterr().out.strip())
    assert example.main(["--arrays", arrays, "--length", "200000"]) == 0
    said = capsys.readouterr().out
    assert f"200,000 letters, 1 motifs, both strands, {arrays}:" in said
    # 100 sites from the middle on, and what 200,000 random letters hold besides.
    assert "in the 100,000 letters from 100,000" in said
    assert "AP-1\t100000\t+\t" in said


def test_rows_that_overlap_find_what_one_row_does(example):
    codes = np.random.default_rng(3).integers(0, 5, 1000, dtype=np.uint8)
    weight, threshold = example.scoring([example.example_motif()], 0.05)
    motif, position, strand, score = example.scan(np, codes, weight, threshold, step=64)
    whole = mk.ops.scan_hits(codes[None], weight, threshold, strands="both")
    assert len(position) > 10
    for ours, theirs in zip((motif, position, strand, score), whole[1:], strict=True):
        assert np.array_equal(ours, theirs)


def test_a_missing_gpu_is_said_politely(example, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)  # as where it is not installed
    assert example.main(["--arrays", "cupy"]) == 0
    assert "no GPU for CuPy here" in capsys.readouterr().out
