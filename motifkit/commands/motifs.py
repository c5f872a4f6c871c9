"""Commands about motifs: motifs, compare, scan, importance, cluster."""

import sys
from functools import partial
from pathlib import Path

from motifkit.commands.common import (
    command,
    print_result,
    rule_argument,
    say,
    shows_progress,
    target_arguments,
)
from motifkit.errors import InputError


def add_motifs(commands) -> None:
    """`motifkit motifs`."""
    parser = command(commands, "motifs", _run_motifs, "turn a trained model's filters into motifs")
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("data", type=Path, metavar="DATA.h5", help="its test split is scanned")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    rule_argument(parser)
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
        "device": arguments.device, "progress": shows_progress(arguments),
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
    print_result(arguments, result, text)


def add_compare(commands) -> None:
    """`motifkit compare`."""
    parser = command(
        commands,
        "compare",
        _run_compare,
        "name motifs by Tomtom",
        "A table of matches on standard output.",
    )
    parser.add_argument("query", type=Path, metavar="QUERY.meme")
    target_arguments(parser)
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


def add_scan(commands) -> None:
    """`motifkit scan`."""
    from motifkit.motifs import scan_command

    parser = command(commands, "scan", _run_scan, "where motifs occur, as BED", scan_command.DESCRIPTION)
    scan_command.add_arguments(parser)


def _run_scan(arguments) -> None:
    from motifkit.motifs import scan_command

    result = scan_command.run(arguments, shows_progress(arguments), partial(say, arguments))
    if result is not None and arguments.json:
        print_result(arguments, result, "")


def add_importance(commands) -> None:
    """motifkit importance RUN [DATA.h5]."""
    parser = command(
        commands, "importance", _run_importance, "knock out each filter, and see what every class loses",
        "Writes knockout.tsv: changes of loss, AUROC and logit on the test split, with bootstrap intervals.",
    )  # fmt: skip
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA.h5", help="the run's own by default")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder by default")
    parser.add_argument("--layer", help="dotted name of the layer; the first convolution by default")
    parser.add_argument(
        "--replace", default="both", choices=("mean", "zero", "both"), help="what stands in for a filter"
    )
    parser.add_argument("--bootstrap", type=int, default=200, help="resamples for the intervals; 0 for none")
    parser.add_argument(
        "--copies", action="store_true", help="knock out copies of a motif together, as 'cluster' finds them"
    )


def _run_importance(arguments) -> None:
    from motifkit import cluster_motifs, extract_motifs, knock_out
    from motifkit.files import writable_folder
    from motifkit.motifs.table import write_table

    run, model, dataset = _run_and_data(arguments.run_folder, arguments.data)
    out = writable_folder(arguments.out or arguments.run_folder)
    try:
        groups = None
        if arguments.copies:
            motifs = extract_motifs(model, dataset, layer=arguments.layer, device=arguments.device)
            groups = cluster_motifs(motifs).groups()
        say(arguments, f"knocking out {f'{len(groups)} groups' if groups else 'every filter'} of {run.model}")
        table = knock_out(
            model, dataset, layer=arguments.layer, groups=groups, bootstrap=arguments.bootstrap,
            replace=("mean", "zero") if arguments.replace == "both" else arguments.replace,
            seed=arguments.seed, device=arguments.device,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"{arguments.run_folder}: {error}") from None
    path = write_table(table, out / ("knockout-copies.tsv" if arguments.copies else "knockout.tsv"))
    overall = table[table["class"] == "mean"].sort_values("loss", ascending=False)
    worst = overall.drop_duplicates("filter").head(5)
    lines = [
        f"{row['filter']}: loss {row['loss']:+.4f} [{row['loss_low']:+.4f}, {row['loss_high']:+.4f}],"
        f" AUROC {row['auroc']:+.4f} ({row['replaced']})"
        for _, row in worst.iterrows()
    ]
    result = {"file": str(path), "rows": len(table), "worst": worst.to_dict("records")}
    print_result(arguments, result, "\n".join(["most is lost without", *lines, str(path)]))


def add_cluster(commands) -> None:
    """motifkit cluster RUN..."""
    parser = command(
        commands, "cluster", _run_cluster, "find filters that are copies, within and across runs",
        "Writes clusters.tsv, and clusters.meme: one motif for each group of copies.",
    )  # fmt: skip
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="RUN", help="run folders, or MEME files of motifs"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DATA.h5", help="each run's own by default")
    rule_argument(parser)
    parser.add_argument("--layer", help="dotted name of the layer; the first convolution by default")
    parser.add_argument(
        "--similarity", type=float, default=0.75, help="least mean correlation of motifs that are one"
    )


def _run_cluster(arguments) -> None:
    from motifkit import MotifSet, cluster_motifs, extract_motifs
    from motifkit.files import writable_folder
    from motifkit.motifs.table import write_table

    out = writable_folder(arguments.out)
    by_run = {}
    for source in arguments.sources:
        name = str(source)
        if name in by_run:
            raise InputError(f"{source}: given twice")
        if source.is_file():
            by_run[name] = MotifSet.read(source)
            continue
        _, model, dataset = _run_and_data(source, arguments.data)
        try:
            by_run[name] = extract_motifs(
                model, dataset, rule=arguments.rule, layer=arguments.layer, device=arguments.device
            )
        except ValueError as error:
            raise InputError(f"{source}: {error}") from None
    try:
        found = cluster_motifs(by_run, threshold=arguments.similarity)
    except ValueError as error:
        raise InputError(f"--similarity: {error}") from None
    write_table(found.table, out / "clusters.tsv")
    found.motifs.to_meme(out / "clusters.meme")
    everywhere = int((found.table.drop_duplicates("cluster")["runs"] == len(by_run)).sum())
    result = {
        "runs": list(by_run), "motifs": len(found.table), "clusters": len(found.motifs),
        "in_all_runs": everywhere,
    }  # fmt: skip
    text = f"{len(found.table)} informative motifs of {len(by_run)} runs are {len(found.motifs)}"
    print_result(arguments, result, f"{text}; {everywhere} in every run\n{out}: clusters.tsv, clusters.meme")


def _run_and_data(folder: Path, data: Path | None):
    from motifkit.data.dataset import SequenceDataset
    from motifkit.train.run import check_dataset, load_model

    run, model = load_model(folder)
    path = Path(run.data) if data is None else data
    dataset = SequenceDataset.load(path)
    check_dataset(run, dataset, path)
    return run, model, dataset
