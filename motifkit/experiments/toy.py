"""Figure 1: what a second layer can see of two partial motifs behind a small and a large pool."""

import torch

from motifkit import ops
from motifkit.experiments.drawing import new_figure
from motifkit.motifs.logo import COLOURS
from motifkit.sequences import decode

PATTERNS = ("CACGTG", "GTGCAC", "CACNNGTG")
PARTS = ("GTG", "CAC")  # what filters 1 and 2 have learned
POOLS = (3, 20)
LENGTH, WIDTH = 60, 7
_STARTS = (8, 27, 44)  # of the patterns; away from all others by more than a window of pool 3
_GREEN, _BLUE = "#d5efda", "#cfe0fb"


def toy_sequence(seed: int = 0) -> torch.Tensor:
    """(1, 60) codes: random letters in which neither part occurs by chance, with the three patterns."""
    for attempt in range(1000):
        generator = torch.Generator().manual_seed(seed * 1000 + attempt)
        codes = torch.randint(0, 4, (1, LENGTH), generator=generator, dtype=torch.uint8)
        for start, pattern in zip(_STARTS, PATTERNS, strict=True):
            for offset, letter in enumerate(pattern):
                if letter != "N":
                    codes[0, start + offset] = "ACGT".index(letter)
        text = decode(codes)[0]
        if all(text.count(part) == len(PATTERNS) for part in PARTS):
            return codes
    raise AssertionError("no such sequence in a thousand")


def toy_filters() -> torch.Tensor:
    """(2, 4, 7): GTG and CAC in the middle of seven columns, one for the letter, nothing elsewhere."""
    weight = torch.zeros(2, 4, WIDTH)
    for index, part in enumerate(PARTS):
        for offset, letter in enumerate(part):
            weight[index, "ACGT".index(letter), WIDTH // 2 - 1 + offset] = 1
    return weight


def feature_maps(codes: torch.Tensor, pool: int) -> torch.Tensor:
    """(2, windows): scans of both filters that find all three letters, pooled."""
    bias = torch.full((2,), -2.0)  # ReLU leaves a match of all three letters alone
    return ops.conv_pool(codes, toy_filters(), bias, pool_size=pool)[0]


def signatures(codes: torch.Tensor, pool: int) -> list[torch.Tensor]:
    """For each pattern the three pooled positions about its middle, as a second-layer filter (2, 3)."""
    maps = torch.nn.functional.pad(feature_maps(codes, pool), (1, 1))
    middles = [start + len(pattern) // 2 for start, pattern in zip(_STARTS, PATTERNS, strict=True)]
    return [maps[:, m // pool : m // pool + 3] for m in middles]


def draw_toy(seed: int = 0):
    """The figure: A, pool 3; B, pool 20."""
    codes = toy_sequence(seed)
    figure = new_figure(10.5, 6.2)
    for part, pool, letter in zip(figure.subfigures(2, 1, hspace=0.06), POOLS, "AB", strict=True):
        _draw_half(part, codes, pool, f"{letter}   max-pool {pool}")
    return figure


def _draw_half(part, codes, pool: int, title: str) -> None:
    from matplotlib.patches import Rectangle

    part.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    grid = part.add_gridspec(3, 2, width_ratios=[9, 1.6], height_ratios=[1.3, 1, 1])
    second = grid[0, 0].subgridspec(1, len(PATTERNS), wspace=0.5)
    for index, (pattern, pattern_map) in enumerate(zip(PATTERNS, signatures(codes, pool), strict=True)):
        axes = part.add_subplot(second[index])
        axes.imshow(pattern_map, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"second-layer filter for {pattern}", fontsize=7)
        _bare(axes, [f"filter {i + 1}" for i in range(2)])
    axes = part.add_subplot(grid[1, 0])
    maps = feature_maps(codes, pool)
    span = maps.shape[1] * pool
    axes.imshow(maps, cmap="Blues", vmin=0, vmax=1, aspect="auto", extent=(0, span, 2, 0))
    for edge in range(0, span + 1, pool):
        axes.axvline(edge, color="#b9c1ca", linewidth=0.5)
    axes.axhline(1, color="#b9c1ca", linewidth=0.5)
    axes.set_xlim(0, LENGTH)
    axes.set_xticks([])
    axes.set_yticks([0.5, 1.5], [f"filter {i + 1}" for i in range(2)], fontsize=7)
    axes.set_title("max-pooled feature maps", fontsize=7)
    axes = part.add_subplot(grid[2, 0])
    # The receptive field of the pooled position at the middle of each pattern.
    for start, pattern in zip(_STARTS, PATTERNS, strict=True):
        first = (start + len(pattern) // 2) // pool * pool - WIDTH // 2
        axes.add_patch(Rectangle((first, 1.15), pool + WIDTH - 1, 0.5, color=_BLUE))
        axes.add_patch(Rectangle((start, 0), len(pattern), 1, color=_GREEN))
    for at, letter in enumerate(decode(codes)[0]):
        axes.text(
            at + 0.5, 0.5, letter, color=COLOURS[letter], fontsize=8, ha="center", va="center", weight="bold"
        )
    axes.set_xlim(0, LENGTH)
    axes.set_ylim(0, 1.7)
    axes.set_xticks([])
    axes.set_yticks([0.5, 1.4], ["sequence", "receptive field"], fontsize=7)
    for side in axes.spines.values():
        side.set_visible(False)
    filters = grid[:, 1].subgridspec(2, 1)
    for index, weight in enumerate(toy_filters()):
        axes = part.add_subplot(filters[index])
        axes.imshow(weight, cmap="Greys", vmin=0, vmax=1.3)
        axes.set_title(f"filter {index + 1}: {PARTS[index]}", fontsize=7)
        _bare(axes, list("ACGT"))


def _bare(axes, rows) -> None:
    axes.set_xticks([])
    axes.set_yticks(range(len(rows)), rows, fontsize=6.5)
    axes.tick_params(length=0)
