"""Train CNNs on DNA, read out the motifs they learned, and trust the numbers."""

from motifkit import models, nn, ops
from motifkit._native import build_info
from motifkit.data.dataset import SequenceDataset
from motifkit.data.prepare import prepare
from motifkit.data.simulate import simulate
from motifkit.errors import InputError
from motifkit.motifs.cluster import cluster_motifs
from motifkit.motifs.compare import compare
from motifkit.motifs.extract import extract_motifs
from motifkit.motifs.importance import knock_out
from motifkit.motifs.motif import Motif, MotifSet
from motifkit.motifs.scanning import scan_sequences
from motifkit.motifs.scoring import match_fractions, score_placements
from motifkit.motifs.sites import find_sites
from motifkit.motifs.table import compare_rules
from motifkit.nn.accelerate import accelerate
from motifkit.sequences import decode, encode, one_hot, read_fasta, reverse_complement
from motifkit.train.evaluate import evaluate
from motifkit.train.fit import FitResult, fit

__version__ = "0.1.0"

__all__ = [
    "FitResult",
    "InputError",
    "Motif",
    "MotifSet",
    "SequenceDataset",
    "accelerate",
    "build_info",
    "cluster_motifs",
    "compare",
    "compare_rules",
    "decode",
    "encode",
    "evaluate",
    "extract_motifs",
    "find_sites",
    "fit",
    "knock_out",
    "match_fractions",
    "models",
    "nn",
    "one_hot",
    "ops",
    "prepare",
    "read_fasta",
    "reverse_complement",
    "scan_sequences",
    "score_placements",
    "simulate",
]
