"""JASPAR, and the motifs of Koo & Eddy (2019)."""

from functools import cache

import numpy as np

from motifkit.errors import InputError, require
from motifkit.motifs.motif import Motif, MotifSet

# The profiles the paper's synthetic sequences are made with, by transcription factor.
PAPER_MOTIFS = {
    "Arid3a": "MA0151.1", "CEBPB": "MA0466.2", "FOSL1": "MA0477.1", "Gabpa": "MA0062.2",
    "MAFK": "MA0496.1", "MAX": "MA0058.3", "MEF2A": "MA0052.3", "NFYB": "MA0502.1",
    "SP1": "MA0079.3", "SRF": "MA0083.3", "STAT1": "MA0137.3", "YY1": "MA0095.2",
}  # fmt: skip

# The profiles that count as a match of each: all versions of the factor and its close relatives. The authors'
# program files MA0660.1 and MA0773.1, MEF2B and MEF2D, under STAT1; where they stand changes no fraction.
RELEVANT = {
    "Arid3a": ("MA0151.1", "MA0601.1", "PB0001.1"),
    "CEBPB": ("MA0466.1", "MA0466.2"),
    "FOSL1": ("MA0477.1",),
    "Gabpa": ("MA0062.1", "MA0062.2"),
    "MAFK": ("MA0496.1", "MA0496.2"),
    "MAX": ("MA0058.1", "MA0058.2", "MA0058.3"),
    "MEF2A": ("MA0052.1", "MA0052.2", "MA0052.3", "MA0660.1", "MA0773.1"),
    "NFYB": ("MA0502.1", "MA0060.1", "MA0060.2"),
    "SP1": ("MA0079.1", "MA0079.2", "MA0079.3"),
    "SRF": ("MA0083.1", "MA0083.2", "MA0083.3"),
    "STAT1": ("MA0137.1", "MA0137.2", "MA0137.3"),
    "YY1": ("MA0095.1", "MA0095.2"),
}


@cache
def load_jaspar(release: str, tax_group: str, collection: str) -> MotifSet:
    """See MotifSet.from_jaspar. Reads about 500 profiles in a second; later calls are free."""
    pyjaspar = require("pyjaspar", "motifs")
    try:
        database = pyjaspar.jaspardb(release=release)
    except (ValueError, KeyError, OSError) as error:
        raise InputError(f"JASPAR release {release!r} is not in pyjaspar: {error}") from None
    profiles = database.fetch_motifs(collection=collection, tax_group=[tax_group])
    if not profiles:
        raise InputError(f"{release} holds no {collection} profiles of {tax_group!r}")
    motifs = []
    for profile in sorted(profiles, key=lambda p: p.matrix_id):
        counts = np.array([profile.counts[letter] for letter in "ACGT"], dtype=np.float64)
        motifs.append(Motif(profile.matrix_id, counts, float(counts.sum(0).max()), profile.name))
    return MotifSet(motifs, origin={"database": release, "collection": collection})


def paper_motifs() -> MotifSet:
    """The paper's 12 motifs, named by transcription factor, in the paper's order."""
    jaspar = load_jaspar("JASPAR2016", "vertebrates", "CORE")
    motifs = [
        Motif(name, jaspar[identifier].counts, jaspar[identifier].nsites, identifier)
        for name, identifier in PAPER_MOTIFS.items()
    ]
    return MotifSet(motifs, origin={"database": "JASPAR2016"})
