"""When setuid and setgid bits go: Linux's rules for what the kernel leaves to us (FUSE_HANDLE_KILLPRIV).

chown(2) by anybody, truncate(2) by anybody but root, and a write by anybody but root drop setuid, and setgid where the
group may execute, from everything but directories. Before such a write, and for chown(2) to nobody new, the kernel
sends a change of nothing at all.
"""

import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from syncfs.engine.posix import AttributeChange

NOTHING: Final = AttributeChange()


def without_privileges(mode: Callable[[], int], uid: int, change: AttributeChange) -> AttributeChange:
    """A change as it is to be made for a caller; `mode` is asked for the present mode where that matters."""
    moved = change.uid is not None or change.gid is not None
    cut = change.size is not None and uid != 0
    if change.mode is not None or not (moved or cut or change == NOTHING):
        return change
    present = mode()
    kept = stat.S_IMODE(present) & ~stat.S_ISUID
    if present & stat.S_IXGRP:
        kept &= ~stat.S_ISGID
    if stat.S_ISDIR(present) or kept == stat.S_IMODE(present):
        return change
    return replace(change, mode=kept)
