"""The command that trains."""

from pathlib import Path

from motifkit.commands.common import command, print_result, say, shows_progress
from motifkit.errors import InputError


def add_train(commands) -> None:
    """`motifkit train`."""
    parser = command(commands, "train", _run_train, "train a network of the paper")
    parser.add_argument("data", type=Path, metavar="DATA.h5")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--model", default="CNN-25", help="its name in the paper")
    parser.add_argument("--init", default="glorot", choices=("glorot", "he", "torch"), help="initial values")
    parser.add_argument("--epochs", type=int, default=100, help="at most")
    parser.add_argument("--batch-size", type=int, default=100, help="sequences a step")
    parser.add_argument("--lr", type=float, default=3e-4, help="of Adam")
    parser.add_argument("--beta1", type=float, default=0.9, help="of Adam")
    parser.add_argument("--patience", type=int, default=20, help="epochs without improvement before stopping")
    parser.add_argument("--resume", action="store_true", help="continue the run in RUN, if it was cut short")


def _run_train(arguments) -> None:
    from motifkit import evaluate
    from motifkit.data.dataset import SequenceDataset
    from motifkit.train import distributed
    from motifkit.train.run import load_model

    dataset = SequenceDataset.load(arguments.data)
    arguments.quiet |= distributed.rank() > 0  # under torchrun one process speaks for all
    train_run(arguments, dataset)
    if distributed.rank() > 0:
        return
    _, model = load_model(arguments.out)
    result = evaluate(model, dataset, device=arguments.device)
    text = (
        f"AUROC {result['auroc_mean']:.3f}, AUPR {result['aupr_mean']:.3f} on {result['sequences']} test"
        f" sequences; the run is in {arguments.out}"
    )
    print_result(arguments, result, text)


def train_run(arguments, dataset) -> None:
    """Train or continue the run in arguments.out."""
    from motifkit import fit
    from motifkit.files import writable_folder
    from motifkit.train.distributed import rank
    from motifkit.train.memory import keep_freed_memory
    from motifkit.train.run import Run

    keep_freed_memory()

    out = writable_folder(arguments.out)
    run = Run(
        arguments.model, arguments.init, dataset.length, list(dataset.class_names),
        str(arguments.data.resolve()), arguments.seed, arguments.epochs, arguments.batch_size,
        arguments.lr, arguments.beta1,
    )  # fmt: skip
    resume = arguments.resume
    if rank() == 0 and (out / "run.json").exists():
        earlier = Run.load(out)
        same = (earlier.model, earlier.length, earlier.class_names, earlier.seed, earlier.init)
        if not arguments.resume:
            raise InputError(f"{out}: holds a run already; continue it with --resume or name another folder")
        if same != (run.model, run.length, run.class_names, run.seed, run.init):
            raise InputError(
                f"{out}: its checkpoint is of {earlier.model} with {len(earlier.class_names)} classes on"
                f" {earlier.length} nt (seed {earlier.seed}, {earlier.init}), not of what is asked for;"
                " name another folder"
            )
    model = run.build()
    if rank() == 0:
        run.save(out)
    say(arguments, f"training {arguments.model} on {len(dataset.splits['train']):,} sequences")
    fit(
        model, dataset, epochs=arguments.epochs, batch_size=arguments.batch_size, lr=arguments.lr,
        beta1=arguments.beta1, patience=arguments.patience, seed=arguments.seed, device=arguments.device,
        out=out, resume=resume, progress=shows_progress(arguments),
    )  # fmt: skip
