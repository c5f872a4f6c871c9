"""What follows a convolution in the forward of a module: found with torch.fx, on a copy that shares its
tensors, in training and in evaluation."""

import copy
import inspect
import operator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from motifkit.nn.layers import Exp, MaxPool1d, activation_name
from motifkit.nn.layout import Layout

# Elementwise and never decreasing, in every setting: a max-pool may be taken before them.
_RISING = (
    nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.LogSigmoid, nn.Hardtanh,
    nn.Hardsigmoid, nn.Softsign, nn.LeakyReLU, Exp,
)  # fmt: skip
_RISING_CALLS = {
    F.relu6, F.elu, F.selu, F.celu, F.softplus, F.logsigmoid, F.hardtanh, F.hardsigmoid, F.softsign,
    F.leaky_relu, F.sigmoid, F.tanh, torch.sigmoid, torch.tanh, torch.exp, torch.selu, torch.celu,
    "sigmoid", "tanh", "exp", "sigmoid_", "tanh_", "exp_",
}  # fmt: skip
_RELU_CALLS = {F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}
_SLOPES = ("negative_slope", "alpha")  # below zero these turn a rise into a fall
_TWO_SIDED = (nn.GELU, nn.SiLU)
_POOLS = (nn.MaxPool1d, MaxPool1d, nn.MaxPool2d)


@dataclass
class Chain:
    """What runs as one with a convolution.

    Attributes:
        norm, activation, pool: modules, or None. relu: whether a ReLU is among what follows, as a
            module or as a call. seen: dotted names of every module the chain goes through, in order.
        calls: names of functions it goes through. reads: what forward calls the convolution's input.
        stop: why it ends where it does.
    """

    norm: str | None = None
    activation: str | None = None
    pool: str | None = None
    relu: bool = False
    seen: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    reads: str = ""
    stop: str = ""

    @property
    def passing(self) -> list[str]:
        """Names of the modules that have nothing left to do, in order."""
        return [name for name in self.seen if name in (self.norm, self.activation, self.pool)]

    @property
    def worth(self) -> int:
        """How much it spares."""
        return 2 * (self.pool is not None) + (self.norm is not None)


def required_arguments(owner: nn.Module) -> list[str]:
    """Names of forward's arguments without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(owner.forward).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind in kinds]


def find_chain(owner: nn.Module, conv: str, layout: Layout) -> Chain:
    """The chain behind the convolution named `conv` in the owner's forward.

    Raises whatever tracing raises: forward is anybody's code.
    """
    values = [v for module in owner.modules() for v in vars(module).values()]
    tensors = [v for v in values if isinstance(v, Tensor)]  # weight_norm keeps one that is no parameter
    shared = {id(t): t for t in (*owner.parameters(), *owner.buffers(), *tensors)}
    twin = copy.deepcopy(owner, shared)
    defaults = {
        p.name: p.default
        for p in inspect.signature(owner.forward).parameters.values()
        if p.default is not p.empty
    }
    chains = []
    for training in (True, False):
        twin.train(training)
        graph = _Tracer().trace(twin, concrete_args=defaults or None)
        chains.append(_Walk(twin, graph, conv, layout).chain())
    if chains[0] != chains[1]:
        return Chain(stop="forward takes one way in training and another in evaluation")
    return chains[0]


class _Tracer(fx.Tracer):
    """Modules of motifkit are leaves, as those of torch.nn are."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return type(module).__module__.startswith("motifkit.nn") or super().is_leaf_module(module, name)


class _Walk:
    """From one convolution onwards, as far as everything fuses."""

    def __init__(self, owner: nn.Module, graph: fx.Graph, conv: str, layout: Layout):
        self.modules = dict(owner.named_modules(remove_duplicate=False))
        self.nodes = list(graph.nodes)
        self.kept = _kept_as_attributes(owner)
        self.conv, self.layout, self.found = conv, layout, Chain()
        self.risen = False  # an activation has come that stays where it is, behind the pool

    def chain(self) -> Chain:
        calls = [n for n in self.nodes if n.op == "call_module" and n.target == self.conv]
        if len(calls) != 1:
            self.found.stop = f"forward calls it {len(calls)} times"
            return self.found
        node = calls[0]
        self.first = self.nodes.index(node)
        self.found.reads = str(node.args[0]) if node.args else ""
        while True:
            following = self._next(node)
            if following is None or not self._take(following):
                return self.found
            node = following

    def _next(self, node: fx.Node) -> fx.Node | None:
        users = list(node.users)
        if node in self.kept or len(users) != 1:
            uses = "kept as an attribute" if node in self.kept else f"used {len(users)} times"
            self.found.stop = f"the output of {_called(node)} is {uses}"
            return None
        user = users[0]
        if user.args[:1] != (node,) or node in [*user.args[1:], *user.kwargs.values()]:
            self.found.stop = f"{_called(user)} comes next"
            return None
        return user

    def _take(self, node: fx.Node) -> bool:
        """Add what a node does to the chain; False, with the reason kept, where it does not fuse."""
        problem = self._module(node) if node.op == "call_module" else self._call(node)
        if problem:
            self.found.stop = problem
        return not problem

    def _module(self, node: fx.Node) -> str:
        found, name, module = self.found, node.target, self.modules[node.target]
        kind, label = type(module), f"{node.target} ({type(module).__name__})"
        if "forward" in module.__dict__:
            return f"{label} has a forward of its own"
        between = self.nodes[self.first : self.nodes.index(node)]
        if any(n.op == "call_module" and n.target == name for n in between):
            return f"{label} is used in between as well"
        if kind is (nn.BatchNorm1d if self.layout.flat else nn.BatchNorm2d):
            if found.relu or found.activation or found.pool or self.risen:
                return f"{label} normalises what an activation or a pool gives"
            if found.norm:
                return f"{label} is a second batch norm"
            found.norm = name
        elif kind is nn.ReLU and not found.activation and not found.relu and not self.risen:
            found.relu, found.activation = True, name
        elif kind in _TWO_SIDED and not (found.activation or found.relu or found.pool or self.risen):
            found.activation = name
        elif kind in (nn.ReLU, *_RISING) and not self._is_two_sided():
            if any(getattr(module, slope, 0) < 0 for slope in _SLOPES):
                return f"{label} has a negative slope"
            self.risen = True
        elif kind in _POOLS or kind is nn.AdaptiveMaxPool1d:
            problem = _pool_problem(module, self.layout) or ("is a second pool" if found.pool else "")
            if problem:
                return f"{label} {problem}"
            found.pool = name
        elif kind is not nn.Identity:
            return f"{label} comes next"
        found.seen.append(name)
        return ""

    def _call(self, node: fx.Node) -> str:
        name = _called(node)
        if node.op not in ("call_function", "call_method"):
            return f"{name} comes next"
        settings = [*node.args[1:], *node.kwargs.values()]
        known = node.target in _RELU_CALLS or node.target in _RISING_CALLS
        if self._is_two_sided() or not known or any(isinstance(s, fx.Node) for s in settings):
            hint = "; as an nn.MaxPool1d module it would fuse" if "max_pool" in name else ""
            hint = "; as a module it would fuse" if name in ("gelu", "silu") else hint
            return f"{name} is called next{hint}"
        if any(isinstance(s, int | float) and s < 0 for s in settings) and node.target is not F.hardtanh:
            return f"{name} is called with a negative slope"
        if node.target in _RELU_CALLS and not self.risen:
            self.found.relu = True
        else:
            self.risen = True
        self.found.calls.append(name)
        return ""

    def _is_two_sided(self) -> bool:
        return self.found.activation is not None and not self.found.relu


def _pool_problem(pool: nn.Module, layout: Layout) -> str:
    """Why a pool is not conv_pool's; empty where it is."""
    if isinstance(pool, nn.MaxPool2d) == layout.flat:
        return "does not pool along the sequence alone"
    if pool.return_indices:
        return "returns indices"
    if isinstance(pool, nn.AdaptiveMaxPool1d):
        return "" if pool.output_size in (1, (1,)) else "has windows of several sizes"
    if layout.along(pool.dilation) != 1 or pool.ceil_mode:
        return "has dilation or ceil_mode"
    if not layout.flat and (layout.across(pool.kernel_size), layout.across(pool.padding)) != (1, 0):
        return "does not pool along the sequence alone"
    return ""


def _kept_as_attributes(owner: nn.Module) -> set[fx.Node]:
    """What forward stored on a module instead of returning it."""
    kept = set()
    for module in owner.modules():
        for value in vars(module).values():
            values = value.values() if isinstance(value, dict) else value
            values = values if isinstance(value, dict | list | tuple | set) else [value]
            kept.update(v.node for v in values if isinstance(v, fx.Proxy))
    return kept


def _called(node: fx.Node) -> str:
    """What a reader of forward would call it."""
    if node.op == "output":
        return "the end"
    target = node.args[1] if node.target in (getattr, operator.getitem) else node.target
    return str(getattr(target, "__name__", target))


def fused_activation(chain: Chain, owner: nn.Module) -> str:
    """conv_pool's name of the activation computed within."""
    if chain.relu or chain.activation is None:
        return "relu" if chain.relu else "identity"
    return activation_name(owner.get_submodule(chain.activation))
