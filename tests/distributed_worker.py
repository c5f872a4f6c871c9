"""What each process does in tests/test_distributed.py; also called there directly, as the single process."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

import motifkit as mk
from motifkit.train import distributed

RULES = ("paper", "code")


def network(classes):
    """CNN-25 in float64 without dropout, whose draws differ between processes."""
    torch.manual_seed(0)
    model = mk.models.build("CNN-25", length=100, classes=classes).double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        model.block1.norm.weight[:5] *= -1  # pools keep minima there
    return model


def one_step(data, rows):
    """Gradients and running statistics of a batch that the processes share unevenly."""
    model = distributed.synchronise(network(len(data.class_names)))
    if distributed.world() == 1:
        distributed.unsynchronise(model)
    own = rows if distributed.world() == 1 else rows.split([17, len(rows) - 17])[distributed.rank()]
    loss = cross_entropy(model(data.codes[own]), data.targets[own].double(), reduction="sum")
    loss.backward()
    out = {name: distributed.summed(value.grad) for name, value in model.named_parameters()}
    return out | {name: value for name, value in model.named_buffers() if "running" in name}


def train(data, out):
    """Weights after two epochs of fit, whose last batch is of 3."""
    model = network(len(data.class_names))
    result = mk.fit(model, data, epochs=2, batch_size=31, lr=1e-3, out=out)
    return {"state": model.state_dict(), "loss": [row["valid_loss"] for row in result.history],
            "train": [row["train_loss"] for row in result.history]}  # fmt: skip


def extract(data):
    """Motifs of an untrained network: its statistics are not of these sequences."""
    model = network(len(data.class_names)).float()
    out = {}
    for rule in RULES:
        motifs = mk.extract_motifs(model, data, rule=rule, threshold=0.3, distributed=True)
        out[rule] = (
            [(m.name, torch.from_numpy(m.counts), m.nsites) for m in motifs],
            motifs.origin["sequences"],
        )
    return out


def work(folder, name):
    data = mk.SequenceDataset.load(folder / "data.h5")
    results = {"trained": train(data, folder / name)}  # starts the processes' communication
    results["step"] = one_step(data, torch.arange(60))
    results["motifs"] = extract(data)
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    results = work(folder, "run2")
    torch.save(results, folder / f"rank{distributed.rank()}.pt")
    dist.barrier()  # neither leaves while the other still talks to it
    dist.destroy_process_group()
