"""motifkit reproduce: the paper's tables and figures, each from one call."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from motifkit.data.dataset import SequenceDataset
from motifkit.data.simulate import simulate
from motifkit.errors import InputError
from motifkit.experiments.engines import Report, run_grid
from motifkit.experiments.grid import RECIPES, Job, Settings, jobs, parse_models
from motifkit.experiments.table import paper_values, write_tables
from motifkit.experiments.worker import Outcome, load_results
from motifkit.files import writable_folder
from motifkit.motifs.compare import load_targets

TABLE1 = (
    "CNN-1", "CNN-2", "CNN-4", "CNN-10", "CNN-25", "CNN-50", "CNN-100", "CNN9-4", "CNN9-25", "CNN3-50",
    "CNN3-2", "CNN-50-2", "CNN-50-2 (code)", "CNN19-1-2", "CNN-25 (60)", "CNN-25 (90)", "CNN-25 (120)",
    "CNN-1-1-100",
)  # fmt: skip
_DEEPSEA = (
    "table2, fig4 and s2 need in vivo data: give --data FILE.h5 (from 'motifkit prepare'), or --deepsea DIR"
    " with DeepSEA's training bundle (deepsea_train_bundle.v0.9.tar.gz, published at"
    " http://deepsea.princeton.edu/help/, unpacked)"
)


@dataclass
class Request:
    """What `motifkit reproduce` was asked for; the defaults are the paper's.

    Attributes:
        out: folder of the grid, which keeps every run. results: where tables and figures go; `out`.
        models: nets, each with trials if it likes ("CNN-25:5,CNN-1:1"); all of the table by default.
        trials: of a net that names none. inits: initialisations, see `models.build`.
        engine, scheduler, processes, threads: see `run_grid`.
        data, deepsea: sequences to use in place of simulated ones: a prepared file, or DeepSEA's folder.
        recipe: how sequences are simulated and nets trained, as the authors' "program" does or as the
            "paper" says. n: simulated sequences. epochs, batch_size, patience, seed: of the runs.
        target, evalue: of the comparison. collect: run nothing, use what is stored.
        notes: a text file for the page, on what differs and why. command: the page says it.
    """

    out: Path
    results: Path | None = None
    models: Sequence[str] = ()
    trials: int = 5
    inits: Sequence[str] = ("glorot",)
    engine: str = "local"
    scheduler: str | None = None
    processes: int | None = None
    threads: int = 1
    data: Path | None = None
    deepsea: Path | None = None
    recipe: str = "program"
    n: int = 25000
    epochs: int = 100
    batch_size: int = 100
    patience: int = 20
    seed: int = 0
    target: str = "JASPAR2016"
    evalue: float = 0.1
    collect: bool = False
    notes: Path | None = None
    command: str = ""
    report: Report = field(default=lambda outcome, done, total: None)


def table(name: str, request: Request) -> tuple[list[Path], list[Outcome]]:
    """Do the runs of "table1" or "table2" that are not stored yet, then write the table's files.

    Returns:
        The files written (TSV, one line a run, Markdown, page), and what became of each run.

    Raises:
        InputError: no data, a net that is unknown or too long for the sequences, a folder with other runs,
            or not one run that ended well.
    """
    default = TABLE1 if name == "table1" else list(dict.fromkeys(paper_values("table2")["model"]))
    wanted = parse_models(request.models, request.trials, default)
    notes = "" if request.notes is None else _read(request.notes)
    outcomes = do_runs(request, jobs(wanted, request.inits), in_vivo=name == "table2")
    settings = Settings.load(request.out)
    inits = set(request.inits)
    results = [
        r for r in load_results(request.out)
        if r["init"] in inits and r["trial"] < wanted.get(r["model"], 0)
    ]  # fmt: skip
    failed = [f"{o.job.name}: {o.message}; log: {o.log}" for o in outcomes if o.status == "failed"]
    if not results:
        raise InputError(
            f"{request.out}: no run has ended well"
            + (f"; {failed[0]}" if failed else "; leave --collect away")
        )
    folder = writable_folder(request.results or request.out)
    made_by = settings.origin.get("made_by", "")
    paths = write_tables(
        folder, name, results, settings=_described(settings), failed=failed, notes=notes,
        command=request.command, paper_data=made_by == ("simulate" if name == "table1" else "deepsea"),
    )  # fmt: skip
    return paths, outcomes


def do_runs(request: Request, wanted: list[Job], *, in_vivo: bool) -> list[Outcome]:
    """Make the data where they are not there, and do the runs that are not stored."""
    if request.collect:
        Settings.load(request.out)
        return []
    dataset, path = _dataset(request, in_vivo)
    from motifkit.train.run import Run

    for job in wanted:  # refuse before the first hour what would fail in the last
        Run(job.model, job.init, dataset.length, list(dataset.class_names), "", 0, 1, 1, 1.0).build()
    load_targets(request.target)
    settings = Settings(
        str(path.resolve()), dataset.origin, request.recipe, request.epochs, request.batch_size,
        lr=RECIPES[request.recipe].lr, beta1=RECIPES[request.recipe].beta1, patience=request.patience,
        target=str(request.target), evalue=request.evalue, seed=request.seed,
    )  # fmt: skip
    settings.claim(request.out)
    return run_grid(
        wanted, request.out, engine=request.engine, processes=request.processes, threads=request.threads,
        scheduler=request.scheduler, report=request.report,
    )  # fmt: skip


def _dataset(request: Request, in_vivo: bool) -> tuple[SequenceDataset, Path]:
    if request.data is not None:
        return SequenceDataset.load(request.data), request.data
    recipe = RECIPES[request.recipe]
    path = writable_folder(request.out) / "data.h5"
    if path.exists():
        dataset = SequenceDataset.load(path)
        there = [dataset.origin.get(key) for key in ("n", "seed", "gaps")]
        if in_vivo or there == [request.n, request.seed, recipe.gaps]:
            return dataset, path
        raise InputError(
            f"{path}: has {there[0]} sequences of seed {there[1]} with {there[2]} gaps, not {request.n} of"
            f" seed {request.seed} with {recipe.gaps} gaps; name another folder with --out"
        )
    if in_vivo:
        if request.deepsea is None:
            raise InputError(_DEEPSEA)
        from motifkit.data.onehot_files import read_deepsea

        dataset = read_deepsea(request.deepsea)
    else:
        dataset = simulate(n=request.n, seed=request.seed, minimum_gap=recipe.minimum_gap, gaps=recipe.gaps)
    dataset.save(path)
    return dataset, path


def _described(settings: Settings) -> dict[str, object]:
    shown = asdict(settings)
    origin = shown.pop("origin")
    shown.pop("data")
    shown["data"] = ", ".join(f"{key} {_words(value)}" for key, value in origin.items())
    shown["python"] = sys.version.split()[0]
    return {key.replace("_", " "): value for key, value in shown.items()}


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _read(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a text file") from None
