"""Which windows a rule takes, chosen while the sequences stream by.

A rule ends in thresholds, or in a bounded list of hits. A fraction of the observed maximum needs one pass:
the maximum only grows, so a hit below the fraction of the maximum so far can be dropped for good. Where
the hits that are left would not fit, the pass is finished for the maxima alone and a second one counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from motifkit.motifs.rules import Rule
from motifkit.motifs.sources import DeepLayer, FirstLayer
from motifkit.ops import Hits
from motifkit.train import distributed as processes

_MOST_HELD = 4_000_000  # hits kept between passes: 20 bytes each
Chunks = Callable[[], Iterator[tuple[Tensor, Hits]]]


@dataclass
class Batches:
    """Sequences in batches, on the device asked for."""

    codes: Tensor
    size: int
    device: torch.device | str | None
    progress: bool = False
    distributed: bool = False  # whether other processes have other sequences

    def __iter__(self) -> Iterator[Tensor]:
        starts = range(0, len(self.codes), self.size)
        if self.progress:
            from tqdm import tqdm

            starts = tqdm(starts, desc="scanning", unit="batch", leave=False)
        for start in starts:
            batch = self.codes[start : start + self.size]
            yield batch if self.device is None else batch.to(self.device)


def select(rule: Rule, source: FirstLayer | DeepLayer, batches: Batches, targets: Tensor | None) -> Chunks:
    """The windows of a rule, batch by batch, as often as they are asked for.

    targets: (sequences, classes) of zeros and ones, for the rule that needs classes.
    """
    if batches.distributed and rule.windows in ("top", "class"):
        raise ValueError(f"the rule {rule.name!r} ranks all windows: it does not run in several processes")
    if rule.windows == "top":
        return _kept(_top(rule, source, batches), batches)
    if rule.windows == "class":
        return _kept(_of_the_class(rule, source, batches, targets), batches)
    if _reference(rule, source) == "observed":
        return _of_the_maximum(rule, source, batches)
    least = thresholds(rule, source, batches)
    if source.is_first:
        return _streamed(rule, source, batches, least)
    return _held_or_streamed(rule, source, batches, least)


def thresholds(rule: Rule, source: FirstLayer | DeepLayer, batches: Batches) -> Tensor:
    """(filters,) the score that windows must exceed under a rule that has such; inf where none may be taken.

    Where it depends on the activations of all windows, the sequences are scanned once for it.
    """
    reference = _reference(rule, source)
    if reference == "observed":
        observed = torch.full((source.filters,), -torch.inf, device=batches.device)
        for batch in batches:
            observed = torch.maximum(observed, source.largest(batch))
        if batches.distributed:
            observed = processes.largest(observed)
        return _above_a_fraction(rule, source, source.activation(observed))
    if reference == "possible":
        return _above_a_fraction(rule, source, source.possible())
    if reference == "mean":
        return _above_the_mean(rule, source, batches)
    return source.score_above(torch.full((source.filters,), rule.threshold, device=batches.device))


def _reference(rule: Rule, source: FirstLayer | DeepLayer) -> str:
    unknown = rule.reference == "possible" and source.possible() is None
    return "observed" if unknown else rule.reference


def _above_a_fraction(rule: Rule, source: FirstLayer | DeepLayer, top: Tensor) -> Tensor:
    """Score at the rule's fraction of an activation (filters,); inf where that is not positive."""
    return torch.where(top > 0, source.score_above(top * rule.threshold), torch.inf)


def _found(rule: Rule, source, batch: Tensor, least: Tensor) -> Hits:
    """Windows of a batch above a score."""
    if rule.windows == "best":
        best = source.best(batch)
        return best.hits(best.score > least)
    return source.hits(batch, least, rule.per_sequence)


def _streamed(rule: Rule, source, batches: Batches, least: Tensor) -> Chunks:
    def chunks():
        for batch in batches:
            yield batch, _found(rule, source, batch, least)

    return chunks


def _held_or_streamed(rule: Rule, source, batches: Batches, least: Tensor) -> Chunks:
    """A deep layer's hits are used more than once: kept, where they fit, so that it runs less."""
    held = _Held()
    for start, batch in _numbered(batches):
        held.add(_found(rule, source, batch, least), start)
        if held.count > _MOST_HELD:
            return _streamed(rule, source, batches, least)
    return _kept(held.hits(), batches)


def _of_the_maximum(rule: Rule, source, batches: Batches) -> Chunks:
    """Windows above a fraction of the largest activation seen, in one pass where they fit."""
    observed = torch.full((source.filters,), -torch.inf, device=batches.device)
    held: _Held | None = _Held()

    def least(open_to_all: bool = False) -> Tensor:
        """Score at the fraction of the maximum so far; of a filter that never fired, inf or any."""
        top = source.activation(observed)
        never = source.score_above(torch.zeros_like(top)) if open_to_all else torch.inf
        return torch.where(top > 0, source.score_above(top * rule.threshold), never)

    for start, batch in _numbered(batches):
        if held is None or start == 0 or rule.windows == "best":
            best = source.best(batch)
            observed = torch.maximum(observed, best.score.amax(0))
            if held is None:
                continue
        # Without a scan the hits themselves show the growing maximum: none above it is missed.
        if rule.windows == "best":
            hits = best.hits(best.score > least())
        else:
            hits = source.hits(batch, least(open_to_all=True), rule.per_sequence)
            observed = observed.scatter_reduce(0, hits.filter, hits.score, "amax")
        held.add(hits, start)
        if held.count > _MOST_HELD:
            held.prune(least())
            if held.count > _MOST_HELD // 2:
                held = None
    if batches.distributed:
        observed = processes.largest(observed)
    if held is None:
        return _streamed(rule, source, batches, least())
    held.prune(least())
    return _kept(held.hits(), batches)


def _above_the_mean(rule: Rule, source, batches: Batches) -> Tensor:
    """(filters,) score at mean + threshold (max - mean) of the activations."""
    total, count, observed = 0.0, 0, torch.full((source.filters,), -torch.inf, device=batches.device)
    for batch in batches:
        part, windows, largest = source.totals(batch)
        total, count = total + part, count + windows
        observed = torch.maximum(observed, largest)
    if batches.distributed:
        total, observed = processes.summed(total), processes.largest(observed)
        count = int(processes.summed(torch.tensor(count)))
    top = source.activation(observed)
    mean = (total / max(count, 1)).to(top.dtype)
    wanted = mean + rule.threshold * (top - mean)
    return torch.where(top > 0, source.score_above(wanted), torch.inf)


def _top(rule: Rule, source, batches: Batches) -> Hits:
    """The best windows of each filter anywhere, `rule.top` of them at most."""
    held = _Held()
    wanted = torch.full((source.filters,), rule.threshold, device=batches.device)
    floor = source.score_above(wanted if rule.reference == "value" else wanted * 0)
    least = floor
    for start, batch in _numbered(batches):
        if rule.per_sequence == 1:
            best = source.best(batch)
            hits = best.hits(best.score > least)
        else:
            scores = source.best(batch).score
            if len(scores) >= rule.top:  # so many windows of this batch alone are at least as good
                bound = scores.topk(rule.top, dim=0).values[-1]
                bound = torch.nextafter(bound, torch.full_like(bound, -torch.inf))
                least = torch.maximum(least, bound)
            hits = source.hits(batch, least, min(rule.per_sequence or rule.top, rule.top))
        held.add(hits, start)
        least = torch.maximum(floor, held.keep_top(rule.top, source.filters))
    hits = held.hits()
    if rule.reference == "observed" and len(hits.score):
        observed = torch.full_like(floor, -torch.inf)
        observed = observed.scatter_reduce(0, hits.filter, hits.score, "amax")
        wanted = source.activation(observed) * rule.threshold
        keep = hits.score > source.score_above(wanted)[hits.filter]
        hits = Hits(*(x[keep] for x in hits))
    return hits


def _of_the_class(rule: Rule, source, batches: Batches, targets: Tensor | None) -> Hits:
    """pysster: the best windows of the class that a filter answers to most."""
    if targets is None:
        raise ValueError(f"the rule {rule.name!r} needs targets=, the classes of the sequences")
    sums = torch.zeros(source.filters, targets.shape[1], dtype=torch.float64, device=batches.device)
    for start, batch in _numbered(batches):
        best = source.activation(source.best(batch).score).double()
        labels = targets[start : start + len(batch)].to(best)
        sums += best.T @ labels
    means = sums / targets.double().sum(0).clamp(min=1).to(sums.device)
    threshold, owner = means.max(1)
    held, above = _Held(), torch.zeros(source.filters, dtype=torch.int64, device=sums.device)
    for start, batch in _numbered(batches):
        best = source.best(batch)
        activation = source.activation(best.score).double()
        reached = (activation >= threshold) & (activation > rule.threshold)
        above += reached.sum(0)
        labels = targets[start : start + len(batch)].to(sums.device).bool()
        held.add(best.hits(reached & labels[:, owner]), start)
        held.keep_top(rule.top, source.filters)
    most = torch.clamp(above // 3, 1, rule.top)
    hits = held.hits()
    rank = _rank(hits)
    return Hits(*(x[rank < most[hits.filter]] for x in hits))


# ---- hits that are kept ----------------------------------------------------------------------------------


class _Held:
    """Hits of all sequences so far, in order, in as few bytes as they need."""

    def __init__(self):
        self.parts: list[tuple[Tensor, ...]] = []
        self.count = 0

    def add(self, hits: Hits, first: int) -> None:
        """Add a batch's hits; `first` is the number of its first sequence."""
        self.parts.append(
            ((hits.sequence + first).int(), hits.filter.int(), hits.position.int(), hits.strand, hits.score)
        )
        self.count += len(hits.score)

    def hits(self) -> Hits:
        """All of them."""
        if not self.parts:
            empty = torch.zeros(0, dtype=torch.int64)
            return Hits(empty, empty, empty, empty.to(torch.int8), empty.float())
        columns = self.parts[0]
        if len(self.parts) > 1:
            columns = [torch.cat(column) for column in zip(*self.parts, strict=True)]
        self.parts = [tuple(columns)]
        return Hits(*(c.long() if c.dtype == torch.int32 else c for c in columns))

    def prune(self, least: Tensor) -> None:
        """Drop what is not above a score (filters,)."""
        masks = [part[4] > least[part[1]] for part in self.parts]
        self.parts = [
            part if bool(mask.all()) else tuple(column[mask] for column in part)
            for part, mask in zip(self.parts, masks, strict=True)
        ]
        self.count = sum(len(part[4]) for part in self.parts)

    def keep_top(self, most: int, filters: int) -> Tensor:
        """Drop all but the best `most` of each filter; (filters,) the least score still kept there, or
        -inf where there is room."""
        hits = self.hits()
        keep = _rank(hits) < most
        self.parts = [tuple(c[keep] for c in self.parts[0])] if self.parts else []
        self.count = int(keep.sum())
        filter, score = hits.filter[keep], hits.score[keep]
        least = torch.full((filters,), torch.inf, dtype=score.dtype, device=score.device)
        least = least.scatter_reduce(0, filter, score, "amin")
        full = filter.bincount(minlength=filters) >= most
        return torch.where(full, least, -torch.inf)


def _rank(hits: Hits) -> Tensor:
    """(hits,) how many of the same filter come before: better ones, or equal ones that stand earlier."""
    order = hits.score.argsort(descending=True, stable=True)
    order = order[hits.filter[order].argsort(stable=True)]
    sizes = hits.filter.bincount()
    rank = torch.empty_like(order)
    starts = (sizes.cumsum(0) - sizes)[hits.filter[order]]
    rank[order] = torch.arange(len(order), device=order.device) - starts
    return rank


def _numbered(batches: Batches) -> Iterator[tuple[int, Tensor]]:
    start = 0
    for batch in batches:
        yield start, batch
        start += len(batch)


def _kept(hits: Hits, batches: Batches) -> Chunks:
    """Chunks of a list of hits ordered by sequence: only sequences that have some."""

    def chunks():
        rows, inverse = hits.sequence.unique_consecutive(return_inverse=True)
        edges = torch.arange(0, len(rows) + batches.size, batches.size, device=inverse.device)
        cuts = torch.searchsorted(inverse, edges)
        for index in range(len(cuts) - 1):
            part = slice(int(cuts[index]), int(cuts[index + 1]))
            if part.start == part.stop:
                continue
            first = index * batches.size
            batch = batches.codes[rows[first : first + batches.size].to(batches.codes.device)]
            batch = batch if batches.device is None else batch.to(batches.device)
            taken = Hits(*(x[part] for x in hits))
            yield batch, taken._replace(sequence=inverse[part] - first)

    return chunks
