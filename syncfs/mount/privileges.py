"""When setuid and setgid bits go: Linux's rules for what the kernel leaves to us (FUSE_HANDLE_KILLPRIV_V2).

chown(2) by anybody, truncate(2) by anybody but root, and a write by anybody but root drop setuid, and setgid where the
group may execute, from everything but directories. Before such a write, and for chown(2) to nobody new, the kernel
sends a change of nothing at all; the latter only the owner may do.
"""

import errno
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from syncfs.engine.tree.posix import AttributeChange, Attributes
from syncfs.model.errors import PosixError

NOTHING: Final = AttributeChange()


def without_privileges(
    present: Callable[[], Attributes], uid: int, change: AttributeChange, is_written: Callable[[], bool]
) -> AttributeChange:
    """A change as it is to be made for a caller; `present` is asked for the node's attributes where they matter.

    `is_written` tells whether anybody has the file open for writing. Raises PosixError(EPERM).
    """
    moved = change.uid is not None or change.gid is not None
    cut = change.size is not None and uid != 0
    if change.mode is not None or not (moved or cut or change == NOTHING):
        return change
    node = present()
    mode = stat.S_IMODE(node.mode)
    kept = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        kept &= ~stat.S_ISGID
    if stat.S_ISDIR(node.mode) or kept == mode:
        return change
    if change == NOTHING and uid not in (0, node.uid) and not is_written():
        raise PosixError(errno.EPERM)
    return replace(change, mode=kept)
