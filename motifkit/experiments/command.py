"""The sub-command `motifkit reproduce`."""

import argparse
import shlex
import sys
import time
from pathlib import Path

from motifkit.experiments.engines import ENGINES

TARGETS = ("table1", "table2", "fig1", "fig2", "fig3", "fig4", "s1", "s2", "saliency")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments behind `motifkit reproduce`."""
    parser.add_argument("target", choices=TARGETS, help="what of the paper")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="folder of the runs; what is finished there is not done again",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where tables and figures go, if not --out"
    )
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="NET[:TRIALS]",
        help="such as CNN-25:5,CNN-1:1; all of the table by default",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, help="runs of each net that names no number; 5, with --quick 1")
    parser.add_argument(
        "--init", nargs="+", default=["glorot"], choices=("glorot", "he", "torch"), help="initial values"
    )
    parser.add_argument(
        "--recipe", default="program", choices=("program", "paper"),
        help="simulate and train as the authors' program does, or as the paper says",
    )  # fmt: skip
    parser.add_argument(
        "--engine", default="local", choices=ENGINES, help="processes here, or a Dask cluster"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster; one is started without")
    parser.add_argument("--processes", type=int, help="runs at once on this machine; one a core by default")
    parser.add_argument("--data", type=Path, metavar="DATA.h5", help="prepared sequences to use")
    parser.add_argument("--deepsea", type=Path, metavar="DIR", help="folder of DeepSEA's training bundle")
    parser.add_argument("--n", type=int, help="simulated sequences; 25000, with --quick 1500")
    parser.add_argument("--epochs", type=int, help="at most; 100, with --quick 2")
    parser.add_argument("--batch-size", type=int, default=100, help="sequences a step")
    parser.add_argument("--patience", type=int, default=20, help="epochs without improvement before stopping")
    parser.add_argument("--target-motifs", default="JASPAR2016", help="a JASPAR release or a MEME file")
    parser.add_argument("--evalue", type=float, default=0.1, help="largest E-value of a match")
    parser.add_argument("--notes", type=Path, metavar="FILE", help="paragraphs for the table's page")
    parser.add_argument("--collect", action="store_true", help="run nothing; show what is finished")
    parser.add_argument(
        "--quick", action="store_true", help="small data and few epochs: to look, not to learn"
    )


def run(arguments: argparse.Namespace, say, print_result) -> int:
    """Do what was asked; 1 where a run failed. `say` and `print_result` are the command's."""
    from motifkit.experiments.reproduce import Request, table

    quick = arguments.quick
    for name in ("trials", "n", "epochs", "processes"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            from motifkit.errors import InputError

            raise InputError(f"--{name} must be at least 1, got {value}")
    request = Request(
        arguments.out, arguments.results,
        arguments.models or (["CNN-2", "CNN-25"] if quick and arguments.target.startswith("table") else []),
        arguments.trials or (1 if quick else 5), arguments.init, arguments.engine, arguments.scheduler,
        arguments.processes, arguments.threads or 1, arguments.data, arguments.deepsea, arguments.recipe,
        arguments.n or (1500 if quick else 25000), arguments.epochs or (2 if quick else 100),
        arguments.batch_size, arguments.patience, arguments.seed, arguments.target_motifs, arguments.evalue,
        arguments.collect, arguments.notes, "motifkit " + shlex.join(map(str, sys.argv[1:])),
        Progress(say),
    )  # fmt: skip
    if arguments.target.startswith("table"):
        paths, outcomes = table(arguments.target, request)
    else:
        from motifkit.experiments.figures import figure

        paths, outcomes = figure(arguments.target, request)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    result = {
        "files": [str(path) for path in paths],
        "done": sum(outcome.status == "done" for outcome in outcomes),
        "stored": sum(outcome.status == "stored" for outcome in outcomes),
        "failed": [{"run": o.job.name, "error": o.message, "log": o.log} for o in failed],
    }
    text = ""
    if arguments.target.startswith("table"):
        text = paths[2].read_text() + "\n"
    print_result(arguments, result, text + "\n".join(map(str, paths)))
    return 1 if failed else 0


class Progress:
    """Says what became of each run as it ends, and how long the rest may take."""

    def __init__(self, say):
        self.say, self.started, self.done = say, time.monotonic(), 0

    def __call__(self, outcome, ended: int, total: int) -> None:
        """A line a run that was not there before."""
        if outcome.status == "stored":
            return
        self.done += 1
        left = (time.monotonic() - self.started) / self.done * (total - ended)
        rest = f"; about {_duration(left)} to go" if ended < total else ""
        if outcome.status == "failed":
            self.say(
                f"[{ended}/{total}] {outcome.job.name}: FAILED: {outcome.message}; log: {outcome.log}{rest}"
            )
        else:
            self.say(f"[{ended}/{total}] {outcome.job.name}: done{rest}")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
