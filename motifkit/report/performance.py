"""The report's figures of how well the model predicts."""

import math

from motifkit.errors import require
from motifkit.report.charts import PALETTE, Line, line_chart, thin


def class_rows(analysis, dataset):
    """A row a class: positives, AUROC and AUPR."""
    metrics = analysis.metrics
    positives = analysis.targets.sum(0).tolist()
    return [
        {
            "name": name,
            "colour": PALETTE[index % len(PALETTE)],
            "positives": positives[index],
            "auroc": number(metrics["auroc"][name]),
            "aupr": number(metrics["aupr"][name]),
        }
        for index, name in enumerate(dataset.class_names)
    ]


def roc(analysis) -> str:
    """ROC curves of all classes that have one."""
    metrics = require("torchmetrics.functional.classification", "report")
    lines = []
    for index, name in enumerate(analysis.metrics["auroc"]):
        if math.isnan(analysis.metrics["auroc"][name]):
            continue
        truth = analysis.targets[:, index].long()
        false, true, _ = metrics.binary_roc(analysis.probabilities[:, index], truth)
        points = thin(list(zip(false.tolist(), true.tolist(), strict=True)), 160)
        lines.append(Line(name, points, PALETTE[index % len(PALETTE)]))
    return line_chart(
        lines, x_label="false positive rate", y_label="true positive rate", x_range=(0, 1),
        y_range=(0, 1), diagonal=True, width=380, height=340,
    )  # fmt: skip


def loss_curve(history) -> str:
    """Training and validation loss by epoch."""
    train = [(row["epoch"], row["train_loss"]) for row in history]
    valid = [(row["epoch"], row["valid_loss"]) for row in history]
    values = [value for _, value in train + valid]
    best = min(history, key=lambda row: row["valid_loss"])["epoch"]
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or 0.01
    return line_chart(
        [Line("training", thin(train), PALETTE[0]), Line("validation", thin(valid), PALETTE[1])],
        x_label="epoch", y_label="loss", x_range=(1, max(len(history), 2)),
        y_range=(low - margin, high + margin), mark_x=best, whole_x=True, width=380, height=340,
    )  # fmt: skip


def number(value: float) -> str:
    """Three decimals; a dash for what is not known."""
    return "-" if math.isnan(value) else f"{value:.3f}"
