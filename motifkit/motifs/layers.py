"""Finding a layer of any model, and running the model up to it without leaving a trace."""

import copy
import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from motifkit.nn.layers import ConvPool, activation_name
from motifkit.sequences import one_hot

INPUTS = ("auto", "codes", "one-hot")


class _Reached(Exception):
    """The layer's output is there."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode without gradients; every submodule's own mode comes back, whatever happens."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        for module, training in modes:
            module.training = training


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The submodule at the exact dotted name `layer`; ValueError with near matches where there is none."""
    modules = dict(model.named_modules())
    if layer in modules:
        return modules[layer]
    convolutions = [n for n, m in modules.items() if isinstance(m, nn.Conv1d | ConvPool)]
    near = difflib.get_close_matches(layer, [n for n in modules if n], n=3)
    meant = f"did you mean {' or '.join(map(repr, near))}? Its" if near else "its"
    raise ValueError(
        f"the model has no layer {layer!r}; {meant} convolutions are {', '.join(convolutions) or 'none'}"
    )


def following(model: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """Names and modules that come after `name` in the nn.Sequential that holds it; else none."""
    parent_name, _, own = name.rpartition(".")
    parent = model.get_submodule(parent_name) if name else None
    if not isinstance(parent, nn.Sequential):
        return []
    names = list(parent._modules)
    prefix = f"{parent_name}." if parent_name else ""
    return [(prefix + n, parent._modules[n]) for n in names[names.index(own) + 1 :]]


def read_point(model: nn.Module, layer: str) -> str:
    """Where the activations of a layer are read: behind the batch norm and activation that follow a
    convolution in an nn.Sequential, else at the layer itself."""
    if not isinstance(find_layer(model, layer), nn.Conv1d):
        return layer
    name, rest = layer, following(model, layer)
    if rest and isinstance(rest[0][1], nn.BatchNorm1d):
        (name, _), rest = rest[0], rest[1:]
    if rest:
        try:
            activation_name(rest[0][1])
            name = rest[0][0]
        except ValueError:
            pass
    return name


def on_device(model: nn.Module, device: torch.device | str | None) -> nn.Module:
    """The model where it is, or a copy on another device: a caller's model does not move."""
    parameter = next(iter(model.parameters()), None)
    if device is None or parameter is None or parameter.device == torch.device(device):
        return model
    return copy.deepcopy(model).to(device)


def prepare_input(codes: Tensor, kind: str) -> Tensor:
    """Codes as a model wants them: as they are, or one-hot."""
    return codes if kind == "codes" else one_hot(codes)


def input_kind(model: nn.Module, codes: Tensor, kind: str = "auto") -> str:
    """Whether a model takes codes or one-hot sequences: both are tried on two sequences.

    Raises:
        ValueError: an unknown kind, or a model that takes neither; the message says what it said.
    """
    if kind not in INPUTS:
        raise ValueError(f"input must be one of {', '.join(INPUTS)}, not {kind!r}")
    if kind != "auto":
        return kind
    probe = codes[:2] if len(codes) > 1 else codes[:1].repeat(2, 1)
    refused = []
    with evaluating(model):
        for candidate in ("codes", "one-hot"):
            try:
                model(prepare_input(probe, candidate))
                return candidate
            except Exception as error:
                refused.append(f"{candidate}: {str(error).splitlines()[0] if str(error) else error!r}")
    raise ValueError(
        f"the model takes neither codes nor one-hot sequences of {codes.shape[1]} letters"
        f" ({'; '.join(refused)}); say which with input="
    )


def output_of(model: nn.Module, module: nn.Module, x: Tensor) -> Tensor:
    """What `module` returns when the model reads x; the model runs no further, and no hook stays."""
    found = []

    def keep(_, __, output):
        found.append(output)
        raise _Reached

    handle = module.register_forward_hook(keep)
    try:
        model(x)
    except _Reached:
        pass
    finally:
        handle.remove()
    if not found:
        raise ValueError("the model's forward does not use that layer")
    return found[0]


def check_output(layer: str, output: object, batch: int) -> Tensor:
    """Refuse an output that is not (batch, channels, positions)."""
    if not isinstance(output, Tensor) or output.dim() != 3 or len(output) != batch:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"layer {layer!r}: its output must be (sequences, channels, positions), got {shape}; name a"
            " convolution, or the activation or pool behind one"
        )
    return output
