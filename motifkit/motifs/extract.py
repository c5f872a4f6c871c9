"""Filters to motifs: which windows of the sequences activate a filter, and what they look like.

Memory does not grow with the number of sequences: each batch is scanned and its windows are counted
into one (filters, 4, width) table.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from motifkit import ops
from motifkit.data.dataset import SequenceDataset
from motifkit.motifs import layers
from motifkit.motifs.filters import filter_bank
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.rules import Rule, find_rule
from motifkit.motifs.select import Batches, select, thresholds
from motifkit.motifs.sources import DeepLayer, FirstLayer
from motifkit.nn.layers import ConvPool, check_conv
from motifkit.ops.align_above import fitting
from motifkit.sequences import encode
from motifkit.train import distributed as processes


def extract_motifs(
    model: nn.Module | Tensor,
    sequences: Tensor | Sequence[str] | SequenceDataset,
    *,
    layer: str | None = None,
    rule: str | Rule = "paper",
    threshold: float | None = None,
    strands: str = "+",
    per_sequence: int | None = None,
    top: int | None = None,
    ends: str | None = None,
    ambiguous: str | None = None,
    pseudocount: float | None = None,
    targets: Tensor | None = None,
    traced: bool = True,
    input: str = "auto",
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    distributed: bool = False,
) -> MotifSet:
    """Turn the filters of a layer into motifs, from the windows that activate them.

    A first convolution is scanned by look-up tables and stores no activation. Any other layer is run
    batch by batch; each of its activations is followed down to the letters under it, through max-pools
    by their arg-max, and the window shown is the layer's receptive field around that letter (see
    docs/deeper-layers.md). Rules are in `motifkit.motifs.rules.RULES` and docs/motif-rules.md: "paper",
    "code", "basset", "basset-code", "satori", "eugene", "scover", "pysster", "best", "top".

    Args:
        model: a module (never changed; batch norm is read with its running statistics), one layer,
            or a weight tensor (filters, 4, width).
        sequences: codes (sequences, length) uint8, a one-hot tensor, a list of strings, or a
            SequenceDataset, whose test split is used.
        layer: exact dotted name of a layer whose output is (sequences, channels, positions); by default
            the first convolution over 4 channels. A convolution in an nn.Sequential is read behind the
            batch norm and activation that follow it, any other layer at its output.
        rule: a name or a Rule of your own. threshold, per_sequence (most windows of a sequence), top
            (most windows of a filter, where the rule has such a number), ends ("keep" or "drop" windows
            over an end), ambiguous (windows with N: "keep", "drop", or "share" N among the letters),
            pseudocount: in place of the rule's.
        strands: "+", "-" or "both".
        targets: (sequences, classes) of zeros and ones; only "pysster" needs them, and a SequenceDataset
            brings them.
        traced: follow a deep layer's activations through the pools; else cut its receptive field.
        input: what the model takes: "codes", "one-hot", or "auto" to try.
        batch_size: sequences scanned at once. device: where to scan; by default the sequences'. The
            model does not move: a copy does.
        progress: show a progress bar (tqdm).
        distributed: under torchrun, let each process scan its part of the sequences; all get the motifs
            of all. Every process must be given the same sequences.

    Returns:
        MotifSet, a motif a live filter, named "filter0" and so on. `nsites` is the number of
        windows, `counts` their letters (weighted under "code") with the rule's pseudocount. Filters
        with too few windows are in `dead`. Windows of the minus strand are reverse-complemented. N, and
        letters beyond an end, count nothing. `origin` says how it was done.

    Raises:
        ValueError: an unknown rule or layer, a layer without positions, a model that cannot read the
            sequences, or no sequences.

    Example:
        >>> import motifkit as mk
        >>> weight = mk.one_hot(mk.encode("GATTACA"))
        >>> motifs = mk.extract_motifs(weight, ["CCGATTACATT", "GGGGATTACAC", "ACGTACGTACG"])
        >>> motifs[0].consensus, motifs[0].nsites
        ('GATTACA', 2)
    """
    if targets is None and isinstance(sequences, SequenceDataset):
        targets = sequences.split("test")[1]
    codes = as_sequences(sequences)
    if len(codes) == 0:
        raise ValueError("no sequences to extract motifs from")
    chosen = find_rule(rule).changed(
        threshold=threshold, per_sequence=per_sequence, top=top, ends=ends, ambiguous=ambiguous,
        pseudocount=pseudocount,
    )  # fmt: skip
    if targets is not None and len(targets) != len(codes):
        raise ValueError(f"targets must have a row for each of {len(codes)} sequences, got {len(targets)}")
    ops.hits.strand_code(strands)
    device = torch.device(device) if device is not None else codes.device
    sequences = len(codes)
    if distributed:
        part = torch.arange(sequences).tensor_split(processes.world())[processes.rank()]
        codes = codes[part]
        targets = None if targets is None else targets[part]
    source = source_of(
        model, codes, layer=layer, strands=strands, width=chosen.width, traced=traced, input=input,
        device=device,
    )  # fmt: skip
    size = batch_size or source.batch_size(codes.shape[1])
    batches = Batches(codes, size, device, progress, distributed)
    counts, nsites, total = _count(chosen, source, batches, targets)
    if distributed:
        counts, nsites, total = (processes.summed(x) for x in (counts, nsites, total))
    if chosen.ambiguous == "share":
        counts = counts + (total[:, None, None] - counts.sum(1, keepdim=True)) / 4
    motifs, dead = [], []
    for name, table, sites in zip(source.names, counts.cpu().numpy(), nsites.tolist(), strict=True):
        if sites >= chosen.fewest and table.sum() > 0:
            motifs.append(Motif(name, table + chosen.pseudocount, sites))
        else:
            dead.append(name)
    origin = {
        "rule": chosen.name, "threshold": chosen.threshold, "strands": strands, "layer": source.layer,
        "sequences": sequences,
    }  # fmt: skip
    if not source.is_first:
        field = source.field
        origin |= {
            "traced": traced,
            "receptive_field": field.width,
            "jump": field.jump,
            "start": field.start,
        }
        if chosen.reference == "possible":
            origin["reference"] = "observed"  # the largest possible activation is not known there
    return MotifSet(motifs, dead, origin)


def as_sequences(sequences: Tensor | Sequence[str] | SequenceDataset) -> Tensor:
    """Codes of anything extract_motifs takes."""
    if isinstance(sequences, SequenceDataset):
        return sequences.codes[sequences.splits["test"]]
    return (
        sequences if isinstance(sequences, Tensor) and sequences.dtype == torch.uint8 else encode(sequences)
    )


def source_of(
    model: nn.Module | Tensor,
    codes: Tensor,
    *,
    layer: str | None = None,
    strands: str = "+",
    width: int = 0,
    traced: bool = True,
    input: str = "auto",
    device: torch.device | str | None = None,
) -> FirstLayer | DeepLayer:
    """Where the windows of a layer come from: the scanner where it can, else the running model."""
    device = device or codes.device
    if isinstance(model, Tensor):
        return FirstLayer(filter_bank(model, None, device), strands, width)
    name = _first_convolution(model) if layer is None else layer
    if name is None or _is_scannable(model, name, codes, input):
        return FirstLayer(filter_bank(model, name, device), strands, width)
    model = layers.on_device(model, device)
    kind = layers.input_kind(model, codes[:2].to(device), input)
    name = layers.read_point(model, name)
    module = layers.find_layer(model, name)
    return DeepLayer(model, module, name, kind, strands, traced, codes[:2].to(device), width)


def _first_convolution(model: nn.Module) -> str | None:
    for name, module in model.named_modules():
        if isinstance(module, ConvPool) or (isinstance(module, nn.Conv1d) and module.in_channels == 4):
            return name
    return None  # filter_bank says so


def _is_scannable(model: nn.Module, name: str, codes: Tensor, input: str) -> bool:
    """Whether a layer is a plain convolution of the sequences themselves."""
    module = layers.find_layer(model, name)
    parent = model.get_submodule(name.rpartition(".")[0]) if name else None
    if isinstance(module, ConvPool) or isinstance(parent, ConvPool):
        return isinstance(module, ConvPool | nn.Conv1d)
    try:
        check_conv(module)
    except ValueError:
        return False
    if name == _first_convolution(model):
        return True
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        probe = layers.prepare_input(codes[:2], layers.input_kind(model, codes, input))
        with layers.evaluating(model):
            layers.output_of(model, module, probe)
    finally:
        handle.remove()
    wanted = layers.prepare_input(codes[:2], "one-hot")
    return any(x.shape == wanted.shape and torch.equal(x.to(wanted), wanted) for x in seen[-1:])


def _count(
    rule: Rule, source: FirstLayer | DeepLayer, batches: Batches, targets: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Letters (filters, 4, width), windows (filters,) and their weight (filters,)."""
    device = batches.device
    counts = torch.zeros(source.filters, 4, source.width, dtype=torch.float64, device=device)
    nsites = torch.zeros(source.filters, dtype=torch.int64, device=device)
    total = torch.zeros(source.filters, dtype=torch.float64, device=device)
    if source.counts(rule):  # as all that follows, and no window is listed
        least = thresholds(rule, source, batches)
        for batch in batches:
            found = source.count(batch, least, rule)
            counts, nsites, total = counts + found.counts, nsites + found.nsites, total + found.total
        return counts, nsites, total
    chunks = select(rule, source, batches, targets)
    source.settle(chunks)
    for batch, hits in chunks():
        hits = source.place(batch, hits)
        hits = fitting(batch, hits, source.width, rule.ends == "drop", rule.ambiguous == "drop")
        weights = source.activation(hits.score).double() if rule.weighted else None
        counts += ops.align(batch, hits, source.width, weights=weights, filters=source.filters)
        nsites += hits.filter.bincount(minlength=source.filters)
        total += hits.filter.bincount(weights, minlength=source.filters)
    return counts, nsites, total
