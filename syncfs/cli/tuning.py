"""How a process that moves megabytes all day treats its memory.

A chunk has up to 1 MiB. By default the allocator asks the kernel for each block of that size and gives it back at once,
so that every byte costs a page fault and a zeroing besides: a quarter of the system time of a cold read. The garbage
collector is told that what start-up made stays.
"""

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
LARGEST_KEPT: Final = 8 * 2**20
"""Blocks up to so many bytes come from memory that the process keeps."""
KEPT_FREE: Final = 64 * 2**20
"""So many free bytes are kept for the next blocks."""
ARENAS: Final = 2
COLLECT_AFTER: Final = 50_000


def keep_memory() -> None:
    """Keep freed blocks for the next chunk; does nothing where the C library has no mallopt."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE)
        mallopt(_M_ARENA_MAX, ARENAS)
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
