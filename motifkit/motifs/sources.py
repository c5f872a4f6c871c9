"""Where windows come from: a first layer, scanned by look-up tables, or any layer of a running model.

Both answer the same questions about a batch of sequences, so that every rule works on either. A score is
whatever a source compares windows by; `activation` and `score_above` go from scores to activations and back.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from motifkit import ops
from motifkit.motifs import layers, trace
from motifkit.motifs.filters import FilterBank
from motifkit.motifs.rules import Rule
from motifkit.ops import Aligned, Hits, ScanResult, ScanSummary
from motifkit.ops.align_above import shown
from motifkit.sequences import reverse_complement

_FIRST_LETTERS = 1 << 21  # letters of a batch for 32 filters; fewer for more
_DENSE = 1 << 23  # activations of a deep layer's batch, half of them
_CACHED = 1 << 20  # activations of a first layer made at once, where all are needed: they stay in the cache
_SUMMED = {
    "identity": "score",
    "relu": "relu",
}  # activations that the ops weigh windows by, and their name there
_SAMPLE = 200  # windows of each filter that choose its anchor


@dataclass
class FirstLayer:
    """Windows of a first convolution: nothing of the sequences' length is stored."""

    bank: FilterBank
    strands: str
    width: int  # letters shown
    is_first = True

    def __post_init__(self):
        filters, _, own = self.bank.weight.shape
        self.filters, self.layer, self.names = filters, self.bank.layer, self.bank.names
        self.width = max(self.width, own)

    def batch_size(self, length: int) -> int:
        """Sequences scanned at once where nobody said."""
        return max(1, _FIRST_LETTERS * 32 // max(32, self.filters) // max(1, length))

    def best(self, batch: Tensor) -> ScanResult:
        """The best window of each sequence, by score (batch, filters)."""
        bank = self.bank
        return ops.scan(batch, bank.weight, bank.bias, padding=bank.padding, strands=self.strands)

    def hits(self, batch: Tensor, threshold: Tensor, most: int | None) -> Hits:
        """All windows above a score, at most `most` a sequence and filter."""
        bank = self.bank
        return ops.scan_hits(
            batch, bank.weight, threshold, bank.bias, padding=bank.padding, strands=self.strands,
            max_hits_per_sequence=most,
        )  # fmt: skip

    def largest(self, batch: Tensor) -> Tensor:
        """(filters,) the largest score of all windows."""
        return self._summary(batch, None).largest

    def _summary(self, batch: Tensor, total: str | None) -> ScanSummary:
        bank = self.bank
        return ops.scan_summary(
            batch, bank.weight, bank.bias, padding=bank.padding, strands=self.strands, total=total
        )

    def totals(self, batch: Tensor) -> tuple[Tensor, int, Tensor]:
        """Sum of the activations of all windows (filters,) float64, how many windows, the largest score."""
        bank, total, count = self.bank, 0.0, 0
        signs = [s for s, name in ((1, "+"), (-1, "-")) if self.strands in ("both", name)]
        if bank.activation in _SUMMED:
            found = self._summary(batch, _SUMMED[bank.activation])
            windows = batch.shape[1] + sum(bank.padding) - bank.weight.shape[2] + 1
            return found.total, len(batch) * windows * len(signs), found.largest
        rows = max(1, _CACHED // self.filters // batch.shape[1])
        for sign in signs:
            weight = bank.weight if sign > 0 else bank.weight.flip(1, 2)
            for part in batch.split(rows):
                z = ops.onehot_conv1d(part, weight, bank.bias, bank.padding)
                total = total + bank.activate(z).sum(2).sum(0, dtype=torch.float64)
                count += len(part) * z.shape[2]
        return total, count, self.largest(batch)

    def counts(self, rule: Rule) -> bool:
        """Whether `count` can take the windows of a rule: all or the best above a threshold, with weights
        that the ops know."""
        known = not rule.weighted or self.bank.activation in _SUMMED
        on_cpu = self.bank.weight.device.type == "cpu"  # on a GPU hits kept from one scan save the second
        return (
            on_cpu and known and (rule.windows == "best" or (rule.windows == "all" and not rule.per_sequence))
        )

    def count(self, batch: Tensor, threshold: Tensor, rule: Rule) -> Aligned:
        """Letters of a rule's windows above a score, without a list of them."""
        bank = self.bank
        options = {
            "weights": _SUMMED[bank.activation] if rule.weighted else None, "width": self.width,
            "ends": rule.ends, "ambiguous": "drop" if rule.ambiguous == "drop" else "keep",
        }  # fmt: skip
        if rule.windows == "best":
            return ops.align_best(batch, self.best(batch), threshold, bank.weight.shape[2], **options)
        return ops.align_above(
            batch, bank.weight, threshold, bank.bias, padding=bank.padding, strands=self.strands, **options
        )

    def activation(self, score: Tensor) -> Tensor:
        """Activations of scores."""
        return self.bank.activate(score)

    def score_above(self, activation: Tensor) -> Tensor:
        """(filters,) the score that a window of more than this activation exceeds."""
        return self.bank.pre_threshold(activation)

    def possible(self) -> Tensor | None:
        """(filters,) the largest activation that any word could reach."""
        return self.bank.activate(self.bank.best_possible())

    def settle(self, chunks) -> None:
        """Nothing to choose: a first layer's windows are where they are."""

    def place(self, batch: Tensor, hits: Hits) -> Hits:
        """Hits with the first letter of the window shown as position."""
        return shown(hits, self.bank.weight.shape[2], self.width)


@dataclass
class DeepLayer:
    """Windows of any layer: the model runs up to it, and activations are followed to the letters."""

    model: nn.Module
    module: nn.Module
    layer: str
    kind: str  # of the model's input
    strands: str
    traced: bool
    example: Tensor  # a few sequences
    least_width: int = 0
    offset: Tensor | None = field(default=None, init=False)  # (filters,) of the anchor within the window
    is_first = False

    def __post_init__(self):
        probe = self.example[:1].repeat(2, 1)
        layers.check_output(self.layer, self._run(probe), 2)
        with layers.evaluating(self.model):
            step = trace.record(self.model, self.module, layers.prepare_input(probe, self.kind))
        self.field = trace.field_of(step)
        self.width = max(self.field.width, self.least_width)
        self.filters = step.value.shape[1]
        self.names = [f"filter{i}" for i in range(self.filters)]
        self.tracer = trace.Tracer(self.filters) if self.traced else None
        self._floats = max(_floats(step) // 2, 1)  # of a sequence, all layers on the way

    def batch_size(self, length: int) -> int:
        """Sequences run at once where nobody said: about 64 MB of activations."""
        return max(1, 2 * _DENSE // self._floats)

    def _run(self, batch: Tensor) -> Tensor:
        with layers.evaluating(self.model):
            return layers.output_of(self.model, self.module, layers.prepare_input(batch, self.kind))

    def _stranded(self, batch: Tensor) -> list[tuple[int, Tensor]]:
        """Strands and what the model reads of each."""
        out = [(1, batch)] if self.strands in ("+", "both") else []
        return out + ([(-1, reverse_complement(batch))] if self.strands in ("-", "both") else [])

    def best(self, batch: Tensor) -> ScanResult:
        """The best position of each sequence; a position counts along the strand it is on."""
        best = None
        for strand, codes in self._stranded(batch):
            output = self._run(codes).float()
            score = output.amax(2)
            position = (output == score[:, :, None]).int().argmax(2)  # the first of equals
            found = ScanResult(score, position, torch.full_like(position, strand, dtype=torch.int8))
            if best is None:
                best = found
            else:
                pairs = zip(found, best, strict=True)
                best = ScanResult(*(torch.where(score > best.score, a, b) for a, b in pairs))
        return best

    def hits(self, batch: Tensor, threshold: Tensor, most: int | None) -> Hits:
        """All positions above a score."""
        strands, codes = zip(*self._stranded(batch), strict=True)
        z = torch.stack([self._run(c).float() for c in codes], dim=3)  # (batch, filters, positions, strands)
        above = z > threshold[:, None, None]
        if most is not None:
            flat = torch.where(above, z, -torch.inf).flatten(2)
            rank = flat.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
            above &= (rank < most).view_as(above)
        sequence, filter, position, which = above.nonzero(as_tuple=True)
        strand = torch.tensor(strands, dtype=torch.int8, device=z.device)[which]
        return Hits(sequence, filter, position, strand, z[above])

    def largest(self, batch: Tensor) -> Tensor:
        """As FirstLayer.largest."""
        return self.best(batch).score.amax(0)

    def totals(self, batch: Tensor) -> tuple[Tensor, int, Tensor]:
        """As FirstLayer.totals."""
        outputs = [self._run(codes) for _, codes in self._stranded(batch)]
        total = sum(output.sum((0, 2), dtype=torch.float64) for output in outputs)
        windows = sum(output.shape[0] * output.shape[2] for output in outputs)
        return total, windows, torch.stack([output.float().amax((0, 2)) for output in outputs]).amax(0)

    def counts(self, rule: Rule) -> bool:
        """Never: the letters under an activation are not known from its place alone."""
        return False

    def activation(self, score: Tensor) -> Tensor:
        """A deep layer's scores are its activations."""
        return score

    def score_above(self, activation: Tensor) -> Tensor:
        """As FirstLayer.score_above."""
        return activation.float()

    def possible(self) -> Tensor | None:
        """Unknown: no word is best for a deep filter in any simple way."""
        return None

    def settle(self, chunks) -> None:
        """Choose each filter's anchors, then where they stand in its window, from a sample of hits."""
        if not self.traced:
            return
        sample = _sample(chunks, self.filters)
        while True:
            votes: dict[int, Tensor] = {}
            offsets = []
            for batch, hits in sample:
                letters, found = self._letters(batch, hits)
                for key, table in found.items():
                    votes[key] = votes.get(key, 0) + table
                seen = letters > trace.LOST
                inside = letters - (self.field.start + hits.position * self.field.jump)
                offsets.append(torch.stack([hits.filter[seen], inside[seen]]))
            if not votes:
                break
            self.tracer.settle(votes)
        filter, inside = torch.cat(offsets, 1) if offsets else torch.zeros(2, 0, dtype=torch.int64)
        middle = torch.full((self.filters,), self.field.width // 2, device=filter.device)
        for index in filter.unique().tolist():
            middle[index] = inside[filter == index].median()
        self.offset = middle

    def _letters(self, batch: Tensor, hits: Hits) -> tuple[Tensor, dict[int, Tensor]]:
        """The letter under each hit along its strand, and votes for anchors not yet chosen."""
        out = torch.full_like(hits.position, trace.LOST)
        votes: dict[int, Tensor] = {}
        for strand, codes in self._stranded(batch):
            mine = hits.strand == strand
            if not mine.any():
                continue
            with layers.evaluating(self.model):
                step = trace.record(self.model, self.module, layers.prepare_input(codes, self.kind))
                out[mine] = self.tracer.letters(
                    step, hits.sequence[mine], hits.filter[mine], hits.position[mine]
                )
            for key, table in self.tracer.votes.items():
                votes[key] = votes.get(key, 0) + table
        return out, votes

    def place(self, batch: Tensor, hits: Hits) -> Hits:
        """Hits with the first letter of the window shown as position, on the forward strand."""
        if self.traced:
            letters, _ = self._letters(batch, hits)
            found = letters > trace.LOST
            hits = Hits(*(x[found] for x in hits))
            start = letters[found] - self.offset[hits.filter]
        else:
            start = self.field.start + hits.position * self.field.jump
        start = start - (self.width - self.field.width) // 2
        length = batch.shape[1]
        return hits._replace(position=torch.where(hits.strand >= 0, start, length - start - self.width))


def _sample(chunks, filters: int) -> list[tuple[Tensor, Hits]]:
    """The first hits of each filter, with the sequences they are in: the same for any batch size."""
    seen = torch.zeros(filters, dtype=torch.int64)
    out = []
    for batch, hits in chunks():
        order = hits.filter.argsort(stable=True)
        sizes = hits.filter.bincount(minlength=filters)
        first = (sizes.cumsum(0) - sizes)[hits.filter[order]]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - first
        take = rank + seen.to(rank.device)[hits.filter] < _SAMPLE
        if take.any():
            taken = Hits(*(x[take] for x in hits))
            rows, sequence = taken.sequence.unique(return_inverse=True)
            out.append((batch[rows], taken._replace(sequence=sequence)))
        seen += sizes.cpu()
        if bool((seen >= _SAMPLE).all()):
            break
    return out


def _floats(step: trace.Step) -> int:
    """Numbers that a recorded run holds."""
    seen, todo, total = set(), [step], 0
    while todo:
        step = todo.pop()
        if step.key not in seen:
            seen.add(step.key)
            total += step.value.numel()
            todo += step.parents
    return total
