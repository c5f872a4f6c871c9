"""How well motifs answer: the paper's fractions, and hits against known placements."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from motifkit import ops
from motifkit.data.dataset import SequenceDataset
from motifkit.errors import require
from motifkit.motifs.filters import filter_bank, paper_threshold
from motifkit.motifs.jaspar import RELEVANT
from motifkit.motifs.motif import MotifSet

if TYPE_CHECKING:
    import pandas


def match_fractions(
    motifs: MotifSet,
    matches: "pandas.DataFrame",
    relevant: Mapping[str, Sequence[str]] = RELEVANT,
) -> dict[str, object]:
    """The fractions that Koo & Eddy (2019) report.

    Args:
        motifs: as extracted; dead filters count as unmatched. matches: from `compare`.
        relevant: for each true motif, the target names that count as finding it.

    Returns:
        filters; matched and relevant, numbers of filters with any match and with a relevant one;
        matched_fraction and relevant_fraction; found, the true motifs that some filter matches;
        missing, the others; coverage, the fraction found.

    Example:
        >>> import motifkit as mk, pandas
        >>> from motifkit.motifs.scoring import match_fractions
        >>> matches = pandas.DataFrame({"query": ["filter0"], "target": ["MA0083.3"]})
        >>> match_fractions(mk.MotifSet([], dead=["filter0", "filter1"]), matches)["found"]
        ['SRF']
    """
    matched = set(matches["query"])
    owner = {target: name for name, targets in relevant.items() for target in targets}
    hits = matches[matches["target"].isin(list(owner))]
    found = {owner[target] for target in hits["target"]}
    total = max(motifs.filters, 1)
    return {
        "filters": motifs.filters,
        "dead": len(motifs.dead),
        "matched": len(matched),
        "relevant": int(hits["query"].nunique()),
        "matched_fraction": len(matched) / total,
        "relevant_fraction": hits["query"].nunique() / total,
        "found": [name for name in relevant if name in found],
        "missing": [name for name in relevant if name not in found],
        "coverage": len(found) / max(len(relevant), 1),
    }


def score_placements(
    model: nn.Module | Tensor,
    dataset: SequenceDataset,
    *,
    split: str = "test",
    layer: str | None = None,
    threshold: float = 0.7,
) -> "pandas.DataFrame":
    """Precision and recall of each filter's hits against the motifs that were really embedded.

    A hit is a window of either strand whose activation exceeds `threshold` times the largest
    possible one. It finds a placement where they share at least half of the shorter of the two.
    Each filter is scored on the motif for which its F1 is largest.

    Args:
        model: as extract_motifs. dataset: with placements, as `simulate` makes them.
        split: the sequences used. layer: dotted name of the convolution. threshold: of a hit.

    Returns:
        One row a filter: filter, motif, hits, placements, precision (hits of that motif among all
        hits), recall (placements of it that were found), f1. NaN precision where nothing was hit.

    Raises:
        ValueError: the data set has no placements.

    Example:
        >>> import motifkit as mk
        >>> table = mk.score_placements(model, mk.simulate(n=1000))  # doctest: +SKIP
        >>> table.loc[0, ["filter", "motif", "precision", "recall"]].tolist()  # doctest: +SKIP
        ['filter0', 'SRF', 0.997, 0.894]
    """
    pandas = require("pandas", "motifs")
    if dataset.placements is None:
        raise ValueError("the data set has no placements: only simulated data have")
    rows = dataset.splits[split]
    codes = dataset.codes[rows]
    bank = filter_bank(model, layer)
    width = bank.weight.shape[2]
    hits = ops.scan_hits(
        codes, bank.weight, paper_threshold(bank, threshold), bank.bias, padding=bank.padding,
        strands="both",
    )  # fmt: skip
    # Rows of the split in place of rows of the data set.
    new_row = np.full(len(dataset), -1)
    new_row[rows.numpy()] = np.arange(len(rows))
    placed = dataset.placements[new_row[dataset.placements["sequence"]] >= 0]
    sequence = new_row[placed["sequence"]]
    motif, start = placed["motif"].astype(np.int64), placed["position"]
    widths = np.asarray(dataset.motif_widths)[motif]

    # Which motif's placement owns each letter, and which placement: one look-up a hit and end.
    pairs = _overlaps(hits, width, sequence, start, widths, codes.shape)
    classes = len(dataset.class_names)
    filters = len(bank.weight)
    hit_filter = hits.filter.numpy()
    total_hits = np.bincount(hit_filter, minlength=filters)
    total_placed = np.bincount(motif, minlength=classes)
    true_hits = np.zeros((filters, classes), dtype=np.int64)
    found = np.zeros((filters, classes), dtype=np.int64)
    hit, placement = pairs
    keys = np.unique(hit * classes + motif[placement])
    np.add.at(true_hits, (hit_filter[keys // classes], keys % classes), 1)
    keys = np.unique(hit_filter[hit] * len(placed) + placement)
    np.add.at(found, (keys // max(len(placed), 1), motif[keys % max(len(placed), 1)]), 1)
    precision = true_hits / np.maximum(total_hits, 1)[:, None]
    recall = found / np.maximum(total_placed, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = f1.argmax(1)
    every = np.arange(filters)
    return pandas.DataFrame(
        {
            "filter": bank.names,
            "motif": [dataset.class_names[i] for i in best],
            "hits": total_hits,
            "placements": total_placed[best],
            "precision": np.where(total_hits > 0, precision[every, best], np.nan),
            "recall": recall[every, best],
            "f1": f1[every, best],
        }
    )


def _overlaps(hits, width, sequence, start, widths, shape):
    """Pairs (hit, placement) that share at least half of the shorter one.

    Placements of one sequence do not overlap, so a window of `width` letters meets few of them:
    each is found at some letter of the window.
    """
    batch, length = shape
    owner = np.full((batch, length), -1, dtype=np.int64)
    order = np.arange(len(sequence))
    for offset in range(int(widths.max(initial=0))):
        inside = (offset < widths) & (start + offset < length)
        owner[sequence[inside], start[inside] + offset] = order[inside]
    position, row = hits.position.numpy(), hits.sequence.numpy()
    pairs = []
    for offset in range(width):
        at = position + offset
        inside = (at >= 0) & (at < length)
        met = np.full(len(at), -1, dtype=np.int64)
        met[inside] = owner[row[inside], at[inside]]
        pairs.append(np.stack([np.flatnonzero(met >= 0), met[met >= 0]]))
    both = np.unique(np.concatenate(pairs, axis=1), axis=1) if pairs else np.zeros((2, 0), dtype=int)
    hit, placement = both
    shared = np.minimum(position[hit] + width, start[placement] + widths[placement]) - np.maximum(
        position[hit], start[placement]
    )
    enough = 2 * shared >= np.minimum(width, widths[placement])
    return hit[enough], placement[enough]
