"""How sequences lie in the tensors of a convolution: (batch, 4, length), or one of the four ways in which
two-dimensional convolutions are used on DNA."""

from dataclasses import dataclass

from torch import Tensor, nn

from motifkit.nn.layers import OneHotConv1d


@dataclass(frozen=True)
class Layout:
    """Where a convolution's input has its letters and its length.

    Attributes:
        letters: the dimension of size 4. length: the dimension of the sequence.
        single: the dimension of size 1 of the input, or None: (batch, 4, length).

    The output has filters in dimension 1 and its length where the input has it.
    """

    letters: int = 1
    length: int = 2
    single: int | None = None

    @property
    def flat(self) -> bool:
        """Whether the convolution is one-dimensional."""
        return self.single is None

    def sequences(self, x: Tensor) -> Tensor | None:
        """x as (batch, 4, length), or None where it has another shape."""
        if x.dim() != (3 if self.flat else 4) or x.shape[self.letters] != 4:
            return None
        if not self.flat:
            if x.shape[self.single] != 1:
                return None
            x = x.squeeze(self.single)
        return x.transpose(1, 2) if self.length < self.letters else x

    def expanded(self, x: Tensor) -> Tensor:
        """(batch, 4, length) as the convolution takes it."""
        x = x.transpose(1, 2) if self.length < self.letters else x
        return x if self.flat else x.unsqueeze(self.single)

    def weight(self, weight: Tensor) -> Tensor:
        """The convolution's weight as (filters, 4, width)."""
        if self.flat:
            return weight
        weight = weight.squeeze(self.single)
        return weight.transpose(1, 2) if self.length < self.letters else weight

    def restored(self, out: Tensor) -> Tensor:
        """(batch, filters, windows) as the convolution would give it."""
        return out if self.flat else out.unsqueeze(5 - self.length)

    def along(self, value: int | tuple[int, ...]) -> int:
        """The entry of a convolution's or pool's argument that belongs to the length."""
        return value if isinstance(value, int) else value[-1 if self.flat else self.length - 2]

    def across(self, value: int | tuple[int, ...]) -> int | None:
        """The entry that belongs to the other dimension; None where there is no such dimension."""
        if self.flat:
            return None
        return value if isinstance(value, int) else value[3 - self.length]

    def padding(self, conv: nn.Module) -> int | str:
        """The padding argument of the ops."""
        return conv.padding if isinstance(conv.padding, str) else self.along(conv.padding)

    def pool(self, pool: nn.Module, windows: int) -> tuple[int, int, int]:
        """(size, stride, padding) of a pool over `windows` positions."""
        if isinstance(pool, nn.AdaptiveMaxPool1d):
            return windows, windows, 0
        return self.along(pool.kernel_size), self.along(pool.stride), self.along(pool.padding)


def layout_of(conv: nn.Module) -> Layout | None:
    """The layout of a convolution over four letters; None for any other module."""
    if isinstance(conv, nn.Conv1d):
        return Layout() if conv.in_channels == 4 else None
    if not isinstance(conv, nn.Conv2d):
        return None
    height, width = conv.kernel_size
    if conv.in_channels == 4 and 1 in (height, width):
        return Layout(1, 3, 2) if height == 1 else Layout(1, 2, 3)
    if conv.in_channels == 1 and 4 in (height, width):
        return Layout(2, 3, 1) if height == 4 else Layout(3, 2, 1)
    return None


def refusal(conv: nn.Module, layout: Layout) -> str | None:
    """Why the ops do not compute this convolution; None where they do."""
    plain = type(conv).forward in (nn.Conv1d.forward, nn.Conv2d.forward, OneHotConv1d.forward)
    if not plain or "forward" in conv.__dict__:
        return "it has a forward of its own"
    if conv.groups != 1:
        return f"it has {conv.groups} groups"
    if layout.along(conv.stride) != 1:
        return f"it has stride {layout.along(conv.stride)}"
    if layout.along(conv.dilation) != 1:
        return f"it has dilation {layout.along(conv.dilation)}"
    if conv.padding_mode != "zeros":
        return f"it pads with {conv.padding_mode!r}"
    # "same" adds nothing beside a kernel of 1, but rows of zeros beside one of 4.
    beside = layout.across(conv.padding) if not isinstance(conv.padding, str) else 0
    if beside or (conv.padding == "same" and layout.across(conv.kernel_size) == 4):
        return "it pads the letters"
    return None
