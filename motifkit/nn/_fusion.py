"""How the modules of an accelerated model run.

The modules stay where and what they are: names, types, parameters, hooks. What changes is the instance
attribute `forward` of a few of them. The owner is the module in whose forward the chain of convolution, norm,
activation and pool was found: while its forward runs, the convolution computes the whole chain as one op and
the others pass their input on, once each. At any other time, and wherever fusing would not be exact (a hook
on one of them, a module replaced, an input that requires grad), each does what it did before.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _module

from motifkit import _native, ops
from motifkit.nn.layers import norm_arguments
from motifkit.nn.layout import Layout
from motifkit.ops import _common
from motifkit.sequences import one_hot

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_GLOBAL_HOOKS = [
    getattr(_module, name)
    for name in (
        "_global_forward_pre_hooks", "_global_forward_hooks", "_global_backward_pre_hooks",
        "_global_backward_hooks",
    )
]  # fmt: skip
_transforming = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
_state = threading.local()


@dataclass(eq=False)
class Fusion:
    """The modules that run as one.

    Attributes:
        conv, layout: the convolution and how its tensors lie. norm, pool: or None.
        activation: conv_pool's name. passing: what hands its input on while the chain runs, in order.
        places: (parent, name, module): where each was when the chain was found.
        watched: modules whose hooks would see what is no longer computed.
        flags: (module, name, value) of the settings forward may read.
        required: names of the owner's arguments without a default: others were left at it.
    """

    conv: nn.Module
    layout: Layout
    norm: nn.Module | None = None
    activation: str = "identity"
    pool: nn.Module | None = None
    passing: list[nn.Module] = field(default_factory=list)
    places: list[tuple[nn.Module, str, nn.Module]] = field(default_factory=list)
    watched: list[nn.Module] = field(default_factory=list)
    flags: list[tuple[nn.Module, str, Any]] = field(default_factory=list)
    required: list[str] = field(default_factory=list)

    def intact(self, arguments: tuple, keywords: dict) -> bool:
        """Whether the chain is still the one found, and nobody looks inside it."""
        if len(arguments) > len(self.required) or any(k not in self.required for k in keywords):
            return False
        if any(parent._modules.get(name) is not module for parent, name, module in self.places):
            return False
        if any(module.__dict__.get(name) != value for module, name, value in self.flags):
            return False
        # A pre-hook on the convolution sees what it always saw (and weight_norm lives in one).
        if self.conv._forward_hooks or self.conv._backward_hooks or self.conv._backward_pre_hooks:
            return False
        if any(_GLOBAL_HOOKS):
            return False
        return not any(getattr(module, hooks) for module in self.watched for hooks in _HOOKS)

    def run(self, x: Tensor) -> Tensor:
        """The chain as one op, or, where the input asks for it, module by module."""
        codes = readable(x, self.layout)
        if codes is None:
            x = convolve_densely(self.conv, self.layout, x)
            for module in self.passing:
                x = type(module).forward(module, x)
            return x
        weight = self.layout.weight(self.conv.weight)
        padding = self.layout.padding(self.conv)
        norm = {} if self.norm is None else norm_arguments(self.norm, weight)
        size, stride, pool_padding = 1, 1, 0
        if self.pool is not None:
            pads = _common.resolve_padding(padding, weight.shape[2])
            windows = _common.conv_length(codes.shape[1], weight.shape[2], pads)
            size, stride, pool_padding = self.layout.pool(self.pool, windows)
        out = ops.conv_pool(
            codes, weight, self.conv.bias, activation=self.activation, pool_size=size,
            pool_stride=stride, pool_padding=pool_padding, padding=padding, **norm,
        )  # fmt: skip
        return self.layout.restored(as_autocast(out))


class _Scope:
    """One run of an owner's forward: which of a fusion's modules have yet to pass their input on."""

    def __init__(self, fusion: Fusion):
        self.fusion = fusion
        self.pending = [False] * len(fusion.passing)


def owner_forward(owner: nn.Module, fusions: list[Fusion], *arguments, **keywords):
    """The forward of the owner, with its chains fused where they still are what they were."""
    outer = getattr(_state, "scopes", ())
    scopes = tuple(_Scope(fusion) for fusion in fusions if fusion.intact(arguments, keywords))
    _state.scopes = outer + scopes
    try:
        result = type(owner).forward(owner, *arguments, **keywords)
    finally:
        _state.scopes = outer
    if any(any(scope.pending) for scope in scopes):
        raise RuntimeError(
            f"the forward of {type(owner).__name__} took another path than motifkit.accelerate found;"
            " undo it with motifkit.nn.restore(model)"
        )
    return result


def conv_forward(conv: nn.Module, layout: Layout, fusion: Fusion | None, x: Tensor) -> Tensor:
    """The forward of the convolution: the whole chain within its owner's forward, else itself alone."""
    scope = _scope(fusion)
    if scope is not None:
        scope.pending = [True] * len(scope.pending)
        return fusion.run(x)
    codes = readable(x, layout)
    if codes is None:
        return convolve_densely(conv, layout, x)
    weight = layout.weight(conv.weight)
    return layout.restored(as_autocast(ops.onehot_conv1d(codes, weight, conv.bias, layout.padding(conv))))


def passing_forward(module: nn.Module, fusion: Fusion, index: int, x: Tensor) -> Tensor:
    """The forward of a module whose work the convolution has done already, where it has."""
    scope = _scope(fusion)
    if scope is not None and scope.pending[index]:
        scope.pending[index] = False
        return x
    return type(module).forward(module, x)


def _scope(fusion: Fusion | None) -> _Scope | None:
    for scope in getattr(_state, "scopes", ()):
        if scope.fusion is fusion:
            return scope
    return None


def readable(x: Tensor, layout: Layout) -> Tensor | None:
    """Codes (batch, length) of what the kernels can read, or None: the input is dense, wants a
    gradient, or lies under a transform that they do not know."""
    if not x.is_floating_point():
        return x if _is_codes(x) and not _traced() and _native.serves(x) else None
    if (x.requires_grad and torch.is_grad_enabled()) or not _native.serves(x) or _traced():
        return None
    x = layout.sequences(x)
    if x is None:
        return None
    if torch.compiler.is_compiling():
        return _common.as_codes(x)  # refuses what is not one-hot, when it runs
    try:
        return _common.as_codes(x)
    except ValueError:
        return None


def convolve_densely(conv: nn.Module, layout: Layout, x: Tensor) -> Tensor:
    """The convolution as PyTorch computes it; codes are made one-hot."""
    if _is_codes(x):
        x = layout.expanded(one_hot(x, conv.weight.dtype))
    return type(conv).forward(conv, x)


def as_autocast(x: Tensor) -> Tensor:
    """In the type that autocast would give the output of a convolution."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype == torch.float32:
        return x.to(torch.get_autocast_dtype(device))
    return x


def _is_codes(x: Tensor) -> bool:
    return x.dtype == torch.uint8 and x.dim() == 2


def _traced() -> bool:
    """Under torch.jit.trace or a transform of torch.func, which the kernels cannot be seen by."""
    return not torch.compiler.is_compiling() and (torch.jit.is_tracing() or _transforming())


def install(module: nn.Module, forward: Callable, *state, signature: bool = False) -> None:
    """Give one module another forward; the class keeps its own."""
    call = partial(forward, module, *state)
    if signature:
        call.__wrapped__ = module.forward  # where inspect.signature looks
    module.__dict__["forward"] = call


def installed(model: nn.Module) -> Iterator[nn.Module]:
    """The modules whose forward is one of these."""
    for module in model.modules():
        forward = module.__dict__.get("forward")
        if isinstance(forward, partial) and forward.func in (owner_forward, conv_forward, passing_forward):
            yield module
