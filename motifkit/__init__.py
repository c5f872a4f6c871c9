"""Train CNNs on DNA, read out the motifs they learned, and trust the numbers."""

from motifkit import ops
from motifkit._native import build_info
from motifkit.sequences import decode, encode, one_hot, read_fasta, reverse_complement

__version__ = "0.1.0"
