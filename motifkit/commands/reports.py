"""Commands that end in a page: report, demo, reproduce; and doctor."""

import argparse
import json
import time
from pathlib import Path

from motifkit import __version__
from motifkit.commands.common import (
    command,
    print_result,
    rule_argument,
    say,
    shows_progress,
    target_arguments,
)
from motifkit.commands.training import train_run


def add_report(commands) -> None:
    """`motifkit report`."""
    parser = command(commands, "report", _run_report, "one page of everything a run learned")
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="report.html")
    parser.add_argument("--data", type=Path, metavar="DATA.h5", help="the run's own by default")
    rule_argument(parser)
    target_arguments(parser)


def _run_report(arguments) -> None:
    from motifkit.report.report import summary

    analysis = _write_report(
        arguments, arguments.run_folder, arguments.data, arguments.out, arguments.rule,
        arguments.target, arguments.evalue,
    )  # fmt: skip
    print_result(arguments, analysis.metrics, summary(analysis) + f"\nreport: {arguments.out}")


def _write_report(
    arguments, folder: Path, data: Path | None, out: Path, rule: str, target: str, evalue: float
):
    from motifkit.data.dataset import SequenceDataset
    from motifkit.files import writable_folder
    from motifkit.motifs.compare import load_targets
    from motifkit.report.report import analyse, write_report
    from motifkit.train.run import check_dataset, load_history, load_model

    writable_folder(out.parent)
    load_targets(target)  # before any long work
    run, model = load_model(folder)
    path = Path(run.data) if data is None else data
    dataset = SequenceDataset.load(path)
    check_dataset(run, dataset, path)
    analysis = analyse(
        model, dataset, rule=rule, target=target, evalue=evalue, device=arguments.device,
        calibrate=getattr(arguments, "calibrate", 0), seed=arguments.seed, quiet=arguments.quiet,
        progress=shows_progress(arguments),
    )  # fmt: skip
    history = load_history(folder)
    details = {
        "model": f"{run.model}, {run.init} initialisation, seed {run.seed}",
        "training": f"{len(history)} epochs of at most {run.epochs}, batches of {run.batch_size},"
        f" Adam {run.lr:g}",
        "data": ", ".join(f"{name} {len(rows):,}" for name, rows in dataset.splits.items()),
        "made by": f"motifkit {__version__}",
    }
    name = "simulated data" if dataset.placements is not None else path.stem
    write_report(
        out, analysis, dataset, history=history, title=f"{run.model} on {name}", details=details,
        run_folder=folder,
    )  # fmt: skip
    return analysis


def add_demo(commands) -> None:
    """`motifkit demo`."""
    parser = command(
        commands, "demo", _run_demo, "simulate, train CNN-25, extract, compare, report",
        "The whole thing on the paper's synthetic data. What an earlier call finished is not done again.",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the run")
    parser.add_argument("--n", type=int, default=25000, help="sequences")
    parser.add_argument("--epochs", type=int, default=60, help="of training")


def _run_demo(arguments) -> None:
    from motifkit import simulate
    from motifkit.data.dataset import SequenceDataset
    from motifkit.files import writable_folder

    start = time.monotonic()
    out = writable_folder(arguments.out)
    data = out / "data.h5"
    dataset = None
    if data.exists():
        dataset = SequenceDataset.load(data)
        if (dataset.origin.get("n"), dataset.origin.get("seed")) != (arguments.n, arguments.seed):
            dataset = None
    if dataset is None:
        say(arguments, f"simulating {arguments.n:,} sequences with 12 JASPAR motifs")
        dataset = simulate(n=arguments.n, seed=arguments.seed)
        dataset.save(data)
    trained = time.monotonic()
    train = argparse.Namespace(
        **vars(arguments), data=data, model="CNN-25", init="glorot", batch_size=100, lr=3e-4, beta1=0.9,
        patience=20, resume=True,
    )  # fmt: skip
    train_run(train, dataset)
    say(arguments, f"trained in {time.monotonic() - trained:.0f} s; extracting and naming motifs")
    analysis = _write_report(arguments, out, data, out / "report.html", "paper", "JASPAR2016", 0.1)
    from motifkit.report.report import summary

    text = summary(analysis) + f"\nreport: {out / 'report.html'}  ({time.monotonic() - start:.0f} s)"
    print_result(arguments, analysis.metrics, text)


def add_reproduce(commands) -> None:
    """`motifkit reproduce`."""
    from motifkit.experiments.command import add_arguments

    parser = command(
        commands, "reproduce", _run_reproduce, "a table or figure of the paper, beside its values",
        "Trains what is not stored in --out yet, as independent runs; a call that was cut short goes on.",
    )  # fmt: skip
    add_arguments(parser)


def _run_reproduce(arguments) -> int:
    from motifkit.experiments import command as reproduction

    return reproduction.run(arguments, lambda text: say(arguments, text), print_result)


def add_doctor(commands) -> None:
    """`motifkit doctor`."""
    command(commands, "doctor", _run_doctor, "what runs where and why")


def _run_doctor(arguments) -> None:
    from motifkit.doctor import examine, render

    found = examine()
    print(json.dumps(found, indent=2) if arguments.json else render(found))
