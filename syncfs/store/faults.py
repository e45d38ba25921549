"""What the operating system says, as errors of ours; the one place of the store that knows errno."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import DamageError, SetupError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ENXIO})
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})


def refused(error: OSError, directory: Path) -> SetupError:
    """The error for a write, or an open, that the disk below `directory` refused."""
    why = error.strerror or str(error)
    if error.errno in _FULL:
        return SetupError(f"the disk that holds {directory} is full: free some space there", error.errno or 0)
    if error.errno in _FORBIDDEN:
        reason = f"{directory} cannot be written ({why}): check its permissions and how its disk is mounted"
        return SetupError(reason, error.errno or 0)
    if error.errno in _GONE:
        return gone(directory)
    if error.errno in _TOO_MANY:
        return SetupError("syncfs has too many files open: raise the limit of open files (ulimit -n)")
    return SetupError(f"the disk that holds {directory} refused to write ({why}): check that disk")


def unreadable(error: OSError, directory: Path) -> SetupError | DamageError:
    """The error for a read that the disk below `directory` refused."""
    if error.errno in _FORBIDDEN | _GONE | _TOO_MANY:
        return refused(error, directory)
    why = error.strerror or str(error)
    return DamageError(f"the disk that holds {directory} cannot read its data ({why}): check that disk")


def gone(directory: Path) -> SetupError:
    """The error for a store whose folder has vanished under us."""
    return SetupError(
        f"the chunk store in {directory} is gone: put the folder back, or mount its disk, and start syncfs again"
    )


def write_all(descriptor: int, parts: Sequence[BytesLike], offset: int) -> int:
    """Write the parts one after the other at `offset`; returns how many bytes that were. Raises OSError."""
    views = [memoryview(part) for part in parts]
    total = sum(view.nbytes for view in views)
    written = os.pwritev(descriptor, views, offset)
    if written < total:
        rest = memoryview(b"".join(views))
        while written < total:
            step = os.pwrite(descriptor, rest[written:], offset + written)
            if step == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += step
    return total


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a loss of power. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
