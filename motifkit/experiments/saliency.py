"""Which letters of a sequence a network's answer rests on, above the motifs that are really there."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from motifkit.data.dataset import SequenceDataset
from motifkit.data.shuffle import dinucleotide_shuffle
from motifkit.errors import InputError, require
from motifkit.experiments.drawing import new_figure
from motifkit.models.paper import PaperNet
from motifkit.motifs.logo import draw_letters
from motifkit.nn.layers import pool_geometry
from motifkit.sequences import ALPHABET, one_hot
from motifkit.train.evaluate import predict

_SHUFFLES = 20
_PLACES = ("#7b8794", "#4d5b6b")


class _Answer(nn.Module):
    """The sum of the logits of some classes."""

    def __init__(self, net: nn.Module, classes: Tensor):
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, self.classes].sum(1)


class _PairwiseMax(nn.Module):
    """A max-pool of values that are not negative, as max(a, b) = a + relu(b - a) over and over.

    captum's own rule for max-pools does not add up to the difference of the answers; that for ReLU does.
    """

    def __init__(self, pool: nn.MaxPool1d):
        super().__init__()
        self.size, self.stride, self.padding = pool_geometry(pool)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range((self.size - 1).bit_length()))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (self.padding, self.padding)).unfold(2, self.size, self.stride)
        for relu in self.relus:
            half = x.shape[-1] // 2
            a, b, odd = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
            x = torch.cat([a + relu(b - a), odd], dim=-1)
        return x.squeeze(-1)


def gradient_times_input(model: PaperNet, codes: Tensor, classes: Sequence[int]) -> Tensor:
    """(length,) gradient of the classes' summed logits by each letter that is there; N gets 0.

    Args:
        model: of the paper. codes: (1, length). classes: columns of its output.
    """
    answer = _Answer(model.plain().eval(), torch.as_tensor(list(classes)))
    x = one_hot(codes).requires_grad_()
    (gradient,) = torch.autograd.grad(answer(x).sum(), x)
    return (gradient * x).detach()[0].sum(0)


def deep_lift_shap(model: PaperNet, codes: Tensor, classes: Sequence[int], *, seed: int = 0) -> Tensor:
    """(length,) DeepLIFT/SHAP attributions by captum, against dinucleotide shuffles of the sequence.

    The attributions of all letters sum to the answer less its mean over the shuffles.

    Args:
        model: of the paper. codes: (1, length). classes: columns of its output. seed: of the shuffles.

    Raises:
        MissingDependencyError: captum is not installed.

    Source: Lundberg & Lee (2017); Shrikumar et al. (2017).
    """
    captum = require("captum.attr", "experiments")
    import copy
    import warnings

    # DeepLIFT hooks the layers: they must not be the model's. It divides by differences of activations,
    # which are 0 where windows are alike: in float32 their rounding would be taken for a difference.
    layers = [_PairwiseMax(m) if isinstance(m, nn.MaxPool1d) else m for m in model.plain()]
    net = copy.deepcopy(nn.Sequential(*layers)).double().eval()
    answer = _Answer(net, torch.as_tensor(list(classes)))
    baselines = one_hot(dinucleotide_shuffle(codes.repeat(_SHUFFLES, 1), seed), torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it sets hooks
        found = captum.DeepLiftShap(answer).attribute(
            one_hot(codes, torch.float64).requires_grad_(), baselines
        )
    return found.detach()[0].sum(0)


def choose(model: nn.Module, dataset: SequenceDataset, count: int) -> list[int]:
    """Rows of test sequences of two or more classes that the model is surest and right about.

    Raises:
        InputError: the test split has no sequence of two classes.
    """
    rows = dataset.splits["test"]
    targets = dataset.targets[rows].bool()
    candidates = torch.nonzero(targets.sum(1) >= 2).flatten()
    if not len(candidates):
        candidates = torch.nonzero(targets.any(1)).flatten()
    if not len(candidates):
        raise InputError("the test split has no sequence of any class: there is nothing to explain")
    p = predict(model, dataset.codes[rows[candidates]])
    wanted = targets[candidates]
    sureness = torch.where(wanted, p, 1 - p).amin(1)
    best = sureness.argsort(descending=True, stable=True)[:count]
    return rows[candidates[best]].tolist()


def draw_saliency(model: PaperNet, dataset: SequenceDataset, title: str, count: int = 3, seed: int = 0):
    """For each chosen test sequence gradient x input, DeepLIFT/SHAP, and the placements below."""
    rows = choose(model, dataset, count)
    figure = new_figure(13, 2.9 * len(rows) + 0.3)
    figure.suptitle(title, fontsize=10, fontweight="bold")
    for part, row in zip(np.atleast_1d(figure.subfigures(len(rows), 1, hspace=0.04)), rows, strict=True):
        codes = dataset.codes[row : row + 1]
        classes = torch.nonzero(dataset.targets[row]).flatten().tolist()
        names = ", ".join(dataset.class_names[c] for c in classes)
        part.suptitle(f"test sequence {row}: {names}", x=0.01, ha="left", fontsize=8)
        placed = _placements(dataset, row)
        upper, lower, truth = part.subplots(3, 1, height_ratios=[3, 3, 1 if placed else 0.1], sharex=True)
        letters(upper, codes[0], gradient_times_input(model, codes, classes))
        letters(lower, codes[0], deep_lift_shap(model, codes, classes, seed=seed))
        upper.set_ylabel("gradient\nx input", fontsize=7)
        lower.set_ylabel("DeepLIFT/\nSHAP", fontsize=7)
        _draw_placements(truth, placed, dataset.length)
    return figure


def letters(axes, codes: Tensor, heights: Tensor) -> None:
    """Letters as tall as their attribution, upside down below zero."""
    largest = float(heights.abs().max()) or 1.0
    places = [
        (ALPHABET[code], at, 0.0, height)
        for at, (code, height) in enumerate(zip(codes.tolist(), heights.tolist(), strict=True))
        if code < len(ALPHABET) and abs(height) >= 0.01 * largest
    ]
    draw_letters(axes, places)
    axes.set_xlim(0, len(codes))
    axes.set_ylim(min(0.0, float(heights.min())) * 1.05, max(float(heights.max()), 0.01 * largest) * 1.05)
    axes.axhline(0, color="#8a94a0", linewidth=0.5)
    axes.tick_params(labelsize=6)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _placements(dataset: SequenceDataset, row: int) -> list[tuple[str, int, int, int]]:
    """Name, first letter, width and strand of what was embedded; nothing for real data."""
    if dataset.placements is None:
        return []
    here = dataset.placements[dataset.placements["sequence"] == row]
    return [
        (
            dataset.class_names[p["motif"]],
            int(p["position"]),
            dataset.motif_widths[p["motif"]],
            int(p["strand"]),
        )
        for p in here
    ]


def _draw_placements(axes, placed, length: int) -> None:
    from matplotlib.patches import Rectangle

    for name, position, width, strand in placed:
        axes.add_patch(Rectangle((position, 0.35), width, 0.5, color=_PLACES[strand > 0], alpha=0.35))
        axes.text(
            position + width / 2,
            0.6,
            f"{name} {'+' if strand > 0 else '-'}",
            fontsize=6.5,
            ha="center",
            va="center",
        )
    axes.set_xlim(0, length)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(labelsize=6)
    axes.set_xlabel("position (nt)", fontsize=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
