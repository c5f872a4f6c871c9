"""The motifkit command."""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from motifkit import __version__
from motifkit.errors import InputError, MissingDependencyError

Handler = Callable[[argparse.Namespace], int | None]  # what it returns, if anything, is the exit status


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 internal error, 2 bad input or usage."""
    arguments = _parser().parse_args(argv)
    try:
        _set_threads(arguments.threads)
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
    from motifkit.motif_commands import add_cluster, add_importance

    for add in (
        _demo, _simulate, _prepare, _train, _motifs, _compare, _scan, add_importance, add_cluster, _report,
        _reproduce, _doctor,
    ):  # fmt: skip
        add(commands)
    return parser


def _command(commands, name: str, run: Handler, help: str, description: str = "") -> argparse.ArgumentParser:
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


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads must be at least 1, got {threads}")
    import torch

    torch.set_num_threads(threads)


def _shows_progress(arguments: argparse.Namespace) -> bool:
    return not arguments.quiet and sys.stderr.isatty()


def _say(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.quiet:
        print(f"motifkit: {text}", file=sys.stderr, flush=True)


def _print_result(arguments: argparse.Namespace, result: dict, text: str) -> None:
    from motifkit.files import to_json

    print(to_json(result) if arguments.json else text)


# ---- demo ------------------------------------------------------------------------------------


def _demo(commands) -> None:
    parser = _command(
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
        _say(arguments, f"simulating {arguments.n:,} sequences with 12 JASPAR motifs")
        dataset = simulate(n=arguments.n, seed=arguments.seed)
        dataset.save(data)
    trained = time.monotonic()
    train = argparse.Namespace(
        **vars(arguments), data=data, model="CNN-25", init="glorot", batch_size=100, lr=3e-4,
        patience=20, resume=True,
    )  # fmt: skip
    _train_run(train, dataset)
    _say(arguments, f"trained in {time.monotonic() - trained:.0f} s; extracting and naming motifs")
    analysis = _write_report(arguments, out, data, out / "report.html", "paper", "JASPAR2016", 0.1)
    from motifkit.report.report import summary

    text = summary(analysis) + f"\nreport: {out / 'report.html'}  ({time.monotonic() - start:.0f} s)"
    _print_result(arguments, analysis.metrics, text)


# ---- data ------------------------------------------------------------------------------------


def _simulate(commands) -> None:
    parser = _command(commands, "simulate", _run_simulate, "make the paper's synthetic data")
    parser.add_argument("out", type=Path, metavar="OUT.h5")
    parser.add_argument("--n", type=int, default=25000, help="sequences")
    parser.add_argument("--length", type=int, default=200, help="letters of each")
    parser.add_argument(
        "--motifs", type=Path, metavar="FILE.meme", help="motifs to embed instead of the paper's 12"
    )
    parser.add_argument("--minimum-gap", type=int, default=1, help="letters between motifs")


def _run_simulate(arguments) -> None:
    from motifkit import MotifSet, simulate

    motifs = None if arguments.motifs is None else MotifSet.read(arguments.motifs)
    dataset = simulate(
        arguments.n, arguments.length, motifs, arguments.seed, minimum_gap=arguments.minimum_gap
    )
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
    _print_result(
        arguments, result,
        f"{arguments.out}: {len(dataset):,} sequences of {dataset.length} nt ({shares})\npositives: {counts}",
    )  # fmt: skip


def _prepare(commands) -> None:
    parser = _command(
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


# ---- training --------------------------------------------------------------------------------


def _train(commands) -> None:
    parser = _command(commands, "train", _run_train, "train a network of the paper")
    parser.add_argument("data", type=Path, metavar="DATA.h5")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--model", default="CNN-25", help="its name in the paper")
    parser.add_argument("--init", default="glorot", choices=("glorot", "he", "torch"), help="initial values")
    parser.add_argument("--epochs", type=int, default=100, help="at most")
    parser.add_argument("--batch-size", type=int, default=100, help="sequences a step")
    parser.add_argument("--lr", type=float, default=3e-4, help="of Adam")
    parser.add_argument("--patience", type=int, default=20, help="epochs without improvement before stopping")
    parser.add_argument("--resume", action="store_true", help="continue the run in RUN, if it was cut short")


def _run_train(arguments) -> None:
    from motifkit import evaluate
    from motifkit.data.dataset import SequenceDataset
    from motifkit.train import distributed
    from motifkit.train.run import load_model

    dataset = SequenceDataset.load(arguments.data)
    arguments.quiet |= distributed.rank() > 0  # under torchrun one process speaks for all
    _train_run(arguments, dataset)
    if distributed.rank() > 0:
        return
    _, model = load_model(arguments.out)
    result = evaluate(model, dataset, device=arguments.device)
    text = (
        f"AUROC {result['auroc_mean']:.3f}, AUPR {result['aupr_mean']:.3f} on {result['sequences']} test"
        f" sequences; the run is in {arguments.out}"
    )
    _print_result(arguments, result, text)


def _train_run(arguments, dataset) -> None:
    """Train or continue the run in arguments.out."""
    from motifkit import fit
    from motifkit.files import writable_folder
    from motifkit.train.distributed import rank
    from motifkit.train.memory import keep_freed_memory
    from motifkit.train.run import Run

    keep_freed_memory()

    out = writable_folder(arguments.out)
    run = Run(
        arguments.model, arguments.init, dataset.length, list(dataset.class_names),
        str(arguments.data.resolve()), arguments.seed, arguments.epochs, arguments.batch_size,
        arguments.lr,
    )  # fmt: skip
    resume = arguments.resume
    if rank() == 0 and (out / "run.json").exists():
        earlier = Run.load(out)
        same = (earlier.model, earlier.length, earlier.class_names, earlier.seed, earlier.init)
        if not arguments.resume:
            raise InputError(f"{out}: holds a run already; continue it with --resume or name another folder")
        if same != (run.model, run.length, run.class_names, run.seed, run.init):
            raise InputError(
                f"{out}: its checkpoint is of {earlier.model} with {len(earlier.class_names)} classes on"
                f" {earlier.length} nt (seed {earlier.seed}, {earlier.init}), not of what is asked for;"
                " name another folder"
            )
    model = run.build()
    if rank() == 0:
        run.save(out)
    _say(arguments, f"training {arguments.model} on {len(dataset.splits['train']):,} sequences")
    fit(
        model, dataset, epochs=arguments.epochs, batch_size=arguments.batch_size, lr=arguments.lr,
        patience=arguments.patience, seed=arguments.seed, device=arguments.device, out=out,
        resume=resume, progress=_shows_progress(arguments),
    )  # fmt: skip


# ---- motifs ----------------------------------------------------------------------------------


def _motifs(commands) -> None:
    parser = _command(commands, "motifs", _run_motifs, "turn a trained model's filters into motifs")
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("data", type=Path, metavar="DATA.h5", help="its test split is scanned")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    _rule_argument(parser)
    parser.add_argument("--threshold", type=float, help="of the rule; its own by default")
    parser.add_argument("--strands", default="+", choices=("+", "-", "both"), help="strands to scan")
    parser.add_argument("--layer", help="dotted name of a layer; the first convolution by default")
    parser.add_argument("--cap", type=int, metavar="N", help="most windows of a sequence and filter")
    parser.add_argument("--top", type=int, metavar="N", help="most windows of a filter, for rules that cap")
    parser.add_argument("--ends", choices=("keep", "drop"), help="windows over an end; the rule's way")
    parser.add_argument(
        "--ambiguous", choices=("keep", "drop", "share"), help="windows with N; the rule's way by default"
    )
    parser.add_argument("--pseudocount", type=float, help="added to every cell; the rule's by default")
    parser.add_argument(
        "--untraced", action="store_true", help="cut a deep layer's receptive field without following pools"
    )
    parser.add_argument("--compare-rules", action="store_true", help="every rule's motifs, in rules.tsv")
    parser.add_argument(
        "--no-logos", action="store_true", help="no logos.png: hundreds of wide ones take long"
    )


def _rule_argument(parser) -> None:
    from motifkit.motifs.rules import RULES

    parser.add_argument("--rule", default="paper", choices=tuple(RULES), help="which windows make a motif")


def _run_motifs(arguments) -> None:
    from motifkit import compare_rules, extract_motifs
    from motifkit.data.dataset import SequenceDataset
    from motifkit.files import writable_folder
    from motifkit.motifs.table import motif_table, write_table
    from motifkit.train.run import check_dataset, load_model

    run, model = load_model(arguments.run_folder)
    dataset = SequenceDataset.load(arguments.data)
    check_dataset(run, dataset, arguments.data)
    out = writable_folder(arguments.out)
    shared = {
        "layer": arguments.layer, "strands": arguments.strands, "traced": not arguments.untraced,
        "device": arguments.device, "progress": _shows_progress(arguments),
    }  # fmt: skip
    try:
        motifs = extract_motifs(
            model, dataset, rule=arguments.rule, threshold=arguments.threshold,
            per_sequence=arguments.cap, top=arguments.top, ends=arguments.ends,
            ambiguous=arguments.ambiguous, pseudocount=arguments.pseudocount, **shared,
        )  # fmt: skip
        if arguments.compare_rules:
            write_table(compare_rules(model, dataset, **shared), out / "rules.tsv")
    except ValueError as error:
        raise InputError(f"{arguments.run_folder}: {error}") from None
    trimmed = motifs.trim()
    trimmed.to_meme(out / "motifs.meme")
    write_table(motif_table(motifs, trimmed), out / "motifs.tsv")
    if not arguments.no_logos:
        trimmed.plot(out / "logos.png")
    result = {
        "motifs": len(motifs),
        "informative": len(trimmed),
        "dead": motifs.dead,
        **motifs.origin,
    }
    text = (
        f"{len(trimmed)} of {motifs.filters} filters have an informative motif"
        + (f"; dead: {', '.join(motifs.dead)}" if motifs.dead else "")
        + f"\n{out}: motifs.meme, motifs.tsv"
        + ("" if arguments.no_logos else ", logos.png")
        + (", rules.tsv" if arguments.compare_rules else "")
    )
    _print_result(arguments, result, text)


def _target_arguments(parser) -> None:
    parser.add_argument("--target", default="JASPAR2016", help="a JASPAR release or a MEME file")
    parser.add_argument("--evalue", type=float, default=0.1, help="largest E-value of a match")
    parser.add_argument(
        "--calibrate", type=int, default=0, metavar="N", help="shuffles of each motif for an empirical p"
    )


def _compare(commands) -> None:
    parser = _command(
        commands,
        "compare",
        _run_compare,
        "name motifs by Tomtom",
        "A table of matches on standard output.",
    )
    parser.add_argument("query", type=Path, metavar="QUERY.meme")
    _target_arguments(parser)
    parser.add_argument(
        "--distance", default="euclidean", choices=("euclidean", "pearson"), help="of two columns"
    )


def _run_compare(arguments) -> None:
    from motifkit import MotifSet, compare

    query = MotifSet.read(arguments.query)
    matches = compare(
        query, arguments.target, evalue=arguments.evalue, distance=arguments.distance,
        calibrate=arguments.calibrate, seed=arguments.seed, quiet=arguments.quiet,
    )  # fmt: skip
    if arguments.json:
        print(matches.to_json(orient="records", indent=2))
    else:
        matches.to_csv(sys.stdout, sep="\t", index=False, float_format="%.6g")


def _scan(commands) -> None:
    from motifkit.motifs import scan_command

    parser = _command(commands, "scan", _run_scan, "where motifs occur, as BED", scan_command.DESCRIPTION)
    scan_command.add_arguments(parser)


def _run_scan(arguments) -> None:
    from motifkit.motifs import scan_command

    def say(text: str) -> None:
        _say(arguments, text)

    result = scan_command.run(arguments, _shows_progress(arguments), say)
    if result is not None and arguments.json:
        _print_result(arguments, result, "")


# ---- report ----------------------------------------------------------------------------------


def _report(commands) -> None:
    parser = _command(commands, "report", _run_report, "one page of everything a run learned")
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="report.html")
    parser.add_argument("--data", type=Path, metavar="DATA.h5", help="the run's own by default")
    _rule_argument(parser)
    _target_arguments(parser)


def _run_report(arguments) -> None:
    from motifkit.report.report import summary

    analysis = _write_report(
        arguments, arguments.run_folder, arguments.data, arguments.out, arguments.rule,
        arguments.target, arguments.evalue,
    )  # fmt: skip
    _print_result(arguments, analysis.metrics, summary(analysis) + f"\nreport: {arguments.out}")


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
        progress=_shows_progress(arguments),
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


# ---- the paper --------------------------------------------------------------------------------


def _reproduce(commands) -> None:
    from motifkit.experiments.command import add_arguments

    parser = _command(
        commands, "reproduce", _run_reproduce, "a table or figure of the paper, beside its values",
        "Trains what is not stored in --out yet, as independent runs; a call that was cut short goes on.",
    )  # fmt: skip
    add_arguments(parser)


def _run_reproduce(arguments) -> int:
    from motifkit.experiments import command

    return command.run(arguments, lambda text: _say(arguments, text), _print_result)


# ---- doctor ----------------------------------------------------------------------------------


def _doctor(commands) -> None:
    _command(commands, "doctor", _run_doctor, "what runs where and why")


def _run_doctor(arguments) -> None:
    from motifkit.doctor import examine, render

    found = examine()
    print(json.dumps(found, indent=2) if arguments.json else render(found))


if __name__ == "__main__":
    sys.exit(main())
