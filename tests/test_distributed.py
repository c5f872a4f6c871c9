"""Two processes of torchrun do what one does on the joined batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import motifkit as mk

pytest.importorskip("lightning")
import distributed_worker


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Results of one process and of the two, by name of the test."""
    folder = tmp_path_factory.mktemp("distributed")
    letters = {"one": "TGACTCAGCA", "two": "CCATATATGG", "three": "GGGGCGGGGC"}
    motifs = mk.MotifSet(
        [
            mk.Motif(name, mk.one_hot(mk.encode(text))[0].numpy() * 94 + 2, 102)
            for name, text in letters.items()
        ]
    )
    # 158 training sequences: batches of 31, shared as 16 and 15, and one of 3, as 2 and 1.
    data = mk.simulate(n=226, length=100, motifs=motifs, seed=3)
    assert len(data.splits["train"]) == 158
    data.save(folder / "data.h5")
    worker = Path(distributed_worker.__file__)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(worker),
        str(folder),
    ]
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = distributed_worker.work(folder, "run1")
    two = [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]
    return alone, two, folder


def check_close(found, expected, tolerance):
    """Equal in float64 within `tolerance` of the tensor's size."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1.0, float(value.double().abs().max()))
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance * scale, msg=name)


def test_gradients_are_those_of_the_joined_batch(both):
    alone, two, _ = both
    assert float(alone["step"]["block1.conv.weight"].abs().max()) > 1e-3
    for process in two:
        check_close(process["step"], alone["step"], 1e-12)  # sums of 1e4 terms in another order


def test_training_ends_on_the_same_weights(both):
    alone, two, folder = both
    # A step of Adam is lr g / (|g| + 1e-8): a rounding of 1e-15 in a gradient near 0 moves a weight by
    # lr 1e-15 / 1e-8 = 1e-10, and twelve steps follow each other.
    for process in two:
        check_close(process["trained"]["state"], alone["trained"]["state"], 1e-7)
        assert process["trained"]["loss"] == pytest.approx(alone["trained"]["loss"], rel=1e-5)
        assert process["trained"]["train"] == pytest.approx(alone["trained"]["train"], rel=1e-5)
    histories = [(folder / run / "history.tsv").read_text().splitlines() for run in ("run1", "run2")]
    assert len(histories[0]) == len(histories[1]) == 3


def test_extraction_shares_the_sequences_and_finds_the_same(both):
    alone, two, _ = both
    for process in two:
        for rule in distributed_worker.RULES:
            found, count = process["motifs"][rule]
            expected, all_of_them = alone["motifs"][rule]
            assert count == all_of_them == 45
            assert len(expected) > 5
            assert [(name, sites) for name, _, sites in found] == [(n, s) for n, _, s in expected]
            for (_, a, _), (_, b, _) in zip(found, expected, strict=True):
                if rule == "paper":
                    assert torch.equal(a, b)  # whole numbers
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)  # weighted: sums in another order
