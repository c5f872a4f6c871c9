"""What encode_before_after.py does once its networks are trained: motifs, evidence, pages and tables."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

import motifkit as mk
from motifkit.files import writable_folder
from motifkit.motifs.compare import load_targets
from motifkit.motifs.table import motifs_by_rule, rules_table, write_table
from motifkit.report.report import analyse, relevant_profiles, write_report

Net = tuple[nn.Module, Sequence[Mapping[str, float]]]  # takes codes; its history


def read_out(
    nets: Mapping[str, Net], data: mk.SequenceDataset, out: Path, *, rule: str, target: str, quick: bool
) -> str:
    """Fill a folder for each network; the tables as Markdown.

    rule: whose motifs the pages and clusters show; every rule's are in the tables. target: the database that
    names them; a class without a profile of its name there is left out of the tables. quick: few resamples,
    and names are not calibrated.
    """
    database = load_targets(target)
    profiles = relevant_profiles(data, database)
    by_rule = {name: motifs_by_rule(model, data) for name, (model, _) in nets.items()}
    clusters = mk.cluster_motifs({name: found[rule] for name, found in by_rule.items()})
    sections = []
    for name, (model, history) in nets.items():
        folder = writable_folder(out / name.lower())
        clusters.motifs.to_meme(folder / "clusters.meme")
        write_table(clusters.table, folder / "clusters.tsv")
        rules = rules_table(by_rule[name], target=database, quiet=True)
        write_table(rules, folder / "rules.tsv")
        named = {one: mk.compare(found.trim(), database, quiet=True) for one, found in by_rule[name].items()}
        bootstrap = 20 if quick else 200
        alone = mk.knock_out(model, data, replace="mean", bootstrap=bootstrap)
        write_table(alone, folder / "knockout.tsv")
        carriers = filters_of(named, profiles)
        groups = with_controls(carriers, by_rule[name][rule].filters)
        lost = alone.iloc[:0]
        if groups:
            lost = mk.knock_out(model, data, replace="mean", groups=groups, bootstrap=bootstrap)
        write_table(lost, folder / "factors.tsv")
        analysis = analyse(model, data, rule=rule, target=target, calibrate=0 if quick else 100, quiet=True)
        write_report(
            folder / "report.html", analysis, data, history=history,
            title=f"{name} on {', '.join(data.class_names)}", details=details(model, history, data),
        )  # fmt: skip
        sections += [f"## {name}", rule_counts(named, profiles)]
        sections.append(factor_table(analysis.metrics["auroc"], carriers, named, alone, lost))
    return "\n\n".join([*sections, "## Both networks", shared(clusters, database, list(nets))])


def details(model: nn.Module, history: Sequence[Mapping], data: mk.SequenceDataset) -> dict[str, object]:
    """For the foot of a page."""
    return {
        "model": f"{sum(p.numel() for p in model.parameters()):,} parameters",
        "training": f"{len(history)} epochs",
        "data": ", ".join(f"{name} {len(data.splits[name]):,}" for name in ("train", "valid", "test")),
        "made by": f"motifkit {mk.__version__}",
    }


def filters_of(named: Mapping[str, object], profiles: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The filters that carry each factor: a profile of it is matched by at least half of the rules."""
    out = {}
    for factor, wanted in profiles.items():
        votes = Counter(
            query for table in named.values() for query in set(table["query"][table["target"].isin(wanted)])
        )
        out[factor] = sorted((f for f, n in votes.items() if 2 * n >= len(named)), key=number)
    return out


def number(name: str) -> int:
    """The channel of a filter."""
    return int(name.removeprefix("filter"))


def with_controls(carriers: Mapping[str, Sequence[str]], filters: int) -> dict[str, list[int]]:
    """Channels to knock out together: each factor's, and as many drawn from those that carry no factor."""
    draw = random.Random(0)
    others = sorted(set(range(filters)) - {number(f) for found in carriers.values() for f in found})
    groups = {}
    for factor, found in carriers.items():
        if found:
            groups[factor] = [number(f) for f in found]
        if found and others:
            groups[f"{factor}, others"] = draw.sample(others, min(len(found), len(others)))
    return groups


def rule_counts(named: Mapping[str, object], profiles: Mapping[str, Sequence[str]]) -> str:
    """Markdown: filters that match a profile of each factor, by rule."""
    lines = [
        "Filters with a match to the factor's own profiles, by rule:\n",
        f"| factor | {' | '.join(named)} |",
        f"| --- |{' ---: |' * len(named)}",
    ]
    for factor, wanted in profiles.items():
        counts = [table["query"][table["target"].isin(wanted)].nunique() for table in named.values()]
        lines.append(f"| {factor} | {' | '.join(map(str, counts))} |")
    totals = [table["query"].nunique() for table in named.values()]
    return "\n".join([*lines, f"| any name | {' | '.join(map(str, totals))} |"])


def factor_table(auroc, carriers, named, alone, lost) -> str:
    """Markdown: what carries each factor, and what is lost without it."""
    lines = [
        "Filters that carry a factor (named so by at least half of the rules), and the change of its test"
        " AUROC when they are set to their mean:\n",
        "| factor | AUROC | filters | best names, all rules | without them | without as many others | most is"
        " lost without |",
        "| --- | ---: | --- | --- | ---: | ---: | --- |",
    ]
    for factor, found in carriers.items():
        worst = alone[alone["class"] == factor].nsmallest(1, "auroc").iloc[0]
        best = [table.drop_duplicates("query") for table in named.values()]
        names = Counter(n for table in best for n in table["target_name"][table["query"].isin(found)])
        cells = [
            ", ".join(found) or "none",
            ", ".join(f"{n} {count}" for n, count in names.most_common(4)) or "-",
            change(lost, factor, factor),
            change(lost, f"{factor}, others", factor),
            f"{worst['filter']} {worst['auroc']:+.3f}",
        ]
        lines.append(f"| {factor} | {auroc[factor]:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def change(lost, group: str, factor: str) -> str:
    """Of a class's AUROC, with its interval."""
    row = lost[(lost["filter"] == group) & (lost["class"] == factor)]
    if not len(row):
        return "-"
    row = row.iloc[0]
    return f"{row['auroc']:+.3f} [{row['auroc_low']:+.3f}, {row['auroc_high']:+.3f}]"


def shared(clusters, database: mk.MotifSet, nets: Sequence[str]) -> str:
    """Markdown: the motifs that every network found."""
    table = clusters.table
    everywhere = [
        name for name, own in table.groupby("cluster", sort=False) if own["run"].nunique() == len(nets)
    ]
    names = mk.compare(clusters.motifs, database, quiet=True).drop_duplicates("query").set_index("query")
    lines = [
        f"{len(table)} informative motifs are {table['cluster'].nunique()} clusters; {len(everywhere)} hold"
        " filters of both networks:\n",
        f"| cluster | consensus | best name | E-value | {' | '.join(nets)} |",
        f"| --- | --- | --- | ---: |{' ---: |' * len(nets)}",
    ]
    motifs = {motif.name: motif for motif in clusters.motifs}
    for name in everywhere:
        runs = table["run"][table["cluster"] == name].value_counts()
        label, e_value = ("none", "-")
        if name in names.index:
            label, e_value = names.loc[name, "target_name"], f"{names.loc[name, 'e_value']:.1g}"
        counts = " | ".join(str(runs[net]) for net in nets)
        lines.append(f"| {name} | `{motifs[name].consensus}` | {label} | {e_value} | {counts} |")
    return "\n".join(lines)
