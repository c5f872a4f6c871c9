"""Which filters are copies of each other, within a model and across runs of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motifkit.errors import require
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.similarity import similarities

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Clusters:
    """Motifs that are one.

    Attributes:
        table: a row a motif, clusters in order: cluster, run, filter, offset (the column of the
            consensus that the filter's first one stands on), strand ("-" where it is turned), similarity
            (Pearson's r with the consensus), size (motifs in the cluster), runs (that have one of them),
            reproducibility (runs over all runs).
        motifs: the consensus of each cluster, not redundant: the aligned sum of the counts of its
            members, trimmed. `nsites` is their sum, the label says how many members of how many runs.
    """

    table: "pandas.DataFrame"
    motifs: MotifSet

    def groups(self, run: str | None = None) -> dict[str, list[int]]:
        """Channels of each cluster of one run (the only one by default), ready for `knock_out`."""
        table = self.table
        runs = table["run"].unique().tolist()
        if run is None and len(runs) > 1:
            raise ValueError(f"say which run: {', '.join(runs)}")
        table = table if run is None else table[table["run"] == run]
        out: dict[str, list[int]] = {}
        for cluster, name in zip(table["cluster"], table["filter"], strict=True):
            number = re.search(r"\d+$", name)
            if number is None:
                raise ValueError(f"{name!r} does not end in the number of its channel")
            out.setdefault(cluster, []).append(int(number.group()))
        return out


def cluster_motifs(
    motifs: MotifSet | Mapping[str, MotifSet],
    *,
    threshold: float = 0.75,
    linkage: str = "average",
) -> Clusters:
    """Group motifs that are alike, and tell how many runs found each group.

    Motifs are trimmed; those without an informative column belong nowhere. The distance of two is 1 - r,
    r their correlation at the best offset and strand (`motifkit.motifs.similarity.similarities`). They
    are joined by hierarchical clustering (scipy) while the mean distance between groups is at most
    1 - threshold. Each cluster is aligned to its medoid, the member most like the others.

    Args:
        motifs: of one run, or of several by name, as extracted.
        threshold: least mean correlation of groups that are joined. linkage: "average", "complete" or
            "single".

    Returns:
        Clusters, those found in most runs first, then the largest.

    Raises:
        ValueError: an unknown linkage, or a threshold outside 0..1.

    Example:
        >>> import motifkit as mk
        >>> def one(letters):
        ...     return mk.MotifSet([mk.Motif("filter0", mk.one_hot(mk.encode(letters))[0].numpy(), 1)])
        >>> found = mk.cluster_motifs({"a": one("GATTACA"), "b": one("TGTAATC"), "c": one("CCCGGG")})
        >>> found.table[["cluster", "run", "strand", "reproducibility"]].values.tolist()[:2]
        [['cluster1', 'a', '+', 0.6666666666666666], ['cluster1', 'b', '-', 0.6666666666666666]]
    """
    pandas = require("pandas", "motifs")
    if linkage not in ("average", "complete", "single"):
        raise ValueError(f"linkage must be average, complete or single, not {linkage!r}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
    by_run = {"run": motifs} if isinstance(motifs, MotifSet) else dict(motifs)
    members = [(run, motif) for run, found in by_run.items() for motif in found.trim()]
    columns = [
        "cluster", "run", "filter", "offset", "strand", "similarity", "size", "runs", "reproducibility",
    ]  # fmt: skip
    origin = {"made_by": "cluster_motifs", "threshold": threshold, "linkage": linkage, "runs": list(by_run)}
    if not members:
        return Clusters(pandas.DataFrame(columns=columns), MotifSet([], origin=origin))
    r, _, _ = similarities(*[[motif for _, motif in members]] * 2)
    groups = _groups(r, threshold, linkage)
    groups.sort(key=lambda g: (-len({members[i][0] for i in g}), -len(g), g[0]))
    rows, consensus = [], []
    for number, group in enumerate(groups, start=1):
        name, runs = f"cluster{number}", len({members[i][0] for i in group})
        medoid = group[int(r[np.ix_(group, group)].sum(1).round(9).argmax())]  # the first of equals
        merged = _merged([members[i][1] for i in group], members[medoid][1])
        label = f"{len(group)} motif{'s' * (len(group) > 1)} of {runs}/{len(by_run)} runs"
        sites = sum(members[i][1].nsites for i in group)
        whole = Motif(name, merged, sites, label)
        shown = whole.trim() if len(whole.trim()) else whole  # members that cancel out are still shown
        consensus.append(shown)
        likeness, offsets, strands = similarities([shown], [members[i][1] for i in group])
        for column, i in enumerate(group):
            rows.append(
                (name, members[i][0], members[i][1].name, int(offsets[0, column]),
                 "-" if strands[0, column] < 0 else "+", float(likeness[0, column]), len(group), runs,
                 runs / len(by_run))
            )  # fmt: skip
    return Clusters(pandas.DataFrame(rows, columns=columns), MotifSet(consensus, origin=origin))


def _groups(r: np.ndarray, threshold: float, linkage: str) -> list[list[int]]:
    hierarchy = require("scipy.cluster.hierarchy", "motifs")
    if len(r) == 1:
        return [[0]]
    upper = np.triu_indices(len(r), 1)
    distances = np.maximum(1 - (r[upper] + r.T[upper]) / 2, 0)
    tree = hierarchy.linkage(distances, method=linkage)
    labels = hierarchy.fcluster(tree, 1 - threshold + 1e-12, criterion="distance")
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


def _merged(members: list[Motif], medoid: Motif) -> np.ndarray:
    """Sum of the members' counts, aligned to the medoid."""
    _, offsets, strands = similarities([medoid], members)
    first = min(0, int(offsets.min()))
    last = max(int(o) + len(m) for o, m in zip(offsets[0], members, strict=True))
    total = np.zeros((4, max(last, len(medoid)) - first))
    for member, offset, strand in zip(members, offsets[0], strands[0], strict=True):
        counts = member.counts if strand > 0 else member.counts[::-1, ::-1]
        total[:, offset - first : offset - first + len(member)] += counts
    return total
