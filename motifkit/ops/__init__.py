"""The ops: on codes or one-hot tensors, forward and backward, each with a plain-PyTorch twin in
`motifkit.ops.reference`.

They take arrays of NumPy, CuPy and any library with DLPack or `__cuda_array_interface__` as well, without a
copy, and return the same kind.
"""

from motifkit.ops import reference
from motifkit.ops._arrays import takes_arrays
from motifkit.ops.align import align
from motifkit.ops.align_above import Aligned, align_above
from motifkit.ops.align_best import align_best
from motifkit.ops.conv_pool import conv_pool
from motifkit.ops.hits import Hits, ScanResult
from motifkit.ops.max_pool1d import max_pool1d
from motifkit.ops.onehot_conv1d import onehot_conv1d
from motifkit.ops.scan import scan
from motifkit.ops.scan_hits import scan_hits
from motifkit.ops.scan_summary import ScanSummary, scan_summary

align = takes_arrays(align)
align_above = takes_arrays(align_above)
align_best = takes_arrays(align_best)
conv_pool = takes_arrays(conv_pool)
max_pool1d = takes_arrays(max_pool1d)
onehot_conv1d = takes_arrays(onehot_conv1d)
scan = takes_arrays(scan)
scan_hits = takes_arrays(scan_hits)
scan_summary = takes_arrays(scan_summary)

__all__ = [
    "Aligned",
    "Hits",
    "ScanResult",
    "ScanSummary",
    "align",
    "align_above",
    "align_best",
    "conv_pool",
    "max_pool1d",
    "onehot_conv1d",
    "reference",
    "scan",
    "scan_hits",
    "scan_summary",
]
