"""Memory that is freed and wanted again every step, kept by the process instead of handed back."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next allocation; True where that was done.

    Activations of tens of megabytes are allocated and freed in every training step. By default glibc maps
    each anew and the kernel clears every page again, which can cost as much as the arithmetic. For programs
    of one's own: the command and the experiments call it, the library does not.

    Example:
        >>> from motifkit.train.memory import keep_freed_memory
        >>> keep_freed_memory() in (True, False)
        True
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30) and mallopt(_TRIM_THRESHOLD, _LARGEST))
