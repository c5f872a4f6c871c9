"""What the sub-commands share: common arguments, progress, results."""

import argparse
import sys
from collections.abc import Callable

from motifkit.errors import InputError

Handler = Callable[[argparse.Namespace], int | None]  # what it returns, if anything, is the exit status


def command(commands, name: str, run: Handler, help: str, description: str = "") -> argparse.ArgumentParser:
    """Declare a sub-command, with the options that all share."""
    parser = commands.add_parser(
        name, help=help, description=description or help,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(run=run)
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; a GPU where there is one")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as PyTorch would take")
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser


def set_threads(threads: int | None) -> None:
    """PyTorch's threads, and so ours."""
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads must be at least 1, got {threads}")
    import torch

    torch.set_num_threads(threads)


def shows_progress(arguments: argparse.Namespace) -> bool:
    """Whether somebody is there to watch."""
    return not arguments.quiet and sys.stderr.isatty()


def say(arguments: argparse.Namespace, text: str) -> None:
    """A line on standard error, unless --quiet."""
    if not arguments.quiet:
        print(f"motifkit: {text}", file=sys.stderr, flush=True)


def print_result(arguments: argparse.Namespace, result: dict, text: str) -> None:
    """A result on standard output: the text, or JSON of `result`."""
    from motifkit.files import to_json

    print(to_json(result) if arguments.json else text)


def rule_argument(parser) -> None:
    """--rule."""
    from motifkit.motifs.rules import RULES

    parser.add_argument("--rule", default="paper", choices=tuple(RULES), help="which windows make a motif")


def target_arguments(parser) -> None:
    """--target, --evalue and --calibrate."""
    parser.add_argument("--target", default="JASPAR2016", help="a JASPAR release or a motif file")
    parser.add_argument("--evalue", type=float, default=0.1, help="largest E-value of a match")
    parser.add_argument(
        "--calibrate", type=int, default=0, metavar="N", help="shuffles of each motif for an empirical p"
    )
