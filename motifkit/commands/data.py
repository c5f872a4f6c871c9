"""Commands that make data sets: simulate, prepare."""

from pathlib import Path

from motifkit.commands.common import command, print_result
from motifkit.errors import InputError


def add_simulate(commands) -> None:
    """`motifkit simulate`."""
    parser = command(commands, "simulate", _run_simulate, "make the paper's synthetic data")
    parser.add_argument("out", type=Path, metavar="OUT.h5")
    parser.add_argument("--n", type=int, default=25000, help="sequences")
    parser.add_argument("--length", type=int, default=200, help="letters of each")
    parser.add_argument(
        "--motifs", type=Path, metavar="FILE.meme", help="motifs to embed instead of the paper's 12"
    )
    parser.add_argument("--minimum-gap", type=int, default=1, help="letters between motifs")
    parser.add_argument(
        "--gaps", default="even", choices=("even", "scaled"),
        help="all arrangements alike, or as the paper's program",
    )  # fmt: skip


def _run_simulate(arguments) -> None:
    from motifkit import MotifSet, simulate

    motifs = None if arguments.motifs is None else MotifSet.read(arguments.motifs)
    dataset = simulate(
        arguments.n, arguments.length, motifs, arguments.seed, minimum_gap=arguments.minimum_gap,
        gaps=arguments.gaps,
    )  # fmt: skip
    _save_dataset(arguments, dataset)


def _save_dataset(arguments, dataset) -> None:
    dataset.save(arguments.out)
    sizes = {name: len(rows) for name, rows in dataset.splits.items()}
    positives = dict(zip(dataset.class_names, dataset.targets.long().sum(0).tolist(), strict=True))
    result = {
        "file": str(arguments.out), "sequences": len(dataset), "length": dataset.length,
        "splits": sizes, "positives": positives,
    }  # fmt: skip
    shares = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    counts = ", ".join(f"{name} {count:,}" for name, count in positives.items())
    print_result(
        arguments, result,
        f"{arguments.out}: {len(dataset):,} sequences of {dataset.length} nt ({shares})\npositives: {counts}",
    )  # fmt: skip


def add_prepare(commands) -> None:
    """`motifkit prepare`."""
    parser = command(
        commands, "prepare", _run_prepare, "make a data set of tables, FASTA, peaks or published files",
        "One class a file, named by it, or one class a label column of a single table.",
    )  # fmt: skip
    parser.add_argument("out", type=Path, metavar="OUT.h5")
    parser.add_argument(
        "--table", nargs="+", type=Path, default=[], help="tables with a header, plain or .gz"
    )
    parser.add_argument("--positives", nargs="+", type=Path, default=[], help="FASTA files, one class each")
    parser.add_argument("--negatives", nargs="+", type=Path, default=[], help="FASTA files of no class")
    parser.add_argument("--test", nargs="+", type=Path, default=[], help="files of the test split")
    parser.add_argument("--sequence-column", help="name of the sequence column")
    parser.add_argument("--label-columns", nargs="+", default=[], help="names of the label columns")
    parser.add_argument("--shuffles", type=int, help="dinucleotide shuffles added a positive")
    parser.add_argument(
        "--fractions", nargs=3, type=float, default=(0.7, 0.1, 0.2), metavar=("TRAIN", "VALID", "TEST"),
        help="shares of the splits",
    )  # fmt: skip
    parser.add_argument("--bed", nargs="+", type=Path, default=[], help="BED files of peaks, one class each")
    parser.add_argument("--genome", type=Path, help="FASTA of the genome that --bed speaks of")
    parser.add_argument("--bin", type=int, default=200, help="letters of a labelled bin, with --bed")
    parser.add_argument("--length", type=int, default=1000, help="letters around a bin, with --bed")
    parser.add_argument("--valid-chromosomes", nargs="+", default=["chr7"], help="held out, with --bed")
    parser.add_argument(
        "--test-chromosomes", nargs="+", default=["chr8", "chr9"], help="held out, with --bed"
    )
    parser.add_argument("--background", type=int, help="bins without peaks added a bin with one, with --bed")
    parser.add_argument("--deepsea", type=Path, metavar="DIR", help="folder of DeepSEA's training bundle")
    parser.add_argument("--authors", type=Path, metavar="FILE.h5", help="a file of the paper's program")
    parser.add_argument("--channels", help="take this order of one-hot channels without a check")


def _run_prepare(arguments) -> None:
    from motifkit import prepare
    from motifkit.data import onehot_files, peaks

    ways = ("table", "positives", "bed", "deepsea", "authors")
    given = [f"--{way}" for way in ways if getattr(arguments, way)]
    if len(given) != 1:
        raise InputError(
            f"give one of {', '.join(f'--{way}' for way in ways)}"
            + (f", not {' and '.join(given)}" * bool(given))
        )
    if (arguments.genome is None) != (not arguments.bed):
        raise InputError("--bed and --genome go together")
    if arguments.bed:
        dataset = peaks.prepare_peaks(
            arguments.bed, arguments.genome, bin_size=arguments.bin, length=arguments.length,
            valid_chromosomes=arguments.valid_chromosomes, test_chromosomes=arguments.test_chromosomes,
            background=arguments.background, seed=arguments.seed,
        )  # fmt: skip
        return _save_dataset(arguments, dataset)
    if arguments.deepsea or arguments.authors:
        read = onehot_files.read_deepsea if arguments.deepsea else onehot_files.read_authors
        dataset = read(arguments.deepsea or arguments.authors, channels=arguments.channels)
        return _save_dataset(arguments, dataset)
    dataset = prepare(
        tables=arguments.table, positives=arguments.positives, negatives=arguments.negatives,
        test=arguments.test, sequence_column=arguments.sequence_column,
        label_columns=arguments.label_columns, shuffles=arguments.shuffles,
        fractions=tuple(arguments.fractions), seed=arguments.seed,
    )  # fmt: skip
    _save_dataset(arguments, dataset)
