"""Does a filter matter: what is lost, class by class, when it is knocked out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import require
from motifkit.motifs import layers
from motifkit.nn.layers import ConvPool

if TYPE_CHECKING:
    import pandas

REPLACEMENTS = ("mean", "zero")
_ROWS_AT_ONCE = 1 << 12  # sequences that the rest of the model reads at once, knock-outs included
_HELD = 1 << 26  # logits held in one pass (256 MB); more knock-outs take more passes


def knock_out(
    model: nn.Module,
    sequences: Tensor | SequenceDataset,
    targets: Tensor | None = None,
    *,
    layer: str | None = None,
    replace: str | Sequence[str] = REPLACEMENTS,
    groups: Mapping[str, Sequence[int]] | None = None,
    class_names: Sequence[str] | None = None,
    bootstrap: int = 200,
    confidence: float = 0.95,
    output: str = "logits",
    input: str = "auto",
    batch_size: int = 100,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> "pandas.DataFrame":
    """Knock out each filter of a layer, and measure what every class loses.

    A knocked-out channel is replaced, at all positions, by its mean over data and positions ("mean": the
    filter says nothing) or by 0 ("zero": it never fires). The layer is computed once a batch; the rest of
    the model reads many knock-outs at a time. Change is knocked out minus intact, so a filter that matters
    raises the loss and lowers the AUROC. Intervals are percentiles over resamples of the sequences, the
    same resample with and without the filter.

    Args:
        model: from sequences to one logit a class (or a probability: output="probabilities").
        sequences, targets: codes (sequences, length) and zeros and ones (sequences, classes); or a
            SequenceDataset, whose test split is used.
        layer: exact dotted name, as extract_motifs; by default the first convolution over 4 channels.
            A convolution in an nn.Sequential is knocked out behind its batch norm and activation.
        replace: "mean", "zero" or both.
        groups: channels to knock out together, by name: the copies of a motif, for one. In place of the
            filters one by one.
        class_names: of the columns of targets. bootstrap: resamples; 0 for no intervals. confidence: of
            the intervals. input: as extract_motifs. batch_size: sequences at once. seed: of resamples.
        device: where to compute; a copy of the model goes there.

    Returns:
        One row a filter (or group), replacement and class, and one of class "mean": filter, replaced,
        class, positives; loss, auroc, logit, the changes of the binary cross-entropy, of the area under
        the ROC curve, and of the mean logit of the class's positive sequences; each with _low and _high.
        NaN where a class is constant. The intact scores are in `attrs["intact"]`.

    Raises:
        ValueError: an unknown layer, replacement or channel, targets that do not fit, or a model whose
            output is not (sequences, classes).

    Example:
        >>> import motifkit as mk
        >>> mk.knock_out(model, data).sort_values("auroc").iloc[0]["filter"]  # doctest: +SKIP
        'filter17'
    """
    pandas = require("pandas", "motifs")
    codes, targets, names = _data(sequences, targets, class_names)
    replace = [replace] if isinstance(replace, str) else list(replace)
    for choice in replace:
        if choice not in REPLACEMENTS:
            raise ValueError(f"replace must be among {', '.join(REPLACEMENTS)}, not {choice!r}")
    if output not in ("logits", "probabilities"):
        raise ValueError(f"output must be 'logits' or 'probabilities', not {output!r}")
    device = torch.device(device) if device is not None else codes.device
    rest = _Rest.of(model, codes, layer, input, device, batch_size)
    mean = rest.channel_means()
    sets = {f"filter{i}": [i] for i in range(len(mean))} if groups is None else dict(groups)
    for name, channels in sets.items():
        if not channels or min(channels) < 0 or max(channels) >= len(mean):
            raise ValueError(f"group {name!r}: channels must be among 0..{len(mean) - 1}, got {channels}")
    resamples = _resamples(len(codes), bootstrap, seed)
    jobs = [(name, list(channels), how) for how in replace for name, channels in sets.items()]
    intact = None
    rows: list[dict[str, object]] = []
    for part in _parts(jobs, len(codes) * len(names)):
        values = [torch.zeros_like(mean) if how == "zero" else mean for _, _, how in part]
        logits = rest.logits([channels for _, channels, _ in part], values)  # (1 + jobs, sequences, classes)
        if logits.shape[1:] != targets.shape:
            raise ValueError(
                f"the model's output must be (sequences, classes) = {tuple(targets.shape)}, got"
                f" {tuple(logits.shape[1:])}"
            )
        logits = torch.logit(logits, eps=1e-7) if output == "probabilities" else logits
        intact = _Scores.of(logits[0], targets, resamples) if intact is None else intact
        for index, (name, _, how) in enumerate(part):
            change = _Scores.of(logits[1 + index], targets, resamples).minus(intact)
            rows += change.rows({"filter": name, "replaced": how}, names, targets, confidence)
    table = pandas.DataFrame(rows)
    table.attrs["intact"] = intact.summary(names)
    return table


def _data(sequences, targets, class_names) -> tuple[Tensor, Tensor, list[str]]:
    if isinstance(sequences, SequenceDataset):
        codes, targets = sequences.split("test")
        class_names = class_names or sequences.class_names
    else:
        codes = sequences
    if targets is None or targets.dim() != 2 or len(targets) != len(codes) or len(codes) == 0:
        raise ValueError("targets must be (sequences, classes), a row for each of one or more sequences")
    names = list(class_names) if class_names else [f"class{i}" for i in range(targets.shape[1])]
    if len(names) != targets.shape[1]:
        raise ValueError(f"{len(names)} class names for {targets.shape[1]} classes")
    return codes, targets.float(), names


def _parts(jobs: list, logits_each: int) -> Iterator[list]:
    size = max(1, _HELD // max(1, logits_each) - 1)
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


# ---- the model, cut at a layer -----------------------------------------------------------------------------


@dataclass
class _Rest:
    """A model whose layer's output can be replaced."""

    model: nn.Module
    module: nn.Module
    kind: str
    codes: Tensor
    device: torch.device
    batch_size: int
    short: bool | None = None  # whether the part before the layer may read a single sequence instead

    @classmethod
    def of(cls, model, codes, layer, input, device, batch_size) -> "_Rest":
        name = _default_layer(model) if layer is None else layer
        name = layers.read_point(model, name)
        model = layers.on_device(model, device)
        module = layers.find_layer(model, name)
        kind = layers.input_kind(model, codes[:2].to(device), input)
        rest = cls(model, module, kind, codes, device, batch_size)
        layers.check_output(name, rest.layer_output(codes[:2].to(device)), len(codes[:2]))
        return rest

    def layer_output(self, batch: Tensor) -> Tensor:
        with layers.evaluating(self.model):
            return layers.output_of(self.model, self.module, layers.prepare_input(batch, self.kind))

    def batches(self) -> Iterator[Tensor]:
        for batch in self.codes.split(self.batch_size):
            yield batch.to(self.device)

    def channel_means(self) -> Tensor:
        """(channels,) the layer's mean over data and positions."""
        total, count = 0.0, 0
        for batch in self.batches():
            out = self.layer_output(batch)
            total = total + out.sum((0, 2), dtype=torch.float64)
            count += out.shape[0] * out.shape[2]
        return (total / count).float()

    def logits(self, knocked: list[list[int]], values: list[Tensor]) -> Tensor:
        """(1 + knock-outs, sequences, classes): intact first, then each set of channels replaced."""
        out = []
        for batch in self.batches():
            hidden = self.layer_output(batch)
            if self.short is None:
                self._try_short(batch, hidden)
            at_once = max(1, _ROWS_AT_ONCE // len(batch))
            parts = [self._read(batch, hidden[None])]
            for start in range(0, len(knocked), at_once):
                some = range(start, min(start + at_once, len(knocked)))
                copies = hidden.expand(len(some), *hidden.shape).clone()
                for copy, index in zip(copies, some, strict=True):
                    copy[:, knocked[index]] = values[index][knocked[index], None].to(copy)
                parts.append(self._read(batch, copies))
            out.append(torch.cat(parts).float().cpu())
        return torch.cat(out, dim=1)

    def _read(self, batch: Tensor, hidden: Tensor) -> Tensor:
        """What the model makes of hidden (copies, batch, channels, positions): (copies, batch, classes)."""
        copies = len(hidden)
        before = batch[:1] if self.short else batch.repeat(copies, 1)
        with layers.evaluating(self.model), _replaced(self.module, hidden.flatten(0, 1)):
            out = self.model(layers.prepare_input(before, self.kind))
        if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != copies * len(batch):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"the model's output must be (sequences, classes), got {shape}")
        return out.view(copies, len(batch), -1)

    def _try_short(self, batch: Tensor, hidden: Tensor) -> None:
        """One sequence may do for all before the layer, if the answer is the same: then it is not
        computed again for every knock-out."""
        self.short = False
        plain = self._read(batch, hidden[None])
        self.short = True
        try:
            same = torch.equal(self._read(batch, hidden[None]), plain)
        except Exception:  # the model holds on to its input's size, or to the input itself
            same = False
        self.short = same


def _default_layer(model: nn.Module) -> str:
    for name, module in model.named_modules():
        if isinstance(module, ConvPool) or (isinstance(module, nn.Conv1d) and module.in_channels == 4):
            return name
    raise ValueError("the model has no Conv1d over 4 channels; name a layer")


@contextmanager
def _replaced(module: nn.Module, output: Tensor) -> Iterator[None]:
    handle = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        handle.remove()


# ---- scores and their intervals ----------------------------------------------------------------------------


def _resamples(count: int, number: int, seed: int) -> Tensor:
    """(1 + number, count) how often each sequence is drawn: once each, then resamples."""
    draws = np.random.default_rng(seed)
    weights = draws.multinomial(count, np.full(count, 1 / count), size=number)
    weights = np.concatenate([np.ones((1, count)), weights.reshape(number, count)])
    return torch.from_numpy(weights.T.astype(np.float32)).T  # a sequence's weights lie together


@dataclass
class _Scores:
    """Scores (1 + resamples, classes): of all sequences, then of each resample."""

    loss: Tensor
    auroc: Tensor
    logit: Tensor

    @classmethod
    def of(cls, logits: Tensor, targets: Tensor, resamples: Tensor) -> "_Scores":
        """logits, targets: (sequences, classes). resamples: (1 + resamples, sequences)."""
        loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        positives = resamples @ targets
        auroc = [auroc_of(logits[:, c], targets[:, c], resamples) for c in range(targets.shape[1])]
        return cls(
            (resamples @ loss) / resamples.sum(1, keepdim=True),
            torch.stack(auroc, dim=1),
            (resamples @ (logits * targets)) / positives,  # NaN without positives
        )

    def minus(self, other: "_Scores") -> "_Scores":
        return _Scores(self.loss - other.loss, self.auroc - other.auroc, self.logit - other.logit)

    def rows(self, about, names, targets, confidence) -> list[dict[str, object]]:
        """A row a class, and one of their mean."""
        out = []
        for index, name in enumerate([*names, "mean"]):
            last = index == len(names)
            positives = targets.sum() if last else targets[:, index].sum()
            row = {**about, "class": name, "positives": int(positives)}
            for key in ("loss", "auroc", "logit"):
                table = getattr(self, key)
                column = (table.nanmean(1) if last else table[:, index]).double()
                row[key] = float(column[0])
                low, high = _interval(column[1:], confidence)
                row |= {f"{key}_low": low, f"{key}_high": high}
            out.append(row)
        return out

    def summary(self, names) -> dict[str, dict[str, float]]:
        keys = ("loss", "auroc", "logit")
        columns = {key: getattr(self, key)[0].tolist() for key in keys}
        return {name: {key: columns[key][i] for key in keys} for i, name in enumerate(names)}


def _interval(values: Tensor, confidence: float) -> tuple[float, float]:
    values = values[~values.isnan()]
    if len(values) == 0:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = values.quantile(torch.tensor([tail, 1 - tail], dtype=values.dtype))
    return float(low), float(high)


def auroc_of(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Area under the ROC curve for each row of weights; ties count a half.

    Args:
        scores, labels: (sequences,). weights: (rows, sequences), how often each sequence counts.

    Returns:
        (rows,); NaN where a row holds positives or negatives alone.

    Example:
        >>> import torch
        >>> from motifkit.motifs.importance import auroc_of
        >>> auroc_of(torch.tensor([1.0, 2, 2, 3]), torch.tensor([0.0, 0, 1, 1]), torch.ones(1, 4))
        tensor([0.8750])
    """
    sparse = require("scipy.sparse", "motifs")
    label, score = labels.numpy() > 0, scores.numpy()
    positive, negative = np.flatnonzero(label), np.flatnonzero(~label)
    positive = positive[np.argsort(score[positive], kind="stable")]
    # above[k]: weight of the positives from the k-th on. A negative below the k-th meets all of them; one
    # that ties with some lies between two k, and counts half of each.
    above = np.zeros((len(positive) + 1, weights.shape[0]), dtype=np.float64)
    above[:-1] = weights.numpy().T[positive][::-1].cumsum(0, dtype=np.float64)[::-1]
    sides = [np.searchsorted(score[positive], score[negative], side) for side in ("left", "right")]
    ones = np.ones(2 * len(negative), dtype=np.float32)
    shape = len(above), len(score)
    meet = sparse.csr_matrix((ones, (np.concatenate(sides), np.tile(negative, 2))), shape=shape)
    wins = torch.from_numpy(((meet @ weights.numpy().T) * above).sum(0) / 2)
    positives = torch.from_numpy(above[0])
    total = positives * (weights.sum(1, dtype=torch.float64) - positives)
    return torch.where(total > 0, wins / total, torch.nan).to(scores)
