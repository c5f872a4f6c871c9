"""The networks of Koo & Eddy (2019), by the names they have there."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from motifkit.errors import InputError
from motifkit.nn import ConvPool, Dropout, MaxPool1d
from motifkit.nn.deep_block import conv_norm_relu_pool, fuses


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network; the paper's standard is CNN-25."""

    pools: tuple[int, ...]  # after each convolution; 1 is none
    filters: int = 30
    width: int = 19  # of the first convolution
    second_width: int = 5
    second_filters: int = 128
    dense: int = 512
    first_stride: int | None = None  # of the first pool; None is its size

    @property
    def shortest(self) -> int:
        """Letters a sequence needs so that every pool has a window."""
        total = self.first_stride or self.pools[0]
        for pool in self.pools[1:]:
            total *= pool
        return total


class PaperNet(nn.Sequential):
    """The layers in order; a deeper convolution runs together with its norm, ReLU and pool.

    The same numbers as the plain nn.Sequential of its children, but for rounding. `plain` is that
    nn.Sequential of torch.nn layers alone, for tools that look inside.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Codes (batch, length) or one-hot (batch, 4, length) to logits (batch, classes)."""
        layers = list(self)
        at = 0
        while at < len(layers):
            block = layers[at : at + 4]
            pool = block[3] if len(block) > 3 and isinstance(block[3], nn.MaxPool1d) else None
            if len(block) > 2 and fuses(x, *block[:3], pool):
                x = conv_norm_relu_pool(x, block[0], block[1], pool)
                at += 3 if pool is None else 4
            else:
                x = layers[at](x)
                at += 1
        return x

    def plain(self) -> nn.Sequential:
        """The network in plain PyTorch, over the same parameters; it takes one-hot tensors."""
        block = self.block1
        layers = [block.conv, block.norm, block.activation, block.pool, *list(self)[1:]]
        return nn.Sequential(*(_plain_layer(layer) for layer in layers if layer is not None))


def _plain_layer(layer: nn.Module) -> nn.Module:
    if isinstance(layer, MaxPool1d):
        return nn.MaxPool1d(layer.kernel_size, layer.stride, layer.padding)
    return nn.Dropout(layer.p) if isinstance(layer, Dropout) else layer


def _architectures() -> dict[str, Architecture]:
    table = {f"CNN-{p}": Architecture((p, 100 // p)) for p in (1, 2, 4, 10, 25, 50, 100)}
    for width, pool in ((9, 4), (9, 25), (3, 50), (3, 2)):
        table[f"CNN{width}-{pool}"] = Architecture((pool, 100 // pool), width=width)
    table["CNN-50-2"] = Architecture((50, 50), first_stride=2)
    # The authors' program gives that net fewer filters and units than the paper says.
    table["CNN-50-2 (code)"] = Architecture((50, 50), first_stride=2, second_filters=64, dense=96)
    table["CNN19-1-2"] = Architecture((2, 50), second_width=1)
    for filters in (60, 90, 120):
        table[f"CNN-25 ({filters})"] = Architecture((25, 4), filters=filters)
    table["CNN-1-1-100"] = Architecture((1, 1, 100))
    return table


ARCHITECTURES = _architectures()


def names() -> list[str]:
    """Every name that `build` takes."""
    return list(ARCHITECTURES)


def build(name: str, length: int = 200, classes: int = 12, *, init: str = "glorot") -> PaperNet:
    """A network of the paper: convolution blocks, a dense layer of 512, one logit a class.

    First block: `filters` x `width` convolution, batch norm, ReLU and max-pool as one
    `motifkit.nn.ConvPool`; then dropout 0.1. Second: 128 x 5, batch norm, ReLU, max-pool, dropout
    0.1. Then dense 512, batch norm, ReLU, dropout 0.5. No bias stands before a batch norm.
    The number behind CNN is the first pool; a subscript there (CNN9-4) is the first filter width.
    CNN-50-2 pools 50 with stride 2 and has the parameters of CNN-2, as the paper says; "CNN-50-2
    (code)" has the 64 filters and 96 units of the authors' program.

    Args:
        name: one of `names()`, such as "CNN-25" or "CNN-25 (60)".
        length: letters a sequence. classes: outputs.
        init: "glorot" (uniform), what the authors' program does and what reproduces the paper's
            figures, "he" (normal), what the paper says, or "torch", PyTorch's own (uniform). Batch norm
            makes filters scale-free, so that Glorot's smaller weights take larger effective steps;
            He needs about twice the epochs. Draws come from torch's global generator: seed it to repeat them.

    Returns:
        Module from codes (batch, length) or one-hot (batch, 4, length) to logits (batch, classes).

    Raises:
        InputError: an unknown name, or sequences too short for the pools.

    Example:
        >>> import motifkit as mk
        >>> mk.models.build("CNN-25")(mk.encode(["ACGT" * 50] * 2)).shape
        torch.Size([2, 12])

    Source: doi:10.1371/journal.pcbi.1007560.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"unknown model {name!r}; there are {', '.join(ARCHITECTURES)}")
    a = ARCHITECTURES[name]
    if length < a.shortest:
        raise InputError(f"{name} needs sequences of at least {a.shortest} letters, not {length}")
    layers: list[tuple[str, nn.Module]] = []
    channels, remaining = 4, length
    for index, pool in enumerate(a.pools, start=1):
        first = index == 1
        filters = a.filters if first else a.second_filters
        width = a.width if first else a.second_width
        conv = nn.Conv1d(channels, filters, width, padding="same", bias=False)
        norm = _batch_norm(filters)
        stride = (a.first_stride if first else None) or pool
        # A pool that overlaps is padded so that its output is the input's length over the stride.
        padding = 0 if stride == pool else (pool - stride) // 2
        pooled = MaxPool1d(pool, stride, padding) if pool > 1 else None
        remaining = (remaining + 2 * padding - pool) // stride + 1
        if first:
            layers.append(("block1", ConvPool(conv, norm, nn.ReLU(), pooled)))
        else:
            layers += [(f"conv{index}", conv), (f"norm{index}", norm), (f"relu{index}", nn.ReLU())]
            layers += [(f"pool{index}", pooled)] if pooled is not None else []
        layers.append((f"dropout{index}", Dropout(0.1)))
        channels = filters
    layers += [
        ("flatten", nn.Flatten()),
        ("dense", nn.Linear(channels * remaining, a.dense, bias=False)),
        ("dense_norm", _batch_norm(a.dense)),
        ("dense_relu", nn.ReLU()),
        ("dense_dropout", Dropout(0.5)),
        ("output", nn.Linear(a.dense, classes)),
    ]
    model = PaperNet(OrderedDict(layers))
    initialise(model, init)
    return model


def initialise(model: nn.Module, init: str) -> None:
    """Draw the weights of every convolution and dense layer anew, "glorot", "he" or "torch"; biases are 0."""
    if init not in _INITIALISERS:
        raise InputError(f"init must be one of {', '.join(_INITIALISERS)}, not {init!r}")
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            _INITIALISERS[init](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _batch_norm(features: int) -> nn.BatchNorm1d:
    """The constants of the authors' program; the paper gives none."""
    return nn.BatchNorm1d(features, eps=1e-8, momentum=0.01)


def _he_normal(weight: torch.Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _torch_default(weight: torch.Tensor) -> None:
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))


_INITIALISERS = {"glorot": nn.init.xavier_uniform_, "he": _he_normal, "torch": _torch_default}
