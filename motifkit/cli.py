"""The motifkit command."""

import argparse
import sys
import traceback

from motifkit import __version__
from motifkit.commands.common import set_threads
from motifkit.commands.data import add_prepare, add_simulate
from motifkit.commands.motifs import add_cluster, add_compare, add_importance, add_motifs, add_scan
from motifkit.commands.reports import add_demo, add_doctor, add_report, add_reproduce
from motifkit.commands.training import add_train
from motifkit.errors import InputError, MissingDependencyError


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 internal error, 2 bad input or usage."""
    arguments = _parser().parse_args(argv)
    try:
        set_threads(arguments.threads)
        return arguments.run(arguments) or 0
    except (InputError, MissingDependencyError) as error:
        print(f"motifkit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "motifkit: stopped; what was finished is kept (train continues with --resume)",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        return 0
    except Exception:
        traceback.print_exc()
        print(
            "motifkit: this is an internal error; please report it with the lines above",
            file=sys.stderr,
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="motifkit", description="Train CNNs on DNA and read out the motifs they learned."
    )
    parser.add_argument("--version", action="version", version=f"motifkit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        add_demo, add_simulate, add_prepare, add_train, add_motifs, add_importance, add_cluster, add_compare,
        add_scan, add_report, add_reproduce, add_doctor,
    ):  # fmt: skip
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
