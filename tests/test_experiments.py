"""The grid of runs behind the tables: nothing lost, nothing done twice, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import motifkit as mk
from motifkit.cli import main
from motifkit.experiments.engines import run_grid
from motifkit.experiments.grid import RESULT, Job, Settings, jobs, parse_models
from motifkit.experiments.reproduce import TABLE1, Request, do_runs
from motifkit.experiments.table import compare_with_paper, paper_values, runs_frame
from motifkit.experiments.worker import load_results, read_attempts, run_job

for library in ("lightning", "memelite", "joblib", "distributed"):
    pytest.importorskip(library)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sequences with three motifs, and a database of those and sixty others, on disk."""
    folder = tmp_path_factory.mktemp("grid")
    draw = np.random.default_rng(0)
    motifs = [
        mk.Motif(name, mk.one_hot(mk.encode(letters))[0].numpy() * 94 + 2, 102)
        for name, letters in {"one": "TGACTCAGCA", "two": "CCATATATGG", "three": "GGGGCGGGGC"}.items()
    ]
    mk.simulate(n=400, length=100, motifs=mk.MotifSet(motifs), seed=2).save(folder / "data.h5")
    motifs += [mk.Motif(f"noise{i}", draw.dirichlet([0.4] * 4, 10).T * 50, 50) for i in range(60)]
    mk.MotifSet(motifs).to_meme(folder / "database.meme")
    return folder


def settings(data, out, epochs):
    made = Settings(
        str(data / "data.h5"), {}, epochs=epochs, batch_size=25, patience=epochs,
        target=str(data / "database.meme"),
    )  # fmt: skip
    made.claim(out)
    return made


def weights(job, out):
    return torch.load(job.folder(out) / "best.ckpt")["state_dict"]


def same_weights(job, a, b):
    first, second = weights(job, a), weights(job, b)
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_models_and_trials_are_read():
    assert parse_models(["CNN-25:5,CNN-1:1", "CNN-25 (60)"], 3, []) == {
        "CNN-25": 5, "CNN-1": 1, "CNN-25 (60)": 3,
    }  # fmt: skip
    assert parse_models([], 2, ["CNN-2"]) == {"CNN-2": 2}
    for wrong in ("CNN-7", "CNN-25:x", "CNN-25:0"):
        with pytest.raises(mk.InputError):
            parse_models([wrong], 1, [])
    with pytest.raises(mk.InputError, match="twice"):
        parse_models(["CNN-2,CNN-2"], 1, [])


def test_every_net_gets_a_first_trial_before_any_gets_a_second():
    order = jobs({"CNN-25": 2, "CNN-1": 1}, ["glorot", "he"])
    assert [job.trial for job in order] == [0, 0, 0, 0, 1, 1]
    assert len({job.folder("x") for job in order}) == 6


def test_the_papers_table_is_all_there():
    table = paper_values("table1")
    first = table[table["source"] == "Table 1"]
    assert len(first) == 16 * 3
    assert set(first["model"]) == set(TABLE1) - {"CNN-1-1-100", "CNN-50-2 (code)"}
    # Column sums of Table 1.
    sums = first.groupby("metric")["mean"].sum()
    assert sums["auroc"] == pytest.approx(15.070)
    assert sums["matched"] == pytest.approx(10.999)
    assert sums["relevant"] == pytest.approx(9.303)
    assert len(paper_values("table2").query("source == 'Table 2'")) == 13 * 4


def result(model, trial, auroc, relevant, found=()):
    fractions = {
        "matched_fraction": relevant, "relevant_fraction": relevant, "found": list(found), "filters": 30,
        "dead": 0,
    }  # fmt: skip
    return {
        "model": model, "init": "glorot", "trial": trial, "auroc": auroc, "aupr": 0.5, "epochs": 9,
        "best_epoch": 8, "seconds": {"epoch": 1.0, "training": 9.0}, "attempts": 1,
        "layers": {"1": {"paper": fractions, "code": fractions}},
    }  # fmt: skip


def test_differences_are_in_standard_deviations():
    runs = runs_frame([result("CNN-25", 0, 0.970, 0.9, ["SRF"]), result("CNN-25", 1, 0.974, 1.0)])
    rows = compare_with_paper(runs, "table1").query("rule == 'paper'").set_index("metric")
    auroc = rows.loc["auroc"]
    assert auroc["mean"] == pytest.approx(0.972)
    assert auroc["sd"] == pytest.approx(0.004 / 2**0.5)
    # Ours spreads more than the paper's 0.001, so ours is the unit.
    assert auroc["difference_in_sd"] == pytest.approx(-0.001 / (0.004 / 2**0.5))
    assert rows.loc["coverage", "mean"] == 0.5
    # One trial has no spread: the paper's 0.027 is the unit.
    runs = runs_frame([result("CNN-25", 0, 0.970, 0.9)])
    rows = compare_with_paper(runs, "table1").query("rule == 'paper'").set_index("metric")
    assert rows.loc["relevant", "difference_in_sd"] == pytest.approx(-0.08 / 0.027)
    # A net that differs only in what the program does stands beside the paper's net.
    runs = runs_frame([result("CNN-50-2 (code)", 0, 0.9, 0.9)])
    assert compare_with_paper(runs, "table1")["paper_mean"].max() == pytest.approx(0.921)


def test_a_failed_run_stops_no_other_and_is_tried_again(data, tmp_path):
    settings(data, tmp_path, 1)
    grid = jobs({"CNN-25": 2, "CNN-50": 1}, ["glorot"])
    broken = grid[0].folder(tmp_path) / "motifs-layer1-code.meme"
    broken.mkdir(parents=True)
    seen = []
    outcomes = run_grid(grid, tmp_path, processes=1, report=lambda o, done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert sorted(o.status for o in outcomes) == ["done", "done", "failed"]
    failed = next(o for o in outcomes if o.status == "failed")
    assert "is a folder" in failed.message
    assert "Traceback" in Path(failed.log).read_text()
    kept = {job: (job.folder(tmp_path) / RESULT).read_bytes() for job in grid[1:]}
    broken.rmdir()
    again = run_grid(grid, tmp_path, processes=1)
    assert sorted(o.status for o in again) == ["done", "stored", "stored"]
    assert kept == {job: (job.folder(tmp_path) / RESULT).read_bytes() for job in grid[1:]}
    assert not list(tmp_path.rglob("last.ckpt"))


def test_a_folder_keeps_to_its_settings(data, tmp_path):
    settings(data, tmp_path, 1)
    with pytest.raises(mk.InputError, match="epochs 1, not 2"):
        settings(data, tmp_path, 2)


EPOCHS = 14


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The grid that the tests below disturb, done in one go."""
    out = tmp_path_factory.mktemp("undisturbed")
    settings(data, out, EPOCHS)
    assert run_job(Job("CNN-25", "glorot", 0), str(out)).status == "done"
    return out


def wait_for(condition, seconds=400):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def started(out, job, epochs=3):
    """The process of a run that is some epochs on its way."""
    history = job.folder(out) / "history.tsv"
    if history.exists() and len(history.read_text().splitlines()) > epochs:
        return int(read_attempts(job, out)[-1][2])
    return None


def check_resumed(grid, killed, out, undisturbed):
    assert len(load_results(out)) == len(grid)
    for job in grid:
        attempts = read_attempts(job, out)
        assert len(attempts) == (2 if job == killed else 1)
    assert int(read_attempts(killed, out)[1][3]) >= 2  # it went on, it did not start again
    history = (killed.folder(out) / "history.tsv").read_text().splitlines()[1:]
    assert [int(line.split("\t")[0]) for line in history] == list(range(1, EPOCHS + 1))
    assert same_weights(killed, out, undisturbed)


def test_a_worker_killed_on_a_dask_cluster(data, tmp_path, undisturbed):
    import distributed

    settings(data, tmp_path, EPOCHS)
    grid = [Job("CNN-25", "glorot", trial) for trial in range(4)]
    ended = []

    def kill():
        os.kill(wait_for(lambda: started(tmp_path, grid[0])), signal.SIGKILL)
        ended.append(True)

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        assassin = threading.Thread(target=kill)
        assassin.start()
        outcomes = run_grid(grid, tmp_path, engine="dask", scheduler=cluster.scheduler_address)
        assassin.join()
    assert ended
    assert [o.status for o in outcomes] == ["done"] * 4
    check_resumed(grid, grid[0], tmp_path, undisturbed)


def test_a_worker_process_killed_on_this_machine(data, tmp_path, undisturbed):
    settings(data, tmp_path, EPOCHS)
    grid = [Job("CNN-25", "glorot", 0), Job("CNN-100", "glorot", 0)]
    assassin = threading.Thread(
        target=lambda: os.kill(wait_for(lambda: started(tmp_path, grid[0])), signal.SIGKILL)
    )
    assassin.start()
    outcomes = run_grid(grid, tmp_path, processes=1)
    assassin.join()
    assert [o.status for o in outcomes] == ["done"] * 2
    check_resumed(grid, grid[0], tmp_path, undisturbed)


def test_recipes_reach_the_optimiser_and_the_data(data, tmp_path):
    pytest.importorskip("pyjaspar")
    for recipe, lr, beta1, gaps in (("program", 0.001, 0.95, "scaled"), ("paper", 0.0003, 0.9, "even")):
        out = tmp_path / recipe
        request = Request(
            out, models=["CNN-25:1"], recipe=recipe, n=300, epochs=1, processes=1,
            target=str(data / "database.meme"),
        )  # fmt: skip
        do_runs(request, [Job("CNN-25", "glorot", 0)], in_vivo=False)
        run = json.loads((Job("CNN-25", "glorot", 0).folder(out) / "run.json").read_text())
        assert (run["lr"], run["beta1"]) == (lr, beta1)
        assert mk.SequenceDataset.load(out / "data.h5").origin["gaps"] == gaps
    with pytest.raises(mk.InputError, match="scaled gaps"):
        do_runs(
            Request(tmp_path / "paper", recipe="program", n=300), [Job("CNN-25", "glorot", 0)], in_vivo=False
        )


def test_a_run_that_kills_its_process_every_time_is_given_up(data, tmp_path):
    settings(data, tmp_path, 1)
    job = Job("CNN-25", "glorot", 0)
    job.folder(tmp_path).mkdir(parents=True)
    (job.folder(tmp_path) / "attempts.tsv").write_text("now\there\t1\t0\n" * 4)
    (outcome,) = run_grid([job], tmp_path, processes=1)
    assert outcome.status == "failed"
    assert "killed 4 times" in outcome.message
    (outcome,) = run_grid([job], tmp_path, processes=1)  # asked again, it tries again
    assert outcome.status == "done"


def test_a_killed_command_goes_on_and_makes_the_table(data, tmp_path, undisturbed):
    command = [
        sys.executable, "-m", "motifkit.cli", "reproduce", "table2", "--data", data / "data.h5", "--out",
        tmp_path, "--models", "CNN-25:2", "--processes", "1", "--epochs", EPOCHS, "--batch-size", "25",
        "--patience", EPOCHS, "--target-motifs", data / "database.meme", "--recipe", "paper",
    ]  # fmt: skip
    command = [str(word) for word in command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    grid = [Job("CNN-25", "glorot", 0), Job("CNN-25", "glorot", 1)]
    run = subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True)
    wait_for(lambda: started(tmp_path, grid[0]))
    worker = int(read_attempts(grid[0], tmp_path)[0][2])
    run.kill()  # it alone: its process must not train on
    run.wait()
    wait_for(lambda: not Path(f"/proc/{worker}").exists())
    done = subprocess.run([*command, "--json"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 2
    assert "[2/2] CNN-25, glorot, trial 1: done" in done.stderr
    check_resumed(grid, grid[0], tmp_path, undisturbed)
    rows = (tmp_path / "table2-runs.tsv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2  # a line a run and rule
    table = (tmp_path / "table2.md").read_text()
    assert "| CNN-25 | 1 | 2 | 0." in table
    page = (tmp_path / "table2.html").read_text()
    assert page.count("<circle") == 2 * 6
    for name in ("one", "two", "three"):
        assert f">{name}</th>" in page


def test_a_run_in_another_process_is_left_to_it(data, tmp_path):
    import fcntl

    settings(data, tmp_path, 1)
    job = Job("CNN-25", "glorot", 0)
    folder = job.folder(tmp_path)
    folder.mkdir(parents=True)
    holder = (folder / "lock").open("w")
    fcntl.flock(holder, fcntl.LOCK_EX)

    def finish():
        time.sleep(0.5)
        (folder / RESULT).write_text("{}")
        holder.close()

    other = threading.Thread(target=finish)
    other.start()
    (outcome,) = run_grid([job], tmp_path, processes=1)
    other.join()
    assert outcome.status == "stored"
    assert not (folder / "history.tsv").exists()


def test_bad_requests_are_refused_in_a_line(data, tmp_path, capsys):
    out = str(tmp_path / "out")
    for arguments, words in (
        (["table2", "--out", out], "give --data FILE.h5"),
        (["table1", "--out", out, "--models", "CNN-3"], "unknown model 'CNN-3'"),
        (["table1", "--out", out, "--collect"], "holds no grid of runs"),
        (["table1", "--out", out, "--trials", "0"], "at least 1"),
    ):
        assert main(["reproduce", *arguments, "--quiet"]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    settings(data, tmp_path, 1)
    with pytest.raises(mk.InputError, match="no Dask scheduler"):
        run_grid([Job("CNN-25", "glorot", 0)], tmp_path, engine="dask", scheduler="tcp://127.0.0.1:9")
