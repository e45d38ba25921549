"""The one table from our errors to errno(3).

The nearest class in the table decides. Errors that say what they are in errno already keep it: a PosixError always,
those of the disk under us only where the program can act on it; anything else that is wrong below is EIO.
"""

import errno
from typing import Final

import trio

from syncfs.model import errors

ERRNOS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.BusyError, errno.EBUSY),
    (errors.SecretError, errno.EACCES),
    (errors.UsageError, errno.EINVAL),
    (errors.RefusedError, errno.EACCES),
    (errors.SyncfsError, errno.EIO),
    (trio.TooSlowError, errno.ETIMEDOUT),
    (TimeoutError, errno.ETIMEDOUT),
    (MemoryError, errno.ENOMEM),
    (Exception, errno.EIO),
)
"""Subclasses before their bases."""

FROM_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What a failed write to our own disk may tell the program as it is."""


def errno_of(error: Exception) -> int:
    """The errno that a program gets for an error; of a group, that of its first member."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, errors.PosixError):
        return error.errno
    if isinstance(error, OSError | errors.SetupError) and error.errno in FROM_DISK:
        return error.errno
    return next(code for kind, code in ERRNOS if isinstance(error, kind))


def is_expected(error: Exception) -> bool:
    """Whether an error was raised on purpose, so that its text is enough and no traceback is needed."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return isinstance(error, errors.SyncfsError | trio.TooSlowError) or (
        isinstance(error, OSError) and error.errno in FROM_DISK
    )
