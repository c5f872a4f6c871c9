"""The paper's architectures and well-known published ones, by name."""

from torch import nn

from motifkit.errors import InputError
from motifkit.models import paper
from motifkit.models.paper import initialise
from motifkit.models.published import PUBLISHED
from motifkit.nn.accelerate import accelerate

__all__ = ["build", "names"]


def names() -> list[str]:
    """Every name that `build` takes: the networks of Koo & Eddy (2019), then other published ones.

    Example:
        >>> import motifkit as mk
        >>> mk.models.names()[-11:-6]
        ['DeepBind', 'DeepSEA', 'Basset', 'DanQ', 'Basenji2']
    """
    return [*paper.names(), *PUBLISHED]


def build(
    name: str,
    length: int | None = None,
    classes: int | None = None,
    *,
    init: str | None = None,
    plain: bool = False,
) -> nn.Module:
    """A network by name, with fresh parameters.

    Args:
        name: one of `names()`. Those of Koo & Eddy (2019), such as "CNN-25" or "CNN-25 (60)", are described
            at `motifkit.models.paper.build`, the others at their functions in `motifkit.models.published`.
        length: letters a sequence; by default what the network was published with.
        classes: outputs (tracks, cells); by default as published.
        init: "glorot" (uniform) or "he" (normal) for every convolution and dense layer. None is "glorot" for
            the networks of Koo & Eddy, PyTorch's own initial values for the others.
        plain: give a published network as plain torch.nn, which takes one-hot alone; by default it is
            accelerated (`motifkit.accelerate`) and takes codes as well. The parameters have the same
            names.

    Returns:
        Module from codes (batch, length) or one-hot (batch, 4, length) to logits (batch, classes); of
        Basenji2 (batch, classes, bins); of BPNet and ChromBPNet a pair, the profile's logits (batch,
        classes, positions) and the log counts (batch, classes). Draws come from torch's global
        generator.

    Raises:
        InputError: an unknown name or init, or sequences too short.

    Example:
        >>> import motifkit as mk
        >>> mk.models.build("CNN-25")(mk.encode(["ACGT" * 50] * 2)).shape
        torch.Size([2, 12])
        >>> mk.models.build("Basset", classes=3)(mk.encode(["ACGT" * 150] * 2)).shape
        torch.Size([2, 3])
    """
    if name not in PUBLISHED:
        if name not in paper.names():
            raise InputError(f"unknown model {name!r}; there are {', '.join(names())}")
        return paper.build(name, length or 200, classes or 12, init=init or "glorot")
    network = PUBLISHED[name]
    length = network.length if length is None else length
    if length < network.shortest:
        raise InputError(f"{name} needs sequences of at least {network.shortest} letters, not {length}")
    model = network.make(length, network.classes if classes is None else classes)
    if init is not None:
        initialise(model, init)
    return model if plain else accelerate(model, inplace=True, verbose=False)
