"""The journal of one open file: what was written to it, encrypted, until it is cut into chunks.

* Append-only. An `append` is acknowledged by `sync`, which costs what was written since the last one.
* A journal is written by one process and never continued by another: a crash may have used up nonces that nobody
  remembers. After a crash it is replayed, cut into chunks, and removed.
* A write that failed is withdrawn whole. After a failed sync, or a withdrawal that failed, the journal takes nothing
  more: nobody knows what the disk has.
* Bytes are read back record by record (128 KiB at most), so neither an open file nor a replay has to fit into memory.
* What stands before a mark is `discard`ed once the engine needs it no more: a hole in the file gives its space back.
* A removed journal may come back after a loss of power, since removing it is not made durable: who replays it must be
  able to tell from its header that its content was saved already.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.sealing import JOURNAL_NONCE_BYTES, JournalCipher
from syncfs.model.errors import SyncfsError
from syncfs.store.faults import gone, refused, sync_directory, write_all
from syncfs.store.journalformat import (
    ANEW,
    EXTENT,
    FILE_KEY_BYTES,
    MARK,
    MAX_HEADER,
    MAX_OFFSET,
    PIECE,
    TRUNCATE,
    Fields,
    seal_head,
    seal_record,
)
from syncfs.store.replay import Extent, JournalDamage, Marked, Replay, Truncated, read_extent, replay

__all__ = ["Extent", "Journal", "JournalDamage", "Marked", "Replay", "Truncated", "replay"]

_KEEP_SIZE, _PUNCH_HOLE = 1, 2


class Journal:
    """A journal that is being written. Any thread; appends are ordered as they get in."""

    def __init__(self, path: Path, cipher: JournalCipher, header: bytes, random: Callable[[int], bytes]) -> None:
        """Begin a journal at `path`, which must not exist; `header` is opaque and at most 64 KiB. Raises SetupError."""
        if len(header) > MAX_HEADER:
            raise ValueError("the header of a journal has at most 64 KiB")
        self.path = path
        file_key = random(FILE_KEY_BYTES)
        head = seal_head(cipher, random(JOURNAL_NONCE_BYTES), file_key, header)
        self._cipher = JournalCipher(file_key)
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self._end = write_all(self._descriptor, (head,), 0)
            except BaseException:
                os.close(self._descriptor)
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise refused(error, path.parent) from error
        self._begins = self._discarded = self._end
        self.gives_back = True
        """Whether the file system gives back what is discarded, as far as is known."""
        self._counter = 0
        self._durable = 0
        self._append = threading.Lock()
        self._sync = threading.Lock()
        self._failure: SyncfsError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """The bytes of the journal's file."""
        return self._end

    @property
    def kept(self) -> int:
        """The bytes of it that were not discarded."""
        return self._end - self._discarded + self._begins

    def append(self, offset: int, data: BytesLike) -> list[Extent]:
        """Note that `data` was written at `offset`; the extents tell where to read it back.

        All of it is appended, or none. Raises SetupError.
        """
        with memoryview(data) as view:
            if offset < 0 or offset + view.nbytes > MAX_OFFSET:
                raise ValueError("an extent lies outside of what a file can have")
            pieces = _pieces(offset, view.nbytes)
            return self._write([(EXTENT, start, view[start - offset : stop - offset]) for start, stop in pieces])

    def truncate(self, size: int) -> None:
        """Note that the file got this size. Raises SetupError."""
        if not 0 <= size <= MAX_OFFSET:
            raise ValueError("a size lies outside of what a file can have")
        self._write([(TRUNCATE, size, memoryview(b""))])

    def mark(self, data: bytes) -> int:
        """Note something of the engine's; returns the position of the mark, before which it may come to discard.

        Raises SetupError.
        """
        (extent,) = self._write([(MARK, 0, memoryview(data))])
        return extent.position

    def begin_anew(self, position: int, data: bytes = b"") -> None:
        """Nothing before `position` counts: it is told again from there to here, and is durable.

        Data that is not empty stands for a mark at `position`. Raises SetupError.
        """
        self._write([(ANEW, position, memoryview(data))])

    def discard(self, position: int) -> None:
        """Give back what stands before `position`, which must be durable. Raises SetupError."""
        start, size = self._discarded, position - self._discarded
        if size <= 0 or not self.gives_back:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        place = ctypes.c_int64(start), ctypes.c_int64(size)
        if libc.fallocate(self._descriptor, _PUNCH_HOLE | _KEEP_SIZE, *place):
            code = ctypes.get_errno()
            if code not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise refused(OSError(code, os.strerror(code)), self.path.parent)
            self.gives_back = False
            return
        self._discarded = position

    def _write(self, records: list[tuple[int, int, memoryview]]) -> list[Extent]:
        with self._append:
            self._check()
            start = position = self._end
            parts: list[bytes] = []
            extents = []
            for kind, offset, plain in records:
                fields = Fields(kind, plain.nbytes, offset, self._durable, self._counter)
                self._counter += 1
                parts += seal_record(self._cipher, fields, position, plain)
                extents.append(Extent(offset, plain.nbytes, position))
                position += fields.record_bytes
            try:
                write_all(self._descriptor, parts, start)
            except OSError as error:
                self._withdraw(start)
                raise refused(error, self.path.parent) from error
            except BaseException:
                self._withdraw(start)
                raise
            self._end = position
        return extents

    def _withdraw(self, start: int) -> None:
        try:
            os.ftruncate(self._descriptor, start)
        except OSError as error:
            self._failure = refused(error, self.path.parent)

    def read(self, extent: Extent) -> bytes:
        """The bytes of an extent. Raises DamageError."""
        return read_extent(self._descriptor, self._cipher, extent, self.path)

    def sync(self) -> None:
        """All that was appended before survives a loss of power. Raises SetupError, then again and again."""
        with self._sync:
            self._check()
            end = self._end
            if end == self._durable:
                return
            try:
                os.fdatasync(self._descriptor)
                if not os.fstat(self._descriptor).st_nlink:
                    raise gone(self.path.parent)
                if not self._durable:
                    sync_directory(self.path.parent)
            except OSError as error:
                self._failure = refused(error, self.path.parent)
                raise self._failure from error
            except SyncfsError as error:
                self._failure = error
                raise
            self._durable = end

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Close the file; nothing may be called after that but `remove`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close and delete the journal, its content being safe elsewhere. Raises SetupError."""
        self.close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise refused(error, self.path.parent) from error


def _pieces(offset: int, size: int) -> Iterator[tuple[int, int]]:
    start, end = offset, offset + size
    while start < end:
        stop = min((start // PIECE + 1) * PIECE, end)
        yield start, stop
        start = stop
