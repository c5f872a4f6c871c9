"""Where the runs of a grid happen: processes of this machine, or a Dask cluster. The work is the same."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from motifkit.errors import InputError, require
from motifkit.experiments.grid import Job
from motifkit.experiments.worker import Outcome, run_job

ENGINES = ("local", "dask")
Report = Callable[[Outcome, int, int], None]


def run_grid(
    jobs: Sequence[Job],
    out: str | os.PathLike[str],
    *,
    engine: str = "local",
    processes: int | None = None,
    threads: int = 1,
    scheduler: str | None = None,
    report: Report = lambda outcome, done, total: None,
) -> list[Outcome]:
    """Do the jobs that are not stored yet; one that fails does not stop the others.

    Args:
        jobs: of the grid whose settings `out` holds. Stored ones cost nothing.
        engine: "local" (joblib's processes) or "dask".
        processes: at once, local; by default as many as give each `threads` of the processors this process
            may use. threads: of each run.
        scheduler: address of a Dask scheduler whose workers share the file system, each with the resources
            for one run; without one, a cluster is started here.
        report: called as each job ends with its outcome, how many have ended, and how many there are.

    Returns:
        An Outcome a job, in the order they ended, those already stored first.

    Raises:
        InputError: an unknown engine, or a scheduler that does not answer.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    folder = str(Path(out).resolve())
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        report(outcome, len(outcomes), len(jobs))

    waiting = []
    for job in jobs:
        if job.finished(folder):
            note(Outcome(job, "stored"))
        else:
            waiting.append(job)
    # Runs that another process has in hand are asked for again at the end, then waited for.
    for wait in (False, True):
        if not waiting:
            break
        busy = []
        if engine == "local":
            ended = _local(waiting, folder, processes, threads, wait)
        else:
            ended = _dask(waiting, folder, scheduler, processes, threads, wait)
        for outcome in ended:
            if outcome.status == "busy":
                busy.append(outcome.job)
            else:
                note(outcome)
        waiting = busy
    return outcomes


def _local(jobs: list[Job], out: str, processes: int | None, threads: int, wait: bool) -> Iterator[Outcome]:
    joblib = require("joblib", "experiments")
    # joblib's own processes, also for one run at a time: joblib.Parallel would do that in this process, and
    # a run that is killed, for its memory say, must not take the grid with it.
    loky = require("joblib.externals.loky.process_executor", "experiments")
    at_once = processes or max(1, joblib.cpu_count() // threads)
    limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    # A process that has grown is replaced between two runs; nobody has to do anything about that.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    left = list(jobs)
    while left:
        pool = loky.ProcessPoolExecutor(
            max_workers=at_once, env=limits, initializer=_end_with, initargs=(os.getpid(),)
        )
        try:
            futures = [pool.submit(run_job, job, out, threads, wait) for job in left]
            for future in as_completed(futures):
                outcome = future.result()
                left.remove(outcome.job)
                yield outcome
        except loky.BrokenProcessPool:
            # A process was killed: what it had in hand goes on from its last epoch in a new one. A run that
            # does this again and again is given up by run_job itself.
            time.sleep(0.2)
        finally:
            pool.shutdown(wait=True, kill_workers=True)


def _end_with(parent: int) -> None:
    """Let this process end when the one that started it does, however that ended: a run goes on from its last
    epoch, but one that nobody waits for would hold its lock and a processor."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dask(
    jobs: list[Job], out: str, scheduler: str | None, processes: int | None, threads: int, wait: bool
) -> Iterator[Outcome]:
    distributed = require("distributed", "experiments")
    cluster = None
    if scheduler is None:
        at_once = processes or max(1, (os.cpu_count() or 1) // threads)
        cluster = distributed.LocalCluster(n_workers=at_once, threads_per_worker=1, dashboard_address=None)
        scheduler = cluster.scheduler_address
    try:
        try:
            client = distributed.Client(scheduler, timeout=20, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{scheduler}: no Dask scheduler answers there ({reason}); start one with 'dask scheduler'"
            ) from None
        with client:
            # Not pure: what a job returns depends on what is stored. Retries belong to the scheduler, which
            # moves the jobs of a worker that dies to another.
            futures = {
                client.submit(run_job, job, out, threads, wait, pure=False, key=f"{job.name}-{id(job)}"): job
                for job in jobs
            }
            for future in distributed.as_completed(list(futures), loop=client.loop):
                yield _outcome(future, futures[future], distributed)
    finally:
        if cluster is not None:
            cluster.close()


def _outcome(future, job: Job, distributed) -> Outcome:
    try:
        return future.result()
    except distributed.scheduler.KilledWorker as error:
        return Outcome(job, "failed", f"its workers were killed: {' '.join(str(error).split())}")
    except Exception as error:  # the worker has another environment, say
        return Outcome(job, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
