"""Where motifs occur in a data set: positions, strands, distances, and which occur together."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import require
from motifkit.motifs.bed import bed_names
from motifkit.motifs.compare import _benjamini_hochberg
from motifkit.motifs.motif import MotifSet
from motifkit.motifs.scanning import Sites, scan_sequences
from motifkit.sequences import encode, read_fasta

if TYPE_CHECKING:
    import pandas

PAIR_DISTANCE = 100  # letters between two sites, at most, that pair_distances counts


def find_sites(
    motifs: MotifSet,
    sequences: str | os.PathLike[str] | Tensor | Sequence[str] | SequenceDataset,
    **limits,
) -> "pandas.DataFrame":
    """All sites of motifs in a data set.

    Args:
        motifs: of a model (`extract_motifs(...).trim()`) or any other.
        sequences: as scan_sequences, but all in memory: for genomes use that.
        limits: pvalue, threshold, fraction, strands, background and pseudocount, as scan_sequences.

    Returns:
        One row a site, ordered by sequence and position: sequence (row of the data set), start (from
        0), end (exclusive), motif (name), strand ("+" or "-"), score (bits), p_value. `attrs` holds
        "sequences" and "length" (of the longest), which the other functions here need, and "motifs",
        all names.

    Example:
        >>> import motifkit as mk
        >>> motif = mk.Motif("m", mk.one_hot(mk.encode("GATTACA"))[0].numpy() * 20, 20)
        >>> find_sites(mk.MotifSet([motif]), ["CCGATTACATT", "TGTAATCAAAA"]).iloc[:, :5].values.tolist()
        [[0, 2, 9, 'm', '+'], [1, 0, 7, 'm', '-']]
    """
    pandas = require("pandas", "motifs")
    if isinstance(sequences, str | os.PathLike):
        _, sequences = read_fasta(sequences)
    elif isinstance(sequences, SequenceDataset):
        sequences, _ = sequences.split("test")
    elif not isinstance(sequences, Tensor):
        sequences = encode(sequences, max(map(len, sequences), default=0))
    parts = list(scan_sequences(motifs, sequences, **limits))
    names = np.array(bed_names(motifs), dtype=object)

    def column(name: str) -> np.ndarray:
        empty = np.zeros(0, dtype=np.float64 if name in ("score", "p_value") else np.int64)
        return np.concatenate([getattr(part, name) for part in parts]) if parts else empty

    sites = {name: column(name) for name in Sites._fields if name != "name"}
    table = pandas.DataFrame(
        {
            "sequence": sites["sequence"],
            "start": sites["start"],
            "end": sites["end"],
            "motif": names[sites["motif"]],
            "strand": np.where(sites["strand"] > 0, "+", "-"),
            "score": sites["score"],
            "p_value": sites["p_value"],
        }
    )
    table.attrs = {"sequences": len(sequences), "length": int(sequences.shape[-1]), "motifs": list(names)}
    return table


def site_summary(sites: "pandas.DataFrame", bins: int = 20) -> "pandas.DataFrame":
    """One row a motif: how many sites, on which strand, and whether they keep to some part.

    Returns:
        motif, sites, sequences (that hold one), plus, minus, strand_p (two-sided binomial test that both
        strands are as likely), centre (median of the sites' middles, in letters), position_p (chi-square
        test that sites begin anywhere alike, over `bins` bins; NaN where a bin would expect fewer than 5).
        A palindrome's sites count on both strands.
    """
    pandas = require("pandas", "motifs")
    stats = require("scipy.stats", "motifs")
    rows = []
    length = sites.attrs["length"]
    for name, own in _groups(sites):
        plus, total = int((own["strand"] == "+").sum()), len(own)
        middle = (own["start"] + own["end"] - 1) / 2
        row = {
            "motif": name, "sites": total, "sequences": int(own["sequence"].nunique()), "plus": plus,
            "minus": total - plus, "strand_p": np.nan, "centre": np.nan, "position_p": np.nan,
        }  # fmt: skip
        if total:
            starts = length - int(own["end"].iloc[0] - own["start"].iloc[0]) + 1  # where a site may begin
            used = min(bins, total // 5, starts)
            row |= {
                "strand_p": float(stats.binomtest(plus, total).pvalue),
                "centre": float(middle.median()),
            }
            if used > 1:
                which = own["start"].to_numpy() * used // starts
                ends = -(-np.arange(used + 1) * starts // used)
                expected = np.diff(ends) / starts * total
                row["position_p"] = float(
                    stats.chisquare(np.bincount(which, minlength=used), expected).pvalue
                )
        rows.append(row)
    return pandas.DataFrame(rows)


def site_positions(sites: "pandas.DataFrame", bins: int = 40) -> "pandas.DataFrame":
    """Histograms of the sites' middles along the sequences, strand by strand.

    Returns:
        One row a motif and bin: motif, begin, end (letters, exclusive), plus, minus (sites).
    """
    pandas = require("pandas", "motifs")
    length = sites.attrs["length"]
    edges = np.unique(np.linspace(0, length, min(bins, length) + 1).round().astype(int))
    frames = []
    for name, own in _groups(sites):
        middle = (own["start"].to_numpy() + own["end"].to_numpy() - 1) // 2
        forward = (own["strand"] == "+").to_numpy()
        frames.append(
            pandas.DataFrame(
                {
                    "motif": name,
                    "begin": edges[:-1],
                    "end": edges[1:],
                    "plus": np.histogram(middle[forward], edges)[0],
                    "minus": np.histogram(middle[~forward], edges)[0],
                }
            )
        )
    return pandas.concat(frames, ignore_index=True)


def cooccurrence(sites: "pandas.DataFrame") -> "pandas.DataFrame":
    """Which motifs occur in the same sequences more, or less, often than chance would have them.

    Chance is the hypergeometric distribution: motif a's sequences drawn without regard to motif b's.
    Sequences are taken as exchangeable: where some classes hold both motifs, that is found here too.
    Two motifs that match the same words (copies of one filter) always occur together: `same_place`
    tells them.

    Returns:
        One row a pair of motifs that occur, most surprising first: motif_a, motif_b, sequences_a,
        sequences_b, both (sequences), expected, log2_ratio (of both + 0.5 to expected + 0.5), p_value
        (two-sided: twice the smaller tail, at most 1), q_value (Benjamini-Hochberg over all pairs),
        same_place (the part of `both` in which sites of the two overlap by half of the shorter).
    """
    pandas = require("pandas", "motifs")
    stats, sparse = require("scipy.stats", "motifs"), require("scipy.sparse", "motifs")
    names, total = sites.attrs["motifs"], sites.attrs["sequences"]
    motif = _numbers(sites, names)
    present = sparse.csr_array(
        (np.ones(len(sites)), (sites["sequence"], motif)), shape=(total, len(names))
    ).astype(bool)
    each = np.asarray(present.sum(0)).ravel().astype(int)
    together = (present.T.astype(int) @ present.astype(int)).toarray()
    a, b = np.triu_indices(len(names), 1)
    occur = (each[a] > 0) & (each[b] > 0)
    a, b = a[occur], b[occur]
    both = together[a, b]
    upper = stats.hypergeom.sf(both - 1, total, each[a], each[b])
    lower = stats.hypergeom.cdf(both, total, each[a], each[b])
    p_value = np.minimum(1, 2 * np.minimum(upper, lower))
    expected = each[a] * each[b] / max(total, 1)
    order = np.argsort(p_value, kind="stable")
    q_value = np.empty(len(order))
    q_value[order] = _benjamini_hochberg(p_value[order]) if len(order) else 0
    overlapping = _overlapping(sites, motif, len(names))[a, b]
    table = pandas.DataFrame(
        {
            "motif_a": np.array(names, dtype=object)[a],
            "motif_b": np.array(names, dtype=object)[b],
            "sequences_a": each[a],
            "sequences_b": each[b],
            "both": both,
            "expected": expected,
            "log2_ratio": np.log2((both + 0.5) / (expected + 0.5)),
            "p_value": p_value,
            "q_value": q_value,
            "same_place": overlapping / np.maximum(both, 1),
        }
    )
    return table.iloc[order].reset_index(drop=True)


def pair_distances(
    sites: "pandas.DataFrame", pairs: Iterable[tuple[str, str]], most: int = PAIR_DISTANCE
) -> "pandas.DataFrame":
    """How far apart, and which way round, the sites of pairs of motifs stand.

    Every two sites of a sequence that do not overlap and have at most `most` letters between them count.

    Args:
        sites: from find_sites. pairs: names of motifs; a motif may be paired with itself.
        most: letters between two sites.

    Returns:
        One row a pair, side, strands and distance that occurs: motif_a, motif_b, side (where b stands as
        a is read: "downstream" or "upstream"), strands ("same" or "opposite"), distance (letters between
        the two), count.
    """
    pandas = require("pandas", "motifs")
    groups = dict(_groups(sites))
    frames = []
    for name_a, name_b in pairs:
        one, two = (groups[name].reset_index(drop=True).reset_index(names="row") for name in (name_a, name_b))
        met = one.merge(two, on="sequence", suffixes=("_a", "_b"))
        if name_a == name_b:
            met = met[met["row_a"] < met["row_b"]]
        after = met["start_b"] >= met["end_a"]
        distance = np.where(after, met["start_b"] - met["end_a"], met["start_a"] - met["end_b"])
        met = met.assign(
            motif_a=name_a,
            motif_b=name_b,
            side=np.where(after == (met["strand_a"] == "+"), "downstream", "upstream"),
            strands=np.where(met["strand_a"] == met["strand_b"], "same", "opposite"),
            distance=distance,
        )
        keys = ["motif_a", "motif_b", "side", "strands", "distance"]
        near = met[(distance >= 0) & (distance <= most)]
        frames.append(near.groupby(keys).size().rename("count").reset_index())
    columns = ["motif_a", "motif_b", "side", "strands", "distance", "count"]
    return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=columns)


def preferred_spacings(distances: "pandas.DataFrame", most: int = PAIR_DISTANCE) -> "pandas.DataFrame":
    """The distance that each pair and arrangement keeps most often, and how surprising that is.

    Returns:
        One row a pair, side and strands: motif_a, motif_b, side, strands, pairs (all distances), distance
        (the commonest), count (at it), p_value (binomial tail against distances 0..`most` being equally
        likely, times their number), q_value (Benjamini-Hochberg). Most surprising first.
    """
    pandas = require("pandas", "motifs")
    stats = require("scipy.stats", "motifs")
    rows = []
    keys = ["motif_a", "motif_b", "side", "strands"]
    for key, own in distances.groupby(keys, sort=True):
        best = own.loc[own["count"].idxmax()]
        pairs = int(own["count"].sum())
        tail = stats.binom.sf(best["count"] - 1, pairs, 1 / (most + 1)) * (most + 1)
        rows.append((*key, pairs, int(best["distance"]), int(best["count"]), min(1.0, float(tail))))
    columns = [*keys, "pairs", "distance", "count", "p_value"]
    table = pandas.DataFrame(rows, columns=columns).sort_values("p_value", kind="stable", ignore_index=True)
    table["q_value"] = _benjamini_hochberg(table["p_value"].to_numpy()) if len(table) else []
    return table


def _groups(sites: "pandas.DataFrame") -> list[tuple[str, "pandas.DataFrame"]]:
    """Sites of each motif, those with none too, in the motifs' order."""
    groups = dict(iter(sites.groupby("motif")))
    return [(name, groups.get(name, sites.iloc[:0])) for name in sites.attrs["motifs"]]


def _numbers(sites: "pandas.DataFrame", names: Sequence[str]) -> np.ndarray:
    return sites["motif"].map({name: i for i, name in enumerate(names)}).to_numpy(dtype=np.int64)


def _overlapping(sites: "pandas.DataFrame", motif: np.ndarray, count: int) -> np.ndarray:
    """(motifs, motifs) sequences in which sites of the two overlap by half of the shorter."""
    sequence, start, end = (sites[c].to_numpy() for c in ("sequence", "start", "end"))
    order = np.lexsort((start, sequence))
    sequence, start, end, motif = sequence[order], start[order], end[order], motif[order]
    width = end - start
    found = [np.zeros(0, dtype=np.int64)]
    for lag in range(1, len(start)):
        first, second = slice(None, -lag), slice(lag, None)
        near = (sequence[first] == sequence[second]) & (start[second] < start[first] + width.max())
        if not near.any():
            break
        shared = np.minimum(end[first], end[second]) - start[second]
        meets = near & (2 * shared >= np.minimum(width[first], width[second]))
        low = np.minimum(motif[first], motif[second])[meets]
        high = np.maximum(motif[first], motif[second])[meets]
        found.append((sequence[first][meets] * count + low) * count + high)
    pairs = np.unique(np.concatenate(found)) % (count * count)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)
