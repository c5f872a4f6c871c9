"""Well-known networks, in plain torch.nn: written from their papers, layer by layer.

They hold no kernels of motifkit's; `motifkit.accelerate` gives them those. Every network takes
one-hot (batch, 4, length) and, once accelerated, codes too. Outputs are logits: no sigmoid at the end.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from motifkit.nn import Exp


class _Named(nn.Sequential):
    def __init__(self, **layers: nn.Module):
        super().__init__(OrderedDict(layers))


def deepbind(length: int, classes: int) -> nn.Module:
    """DeepBind (Alipanahi et al. 2015, doi:10.1038/nbt.3300), as for ChIP-seq: 16 detectors of 24 letters,
    rectified, the best match of each in the sequence, 32 hidden units. Where the paper pads with
    a quarter of each letter, N counts nothing here."""
    return _Named(
        conv=nn.Conv1d(4, 16, 24, padding=23), rectify=nn.ReLU(), pool=nn.AdaptiveMaxPool1d(1),
        flatten=nn.Flatten(), dropout=nn.Dropout(0.5), hidden=nn.Linear(16, 32), relu=nn.ReLU(),
        output=nn.Linear(32, classes),
    )  # fmt: skip


def deepsea(length: int, classes: int) -> nn.Module:
    """DeepSEA (Zhou & Troyanskaya 2015, doi:10.1038/nmeth.3547): 320, 480 and 960 kernels of 8, pools of
    4, 925 hidden units; 1,000 letters and 919 classes in the paper."""
    left = ((length - 7) // 4 - 7) // 4 - 7
    return _Named(
        conv1=nn.Conv1d(4, 320, 8), relu1=nn.ReLU(), pool1=nn.MaxPool1d(4), dropout1=nn.Dropout(0.2),
        conv2=nn.Conv1d(320, 480, 8), relu2=nn.ReLU(), pool2=nn.MaxPool1d(4), dropout2=nn.Dropout(0.2),
        conv3=nn.Conv1d(480, 960, 8), relu3=nn.ReLU(), dropout3=nn.Dropout(0.5), flatten=nn.Flatten(),
        hidden=nn.Linear(960 * left, 925), relu4=nn.ReLU(), output=nn.Linear(925, classes),
    )  # fmt: skip


def basset(length: int, classes: int) -> nn.Module:
    """Basset (Kelley et al. 2016, doi:10.1101/gr.200535.115): 300 x 19, 200 x 11, 200 x 7, pools of 3, 4, 4,
    two layers of 1,000; 600 letters and 164 cell types in the paper."""
    left = (((length - 18) // 3 - 10) // 4 - 6) // 4
    return _Named(
        conv1=nn.Conv1d(4, 300, 19), norm1=nn.BatchNorm1d(300), relu1=nn.ReLU(), pool1=nn.MaxPool1d(3),
        conv2=nn.Conv1d(300, 200, 11), norm2=nn.BatchNorm1d(200), relu2=nn.ReLU(), pool2=nn.MaxPool1d(4),
        conv3=nn.Conv1d(200, 200, 7), norm3=nn.BatchNorm1d(200), relu3=nn.ReLU(), pool3=nn.MaxPool1d(4),
        flatten=nn.Flatten(),
        hidden1=nn.Linear(200 * left, 1000), norm4=nn.BatchNorm1d(1000), relu4=nn.ReLU(),
        dropout1=nn.Dropout(0.3),
        hidden2=nn.Linear(1000, 1000), norm5=nn.BatchNorm1d(1000), relu5=nn.ReLU(), dropout2=nn.Dropout(0.3),
        output=nn.Linear(1000, classes),
    )  # fmt: skip


class DanQ(nn.Module):
    """DanQ (Quang & Xie 2016, doi:10.1093/nar/gkw226): 320 kernels of 26, a pool of 13, a bidirectional LSTM
    of 320 units a direction, 925 hidden units; 1,000 letters and 919 classes in the paper."""

    def __init__(self, length: int, classes: int):
        super().__init__()
        self.conv = nn.Conv1d(4, 320, 26)
        self.pool = nn.MaxPool1d(13)
        self.dropout1, self.dropout2 = nn.Dropout(0.2), nn.Dropout(0.5)
        self.lstm = nn.LSTM(320, 320, batch_first=True, bidirectional=True)
        self.hidden = nn.Linear(640 * ((length - 25) // 13), 925)
        self.output = nn.Linear(925, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 4, length) to logits (batch, classes)."""
        x = self.dropout1(self.pool(torch.relu(self.conv(x))))
        x, _ = self.lstm(x.transpose(1, 2))
        x = self.dropout2(x).flatten(1)
        return self.output(torch.relu(self.hidden(x)))


class _Residual(nn.Module):
    """x plus what some layers make of it."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _pre_activated(channels: int, filters: int, width: int, dilation: int = 1) -> list[nn.Module]:
    """GELU, convolution and batch norm in this order, as Basenji has them."""
    conv = nn.Conv1d(channels, filters, width, padding="same", dilation=dilation, bias=False)
    return [nn.GELU(), conv, nn.BatchNorm1d(filters, eps=1e-3, momentum=0.1)]


def basenji(length: int, classes: int) -> nn.Module:
    """Basenji2 (Kelley 2020, doi:10.1371/journal.pcbi.1008050): a stem of 288 x 15, a tower to 768 channels,
    eleven dilated residual blocks, one prediction each 128 letters and track, 64 of them cropped at
    both ends (fewer where the sequence is short); 131,072 letters and 5,313 tracks in the paper.
    The GELU before the very first convolution, which would only scale the letters, is left out, and GELU is
    exact; the authors' program takes x sigmoid(1.702 x) for it."""
    layers = [*_pre_activated(4, 288, 15)[1:], nn.MaxPool1d(2)]
    channels, filters = 288, 339.0
    for _ in range(6):
        layers += [*_pre_activated(channels, round(filters), 5), nn.MaxPool1d(2)]
        channels, filters = round(filters), filters * 1.1776
    rate = 1.0
    for _ in range(11):
        inner = _pre_activated(channels, 384, 3, round(rate)) + _pre_activated(384, channels, 1)
        layers.append(_Residual(*inner, nn.Dropout(0.3)))
        rate *= 1.5
    crop = min(64, (length // 128 - 1) // 2)
    layers += [
        nn.ZeroPad1d(-crop), *_pre_activated(channels, 1536, 1), nn.Dropout(0.05), nn.GELU(),
        nn.Conv1d(1536, classes, 1),
    ]  # fmt: skip
    return nn.Sequential(*layers)


def scbasset(length: int, classes: int) -> nn.Module:
    """scBasset (Yuan & Kelley 2022, doi:10.1038/s41592-022-01562-8): 288 x 17 with batch norm, GELU and a
    pool of 3, a tower of six convolutions of 5 to 512 channels, a bottleneck of 32; 1,344 letters, a class
    for each cell. GELU is exact here; the authors' program takes x sigmoid(1.702 x) for it."""

    def block(channels, filters, width, pool):
        conv = nn.Conv1d(channels, filters, width, padding="same", bias=False)
        pools = [nn.MaxPool1d(pool)] if pool > 1 else []
        return [conv, nn.BatchNorm1d(filters), nn.GELU(), *pools]

    sizes = [288, 288, 323, 363, 407, 456, 512]
    layers = block(4, 288, 17, 3)
    for channels, filters in pairwise(sizes):
        layers += block(channels, filters, 5, 2)
    layers += [*block(512, 256, 1, 1), nn.Flatten()]
    layers += [
        nn.Linear(256 * (length // 3 // 64), 32, bias=False), nn.BatchNorm1d(32), nn.Dropout(0.2),
        nn.GELU(), nn.Linear(32, classes),
    ]  # fmt: skip
    return nn.Sequential(*layers)


class BPNet(nn.Module):
    """BPNet (Avsec et al. 2021, doi:10.1038/s41588-021-00782-6): a stem of 25 letters, dilated convolutions
    of 3 with rates 2, 4, 8 ... added to what they read, a profile and a count a track.

    With `valid` it is ChromBPNet's accessibility model (Pampari et al. 2024,
    doi:10.1101/2024.12.25.630221): 512 filters, a stem of 21, eight dilated layers, a profile head of 75, no
    padding anywhere."""

    def __init__(self, classes: int, filters: int, stem: int, dilated: int, profile: int, valid: bool):
        super().__init__()
        same = 0 if valid else "same"
        self.stem = nn.Conv1d(4, filters, stem, padding=same)
        self.relu = nn.ReLU()
        self.dilated = nn.ModuleList(
            nn.Conv1d(filters, filters, 3, padding=same, dilation=2**i) for i in range(1, dilated + 1)
        )
        self.profile = nn.Conv1d(filters, classes, profile, padding=same)
        self.counts = nn.Linear(filters, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """To profile logits (batch, classes, positions) and log counts (batch, classes)."""
        x = self.relu(self.stem(x))
        for conv in self.dilated:
            y = self.relu(conv(x))
            edge = (x.shape[2] - y.shape[2]) // 2
            x = x[:, :, edge : x.shape[2] - edge] + y
        return self.profile(x), self.counts(x.mean(2))


def bpnet(length: int, classes: int) -> nn.Module:
    """BPNet with its 64 filters and nine dilated layers; 1,000 letters in the paper."""
    return BPNet(classes, filters=64, stem=25, dilated=9, profile=25, valid=False)


def chrombpnet(length: int, classes: int) -> nn.Module:
    """ChromBPNet's accessibility model; 2,114 letters give 1,000 positions in the paper."""
    return BPNet(classes, filters=512, stem=21, dilated=8, profile=75, valid=True)


def explainn(length: int, classes: int, units: int = 100) -> nn.Module:
    """ExplaiNN (Novakovsky et al. 2023, doi:10.1186/s13059-023-02985-y): a hundred independent units, each a
    filter of 19, batch norm, exponential, a pool of 7, and two layers down to one number; then a linear model
    over the units. The units' layers run side by side as grouped convolutions."""
    left = (length - 18) // 7
    return _Named(
        conv=nn.Conv1d(4, units, 19), norm1=nn.BatchNorm1d(units), exp=Exp(), pool=nn.MaxPool1d(7),
        flatten=nn.Flatten(), columns=nn.Unflatten(1, (units * left, 1)),
        hidden=nn.Conv1d(units * left, 100 * units, 1, groups=units), norm2=nn.BatchNorm1d(100 * units),
        relu=nn.ReLU(), dropout=nn.Dropout(0.3),
        unit=nn.Conv1d(100 * units, units, 1, groups=units), norm3=nn.BatchNorm1d(units), relu2=nn.ReLU(),
        squeeze=nn.Flatten(), output=nn.Linear(units, classes),
    )  # fmt: skip


def cnn_exp(length: int, classes: int, local: bool) -> nn.Module:
    """CNN-local or CNN-dist with an exponential first activation (Koo & Ploenzke 2021,
    doi:10.1038/s42256-020-00291-x): 24 filters of 19. As in the authors' program, dropout stands before
    the pools."""

    def block(channels, filters, width, drop, *, padding="same", activation=None):
        conv = nn.Conv1d(channels, filters, width, padding=padding, bias=False)
        return [conv, nn.BatchNorm1d(filters), activation or nn.ReLU(), nn.Dropout(drop)]

    first = block(4, 24, 19, 0.1, activation=Exp())
    if local:
        left, channels = length // 50 // 2, 48
        layers = [*first, nn.MaxPool1d(50), *block(24, 48, 3, 0.2), nn.MaxPool1d(2)]
    else:
        left, channels = -(-((length // 4 - 6) // 4 - 2) // 3), 64
        layers = [
            *first, *block(24, 32, 7, 0.2), nn.MaxPool1d(4), *block(32, 48, 7, 0.3, padding="valid"),
            nn.MaxPool1d(4), *block(48, 64, 3, 0.4, padding="valid"), nn.MaxPool1d(3, ceil_mode=True),
        ]  # fmt: skip
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * left, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(96, classes),
    )  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A network and the sizes it was published with.

    Attributes:
        make: (length, classes) to a module. length, classes: the paper's. shortest: letters it needs.
    """

    make: Callable[[int, int], nn.Module]
    length: int
    classes: int
    shortest: int


PUBLISHED = {
    "DeepBind": Published(deepbind, 101, 1, 1),
    "DeepSEA": Published(deepsea, 1000, 919, 163),
    "Basset": Published(basset, 600, 164, 168),
    "DanQ": Published(DanQ, 1000, 919, 38),
    "Basenji2": Published(basenji, 131072, 5313, 128),
    "scBasset": Published(scbasset, 1344, 2000, 192),
    "BPNet": Published(bpnet, 1000, 2, 1),
    "ChromBPNet": Published(chrombpnet, 2114, 1, 1116),
    "ExplaiNN": Published(explainn, 200, 1, 25),
    "CNN-local-exp": Published(lambda length, classes: cnn_exp(length, classes, True), 200, 12, 100),
    "CNN-dist-exp": Published(lambda length, classes: cnn_exp(length, classes, False), 200, 12, 72),
}
