"""The sub-commands that ask what a run's filters are worth: importance and cluster."""

from pathlib import Path

from motifkit.cli import _command, _print_result, _rule_argument, _say
from motifkit.errors import InputError


def add_importance(commands) -> None:
    """motifkit importance RUN [DATA.h5]."""
    parser = _command(
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
        _say(
            arguments, f"knocking out {f'{len(groups)} groups' if groups else 'every filter'} of {run.model}"
        )
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
    _print_result(arguments, result, "\n".join(["most is lost without", *lines, str(path)]))


def add_cluster(commands) -> None:
    """motifkit cluster RUN..."""
    parser = _command(
        commands, "cluster", _run_cluster, "find filters that are copies, within and across runs",
        "Writes clusters.tsv, and clusters.meme: one motif for each group of copies.",
    )  # fmt: skip
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="RUN", help="run folders, or MEME files of motifs"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DATA.h5", help="each run's own by default")
    _rule_argument(parser)
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
    _print_result(arguments, result, f"{text}; {everywhere} in every run\n{out}: clusters.tsv, clusters.meme")


def _run_and_data(folder: Path, data: Path | None):
    from motifkit.data.dataset import SequenceDataset
    from motifkit.train.run import check_dataset, load_model

    run, model = load_model(folder)
    path = Path(run.data) if data is None else data
    dataset = SequenceDataset.load(path)
    check_dataset(run, dataset, path)
    return run, model, dataset
