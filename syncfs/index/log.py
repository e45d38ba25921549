"""The write-ahead log of an index as a file: space reserved ahead of it, and syncs that cannot be trusted any more.

A process that closes any descriptor of a file gives up all locks that it holds on it (fcntl(2)), those of SQLite as
well; so the log and its shared memory are closed here only after SQLite has closed them.

What a large transaction had reserved and did not need is given back when it ends.

After an fdatasync has failed the kernel takes the pages that it could not write for clean, and the next one succeeds
without them (measured with ext4: even writing the same bytes once more does not bring them to the disk, since their
blocks stay marked as unwritten). So nothing is promised any more after a failure, until the index was written anew (see
renewal.py).
"""

import ctypes
import errno
import os
import threading
from pathlib import Path

from syncfs.model.errors import SetupError

STEP_BYTES = 4 * 1024 * 1024
"""So much is reserved at once, and a small transaction begins with half of it free at least."""
BYTES_FOR_CHANGE = 6 * 4096
"""What one changed row may add to the log: pages of its table and indexes, and of their trees."""
SHARED_MEMORY_BYTES = 256 * 1024
_KEEP_SIZE = 1


def end_of_log(shared: bytes) -> bytes:
    """What tells the last commit in a log from any other, by SQLite's shared memory; empty where there is none.

    The number of its frame, its checksum, which is one over all frames up to it, and the salts of the log
    (https://www.sqlite.org/walformat.html).
    """
    return b"" if shared[16:20] in (b"", bytes(4)) else shared[16:20] + shared[24:40]


class Log:
    """The log of the index at `path`, which SQLite has open."""

    def __init__(self, path: Path) -> None:
        """Raises SetupError."""
        self._path = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._reserved = 0
        self._size = 0
        self._shared_reserved = False
        self._sync = threading.Lock()
        self.failure: SetupError | None = None
        """Why nothing that was committed is on stable storage for sure."""
        opened: list[int] = []
        try:
            for suffix in ("", "-wal", "-shm"):
                opened.append(os.open(f"{path}{suffix}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            for descriptor in opened:
                os.close(descriptor)
            raise SetupError(
                f"the index {path} cannot be opened ({error.strerror}): check its folder and permissions"
            ) from error
        self.database, self.descriptor, self._shared = opened
        self.end = b""
        """The last commit, as `end_of_log` tells it."""
        self._look()

    def close(self) -> None:
        """Close the files, after SQLite did."""
        for descriptor in (self.database, self.descriptor, self._shared):
            os.close(descriptor)

    def committed(self) -> None:
        """A transaction was committed, and none is open."""
        self._look()
        self._give_back()

    def _look(self) -> None:
        self.end = end_of_log(os.pread(self._shared, 40, 0))

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return os.fstat(self.descriptor).st_size

    def _give_back(self) -> None:
        """Free the space reserved for a large transaction that is over, as far as the log did not grow into it."""
        size = self.size
        if self._reserved > size + 2 * STEP_BYTES:
            os.truncate(self.descriptor, size)  # to the size it has: only what is reserved beyond goes
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
        self._allocate(self.descriptor, wanted)
        if not self._shared_reserved:
            self._allocate(self._shared, SHARED_MEMORY_BYTES)
            self._shared_reserved = True
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
        with self._sync:  # the kernel tells of a failure once: who comes second would hear of none
            if self.failure is not None:
                raise self.failure
            try:
                os.fdatasync(self.descriptor)
            except OSError as error:
                self.failure = self._refused(error)
                raise self.failure from error

    def retire(self) -> None:
        """Another log takes the place of this one: promise nothing any more. Any thread."""
        with self._sync:
            if self.failure is None:
                self.failure = SetupError(f"the index {self._path} is being written anew: try again in a moment")

    def _refused(self, error: OSError) -> SetupError:
        why = error.strerror or str(error)
        return SetupError(
            f"the disk that holds the index {self._path} refused to write ({why}): check that disk; syncfs goes on by "
            "itself once it writes again",
            error.errno or 0,
        )
