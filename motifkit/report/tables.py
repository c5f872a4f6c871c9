"""Tables of a run's folder that other commands left there for the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motifkit.errors import InputError, require
from motifkit.motifs.motif import MotifSet

if TYPE_CHECKING:
    import pandas

RULES, KNOCKOUT, CLUSTERS, CONSENSUS = "rules.tsv", "knockout.tsv", "clusters.tsv", "clusters.meme"

_COLUMNS = {
    RULES: ("filter", "rule", "nsites", "width", "information", "consensus", "correlation"),
    KNOCKOUT: ("filter", "replaced", "class", "loss", "auroc", "auroc_low", "auroc_high"),
    CLUSTERS: ("cluster", "run", "filter", "strand", "similarity", "size", "runs", "reproducibility"),
}


@dataclass(frozen=True)
class RunTables:
    """What a run's folder holds beside the run; None for what it does not.

    Attributes:
        rules: of compare_rules. knockout: of knock_out. clusters, consensus: of cluster_motifs.
    """

    rules: "pandas.DataFrame | None" = None
    knockout: "pandas.DataFrame | None" = None
    clusters: "pandas.DataFrame | None" = None
    consensus: MotifSet | None = None

    @classmethod
    def load(cls, folder: Path) -> "RunTables":
        """Read those that are there; InputError where one is broken."""
        consensus = MotifSet.from_meme(folder / CONSENSUS) if (folder / CONSENSUS).exists() else None
        return cls(*(_read(folder / name) for name in (RULES, KNOCKOUT, CLUSTERS)), consensus)


def _read(path: Path) -> "pandas.DataFrame | None":
    if not path.exists():
        return None
    pandas = require("pandas", "report")
    try:
        # "NA" is a consensus, and may be a class.
        table = pandas.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); make it again or remove it") from None
    missing = [name for name in _COLUMNS[path.name] if name not in table.columns]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; make it again or remove it")
    for name in ("consensus", "target", "target_name"):
        if name in table.columns:
            table[name] = table[name].fillna("")
    return table
