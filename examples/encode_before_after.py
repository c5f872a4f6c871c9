"""Two published shapes of network on your own data: trained before and after one line, then read out.

motifkit prepare peaks.h5 --table A_train.tsv.gz B_train.tsv.gz --test A_test.tsv.gz B_test.tsv.gz \\
  --shuffles 1
python examples/encode_before_after.py peaks.h5 --out runs/before-after [--quick]

A small Basset-like and a small DanQ-like network are each trained before and after the line, from the same
initial values, with the same batches and draws. A third run shows how far rounding alone carries training: it
is the first one again, its first convolution moved by one part in 8 million. The three take turns, epoch by
epoch, so that whatever else the machine does falls on all. The accelerated network is then read out: its
motifs by every rule, what each filter is worth to each class, which filters of the two networks are copies,
and a page.

Writes curves.tsv, curves.png and curves.svg, tables.md, and for each network a folder with weights.pt,
report.html, motifs.meme, rules.tsv, knockout.tsv, factors.tsv and clusters.tsv.
"""

import argparse
import copy
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from read_out import read_out
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import motifkit as mk
from motifkit.experiments.drawing import new_figure, save
from motifkit.files import writable_folder
from motifkit.train.memory import keep_freed_memory

WAYS = {"before": "#b9c1ca", "after": "#1f5fd0", "before, nudged": "#e08a00"}


def basset_like(length: int, classes: int, filters: int) -> nn.Module:
    """Basset's shape (doi:10.1101/gr.200535.115) for about a hundred letters: three convolutions of 19, 11
    and 7 with batch norm, ReLU and pools of 3, 4 and 4, two dense layers; fewer filters, the later two
    padded. A bias before batch norm, left out here, has no gradient but rounding, which Adam makes steps
    of."""
    return nn.Sequential(
        nn.Conv1d(4, filters, 19, bias=False), nn.BatchNorm1d(filters), nn.ReLU(), nn.MaxPool1d(3),
        nn.Conv1d(filters, 64, 11, padding=5, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.MaxPool1d(4),
        nn.Conv1d(64, 64, 7, padding=3, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.MaxPool1d(4),
        nn.Flatten(), nn.Linear(64 * ((length - 18) // 48), 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
        nn.Dropout(0.3), nn.Linear(128, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(128, classes),
    )  # fmt: skip


class DanQLike(nn.Module):
    """DanQ's shape (doi:10.1093/nar/gkw226): a convolution of 26, ReLU, a pool of 13, a bidirectional LSTM
    and two dense layers; fewer units."""

    def __init__(self, length: int, classes: int, filters: int):
        super().__init__()
        self.conv, self.pool = nn.Conv1d(4, filters, 26), nn.MaxPool1d(13)
        self.dropout1, self.dropout2 = nn.Dropout(0.2), nn.Dropout(0.5)
        self.lstm = nn.LSTM(filters, 64, batch_first=True, bidirectional=True)
        self.hidden = nn.Linear(128 * ((length - 25) // 13), 128)
        self.output = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 4, length) to logits (batch, classes)."""
        x = self.dropout1(self.pool(torch.relu(self.conv(x))))
        x, _ = self.lstm(x.transpose(1, 2))
        return self.output(torch.relu(self.hidden(self.dropout2(x).flatten(1))))


NETS = {"Basset-like": basset_like, "DanQ-like": DanQLike}


@dataclass
class Way:
    """A network in training.

    Attributes:
        model: the network, which takes one-hot. rows: a dict an epoch, as mk.fit keeps them,
            with processor seconds. best: parameters of the lowest validation loss.
    """

    model: nn.Module
    rows: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def epoch(self, data: mk.SequenceDataset, seed: int, batch: int) -> None:
        """Train on all of the train split in an order that the seed fixes; then validate, untimed."""
        codes, targets = data.split("train")
        number = len(self.rows) + 1
        torch.manual_seed(1000 * seed + number)  # the order, and dropout's draws
        losses = []
        self.model.train()
        start = time.process_time()
        for rows in torch.randperm(len(codes)).split(batch):
            if len(rows) > 1:  # batch norm has no statistics of one
                losses.append(self.step(codes[rows], targets[rows].float()))
        seconds = time.process_time() - start
        valid = self.loss(*data.split("valid"))
        best = all(valid < row["valid_loss"] for row in self.rows)
        if best:
            self.best = copy.deepcopy(self.model.state_dict())
        self.rows.append(
            {"epoch": number, "train_loss": statistics.fmean(losses), "valid_loss": valid,
             "seconds": seconds, "best": float(best)}
        )  # fmt: skip

    def step(self, codes: Tensor, targets: Tensor) -> float:
        """One step of Adam; its loss."""
        loss = binary_cross_entropy_with_logits(self.model(mk.one_hot(codes)), targets)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    @torch.no_grad()
    def loss(self, codes: Tensor, targets: Tensor) -> float:
        """Mean loss without dropout."""
        self.model.eval()
        parts = [self.model(mk.one_hot(part)) for part in codes.split(500)]
        return binary_cross_entropy_with_logits(torch.cat(parts), targets.float()).item()


def three_ways(name: str, data: mk.SequenceDataset, filters: int, seed: int) -> dict[str, Way]:
    """The same network as written, accelerated, and as written but nudged; checked to answer alike."""
    torch.manual_seed(seed)
    plain = NETS[name](data.length, len(data.class_names), filters)
    fast = mk.accelerate(plain)  # the one line
    nudged = copy.deepcopy(plain)
    with torch.no_grad():
        next(nudged.parameters()).mul_(1 + 2**-23)
    ways = {way: Way(model) for way, model in zip(WAYS, (plain, fast, nudged), strict=True)}
    codes, targets = data.split("train")
    check_and_warm_up(ways, codes[:100], targets[:100].float())
    return ways


def check_and_warm_up(ways: dict[str, Way], codes: Tensor, targets: Tensor) -> None:
    """The three answer alike; and each has taken a step, on a copy, before any is timed."""
    spare = copy.deepcopy(list(ways.values()))
    with torch.no_grad():
        answers = [way.model.eval()(mk.one_hot(codes)) for way in spare]
    for other in answers[1:]:
        torch.testing.assert_close(other, answers[0], rtol=1e-3, atol=1e-4)
    for way in spare:
        way.model.train()
        way.step(codes, targets)


def train(name: str, data: mk.SequenceDataset, options: argparse.Namespace) -> dict[str, Way]:
    """Train three ways in turns."""
    ways = three_ways(name, data, options.filters, options.seed)
    for number in range(options.epochs):
        order = list(ways.values())
        for way in order[number % 3 :] + order[: number % 3]:
            way.epoch(data, options.seed, options.batch)
        losses = ", ".join(f"{k} {way.rows[-1]['valid_loss']:.4f} in {way.rows[-1]['seconds']:.1f} s"
                           for k, way in ways.items())  # fmt: skip
        print(f"{name}, epoch {number + 1}: validation loss {losses}", flush=True)
    return ways


def draw(curves: dict[str, dict[str, Way]], folder: Path) -> None:
    """curves.png and curves.svg: losses at the left, processor seconds an epoch at the right."""
    figure = new_figure(7.5, 2.7 * len(curves))
    grid = figure.subplots(len(curves), 2, squeeze=False, width_ratios=(3, 1.4))
    for (losses, times), (name, ways) in zip(grid, curves.items(), strict=True):
        for width, (way, colour) in zip((5, 2.2, 1), WAYS.items(), strict=True):
            rows = ways[way].rows
            for column, dashes in (("train_loss", (4, 2)), ("valid_loss", (None, None))):
                losses.plot(
                    [row["epoch"] for row in rows], [row[column] for row in rows], color=colour,
                    linewidth=width, dashes=dashes, label=way if column == "valid_loss" else None,
                )  # fmt: skip
        losses.set_title(f"{name}: loss, validation solid, training dashed", fontsize=9, loc="left")
        losses.set_xlabel("epoch", fontsize=8)
        losses.xaxis.get_major_locator().set_params(integer=True)
        losses.legend(frameon=False, fontsize=8)
        for at, (way, colour) in enumerate(WAYS.items()):
            seconds = [row["seconds"] for row in ways[way].rows]
            middle = statistics.median(seconds)
            times.bar(at, middle, color=colour)
            times.plot([at] * len(seconds), seconds, "k.", markersize=3)
            times.annotate(f"{middle:.1f}", (at, max(seconds)), (0, 3), textcoords="offset points",
                           ha="center", fontsize=8)  # fmt: skip
        times.set_title("s an epoch", fontsize=9, loc="left")
        times.set_xticks(range(3), [way.replace(", ", ",\n") for way in WAYS], fontsize=8)
        times.margins(y=0.15)
        for axes in (losses, times):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
    save(figure, folder, "curves")


def save_curves(curves: dict[str, dict[str, Way]], path: Path) -> None:
    """A line a network, way and epoch."""
    columns = ("epoch", "train_loss", "valid_loss", "seconds")
    lines = ["\t".join(("network", "way", *columns))]
    for name, ways in curves.items():
        for way, trained in ways.items():
            lines += ["\t".join((name, way, *(f"{row[c]:g}" for c in columns))) for row in trained.rows]
    path.write_text("\n".join(lines) + "\n")


def training_table(curves: dict[str, dict[str, Way]], data: mk.SequenceDataset) -> str:
    """Markdown: what each way cost and what it learned."""
    lines = [
        "| network | way | s an epoch | times faster | best validation loss | test AUROC |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, ways in curves.items():
        plain = statistics.median(row["seconds"] for row in ways["before"].rows)
        for way, trained in ways.items():
            seconds = statistics.median(row["seconds"] for row in trained.rows)
            loss = min(row["valid_loss"] for row in trained.rows)
            model = copy.deepcopy(trained.model)
            model.load_state_dict(trained.best)
            fast = mk.accelerate(model, verbose=False)  # takes codes; as it is where it is fast already
            auroc = mk.evaluate(fast, data)["auroc_mean"]
            lines.append(
                f"| {name} | {way} | {seconds:.1f} | {plain / seconds:.2f} | {loss:.4f} | {auroc:.4f} |"
            )
    return "\n".join(lines)


def fewer(data: mk.SequenceDataset) -> mk.SequenceDataset:
    """A small part of a data set, for --quick."""
    most = {"train": 1000, "valid": 300, "test": 400}
    draw = torch.Generator().manual_seed(0)
    splits = {
        name: rows[torch.randperm(len(rows), generator=draw)[: most[name]]]
        for name, rows in data.splits.items()
    }
    return mk.SequenceDataset(data.codes, data.targets, data.class_names, splits)


def main() -> None:
    """Train, draw, read out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA.h5", help="from 'motifkit prepare'")
    parser.add_argument("--out", type=Path, default=Path("runs/before-after"), help="folder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of each network and way (%(default)s)")
    parser.add_argument("--filters", type=int, default=64, help="of the first convolution (%(default)s)")
    parser.add_argument("--batch", type=int, default=100, help="sequences a step (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of every draw (%(default)s)")
    parser.add_argument("--rule", default="paper", help="whose motifs the pages show (%(default)s)")
    parser.add_argument("--target", default="JASPAR2016", help="JASPAR release or motif file (%(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="2 epochs of 1,000 sequences, to see that it runs"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as 'motifkit train' does; here for all three ways
    out = writable_folder(options.out)
    data = mk.SequenceDataset.load(options.data)
    if options.quick:
        data, options.epochs = fewer(data), 2
    curves = {name: train(name, data, options) for name in NETS}
    save_curves(curves, out / "curves.tsv")
    draw(curves, out)
    tables = training_table(curves, data)
    print(tables)
    nets = {}
    for name, ways in curves.items():
        way = ways["after"]
        way.model.load_state_dict(way.best)
        nets[name] = (way.model.eval(), way.rows)
        torch.save(way.best, writable_folder(out / name.lower()) / "weights.pt")
    read = read_out(nets, data, out, rule=options.rule, target=options.target, quick=options.quick)
    (out / "tables.md").write_text(f"{tables}\n\n{read}\n")
    print(f"{read}\n{out}: curves.svg, tables.md, {', '.join(f'{n.lower()}/report.html' for n in nets)}")


if __name__ == "__main__":
    main()
