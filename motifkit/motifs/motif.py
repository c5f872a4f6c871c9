"""Motif and MotifSet: counts first, everything else follows from them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

ALPHABET = "ACGT"
_IUPAC = {
    "A": "A", "C": "C", "G": "G", "T": "T", "AC": "M", "AG": "R", "AT": "W", "CG": "S", "CT": "Y",
    "GT": "K", "ACG": "V", "ACT": "H", "AGT": "D", "CGT": "B", "ACGT": "N",
}  # fmt: skip


@dataclass(frozen=True)
class Motif:
    """A motif as letter counts over aligned windows.

    Attributes:
        name: unique within its set.
        counts: (4, width) float64, rows A, C, G, T; weighted where the rule that made it weights.
        nsites: number of windows aligned. It can differ from a column's sum: N counts nothing, and
            a rule may weight its windows.
        label: a second, human name, such as the transcription factor's; may be empty.

    Example:
        >>> import motifkit as mk, numpy as np
        >>> motif = mk.Motif("gtg", np.array([[0, 0, 1], [0, 0, 0], [8, 0, 7], [0, 8, 0]]), 8)
        >>> motif.consensus, motif.information.round(2).tolist()
        ('GTG', [2.0, 2.0, 1.46])
    """

    name: str
    counts: np.ndarray
    nsites: float
    label: str = ""

    def __post_init__(self):
        counts = np.asarray(self.counts, dtype=np.float64)
        if counts.ndim != 2 or counts.shape[0] != 4:
            raise ValueError(f"motif {self.name!r}: counts must be (4, width), got {counts.shape}")
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError(f"motif {self.name!r}: counts must be finite and not negative")
        object.__setattr__(self, "counts", counts)

    def __len__(self) -> int:
        """Width, in letters."""
        return self.counts.shape[1]

    @property
    def ppm(self) -> np.ndarray:
        """Position probability matrix (4, width); a column without counts is uniform."""
        total = self.counts.sum(0)
        return np.where(total > 0, self.counts / np.where(total > 0, total, 1), 0.25)

    def pwm(self, background: Sequence[float] | None = None, pseudocount: float = 1.0) -> np.ndarray:
        """Log2-odds (4, width) against `background` (A, C, G, T; uniform by default).

        `pseudocount` letters, shared out as the background, are added to `nsites` of the PPM.
        """
        back = np.full(4, 0.25) if background is None else np.asarray(background, dtype=np.float64)
        if back.shape != (4,) or (back <= 0).any() or not np.isclose(back.sum(), 1, atol=1e-3):
            raise ValueError("background must be four positive numbers that sum to 1")
        back = back / back.sum()
        smooth = (self.ppm * self.nsites + pseudocount * back[:, None]) / (self.nsites + pseudocount)
        with np.errstate(divide="ignore"):
            return np.log2(smooth / back[:, None])

    @property
    def information(self) -> np.ndarray:
        """Bits of each column (width,): log2(4) + sum of p log2 p, between 0 and 2."""
        p = self.ppm
        return 2 + np.sum(p * np.log2(np.where(p > 0, p, 1)), axis=0)

    @property
    def consensus(self) -> str:
        """IUPAC letter of each column: the letters with at least half the largest probability."""
        p = self.ppm
        kept = p >= p.max(0) / 2
        return "".join(_IUPAC["".join(np.array(list(ALPHABET))[column])] for column in kept.T)

    def trim(self, threshold: float = 0.5, pad: int = 3) -> "Motif":
        """The span of columns with more than `threshold` bits, and `pad` columns on each side.

        A motif with no such column comes back with width 0: nothing in it can be named.
        """
        informative = np.flatnonzero(self.information > threshold)
        if informative.size == 0:
            return replace(self, counts=self.counts[:, :0])
        begin, end = max(0, informative[0] - pad), informative[-1] + 1 + pad
        return replace(self, counts=self.counts[:, begin:end])

    def reverse_complement(self) -> "Motif":
        """The motif as the other strand reads it."""
        return replace(self, counts=self.counts[::-1, ::-1].copy())


@dataclass
class MotifSet(Sequence[Motif]):
    """Motifs in order, with what is to be said about their origin.

    Attributes:
        motifs: the motifs.
        dead: names of filters that no window activated enough: they have no motif.
        origin: how the motifs were made (rule, threshold, layer, sequences), for reports.

    Example:
        >>> import motifkit as mk
        >>> jaspar = mk.MotifSet.from_jaspar("JASPAR2016")  # doctest: +SKIP
        >>> jaspar["MA0083.3"].label  # doctest: +SKIP
        'SRF'
    """

    motifs: list[Motif]
    dead: list[str] = field(default_factory=list)
    origin: dict[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.motifs)

    def __getitem__(self, key):
        """By position, slice, or name."""
        if isinstance(key, str):
            for motif in self.motifs:
                if motif.name == key:
                    return motif
            raise KeyError(key)
        if isinstance(key, slice):
            return replace(self, motifs=self.motifs[key])
        return self.motifs[key]

    def __iter__(self) -> Iterator[Motif]:
        return iter(self.motifs)

    @property
    def filters(self) -> int:
        """Motifs and dead filters together."""
        return len(self.motifs) + len(self.dead)

    def trim(self, threshold: float = 0.5, pad: int = 3) -> "MotifSet":
        """Each motif trimmed (see Motif.trim); those with no informative column are left out."""
        trimmed = [motif.trim(threshold, pad) for motif in self.motifs]
        return replace(self, motifs=[motif for motif in trimmed if len(motif)])

    def select(self, names: Iterable[str]) -> "MotifSet":
        """The named motifs, in the order given."""
        return replace(self, motifs=[self[name] for name in names])

    def labelled(self, labels: Mapping[str, str]) -> "MotifSet":
        """The motifs with the labels given for their names; others keep theirs.

        Example:
            >>> import motifkit as mk, numpy as np
            >>> found = mk.MotifSet([mk.Motif("filter3", np.ones((4, 6)), 4)])
            >>> found.labelled({"filter3": "SRF"})["filter3"].label
            'SRF'
        """
        return replace(self, motifs=[replace(m, label=labels.get(m.name, m.label)) for m in self.motifs])

    @classmethod
    def from_meme(cls, path: str | os.PathLike[str]) -> "MotifSet":
        """Read a MEME file; raises InputError naming file and line where it is broken."""
        from motifkit.motifs.meme import read_meme

        return read_meme(path)

    def to_meme(self, path: str | os.PathLike[str]) -> None:
        """Write a MEME file (version 4, probabilities to 6 decimals, true nsites)."""
        from motifkit.motifs.meme import write_meme

        write_meme(self, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str], format: str | None = None) -> "MotifSet":
        """Read motifs from a file of any format, told by what it holds; plain or gzip-compressed.

        Formats: "meme" (in the dialects `motifkit.motifs.meme.read_meme` lists), "jaspar" (matrices of
        counts, with or without letters and brackets), "sites" (JASPAR's aligned sites), "transfac",
        "tsv" and "npz" (as to_tsv and to_npz write them). JASPAR and TRANSFAC need Biopython.

        Raises:
            InputError: no such file, no format that is known, or a broken record; the message names
                file, line or record, and remedy. ValueError: an unknown `format`.

        Example:
            >>> import motifkit as mk
            >>> motifs = mk.MotifSet.read("MA0139.1.jaspar")  # doctest: +SKIP
        """
        from motifkit.motifs.formats import read_motifs

        return read_motifs(path, format)

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Write "meme", "jaspar", "tsv" or "npz", by the suffix of `path` where not said."""
        from motifkit.motifs.formats import write_motifs

        write_motifs(self, path, format)

    def to_jaspar(self, path: str | os.PathLike[str]) -> None:
        """Write counts as JASPAR matrices."""
        self.write(path, "jaspar")

    def to_tsv(self, path: str | os.PathLike[str]) -> None:
        """Write counts as a table, a row a position; MotifSet.read gives them back exactly."""
        self.write(path, "tsv")

    def to_npz(self, path: str | os.PathLike[str]) -> None:
        """Write everything, dead filters and origin too, as a NumPy archive."""
        self.write(path, "npz")

    @classmethod
    def from_jaspar(
        cls,
        release: str = "JASPAR2016",
        *,
        tax_group: str = "vertebrates",
        collection: str = "CORE",
    ) -> "MotifSet":
        """The latest version of every profile of a JASPAR release, from pyjaspar's offline copy."""
        from motifkit.motifs.jaspar import load_jaspar

        return load_jaspar(release, tax_group, collection)

    def plot(self, path: str | os.PathLike[str], columns: int = 5) -> Path:
        """Draw all logos on one sheet; PNG, SVG or PDF by the suffix of `path`."""
        from motifkit.motifs.logo import plot_sheet

        return plot_sheet(self, path, columns)
