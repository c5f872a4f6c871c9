"""Filters to motifs: which windows of the sequences activate a filter, and what they look like.

Memory does not grow with the number of sequences: each batch is scanned and its windows are counted
into one (filters, 4, width) table.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from motifkit import ops
from motifkit.data.dataset import SequenceDataset
from motifkit.motifs.filters import FilterBank, filter_bank
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.ops import Hits
from motifkit.sequences import encode
from motifkit.train import distributed as processes

_BATCH_LETTERS = 1 << 21  # letters scanned at once where batch_size is not given


def extract_motifs(
    model: nn.Module | Tensor,
    sequences: Tensor | Sequence[str] | SequenceDataset,
    *,
    layer: str | None = None,
    rule: str = "paper",
    threshold: float | None = None,
    strands: str = "+",
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    distributed: bool = False,
) -> MotifSet:
    """Turn the filters of a first convolution into motifs, from the windows that activate them.

    Rules:
        "paper" (Koo & Eddy 2019, Methods): of each sequence the window with the largest activation,
            if that exceeds `threshold` (0.7) times the largest activation any word could reach;
            windows over an end of the sequence are dropped.
        "code" (the authors' program): every window whose activation exceeds `threshold` (0.5) times
            the largest one observed, weighted by its activation; letters beyond an end count
            nothing; the window is 19 letters wide, or the filter's width if that is more.
        "best" (scover, DanQ): of each sequence the window with the largest activation, if that
            exceeds `threshold` (0).

    Args:
        model: a module (never changed; batch norm is read with its running statistics), one layer,
            or a weight tensor (filters, 4, width).
        sequences: codes (sequences, length) uint8, a one-hot tensor, a list of strings, or a
            SequenceDataset, whose test split is used.
        layer: dotted name of the convolution; by default the first over 4 channels.
        rule, threshold: see above. strands: "+", "-" or "both".
        batch_size: sequences scanned at once. device: where to scan; by default the sequences'.
        progress: show a progress bar (tqdm).
        distributed: under torchrun, let each process scan its part of the sequences; all get the motifs
            of all. Every process must be given the same sequences.

    Returns:
        MotifSet, a motif a live filter, named "filter0" and so on. `nsites` is the number of
        windows, `counts` their letters (weighted under "code"). Filters that no window activates
        are in `dead`. Windows of the minus strand are reverse-complemented. N counts nothing.

    Raises:
        ValueError: an unknown rule or layer, or no sequences.

    Example:
        >>> import motifkit as mk
        >>> weight = mk.one_hot(mk.encode("GATTACA"))
        >>> motifs = mk.extract_motifs(weight, ["CCGATTACATT", "GGGGATTACAC", "ACGTACGTACG"])
        >>> motifs[0].consensus, motifs[0].nsites
        ('GATTACA', 2)
    """
    codes = as_sequences(sequences)
    if len(codes) == 0:
        raise ValueError("no sequences to extract motifs from")
    total = len(codes)
    if distributed:
        codes = codes.tensor_split(processes.world())[processes.rank()]
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
    bank = filter_bank(model, layer, device or codes.device)
    chosen = RULES[rule]
    threshold = chosen.threshold if threshold is None else threshold
    batches = _Batches(codes, bank, strands, batch_size, device, progress, distributed)
    counts, nsites = chosen.count(batches, threshold)
    if distributed:
        counts, nsites = processes.summed(counts), processes.summed(nsites)
    motifs, dead = [], []
    for name, table, sites in zip(bank.names, counts.cpu().numpy(), nsites.tolist(), strict=True):
        if sites > 0 and table.sum() > 0:
            motifs.append(Motif(name, table, sites))
        else:
            dead.append(name)
    origin = {
        "rule": rule, "threshold": threshold, "strands": strands, "layer": bank.layer,
        "sequences": total,
    }  # fmt: skip
    return MotifSet(motifs, dead, origin)


def as_sequences(sequences: Tensor | Sequence[str] | SequenceDataset) -> Tensor:
    """Codes of anything extract_motifs takes."""
    if isinstance(sequences, SequenceDataset):
        return sequences.codes[sequences.splits["test"]]
    return (
        sequences if isinstance(sequences, Tensor) and sequences.dtype == torch.uint8 else encode(sequences)
    )


@dataclass
class _Batches:
    codes: Tensor
    bank: FilterBank
    strands: str
    batch_size: int | None
    device: torch.device | str | None
    progress: bool
    distributed: bool = False  # whether other processes scan other sequences

    def __iter__(self) -> Iterator[Tensor]:
        size = self.batch_size or max(1, _BATCH_LETTERS // max(1, self.codes.shape[1]))
        starts = range(0, len(self.codes), size)
        if self.progress:
            from tqdm import tqdm

            starts = tqdm(starts, desc="scanning", unit="batch", leave=False)
        for start in starts:
            batch = self.codes[start : start + size]
            yield batch if self.device is None else batch.to(self.device)

    def scan(self, batch: Tensor) -> ops.ScanResult:
        bank = self.bank
        return ops.scan(batch, bank.weight, bank.bias, padding=bank.padding, strands=self.strands)

    def hits(self, batch: Tensor, threshold: Tensor) -> Hits:
        bank = self.bank
        return ops.scan_hits(
            batch, bank.weight, threshold, bank.bias, padding=bank.padding, strands=self.strands
        )

    def tables(self, width: int) -> tuple[Tensor, Tensor]:
        """Zero counts (filters, 4, width) and numbers of windows (filters,)."""
        filters, device = len(self.bank.weight), self.bank.weight.device
        counts = torch.zeros(filters, 4, width, dtype=torch.float64, device=device)
        return counts, torch.zeros(filters, dtype=torch.int64, device=device)


def _count_best(batches: _Batches, least: Tensor, drop_ends: bool) -> tuple[Tensor, Tensor]:
    """Counts of each sequence's best windows whose convolution exceeds `least`."""
    filters, _, width = batches.bank.weight.shape
    counts, nsites = batches.tables(width)
    for batch in batches:
        best = batches.scan(batch)
        keep = best.score > least
        if drop_ends:
            keep &= (best.position >= 0) & (best.position + width <= batch.shape[1])
        hits = best.hits(keep)
        counts += ops.align(batch, hits, width, filters=filters)
        nsites += hits.filter.bincount(minlength=filters)
    return counts, nsites


def _paper(batches: _Batches, threshold: float) -> tuple[Tensor, Tensor]:
    return _count_best(batches, paper_threshold(batches.bank, threshold), drop_ends=True)


def paper_threshold(bank: FilterBank, threshold: float = 0.7) -> Tensor:
    """(filters,) the convolution that a window must exceed under the paper's rule."""
    possible = bank.activate(bank.best_possible())
    least = bank.pre_threshold(possible * threshold)
    return torch.where(possible > 0, least, torch.inf)  # a filter that can never fire is dead


def _best(batches: _Batches, threshold: float) -> tuple[Tensor, Tensor]:
    wanted = torch.full_like(batches.bank.bias, threshold)
    return _count_best(batches, batches.bank.pre_threshold(wanted), drop_ends=False)


_CODE_WIDTH = 19


def _code(batches: _Batches, threshold: float) -> tuple[Tensor, Tensor]:
    bank = batches.bank
    filters, _, width = bank.weight.shape
    observed = torch.full_like(bank.bias, -torch.inf)
    for batch in batches:
        observed = torch.maximum(observed, batches.scan(batch).score.amax(0))
    if batches.distributed:
        observed = processes.largest(observed)
    top = bank.activate(observed)
    least = torch.where(top > 0, bank.pre_threshold(top * threshold), torch.inf)
    shown = max(width, _CODE_WIDTH)
    counts, nsites = batches.tables(shown)
    for batch in batches:
        hits = batches.hits(batch, least)
        weights = bank.activate(hits.score).double()
        counts += ops.align(
            batch, hits, shown, offset=-((shown - width) // 2), weights=weights, filters=filters
        )
        nsites += hits.filter.bincount(minlength=filters)
    return counts, nsites


@dataclass(frozen=True)
class Rule:
    """How windows are chosen: `count` gives letter counts and numbers of windows."""

    count: Callable[[_Batches, float], tuple[Tensor, Tensor]]
    threshold: float


RULES = {"paper": Rule(_paper, 0.7), "code": Rule(_code, 0.5), "best": Rule(_best, 0.0)}
