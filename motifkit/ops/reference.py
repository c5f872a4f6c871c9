"""The plain-PyTorch twin of every op, with the same signature; tests and benchmarks compare with these."""

from motifkit.ops.align import reference as align
from motifkit.ops.align_above import reference as align_above
from motifkit.ops.align_best import reference as align_best
from motifkit.ops.conv_pool import reference as conv_pool
from motifkit.ops.max_pool1d import reference as max_pool1d
from motifkit.ops.onehot_conv1d import reference as onehot_conv1d
from motifkit.ops.scan import reference as scan
from motifkit.ops.scan_hits import reference as scan_hits
from motifkit.ops.scan_summary import reference as scan_summary

__all__ = [
    "align",
    "align_above",
    "align_best",
    "conv_pool",
    "max_pool1d",
    "onehot_conv1d",
    "scan",
    "scan_hits",
    "scan_summary",
]
