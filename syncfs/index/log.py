"""The write-ahead log of an index as a file: space reserved ahead of it, and syncs that cannot be trusted any more.

A process that closes any descriptor of a file gives up all locks that it holds on it (fcntl(2)), those of SQLite as
well; so the log and its shared memory are closed here only after SQLite has closed them.

What a large transaction had reserved and did not need is given back when it ends.

After an fdatasync has failed the kernel takes the pages that it could not write for clean, and the next one succeeds
without them (measured with ext4: even writing the same bytes once more does not bring them to the disk, since their
blocks stay marked as unwritten). So nothing is promised any more after a failure, until the index is opened anew.
"""

import ctypes
import errno
import os
from pathlib import Path

from syncfs.model.errors import SetupError

STEP_BYTES = 4 * 1024 * 1024
"""So much is reserved at once, and a small transaction begins with half of it free at least."""
BYTES_FOR_CHANGE = 6 * 4096
"""What one changed row may add to the log: pages of its table and indexes, and of their trees."""
SHARED_MEMORY_BYTES = 256 * 1024
_KEEP_SIZE = 1


class Log:
    """The log of the index at `path`, which SQLite has open."""

    def __init__(self, path: Path) -> None:
        """Raises SetupError."""
        self._path = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._reserved = 0
        self._size = 0
        self._shared = -1
        self._failure: SetupError | None = None
        try:
            self._descriptor = os.open(f"{path}-wal", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(
                f"the index {path} cannot be opened ({error.strerror}): check its folder and permissions"
            ) from error

    def close(self) -> None:
        """Close the files, after SQLite did."""
        os.close(self._descriptor)
        if self._shared >= 0:
            os.close(self._shared)

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return os.fstat(self._descriptor).st_size

    def give_back(self) -> None:
        """Free the space reserved for a large transaction that is over, as far as the log did not grow into it."""
        size = self.size
        if self._reserved > size + 2 * STEP_BYTES:
            os.truncate(self._descriptor, size)  # to the size it has: only what is reserved beyond goes
            self._reserved = size

    def reserve(self, changes: int) -> None:
        """Have space on the disk for a transaction that has changed so many rows, and for what it does next.

        Raises SetupError with ENOSPC; nothing has happened then.
        """
        size = self.size
        if size < self._size:  # SQLite has begun the log anew and shortened the file
            self._reserved = min(self._reserved, size)
        self._size = size
        if size + changes * BYTES_FOR_CHANGE + STEP_BYTES // 2 <= self._reserved:
            return
        wanted = size + changes * BYTES_FOR_CHANGE + STEP_BYTES
        self._allocate(self._descriptor, wanted)
        if self._shared < 0:
            self._shared = os.open(f"{self._path}-shm", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._allocate(self._shared, SHARED_MEMORY_BYTES)
        self._reserved = wanted

    def _allocate(self, descriptor: int, size: int) -> None:
        if self._libc.fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)):
            code = ctypes.get_errno()
            if code in (errno.ENOSPC, errno.EDQUOT):
                raise SetupError(f"the disk that holds {self._path} is full: free some space there", code)
            if code not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR):
                raise self._refused(OSError(code, os.strerror(code)))

    def sync(self) -> None:
        """All that was committed before is on stable storage. Any thread. Raises SetupError, then again and again."""
        if self._failure is not None:
            raise self._failure
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._failure = self._refused(error)
            raise self._failure from error

    def _refused(self, error: OSError) -> SetupError:
        why = error.strerror or str(error)
        return SetupError(
            f"the disk that holds the index {self._path} refused to write ({why}): check it, and start syncfs again",
            error.errno or 0,
        )
