"""One run of a grid: train, evaluate, read out the motifs, store; wherever an engine puts it."""

import contextlib
import csv
import fcntl
import json
import os
import platform
import threading
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import InputError
from motifkit.experiments.grid import ATTEMPTS, ERROR, RESULT, Job, Settings
from motifkit.files import to_json, writable_folder, written
from motifkit.models.paper import ARCHITECTURES
from motifkit.motifs.compare import compare, load_targets
from motifkit.motifs.extract import extract_motifs
from motifkit.motifs.motif import MotifSet
from motifkit.motifs.scoring import match_fractions
from motifkit.report.report import relevant_profiles
from motifkit.train.evaluate import evaluate
from motifkit.train.fit import fit
from motifkit.train.memory import keep_freed_memory
from motifkit.train.run import Run, load_history

RULES = ("paper", "code")
_LOG = "run.log"
_MOST_ATTEMPTS = 4  # starts without an epoch's progress before a run counts as one that kills its process
_one_at_a_time = threading.Lock()  # torch's seed and number of threads belong to the process


@dataclass(frozen=True)
class Outcome:
    """What became of a job: status "done", "stored" (it was already), "busy" (in another process) or
    "failed", with the last line of the error and where the log is."""

    job: Job
    status: str
    message: str = ""
    log: str = ""


def run_job(job: Job, out: str, threads: int = 1, wait: bool = False) -> Outcome:
    """Do one run of the grid in `out`, unless its result is there.

    Nothing is done twice: a result that is stored is left alone, a lock on the run's folder keeps a second
    process out, and a run that was killed goes on from its last epoch, to the same bits.

    Args:
        job: which. out: the grid's folder. threads: of this run.
        wait: for another process that has the run in hand, instead of returning "busy".
    """
    with _one_at_a_time:
        if job.finished(out):
            return Outcome(job, "stored")
        folder = writable_folder(job.folder(out))
        with _locked(folder / "lock", wait) as mine:
            if not mine:
                return Outcome(job, "busy")
            if job.finished(out):
                return Outcome(job, "stored")
            return _attempt(job, Path(out), folder, threads)


def _attempt(job: Job, out: Path, folder: Path, threads: int) -> Outcome:
    """Run it with its output in a log; an error becomes an outcome."""
    log = folder / _LOG
    epochs = len(load_history(folder))
    starts = read_attempts(job, out)
    if len(starts) >= _MOST_ATTEMPTS and {start[3] for start in starts[-_MOST_ATTEMPTS:]} == {str(epochs)}:
        (folder / ATTEMPTS).unlink()  # asked again, it may try again
        message = f"its process was killed {_MOST_ATTEMPTS} times within one epoch; is the memory too small?"
        (folder / ERROR).write_text(message + "\n")
        return Outcome(job, "failed", message, str(log))
    with (folder / ATTEMPTS).open("a") as handle:
        handle.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')}\t{platform.node()}\t{os.getpid()}\t{epochs}\n")
    (folder / ERROR).unlink(missing_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with log.open("a") as handle, contextlib.redirect_stdout(handle), contextlib.redirect_stderr(handle):
            _run(job, out, folder, threads)
        return Outcome(job, "done")
    except KeyboardInterrupt:
        raise
    except Exception as error:
        text = traceback.format_exc()
        (folder / ERROR).write_text(text)
        with log.open("a") as handle:
            handle.write(text)
        (folder / ATTEMPTS).unlink(missing_ok=True)  # it ended by itself
        return Outcome(job, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}", str(log))
    finally:
        torch.set_num_threads(before)


def _run(job: Job, out: Path, folder: Path, threads: int) -> None:
    settings = Settings.load(out)
    dataset = _dataset(settings.data)
    keep_freed_memory()
    run = Run(
        job.model, job.init, dataset.length, list(dataset.class_names), settings.data,
        settings.seed + job.trial, settings.epochs, settings.batch_size, settings.lr,
        settings.beta1,
    )  # fmt: skip
    model = run.build()
    run.save(folder)
    started = time.perf_counter()
    result = fit(
        model, dataset, epochs=settings.epochs, batch_size=settings.batch_size, lr=settings.lr,
        beta1=settings.beta1, weight_decay=settings.weight_decay, patience=settings.patience,
        seed=run.seed, device="cpu", out=folder, resume=True,
    )  # fmt: skip
    trained = time.perf_counter()
    metrics = evaluate(model, dataset)
    motifs = {str(layer): _motifs(job, model, dataset, layer, settings, folder)
              for layer in (1, *unpooled_layers(job.model))}  # fmt: skip
    _keep_weights(model, folder)
    summary = {
        "model": job.model, "init": job.init, "trial": job.trial, "seed": run.seed,
        "auroc": metrics["auroc_mean"], "aupr": metrics["aupr_mean"],
        "auroc_per_class": metrics["auroc"], "aupr_per_class": metrics["aupr"],
        "test_loss": metrics["loss"], "best_epoch": result.best_epoch, "best_valid_loss": result.best_loss,
        "epochs": len(result.history), "layers": motifs,
        "seconds": {
            "training": sum(row["seconds"] for row in result.history),
            "epoch": _median([row["seconds"] for row in result.history]),
            "after_training": time.perf_counter() - trained, "this_attempt": time.perf_counter() - started,
        },
        "threads": threads, "attempts": len(read_attempts(job, out)),
    }  # fmt: skip
    with written(folder / RESULT) as temporary:  # the last thing written: it says that all is there
        temporary.write_text(to_json(summary) + "\n")


def _motifs(job: Job, model: nn.Module, dataset, layer: int, settings: Settings, folder: Path) -> dict:
    """Motifs of one layer by both rules, into files; what is to be said of them."""
    codes, _ = dataset.split("test")
    database = load_targets(settings.target)
    known = relevant_profiles(dataset, database)
    out = {}
    for rule in RULES:
        motifs = layer_motifs(model, codes, layer, rule)
        trimmed = motifs.trim()
        matches = compare(trimmed, database, evalue=settings.evalue, quiet=True)
        name = f"layer{layer}-{rule}"
        trimmed.to_meme(folder / f"motifs-{name}.meme")
        with written(folder / f"matches-{name}.tsv") as temporary:
            matches.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
        fractions = match_fractions(motifs, matches, known)
        out[rule] = fractions | {"informative": len(trimmed), "sites": _sites(motifs)}
    return out


def layer_motifs(model: nn.Module, codes: torch.Tensor, layer: int, rule: str = "paper") -> MotifSet:
    """Motifs of convolution number `layer`, from 1, with no pool before it: windows have their place."""
    name = None if layer == 1 else f"conv{layer}"
    return extract_motifs(model, codes, rule=rule, layer=name, traced=False)


def unpooled_layers(name: str) -> list[int]:
    """Numbers (from 2) of a net's convolutions with no pool before them, whose filters the paper draws.

    Example:
        >>> from motifkit.experiments.worker import unpooled_layers
        >>> unpooled_layers("CNN-25"), unpooled_layers("CNN-1"), unpooled_layers("CNN-1-1-100")
        ([], [2], [2, 3])
    """
    pools = ARCHITECTURES[name].pools
    return [layer for layer in range(2, len(pools) + 1) if set(pools[: layer - 1]) == {1}]


def _sites(motifs: MotifSet) -> float:
    """Median number of windows a motif was aligned from."""
    return _median([float(motif.nsites) for motif in motifs])


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else float("nan")


def _keep_weights(model: nn.Module, folder: Path) -> None:
    """best.ckpt without the optimiser's state, a third of its size; last.ckpt has served."""
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    with written(folder / "best.ckpt") as temporary:
        torch.save({"state_dict": state}, temporary)
    (folder / "last.ckpt").unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _dataset(path: str) -> SequenceDataset:
    """The grid's data, read once a process."""
    return SequenceDataset.load(path)


@contextlib.contextmanager
def _locked(path: Path, wait: bool):
    """Hold a lock that goes with the process; yields False where another process has it."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def load_results(out: str | os.PathLike[str]) -> list[dict]:
    """Every finished run's result, in the order of their folders; "folder" is added to each.

    Raises:
        InputError: a result that cannot be read.
    """
    results = []
    for path in sorted(Path(out).glob(f"runs/*/*/{RESULT}")):
        try:
            results.append(json.loads(path.read_text()) | {"folder": str(path.parent)})
        except (ValueError, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error}); remove it to run again") from None
    return results


def read_attempts(job: Job, out: str | os.PathLike[str]) -> list[list[str]]:
    """Of every start of a run: time, host, process, and the epochs it found done."""
    path = job.folder(out) / ATTEMPTS
    if not path.exists():
        return []
    with path.open(newline="") as handle:
        return list(csv.reader(handle, delimiter="\t"))
