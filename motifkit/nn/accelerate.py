"""accelerate: anybody's model, with its first block as one op."""

import copy
import sys

from torch import nn

from motifkit.nn._chain import Chain, find_chain, fused_activation, required_arguments
from motifkit.nn._fusion import Fusion, conv_forward, install, installed, owner_forward, passing_forward
from motifkit.nn.layers import ConvPool
from motifkit.nn.layout import Layout, layout_of, refusal


def accelerate(model: nn.Module, inplace: bool = False, *, verbose: bool = True) -> nn.Module:
    """Run a model's first convolution over DNA, and what follows it, on motifkit's kernels.

    Finds the first convolution over four channels (a Conv1d, or a Conv2d as it is used on
    (batch, 4, 1, length), (batch, 4, length, 1), (batch, 1, 4, length) or (batch, 1, length, 4)) and, in the
    forward of the modules around it (by torch.fx), the batch norm, activation and max-pool behind it, in
    whatever order fuses exactly. Other convolutions that read the same input are taken too. Where forward
    cannot be traced, the convolution alone is taken.

    Nothing is replaced: modules, types, parameters, buffers, `state_dict`, hooks and the code of forward stay
    as they are, so that `load_state_dict`, `deepcopy`, pickling, `.to(device)`, autocast, DDP,
    `torch.compile` and `torch.export` work as before. The fused modules take a shorter way only while the
    module whose forward they were found in runs, and only where the result is the same: with hooks on one of
    them, after one of them was replaced, with an input that requires grad (attribution) or is not one-hot,
    under torch.jit.trace or torch.func, the model computes as before. `restore` undoes it.

    What fuses: BatchNorm1d straight behind the convolution; then activations that never decrease (ReLU as a
    module or as a call; Exp, ELU, SELU, CELU, LeakyReLU, Softplus, Sigmoid, Tanh and so on, which are then
    computed on what the pool keeps), or the modules GELU and SiLU; MaxPool1d and AdaptiveMaxPool1d(1), before
    or after them. Dropout, an average pool, a pool called as a function, or an output that is used twice
    stop the fusion there.

    Args:
        model: any module. inplace: change it; by default a deep copy is changed.
        verbose: say in one line, on standard error, what was fused, what was left and why.

    Returns:
        The model; its input may be one-hot as before or uint8 codes (batch, length), as far as the
        rest of its forward lets codes through. A model without such a convolution comes back as it is.
        Under torch.compile and torch.export a float input is taken to be one-hot; one that is not
        raises ValueError when it is met. Gradients flow once: a second derivative with respect to
        weights raises RuntimeError (an input that requires grad takes the differentiable path).

    Raises:
        TypeError: not a module.

    Example:
        >>> import torch, motifkit as mk
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv1d(4, 30, 19, padding="same"), torch.nn.BatchNorm1d(30), torch.nn.ReLU(),
        ...     torch.nn.MaxPool1d(25), torch.nn.Flatten(), torch.nn.Linear(240, 1))
        >>> fast = mk.accelerate(model, verbose=False)
        >>> fast(mk.encode("ACGT" * 50)).shape
        torch.Size([1, 1])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"accelerate takes a torch.nn.Module, not {type(model).__name__}")
    if not inplace:
        model = copy.deepcopy(model)
    said = "; ".join(_accelerate(model))
    if verbose:
        print(f"motifkit: accelerate {said}", file=sys.stderr)
    return model


def restore(model: nn.Module) -> nn.Module:
    """Undo `accelerate`, in place: for torch.onnx.export, torch.jit.script and the like.

    Example:
        >>> import torch, motifkit as mk
        >>> model = mk.accelerate(torch.nn.Sequential(torch.nn.Conv1d(4, 2, 3)), verbose=False)
        >>> mk.nn.restore(model)
        Sequential(
          (0): Conv1d(4, 2, kernel_size=(3,), stride=(1,))
        )
    """
    for module in list(installed(model)):
        del module.__dict__["forward"]
    return model


def _accelerate(model: nn.Module) -> list[str]:
    """Do it; what was done, in clauses."""
    if any(installed(model)):
        return ["left the model: it is accelerated already"]
    blocks = [module for module in model.modules() if isinstance(module, ConvPool)]
    inside = {id(module) for block in blocks for module in block.modules()}
    candidates = [(n, m) for n, m in model.named_modules() if layout_of(m) and id(m) not in inside]
    if not candidates:
        fused = [n for n, m in model.named_modules() if m in blocks]
        return [
            f"left {fused[0] or 'the model'}: it is a ConvPool already"
            if fused
            else "left the model: it has no convolution over 4 channels"
        ]
    name, conv = candidates[0]
    problem = refusal(conv, layout_of(conv))
    if problem:
        return [f"left {name or 'the convolution'}: {problem}"]
    owner_name, chain = _longest(model, name, layout_of(conv))
    if owner_name is None:
        install(conv, conv_forward, layout_of(conv), None)
        return [_alone(name, chain)]
    found = [(name, conv, chain)]
    owner = model.get_submodule(owner_name)
    for other, module in candidates[1:]:  # stems side by side
        if other.startswith(_prefix(owner_name)) and not refusal(module, layout_of(module)):
            beside = _try_chain(model, owner_name, other, layout_of(module))
            if beside.reads == chain.reads:
                found.append((other, module, beside))
    return _install_all(model, owner_name, owner, found)


def _alone(conv: str, chain: Chain) -> str:
    return f"runs {conv or 'the convolution'} alone, left the rest: {chain.stop or 'nothing is known of it'}"


def _prefix(owner: str) -> str:
    return f"{owner}." if owner else ""


def _longest(model: nn.Module, conv: str, layout: Layout) -> tuple[str | None, Chain]:
    """The innermost module in whose forward most fuses, and the chain there."""
    best: tuple[str | None, Chain] = (None, Chain())
    parts = conv.split(".") if conv else []
    for depth in range(len(parts) - 1, -1, -1):
        owner = ".".join(parts[:depth])
        chain = _try_chain(model, owner, conv, layout)
        if chain.worth > best[1].worth:
            best = owner, chain
        elif best[0] is None:
            best = None, chain  # why there is none
    return best


def _try_chain(model: nn.Module, owner: str, conv: str, layout: Layout) -> Chain:
    module = model.get_submodule(owner)
    if "forward" in module.__dict__:
        return Chain(stop=f"{owner or 'the model'} has a forward of its own")
    try:
        return find_chain(module, conv.removeprefix(_prefix(owner)), layout)
    except Exception as error:  # forward is anybody's code
        reason = str(error).strip().splitlines() or [""]
        return Chain(stop=f"forward cannot be traced ({type(error).__name__}: {reason[0][:80]})")


def _install_all(model: nn.Module, owner_name: str, owner: nn.Module, found: list) -> list[str]:
    required = required_arguments(owner)
    fusions, said, used = [], [], set()
    for name, conv, chain in found:
        layout = layout_of(conv)
        if not chain.worth or used & set(chain.passing):
            install(conv, conv_forward, layout, None)
            said.append(_alone(name, chain))
            continue
        used |= set(chain.passing)
        fusion = _fusion(owner, conv, layout, chain, required)
        fusions.append(fusion)
        fusion.places.append(_place(model, name))
        install(conv, conv_forward, layout, fusion)
        for index, module in enumerate(fusion.passing):
            install(module, passing_forward, fusion, index)
        full = [name, *(_prefix(owner_name) + n for n in chain.passing)]
        said.append(f"runs {', '.join(full[:-1])} and {full[-1]} as one, left the rest: {chain.stop}")
    install(owner, owner_forward, fusions, signature=True)
    return said


def _fusion(owner: nn.Module, conv: nn.Module, layout: Layout, chain: Chain, required: list[str]) -> Fusion:
    def module(name):
        return None if name is None else owner.get_submodule(name)

    seen = [module(name) for name in chain.seen]
    around = _containers(owner, chain.seen)
    flags = [
        (holder, name, value)
        for holder in (owner, *around)
        for name, value in vars(holder).items()
        if isinstance(value, bool | str | None) and name != "training"
    ]
    return Fusion(
        conv, layout, module(chain.norm), fused_activation(chain, owner), module(chain.pool),
        [module(name) for name in chain.passing], [_place(owner, name) for name in chain.seen],
        seen + around, flags, required,
    )  # fmt: skip


def _containers(owner: nn.Module, names: list[str]) -> list[nn.Module]:
    """The modules between the owner and the chain: hooks on them see what leaves them."""
    paths = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 1)}
    return [owner.get_submodule(path) for path in sorted(paths)]


def _place(root: nn.Module, name: str) -> tuple[nn.Module, str, nn.Module]:
    parent, _, own = name.rpartition(".")
    return root.get_submodule(parent), own, root.get_submodule(name)
