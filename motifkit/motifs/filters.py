"""What a first-layer filter computes, with its batch norm folded in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from motifkit.motifs.layers import find_layer, following
from motifkit.nn.layers import ConvPool, activation_name, check_conv, conv_padding
from motifkit.ops import _common
from motifkit.ops.conv_pool import ACTIVATIONS


@dataclass(frozen=True)
class FilterBank:
    """Filters as activation(convolution + bias): batch norm is folded into weight and bias.

    Attributes:
        weight: (filters, 4, width) float32, on the CPU or the device asked for.
        bias: (filters,). padding: letters of N at both ends, as the layer pads.
        activation: a name of conv_pool's. layer: where in the model they stand.
    """

    weight: Tensor
    bias: Tensor
    padding: tuple[int, int]
    activation: str
    layer: str

    @property
    def names(self) -> list[str]:
        """filter0, filter1, ..."""
        return [f"filter{i}" for i in range(len(self.weight))]

    def activate(self, x: Tensor) -> Tensor:
        """The activation function."""
        return ACTIVATIONS[self.activation](x)

    def best_possible(self) -> Tensor:
        """(filters,) convolution plus bias of the best word, before the activation."""
        return self.weight.amax(1).sum(1) + self.bias

    def pre_threshold(self, activation: Tensor) -> Tensor:
        """(filters,) largest convolution whose activation does not exceed `activation`.

        A window is above an activation exactly where its convolution is above this, as the
        activations are not decreasing where they are positive.
        """
        inverse = _INVERSES.get(self.activation)
        return inverse(activation) if inverse else _bisect(self.activate, activation)


def paper_threshold(bank: FilterBank, threshold: float = 0.7) -> Tensor:
    """(filters,) the convolution that a window must exceed under the paper's rule."""
    possible = bank.activate(bank.best_possible())
    least = bank.pre_threshold(possible * threshold)
    return torch.where(possible > 0, least, torch.inf)  # a filter that can never fire is dead


_INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda a: a,
    "relu": lambda a: a,
    "exp": torch.log,
}


def _bisect(activate: Callable[[Tensor], Tensor], wanted: Tensor) -> Tensor:
    low, high = torch.full_like(wanted, -1e4), torch.full_like(wanted, 1e4)
    for _ in range(80):
        middle = (low + high) / 2
        above = activate(middle) > wanted
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low


def filter_bank(
    model: nn.Module | Tensor, layer: str | None = None, device: torch.device | str | None = None
) -> FilterBank:
    """The filters of a model's first convolution, or of the one at dotted name `layer`.

    A weight tensor, or a convolution with nothing known behind it, is taken with a ReLU: only
    positive scores count. In a ConvPool or an nn.Sequential the batch norm and activation behind
    the convolution are folded in.

    Raises:
        ValueError: no convolution over 4 channels, an unknown name, or one that is not such a layer.
    """
    if isinstance(model, Tensor):
        _common.check_weight(model)
        weight = model.detach().float()
        pads = _common.resolve_padding("same", weight.shape[2])
        bank = FilterBank(weight, weight.new_zeros(len(weight)), pads, "relu", "weight")
    else:
        name, conv, norm, activation = _find(model, layer)
        bank = _fold(name, conv, norm, activation)
    if device is None:
        return bank
    return FilterBank(bank.weight.to(device), bank.bias.to(device), bank.padding, bank.activation, bank.layer)


def _find(model: nn.Module, layer: str | None):
    if layer is not None:
        return _describe(model, layer, find_layer(model, layer))
    for name, module in model.named_modules():
        if isinstance(module, ConvPool) or (isinstance(module, nn.Conv1d) and module.in_channels == 4):
            return _describe(model, name, module)
    raise ValueError("the model has no Conv1d over 4 channels; name a layer or give a weight tensor")


def _describe(model: nn.Module, name: str, module: nn.Module):
    if isinstance(module, ConvPool):
        return name, module.conv, module.norm, module.activation_name
    check_conv(module)
    parent = model.get_submodule(name.rpartition(".")[0]) if name else None
    if isinstance(parent, ConvPool):
        return name, module, parent.norm, parent.activation_name
    norm, activation = None, "relu"
    rest = [m for _, m in following(model, name)]
    if rest and isinstance(rest[0], nn.BatchNorm1d):
        norm, rest = rest[0], rest[1:]
    if rest:
        try:
            activation = activation_name(rest[0])
        except ValueError:
            activation = "relu"
    return name, module, norm, activation


def _fold(name: str, conv: nn.Conv1d, norm: nn.BatchNorm1d | None, activation: str) -> FilterBank:
    with torch.no_grad():
        weight = conv.weight.detach().double()
        bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.double()
        if norm is not None:
            if norm.running_var is None:
                raise ValueError(f"layer {name!r}: its batch norm keeps no running statistics")
            scale = (norm.running_var.double() + norm.eps).rsqrt()
            shift = -norm.running_mean.double() * scale
            if norm.affine:
                shift = norm.bias.double() + shift * norm.weight.double()
                scale = scale * norm.weight.double()
            weight, bias = weight * scale[:, None, None], bias * scale + shift
    pads = _common.resolve_padding(conv_padding(conv), conv.kernel_size[0])
    if not math.isfinite(float(weight.abs().sum() + bias.abs().sum())):
        raise ValueError(f"layer {name!r}: its weights are not finite; training diverged")
    return FilterBank(weight.float(), bias.float(), pads, activation, name)
