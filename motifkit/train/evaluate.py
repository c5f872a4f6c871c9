"""AUROC and AUPR per class and mean."""

import math

import torch
from torch import Tensor, nn

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import require

_BATCH = 500


@torch.no_grad()
def predict(model: nn.Module, codes: Tensor, *, device: torch.device | str | None = None) -> Tensor:
    """Probabilities (sequences, classes) of codes (sequences, length); training mode is restored."""
    was_training = model.training
    device = device or next(model.parameters()).device
    model.eval().to(device)
    try:
        batches = [torch.sigmoid(model(batch.to(device))).cpu() for batch in codes.split(_BATCH)]
    finally:
        model.train(was_training)
    return torch.cat(batches) if batches else torch.empty(0)


def evaluate(
    model: nn.Module,
    dataset: SequenceDataset,
    split: str = "test",
    *,
    device: torch.device | str | None = None,
) -> dict[str, object]:
    """Area under the ROC and the precision-recall curve, per class and mean.

    Args:
        model: codes to logits. dataset, split: what to predict. device: where; the model's by
            default.

    Returns:
        auroc and aupr: a dict from class to value; auroc_mean and aupr_mean; sequences; loss (mean
        binary cross-entropy). NaN for a class that is constant in the split; means leave it out.

    Example:
        >>> import motifkit as mk
        >>> mk.evaluate(model, data)["auroc_mean"]  # doctest: +SKIP
        0.971
    """
    codes, targets = dataset.split(split)
    return scores(predict(model, codes, device=device), targets, dataset.class_names)


def scores(probabilities: Tensor, targets: Tensor, class_names: list[str]) -> dict[str, object]:
    """What `evaluate` returns, from probabilities and targets (sequences, classes)."""
    metrics = require("torchmetrics.functional.classification", "train")
    truth = targets.long()
    auroc, aupr = {}, {}
    for index, name in enumerate(class_names):
        column, wanted = probabilities[:, index], truth[:, index]
        constant = len(wanted) == 0 or bool((wanted == wanted[0]).all())
        auroc[name] = math.nan if constant else float(metrics.binary_auroc(column, wanted))
        aupr[name] = math.nan if constant else float(metrics.binary_average_precision(column, wanted))
    loss = torch.nn.functional.binary_cross_entropy(probabilities, truth.float())
    return {
        "auroc_mean": _mean(auroc.values()),
        "aupr_mean": _mean(aupr.values()),
        "auroc": auroc,
        "aupr": aupr,
        "loss": float(loss),
        "sequences": len(truth),
    }


def _mean(values) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
