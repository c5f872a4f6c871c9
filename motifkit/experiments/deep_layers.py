"""Motifs of deeper filters where nothing is pooled before them, as the paper draws them for CNN-1.

Without a pool the receptive field of a deeper filter is a window of the sequence at a known place: the
first filter's width plus, for each later layer, its own width less one.
"""

import torch
from torch import Tensor, nn

from motifkit import ops
from motifkit.models.paper import ARCHITECTURES, PaperNet
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.rules import RULES

_BATCH = 250


def unpooled_layers(name: str) -> list[int]:
    """Numbers (from 2) of a net's convolutions with no pool before them.

    Example:
        >>> from motifkit.experiments.deep_layers import unpooled_layers
        >>> unpooled_layers("CNN-25"), unpooled_layers("CNN-1"), unpooled_layers("CNN-1-1-100")
        ([], [2], [2, 3])
    """
    pools = ARCHITECTURES[name].pools
    return [layer for layer in range(2, len(pools) + 1) if set(pools[: layer - 1]) == {1}]


@torch.no_grad()
def extract_deep(model: PaperNet, codes: Tensor, layer: int, rule: str = "paper") -> MotifSet:
    """Motifs of convolution number `layer` of a net without pools before it.

    "paper": of each sequence the window under the largest activation, if that exceeds 0.7 of the
    filter's largest one here (a deep filter has no word of largest possible activation to compare with);
    windows over an end are dropped. "code": every window above 0.5 of the largest activation, weighted by
    activation. Both show the whole receptive field.

    Args:
        model: as `models.build` makes it. codes: (sequences, length) uint8. layer: 2 or more.

    Returns:
        MotifSet, a motif a live filter.

    Raises:
        ValueError: another rule, or a pool before the layer.
    """
    if rule not in ("paper", "code"):
        raise ValueError(f"deep filters are drawn by the rules paper and code, not {rule!r}")
    if model.block1.pool is not None or any(hasattr(model, f"pool{i}") for i in range(2, layer)):
        raise ValueError(f"a pool stands before layer {layer}: its windows have no fixed place")
    model = model.eval()
    convs = [model.block1.conv] + [model.get_submodule(f"conv{i}") for i in range(2, layer + 1)]
    width = 1 + sum(conv.kernel_size[0] - 1 for conv in convs)
    left = sum((conv.kernel_size[0] - 1) // 2 for conv in convs)
    filters = convs[-1].out_channels
    least = RULES[rule].threshold * _largest(model, codes, layer)
    counts = torch.zeros(filters, 4, width, dtype=torch.float64)
    nsites = torch.zeros(filters, dtype=torch.int64)
    for batch in codes.split(_BATCH):
        hits = _hits(activations(model, batch, layer), least, left, rule)
        if rule == "paper":
            inside = (hits.position >= 0) & (hits.position + width <= batch.shape[1])
            hits = ops.Hits(*(column[inside] for column in hits))
        weights = hits.score.double() if rule == "code" else None
        counts += ops.align(batch, hits, width, weights=weights, filters=filters)
        nsites += hits.filter.bincount(minlength=filters)
    motifs, dead = [], []
    for index in range(filters):
        if nsites[index] and counts[index].sum() > 0:
            motifs.append(Motif(f"filter{index}", counts[index].numpy(), int(nsites[index])))
        else:
            dead.append(f"filter{index}")
    origin = {
        "rule": rule, "threshold": RULES[rule].threshold, "strands": "+", "layer": f"conv{layer}",
        "sequences": len(codes),
    }  # fmt: skip
    return MotifSet(motifs, dead, origin)


def activations(model: nn.Module, codes: Tensor, layer: int) -> Tensor:
    """(sequences, filters, length) behind the ReLU of convolution number `layer`, dropout off."""
    stop = list(model._modules).index(f"relu{layer}") + 1
    return model[:stop](codes).contiguous()


def _largest(model: nn.Module, codes: Tensor, layer: int) -> Tensor:
    """(filters,) largest activation; infinite for a filter that never fires, so that nothing exceeds it."""
    top = torch.stack([activations(model, b, layer).amax((0, 2)) for b in codes.split(_BATCH)]).amax(0)
    return torch.where(top > 0, top, torch.inf)


def _hits(active: Tensor, least: Tensor, left: int, rule: str) -> ops.Hits:
    if rule == "paper":
        score, at = active.max(2)
        sequence, filter = (score > least).nonzero(as_tuple=True)
        at, score = at[sequence, filter], score[sequence, filter]
    else:
        sequence, filter, at = (active > least[:, None]).nonzero(as_tuple=True)
        score = active[sequence, filter, at]
    return ops.Hits(sequence, filter, at - left, torch.ones_like(at, dtype=torch.int8), score)
