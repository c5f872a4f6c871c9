import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import motifkit as mk
from motifkit.models.paper import ARCHITECTURES
from motifkit.train.evaluate import scores
from motifkit.train.fit import Batches, read_history

pytest.importorskip("lightning")


@pytest.fixture(scope="module")
def data():
    import numpy as np

    counts = np.full((4, 8), 1.0)
    counts[[3, 2, 0, 1, 3, 1, 0, 2], range(8)] = 97  # TGACTCAG
    other = counts[[1, 0, 3, 2]]
    motifs = mk.MotifSet([mk.Motif("one", counts, 100), mk.Motif("two", other, 100)])
    return mk.simulate(n=2000, length=100, motifs=motifs, seed=4)


def build(seed=0):
    torch.manual_seed(seed)
    return mk.models.build("CNN-25", length=100, classes=2)


def parameters(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_the_papers_shape(name):
    model = mk.models.build(name, length=200)
    a = ARCHITECTURES[name]
    assert model.block1.conv.weight.shape == (a.filters, 4, a.width)
    assert model(torch.randint(0, 5, (2, 200), dtype=torch.uint8)).shape == (2, 12)
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv1d)]
    assert len(convs) == len(a.pools)
    assert all(conv.bias is None for conv in convs)
    assert model.dense.in_features == a.second_filters * 2  # the pools multiply to 100
    assert (a.second_filters, a.dense) == ((64, 96) if "(code)" in name else (128, 512))


def test_the_papers_two_nets_have_as_many_parameters():
    count = [sum(p.numel() for p in mk.models.build(n).parameters()) for n in ("CNN-2", "CNN-50-2")]
    assert count[0] == count[1]


def test_unknown_models_and_short_sequences_are_refused():
    with pytest.raises(mk.InputError, match="unknown model 'CNN-3'; there are CNN-1"):
        mk.models.build("CNN-3")
    with pytest.raises(mk.InputError, match="at least 100 letters"):
        mk.models.build("CNN-25", length=99)
    with pytest.raises(mk.InputError, match="init"):
        mk.models.build("CNN-25", init="zeros")


@pytest.mark.parametrize(
    ("init", "spread"), [("glorot", math.sqrt(2 / (19 * 34))), ("he", math.sqrt(2 / 76))]
)
def test_initial_values_have_the_spread_they_should(init, spread):
    torch.manual_seed(0)
    weight = mk.models.build("CNN-25", init=init).block1.conv.weight
    assert abs(weight.std().item() / spread - 1) < 0.08  # 2,280 draws: five standard errors


def test_training_learns_and_keeps_the_best(data, tmp_path):
    model = build()
    result = mk.fit(model, data, epochs=10, lr=2e-3, out=tmp_path / "run")
    assert mk.evaluate(model, data)["auroc_mean"] > 0.9
    losses = [row["valid_loss"] for row in result.history]
    assert result.best_loss == min(losses)
    assert result.best_epoch == losses.index(min(losses)) + 1
    kept = mk.evaluate(model, data, "valid")["loss"]
    assert abs(kept - result.best_loss) < 1e-4
    assert [row["epoch"] for row in read_history(tmp_path / "run/history.tsv")] == list(range(1, 11))


def test_a_run_repeats_bit_for_bit(data):
    models = [build(), build(), build()]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        mk.fit(model, data, epochs=2, seed=seed)
    assert same(parameters(models[0]), parameters(models[1]))
    assert not same(parameters(models[0]), parameters(models[2]))


def test_a_resumed_run_ends_on_the_same_bits(data, tmp_path):
    whole, parts = build(), build()
    mk.fit(whole, data, epochs=4, out=tmp_path / "whole")
    mk.fit(parts, data, epochs=2, out=tmp_path / "parts")
    again = build(seed=9)
    result = mk.fit(again, data, epochs=4, out=tmp_path / "parts", resume=True)
    assert same(parameters(whole), parameters(again))
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4]
    # A third call finds everything done.
    third = build(seed=3)
    mk.fit(third, data, epochs=4, out=tmp_path / "parts", resume=True)
    assert same(parameters(third), parameters(whole))


def test_a_killed_run_resumes_to_the_same_bits(data, tmp_path):
    data.save(tmp_path / "data.h5")
    command = [
        sys.executable,
        "-m",
        "motifkit.cli",
        "train",
        tmp_path / "data.h5",
        "--epochs",
        "6",
        "--quiet",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [*map(str, command), "--out", str(tmp_path / "killed")], env=environment, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    history = tmp_path / "killed/history.tsv"
    while time.monotonic() < deadline and run.poll() is None:
        if history.exists() and len(history.read_text().splitlines()) >= 3:
            run.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    run.wait()
    for name, more in (("killed", ["--resume"]), ("whole", [])):
        subprocess.run(
            [*map(str, command), "--out", str(tmp_path / name), *more],
            env=environment, cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    states = [
        torch.load(tmp_path / name / "best.ckpt", weights_only=False)["state_dict"]
        for name in ("killed", "whole")
    ]
    assert same(*states)


def test_early_stopping(data):
    result = mk.fit(build(), data, epochs=40, lr=0.05, patience=2)
    assert len(result.history) < 40
    assert len(result.history) >= result.best_epoch + 2


def test_a_checkpoint_of_another_architecture_is_refused(data, tmp_path):
    mk.fit(build(), data, epochs=1, out=tmp_path)
    with pytest.raises(mk.InputError, match="another architecture"):
        mk.fit(mk.models.build("CNN9-25", 100, 2), data, epochs=2, out=tmp_path, resume=True)


def test_batches_cover_an_epoch_in_an_order_of_its_own():
    codes = torch.arange(250, dtype=torch.uint8)[:, None]
    epochs = [list(Batches(codes, codes, 100, seed=1, epoch=lambda e=e: e)) for e in (0, 1, 0)]
    rows = [torch.cat([c for c, _, _ in epoch]).flatten().tolist() for epoch in epochs]
    assert rows[0] == rows[2] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1]) == list(range(250))


def test_scores_of_known_predictions():
    truth = torch.tensor([[1, 1], [0, 1], [1, 1], [0, 1]])
    probabilities = torch.tensor([[0.9, 0.5], [0.8, 0.5], [0.7, 0.5], [0.1, 0.5]])
    result = scores(probabilities, truth, ["a", "constant"])
    assert result["auroc"]["a"] == pytest.approx(0.75)  # three of four pairs in order
    assert result["aupr"]["a"] == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(result["auroc"]["constant"])
    assert result["auroc_mean"] == pytest.approx(0.75)


def test_data_that_cannot_be_trained_on_is_refused(data):
    from dataclasses import replace

    empty = replace(data, splits={**data.splits, "valid": torch.empty(0, dtype=torch.int64)})
    with pytest.raises(mk.InputError, match="no valid sequences"):
        mk.fit(build(), empty)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(data):
    with pytest.raises(mk.InputError, match="sees no GPU"):
        mk.fit(build(), data, device="cuda")


def test_a_model_of_another_kind_of_output_is_refused():
    data = mk.simulate(n=60, length=200, seed=0)
    model = mk.models.build("BPNet", length=200)
    with pytest.raises(mk.InputError, match="one logit a class"):
        mk.fit(model, data, epochs=1)
