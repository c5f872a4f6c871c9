"""From a position in a deep layer back to the letters that put it there.

A run of the model is recorded, operation by operation, as PyTorch dispatches them: modules and functional
calls alike. The record gives the receptive field (start, jump, width) of a position, and lets an
activation be followed down: through a max-pool to its arg-max, through a convolution to the input that
contributed most.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from motifkit import ops
from motifkit.motifs import layers
from motifkit.nn.layers import ConvPool, MaxPool1d, OneHotConv1d, conv_padding, pool_geometry
from motifkit.ops import _common
from motifkit.ops.conv_pool import ACTIVATIONS

# Operations that keep every position where it is, and every channel its own.
_POSITIONWISE = {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "prelu", "gelu", "silu", "mish", "exp",
    "sigmoid", "tanh", "softplus", "softsign", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid",
    "threshold", "clamp", "abs", "square", "sqrt", "log", "log1p", "pow", "dropout", "feature_dropout",
    "alpha_dropout", "dropout1d", "batch_norm", "instance_norm", "group_norm", "contiguous", "clone",
    "detach", "to", "float", "double", "half", "type_as", "add", "add_", "sub", "sub_", "mul", "mul_", "div",
    "div_", "true_divide", "__add__", "__mul__", "__radd__", "__rmul__", "eq", "__eq__", "type",
}  # fmt: skip
_SUMS = {"add", "add_", "__add__", "__radd__"}


@dataclass(eq=False)
class Step:
    """One operation of a recorded run.

    Attributes:
        key: its number in the run: the same for every batch. kind: what it is. parents: the steps whose
            results it read. value: its result. detail: geometry, weights.
    """

    key: int
    kind: str
    parents: list["Step"]
    value: Tensor
    detail: dict = field(default_factory=dict)


class _Recorder(TorchFunctionMode):
    def __init__(self, x: Tensor):
        super().__init__()
        self.count = 0
        self.steps = {id(x): Step(0, "input", [], x)}
        self.kept: list[object] = [x]  # a tensor that lives keeps its id for itself

    def add(self, kind, inputs, output, detail=None):
        parents = [self.steps[id(t)] for t in inputs if id(t) in self.steps]
        if not parents or not isinstance(output, Tensor):
            return
        self.count += 1
        self.kept.append(output)
        self.steps[id(output)] = Step(self.count, kind, parents, output, detail or {})

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name not in ("__get__", "size", "dim"):
            describe = _DESCRIBE.get(name)
            detail = describe(*args, **kwargs) if describe else {}
            flat = [x for a in (*args, *kwargs.values()) for x in (a if isinstance(a, list | tuple) else [a])]
            self.add(name, [t for t in flat if isinstance(t, Tensor)], output, detail)
        return output


def _one(value) -> int:
    return int(value[0]) if isinstance(value, tuple | list) else int(value)


def _conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    stride, dilation = _one(stride), _one(dilation)
    span = (weight.shape[2] - 1) * dilation + 1
    left = _common.resolve_padding(padding if isinstance(padding, str) else _one(padding), span)[0]
    return {
        "size": weight.shape[2], "stride": stride, "dilation": dilation, "left": left, "weight": weight,
        "groups": groups,
    }  # fmt: skip


def _pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    size = _one(kernel_size)
    step = size if stride is None or stride == () or stride == [] else _one(stride)
    return {"size": size, "stride": step, "dilation": _one(dilation), "left": _one(padding)}


def _avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    return _pool1d(input, kernel_size, stride, padding)


def _pad(input, pad, mode="constant", value=None):
    return {"left": int(pad[0]), "mode": mode, "dims": len(pad) // 2}


def _cat(tensors, dim=0):
    return {"dim": dim, "sizes": [t.shape[1] for t in tensors if t.dim() == 3]}


_DESCRIBE = {"conv1d": _conv1d, "max_pool1d": _pool1d, "avg_pool1d": _avg_pool1d, "pad": _pad, "cat": _cat}
_WINDOWED = ("conv1d", "max_pool1d", "avg_pool1d")


@contextmanager
def _own_layers_noted(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """This package's layers compute outside PyTorch's dispatch: hooks note them as single steps."""

    def note(module, args, output):
        if isinstance(module, ConvPool):
            recorder.add("conv_pool", args, output, {"module": module})
        elif isinstance(module, OneHotConv1d):
            detail = _conv1d(args[0], module.weight, None, 1, conv_padding(module))
            recorder.add("conv1d", args, output, detail)
        elif isinstance(module, MaxPool1d):
            recorder.add("max_pool1d", args, output, _pool1d(args[0], *pool_geometry(module)))

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, ConvPool | OneHotConv1d | MaxPool1d):
                stack.callback(module.register_forward_hook(note).remove)
        yield


def record(model: nn.Module, module: nn.Module, x: Tensor) -> Step:
    """Run the model on x up to `module`; the step that made its output, and by it all before."""
    recorder = _Recorder(x)
    with _own_layers_noted(model, recorder), recorder:
        output = layers.output_of(model, module, x)
    if id(output) not in recorder.steps:
        raise ValueError("no chain of PyTorch operations leads from the sequences to that layer")
    return recorder.steps[id(output)]


# ---- the receptive field ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceptiveField:
    """Which letters position t of a layer can see: start + t jump up to start + t jump + width - 1.

    Attributes:
        start: first letter that position 0 sees (negative inside the padding). jump: letters between
            neighbouring positions. width: letters seen.
    """

    start: int
    jump: int
    width: int


def receptive_field(
    model: nn.Module, layer: str, sequences: Tensor, *, input: str = "auto"
) -> ReceptiveField:
    """The receptive field of a layer, from a recorded run on two of the sequences.

    A window of size k, stride s, dilation d and left padding p on a field (start, jump, width) gives
    (start - p jump, s jump, width + (k - 1) d jump): convolutions and pools alike. Branches that meet
    give the hull of their fields.

    Args:
        model, layer: any module and the exact dotted name of one of its layers. sequences: codes.
        input: "codes", "one-hot", or "auto" to try both.

    Raises:
        ValueError: an unknown layer, or an operation through which positions cannot be followed.

    Example:
        >>> import motifkit as mk
        >>> from motifkit.motifs.trace import receptive_field
        >>> model = mk.models.build("CNN-25", length=200)
        >>> receptive_field(model, "relu2", mk.encode(["ACGT" * 50]))
        ReceptiveField(start=-59, jump=25, width=143)
    """
    module = layers.find_layer(model, layer)
    kind = layers.input_kind(model, sequences, input)
    probe = sequences[:1].repeat(2, 1)
    with layers.evaluating(model):
        step = record(model, module, layers.prepare_input(probe, kind))
    return field_of(step)


def field_of(step: Step) -> ReceptiveField:
    """The receptive field of a recorded step's positions."""
    if step.kind == "input":
        return ReceptiveField(0, 1, 1)
    if step.kind == "conv_pool":
        module = step.detail["module"]
        width = module.conv.kernel_size[0]
        left = _common.resolve_padding(conv_padding(module.conv), width)[0]
        size, stride, padding = (1, 1, 0) if module.pool is None else pool_geometry(module.pool)
        return ReceptiveField(-left - padding, stride, width + size - 1)
    fields = [field_of(parent) for parent in _sources(step)]
    if len({f.jump for f in fields}) > 1:
        raise ValueError("branches of different strides meet before that layer: it has no one field")
    first = min(f.start for f in fields)
    last = max(f.start + f.width for f in fields)
    below = ReceptiveField(first, fields[0].jump, last - first)
    if step.kind == "pad":
        return ReceptiveField(below.start - step.detail["left"] * below.jump, below.jump, below.width)
    if step.kind not in _WINDOWED:
        return below
    d = step.detail
    return ReceptiveField(
        below.start - d["left"] * below.jump, below.jump * d["stride"],
        below.width + (d["size"] - 1) * d["dilation"] * below.jump,
    )  # fmt: skip


def _sources(step: Step) -> list[Step]:
    """The parents that positions come from; ValueError where positions are not kept."""
    kind, value = step.kind, step.value
    if kind in _WINDOWED:
        return step.parents[:1]
    if kind == "pad":
        if step.detail["mode"] != "constant" or step.detail["dims"] != 1:
            raise ValueError(f"positions cannot be followed through padding of mode {step.detail['mode']!r}")
        return step.parents[:1]
    if kind == "cat":
        if step.detail["dim"] not in (1, -2) or len(step.parents) != len(step.detail["sizes"]):
            raise ValueError("positions cannot be followed through that concatenation")
        return step.parents
    onehot = step.parents[0].value.dim() == 2 and value.dim() == 3 and value.shape[1] == 4
    kept = value.shape[-1] == step.parents[0].value.shape[-1]
    if (kind in _POSITIONWISE or (kind == "__getitem__" and kept)) and (kept or onehot):
        same = [p for p in step.parents if p.value.shape == value.shape]
        return same if kind in _SUMS and len(same) > 1 else step.parents[:1]
    raise ValueError(f"positions cannot be followed through the operation {kind!r}; name a layer before it")


# ---- following activations down --------------------------------------------------------------------------


@dataclass
class _Path:
    """Activations on their way down: where each is, and which filter it belongs to."""

    row: Tensor  # (hits,) which sequence of the batch
    owner: Tensor  # (hits,) the deep filter whose window this is
    channel: Tensor  # (hits,)
    position: Tensor  # (hits,)
    index: Tensor  # (hits,) its number among all

    def where(self, mask: Tensor) -> "_Path":
        return _Path(*(x[mask] for x in (self.row, self.owner, self.channel, self.position, self.index)))


class Tracer:
    """Follows the activations of deep filters to the letters under them.

    Through a max-pool an activation goes to its arg-max (the first of equals), through a convolution to
    the tap of its anchor channel that contributes most. A deep filter's anchor channel, one for each
    convolution on its way, is the input channel that contributes most to it, summed over a sample of its
    windows: aligned by one feature, the windows of a filter are aligned with each other.
    """

    def __init__(self, filters: int):
        self.filters = filters
        self.anchors: dict[int, Tensor] = {}  # step key: (filters,) channel, or branch of a sum
        self.votes: dict[int, Tensor] = {}

    def letters(self, step: Step, row: Tensor, filter: Tensor, position: Tensor) -> Tensor:
        """(hits,) the letter that each activation is anchored to; a huge negative number where nothing
        contributed, or where an anchor is not yet known (`votes` then say which it should be)."""
        self.votes = {}
        out = torch.full_like(position, LOST)
        every = torch.arange(len(row), device=row.device)
        self._follow(step, _Path(row, filter, filter, position, every), out)
        return out

    def settle(self, votes: dict[int, Tensor]) -> None:
        """Choose the anchors that were voted for."""
        for key, table in votes.items():
            self.anchors[key] = table.argmax(1)

    def _follow(self, step: Step, path: _Path, out: Tensor) -> None:
        while len(path.row):
            if step.kind == "conv_pool":
                out[path.index] = _first_block(step, path)
                return
            if step.kind == "input":
                out[path.index] = path.position
                return
            sources = _sources(step)
            if step.kind == "cat":
                return self._split_channels(step, path, out)
            if len(sources) > 1:
                branch = self._decide(step.key, path, self._branch_values(sources, path))
                if branch is None:
                    return None
                for index, source in enumerate(sources):
                    self._follow(source, path.where(branch == index), out)
                return None
            if step.kind == "conv1d" and _reads_letters(sources[0]):
                d = step.detail
                centre = (d["size"] - 1) * d["dilation"] // 2
                out[path.index] = path.position * d["stride"] - d["left"] + centre
                return None
            if step.kind == "conv1d":
                path = self._through_convolution(step, sources[0].value, path)
                if path is None:
                    return None
            elif step.kind in _WINDOWED:
                path = _through_pool(step, sources[0].value, path)
            elif step.kind == "pad":
                path.position = path.position - step.detail["left"]
            step = sources[0]
        return None

    def _split_channels(self, step: Step, path: _Path, out: Tensor) -> None:
        first = 0
        for source, size in zip(step.parents, step.detail["sizes"], strict=True):
            part = path.where((path.channel >= first) & (path.channel < first + size))
            part.channel = part.channel - first
            self._follow(source, part, out)
            first += size

    def _branch_values(self, sources: list[Step], path: _Path) -> Tensor:
        at = (path.row, path.channel, path.position)
        return torch.stack([source.value[at].float() for source in sources], dim=1)

    def _decide(self, key: int, path: _Path, shares: Tensor) -> Tensor | None:
        """(hits,) the anchor of each; None, and a vote, where it is not known. shares: (hits, choices)."""
        if key in self.anchors:
            return self.anchors[key].to(path.owner.device)[path.owner]
        table = shares.new_zeros(self.filters, shares.shape[1], dtype=torch.float64)
        table.index_add_(0, path.owner, shares.clamp(min=0).double())
        self.votes[key] = self.votes.get(key, 0) + table
        return None

    def _through_convolution(self, step: Step, x: Tensor, path: _Path) -> _Path | None:
        d = step.detail
        filters, members, _ = d["weight"].shape
        group = path.channel // (filters // d["groups"]) * members  # first input channel of its group
        at, inside = _window(path.position, d, x.shape[2])
        if step.key not in self.anchors:
            best = []
            for part in range(0, len(path.row), 4096):  # (4096, channels, taps) at once
                cut = slice(part, part + 4096)
                channels = group[cut, None] + torch.arange(members, device=x.device)
                values = x[path.row[cut, None, None], channels[:, :, None], at[cut, None, :]]
                values = values * d["weight"][path.channel[cut]] * inside[cut, None, :]
                best.append(values.amax(2))
            return self._decide(step.key, path, torch.cat(best)) if best else None
        anchor = self._decide(step.key, path, x)
        values = x[path.row[:, None], (group + anchor)[:, None], at]
        values = values * d["weight"][path.channel, anchor] * inside
        share, tap = values.max(1)
        position = at.gather(1, tap[:, None])[:, 0]
        moved = _Path(path.row, path.owner, group + anchor, position, path.index)
        return moved.where(share > 0)  # the rest: the feature they are aligned by is not there


LOST = -(1 << 40)  # the letter of an activation that could not be followed


def _window(position: Tensor, d: dict, length: int) -> tuple[Tensor, Tensor]:
    """Input positions (hits, size) under output positions, and which of them exist."""
    steps = torch.arange(d["size"], device=position.device) * d["dilation"]
    at = position[:, None] * d["stride"] - d["left"] + steps
    inside = (at >= 0) & (at < length)
    return at.clamp(0, length - 1), inside


def _through_pool(step: Step, x: Tensor, path: _Path) -> _Path:
    at, inside = _window(path.position, step.detail, x.shape[2])
    values = x[path.row[:, None], path.channel[:, None], at].masked_fill(~inside, -torch.inf)
    tap = (values == values.amax(1, keepdim=True)).int().argmax(1)
    return _Path(path.row, path.owner, path.channel, at.gather(1, tap[:, None])[:, 0], path.index)


def _first_block(step: Step, path: _Path) -> Tensor:
    """Letters under pooled outputs of a fused first block: its convolution is computed once more."""
    module, x = step.detail["module"], step.parents[0].value
    conv, norm = module.conv, module.norm
    width = conv.kernel_size[0]
    z = ops.onehot_conv1d(x, conv.weight, conv.bias, conv_padding(conv))
    if norm is not None:
        z = nn.functional.batch_norm(
            z, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )
    z = ACTIVATIONS[module.activation_name](z)
    if module.pool is not None:
        size, stride, padding = pool_geometry(module.pool)
        detail = {"size": size, "stride": stride, "dilation": 1, "left": padding}
        path = _through_pool(Step(-1, "max_pool1d", [], z, detail), z, path)
    left = _common.resolve_padding(conv_padding(conv), width)[0]
    return path.position - left + (width - 1) // 2


def _reads_letters(step: Step) -> bool:
    """Whether a step only turns the sequences into a one-hot tensor, or pads it."""
    while step.kind != "input":
        if step.kind in _WINDOWED or step.kind in ("cat", "conv_pool") or len(_sources(step)) > 1:
            return False
        step = _sources(step)[0]
    return True
