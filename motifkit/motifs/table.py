"""Tables of motifs: one row a filter, and how a filter's motif changes with the rule."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import require
from motifkit.files import written
from motifkit.motifs.compare import compare
from motifkit.motifs.extract import extract_motifs
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.rules import RULES
from motifkit.motifs.similarity import similarities

if TYPE_CHECKING:
    import pandas


def motif_table(
    motifs: MotifSet,
    trimmed: MotifSet | None = None,
    matches: "pandas.DataFrame | None" = None,
    placements: "pandas.DataFrame | None" = None,
) -> "pandas.DataFrame":
    """One row a filter: what is known of its motif, and, with `matches`, its best match.

    Args:
        motifs: as extracted, with their dead filters. trimmed: the informative ones, trimmed; made
            from `motifs` where not given. matches: from `compare`. placements: from `score_placements`.

    Returns:
        filter, nsites, width and information (bits) and consensus of the trimmed motif; then target,
        target_name, e_value and matches (their number); then the columns of `placements`. A filter
        with no informative column has width 0.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.motifs.table import motif_table
        >>> motifs = mk.extract_motifs(mk.one_hot(mk.encode("GATTACA")), ["CCGATTACATT"] * 2)
        >>> motif_table(motifs).iloc[0].to_dict()
        {'filter': 'filter0', 'nsites': 2, 'width': 7, 'information': 14.0, 'consensus': 'GATTACA'}
    """
    pandas = require("pandas", "motifs")
    kept = {motif.name: motif for motif in (motifs.trim() if trimmed is None else trimmed)}
    rows = [{"filter": m.name, "nsites": m.nsites, **_shape(kept.get(m.name))} for m in motifs]
    rows += [{"filter": name, "nsites": 0, **_shape(None)} for name in motifs.dead]
    table = pandas.DataFrame(rows, columns=["filter", "nsites", "width", "information", "consensus"])
    if matches is not None:
        best = matches.drop_duplicates("query").set_index("query")
        for column, nothing in (("target", ""), ("target_name", ""), ("e_value", math.nan)):
            table[column] = [best[column].get(name, nothing) for name in table["filter"]]
        counts = matches["query"].value_counts()
        table["matches"] = [int(counts.get(name, 0)) for name in table["filter"]]
        if "empirical_p" in matches:
            table["empirical_p"] = [best["empirical_p"].get(name, math.nan) for name in table["filter"]]
    if placements is not None:
        table = table.merge(placements, on="filter", how="left")
    return table


def write_table(table: "pandas.DataFrame", path: str | os.PathLike[str]) -> Path:
    """Write a table as TSV, whole or not at all: 6 digits, nothing for what is not known."""
    path = Path(path)
    with written(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    return path


def _shape(shown: Motif | None) -> dict[str, object]:
    if shown is None:
        return {"width": 0, "information": 0.0, "consensus": ""}
    return {
        "width": len(shown),
        "information": float(shown.information.sum()),
        "consensus": shown.consensus,
    }


# ---- rules side by side ------------------------------------------------------------------------------------


def motifs_by_rule(
    model: nn.Module | Tensor,
    sequences: Tensor | Sequence[str] | SequenceDataset,
    rules: Sequence[str] | None = None,
    **settings,
) -> dict[str, MotifSet]:
    """Motifs of every rule, by its name; `settings` go to `extract_motifs`.

    rules: names; by default all that the sequences allow ("pysster" needs classes).
    """
    if rules is None:
        classes = isinstance(sequences, SequenceDataset) or settings.get("targets") is not None
        rules = [name for name, rule in RULES.items() if classes or rule.windows != "class"]
    return {name: extract_motifs(model, sequences, rule=name, **settings) for name in rules}


def compare_rules(
    model: nn.Module | Tensor,
    sequences: Tensor | Sequence[str] | SequenceDataset,
    *,
    rules: Sequence[str] | None = None,
    target: MotifSet | str | os.PathLike[str] | None = None,
    evalue: float = 0.1,
    quiet: bool = False,
    **settings,
) -> "pandas.DataFrame":
    """How each filter's motif changes with the rule that chooses its windows.

    Args:
        model, sequences: as extract_motifs, which gets the other `settings` too (layer, strands, ...).
        rules: their names; by default all that the sequences allow.
        target: a database to name the motifs by, as `compare` takes it, with its E-value `evalue`;
            None names nothing.

    Returns:
        One row a filter and rule: filter, rule, nsites, width, information and consensus as
        `motif_table`; correlation, Pearson's r with the filter's motif by the first rule (the paper's,
        by default) at the best offset on the same strand, NaN where one of them has none; and with a
        target: target, target_name, e_value, matches.

    Example:
        >>> import motifkit as mk
        >>> table = mk.compare_rules(mk.one_hot(mk.encode("GATTACA")), ["CCGATTACATT"] * 12)
        >>> table[["rule", "nsites", "consensus"]].iloc[:2].values.tolist()
        [['paper', 12, 'GATTACA'], ['code', 12, 'NNNCCGATTACATTNNN']]
    """
    by_rule = motifs_by_rule(model, sequences, rules, **settings)
    return rules_table(by_rule, target=target, evalue=evalue, quiet=quiet)


def rules_table(
    by_rule: Mapping[str, MotifSet],
    *,
    target: MotifSet | str | os.PathLike[str] | None = None,
    evalue: float = 0.1,
    quiet: bool = False,
) -> "pandas.DataFrame":
    """The table of `compare_rules`, from what `motifs_by_rule` returned."""
    pandas = require("pandas", "motifs")
    first = {motif.name: motif for motif in next(iter(by_rule.values()))}
    frames = []
    for rule, motifs in by_rule.items():
        trimmed = motifs.trim()
        matches = None if target is None else compare(trimmed, target, evalue=evalue, quiet=quiet)
        frame = motif_table(motifs, trimmed, matches)
        frame.insert(1, "rule", rule)
        likeness = {
            m.name: float(similarities([first[m.name]], [m], strands="+")[0][0, 0])
            for m in motifs
            if m.name in first
        }
        frame.insert(6, "correlation", [likeness.get(name, math.nan) for name in frame["filter"]])
        frames.append(frame)
    order = {name: i for i, name in enumerate(_filter_order(by_rule))}
    table = pandas.concat(frames, ignore_index=True)
    return table.sort_values("filter", key=lambda c: c.map(order), kind="stable", ignore_index=True)


def _filter_order(by_rule: Mapping[str, MotifSet]) -> list[str]:
    names = {name for motifs in by_rule.values() for name in [*(m.name for m in motifs), *motifs.dead]}
    return sorted(names, key=lambda name: (len(name), name))
