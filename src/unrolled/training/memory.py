"""Memory that is freed is kept for the next step."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # the names of glibc's malloc.h


def keep_freed_memory() -> None:
    """Tell the C library to keep what is freed instead of handing it back to the system; nothing where it cannot.

    Every step of training allocates the same large arrays. glibc maps each anew, and the system clears it page by page:
    measured on an LSTM of 2x512 in bfloat16 on two cores, 23,400 characters a second with that and 33,100 without.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 64 << 20)
