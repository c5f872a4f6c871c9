"""The paper's figures from stored runs; those that are not there yet are trained first."""

from collections.abc import Sequence
from pathlib import Path

from motifkit.data.dataset import SequenceDataset
from motifkit.errors import InputError, require
from motifkit.experiments.drawing import Panel, logo_sheet, save
from motifkit.experiments.grid import Job, Settings, parse_models
from motifkit.experiments.reproduce import Request, do_runs
from motifkit.experiments.worker import Outcome, layer_motifs
from motifkit.motifs.compare import load_targets
from motifkit.motifs.jaspar import paper_motifs
from motifkit.motifs.motif import Motif
from motifkit.report.report import relevant_profiles
from motifkit.train.run import load_model

# The nets of each figure, and which of their layers.
NETS = {
    "fig2": [("CNN-2", 1), ("CNN-4", 1), ("CNN-25", 1)],
    "fig3": [("CNN9-4", 1), ("CNN9-25", 1), ("CNN-50-2", 1), ("CNN19-1-2", 1)],
    "fig4": [("CNN-2", 1), ("CNN-4", 1), ("CNN-25", 1)],
    "s1": [("CNN-1", 1), ("CNN-1", 2), ("CNN-1-1-100", 2), ("CNN-1-1-100", 3)],
    "s2": [("CNN-1", 1), ("CNN-1", 2)],
}
_IN_VIVO = ("fig4", "s2")


def figure(name: str, request: Request) -> tuple[list[Path], list[Outcome]]:
    """Draw one figure as PNG and SVG, from trial 0 of the nets it shows.

    Args:
        name: "fig1", "fig2", "fig3", "fig4", "s1", "s2" or "saliency". request: where the runs are; its
            `models` choose the net of "saliency" (CNN-25) and, for the others, fewer of the figure's nets.

    Returns:
        The files, and what became of each run.

    Raises:
        InputError: no data for fig4 or s2, a net that the figure does not show, or a run that failed.
    """
    folder = request.results or request.out
    if name == "fig1":
        from motifkit.experiments.toy import draw_toy

        return save(draw_toy(request.seed), folder, name), []
    shown = _shown(name, request.models)
    wanted = [Job(model, request.inits[0], 0) for model in dict.fromkeys(model for model, _ in shown)]
    outcomes = do_runs(request, wanted, in_vivo=name in _IN_VIVO)
    for job in wanted:
        if not job.finished(request.out):
            failed = [o.message for o in outcomes if o.job == job and o.status == "failed"]
            raise InputError(
                f"{job.folder(request.out)}: {job.name} has no result ({failed[0] if failed else 'not run'});"
                " leave --collect away, or see its run.log"
            )
    dataset = SequenceDataset.load(Settings.load(request.out).data)
    if name == "saliency":
        return _saliency(wanted, request, dataset, folder), outcomes
    settings = Settings.load(request.out)
    truth = _truth(dataset, settings)
    caption = "A name stands beside each filter whose motif significantly matches a profile of that class."
    paths = []
    for page, layers in _pages(name, shown).items():
        panels = [_panel(model, layer, request, dataset, settings) for model, layer in layers]
        paths += save(logo_sheet(panels, truth, caption), folder, page)
    return paths, outcomes


def _pages(name: str, shown: Sequence[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """What stands together: first layers all, deeper ones, with their 128 filters, a net a page."""
    if all(layer == 1 for _, layer in shown):
        return {name: list(shown)}
    pages: dict[str, list[tuple[str, int]]] = {}
    for model, layer in shown:
        pages.setdefault(name if model == shown[0][0] else f"{name}-{model}", []).append((model, layer))
    return pages


def _shown(name: str, models: Sequence[str]) -> list[tuple[str, int]]:
    if name == "saliency":
        return [(model, 1) for model in parse_models(models, 1, ["CNN-25"])]
    if not models:
        return NETS[name]
    chosen = parse_models(models, 1, [])
    shown = [(model, layer) for model, layer in NETS[name] if model in chosen]
    strangers = set(chosen) - {model for model, _ in NETS[name]}
    if strangers:
        nets = ", ".join(dict.fromkeys(model for model, _ in NETS[name]))
        raise InputError(f"{name} shows {nets}, not {', '.join(sorted(strangers))}")
    return shown


def _panel(model_name: str, layer: int, request: Request, dataset, settings: Settings) -> Panel:
    """A net's layer: whole motifs by the paper's rule, labelled by what the run found."""
    pandas = require("pandas", "motifs")
    folder = Job(model_name, request.inits[0], 0).folder(request.out)
    _, model = load_model(folder)
    codes, _ = dataset.split("test")
    motifs = layer_motifs(model, codes, layer)
    matches = pandas.read_csv(folder / f"matches-layer{layer}-paper.tsv", sep="\t")
    known = relevant_profiles(dataset, load_targets(settings.target))
    owner = {profile: name for name, profiles in known.items() for profile in profiles}
    matches = matches[matches["target"].isin(list(owner))].drop_duplicates("query")
    label = dict(zip(matches["query"], matches["target"].map(owner), strict=True))
    words = f"{model_name}, layer {layer}: {len(label) / motifs.filters:.0%} relevant"
    wide = len(motifs) > 60
    return Panel(words, list(motifs), [label.get(m.name, "") for m in motifs], 6 if wide else 3)


def _truth(dataset: SequenceDataset, settings: Settings) -> dict[str, Motif]:
    """The motifs that stand for the classes: the paper's, or the first of a class's own profiles."""
    database = load_targets(settings.target)
    known = relevant_profiles(dataset, database)
    papers = {motif.name.lower(): motif for motif in paper_motifs()} if _wants_jaspar(known) else {}
    out = {}
    for name, profiles in known.items():
        there = [database[profile] for profile in profiles if profile in {m.name for m in database}]
        motif = papers.get(name.lower()) or (there[0] if there else None)
        if motif is not None:
            out[name] = motif
    return out


def _wants_jaspar(known) -> bool:
    from motifkit.motifs.jaspar import PAPER_MOTIFS

    return bool({name.lower() for name in known} & {name.lower() for name in PAPER_MOTIFS})


def _saliency(wanted: list[Job], request: Request, dataset, folder) -> list[Path]:
    from motifkit.experiments.saliency import draw_saliency

    paths = []
    for job in wanted:
        _, model = load_model(job.folder(request.out))
        drawn = draw_saliency(model, dataset, job.name, seed=request.seed)
        paths += save(drawn, folder, f"saliency-{job.folder(request.out).parent.name}")
    return paths
