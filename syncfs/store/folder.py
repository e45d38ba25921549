"""The folder of a store on disk: who may use it, what format it has, and whether its last user closed it.

store.format   "syncfs store 1\\n"; locked while a process uses the store; shows that the folder is still there
store.open     there from opening to closing: who finds it knows that the last user was killed, or the power went
packs/ chunks/ quarantine/
"""

import contextlib
import fcntl
import itertools
import os
from pathlib import Path

from syncfs.model.errors import BusyError, DamageError, NewerFormatError
from syncfs.model.ids import Address
from syncfs.store.faults import gone, refused, sync_directory

_VERSION = 1
_FORMAT = "syncfs store {}\n"
_KEPT_ASIDE = 64
"""So many bad chunks are kept in quarantine; the oldest make room."""


class StoreFolder:
    """The folder of a store that this process uses alone."""

    def __init__(self, path: Path, *, expected: bool) -> None:
        """Open the folder, or make it unless it is `expected` to hold chunks.

        Raises SetupError, BusyError, NewerFormatError, DamageError.
        """
        self.path = path
        self.packs = path / "packs"
        self.chunks = path / "chunks"
        self._quarantine = path / "quarantine"
        self._format = path / "store.format"
        self._mark = path / "store.open"
        if expected and not (self._format.exists() and self.packs.is_dir() and self.chunks.is_dir()):
            raise gone(path)
        try:
            for folder in (path, self.packs, self.chunks, self._quarantine):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._format, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise refused(error, path) from error
        try:
            self._take()
            self.unclean = self._mark_open()
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another syncfs uses the chunk store in {self.path}: stop it first") from None
        found = os.pread(self._lock, 64, 0).decode("ascii", "replace")
        if not found:
            try:
                os.pwrite(self._lock, _FORMAT.format(_VERSION).encode(), 0)
                os.fsync(self._lock)
            except OSError as error:
                raise refused(error, self.path) from error
        elif found != _FORMAT.format(_VERSION):
            version = found.removeprefix("syncfs store ").strip()
            if version.isdigit() and int(version) > _VERSION:
                raise NewerFormatError(
                    f"the chunk store in {self.path} comes from a newer syncfs: please update syncfs on this computer"
                )
            raise DamageError(f"{self._format} is damaged: write the line `syncfs store {_VERSION}` into it")

    def _mark_open(self) -> bool:
        try:
            unclean = self._mark.exists()
            self._mark.touch(mode=0o600)
            sync_directory(self.path)
        except OSError as error:
            raise refused(error, self.path) from error
        return unclean

    def check(self) -> None:
        """Raises SetupError if the folder has vanished."""
        if not (self._format.exists() and self.packs.is_dir() and self.chunks.is_dir()):
            raise gone(self.path)

    def place_aside(self, address: Address) -> Path:
        """A free name in quarantine for a bad chunk. Raises OSError."""
        aside = sorted(self._quarantine.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for path in aside[: max(len(aside) - _KEPT_ASIDE + 1, 0)]:
            path.unlink(missing_ok=True)
        return next(
            path
            for number in itertools.count()
            if not (path := self._quarantine / f"{address.hex()}.{number}").exists()
        )

    def close(self, *, clean: bool) -> None:
        """Let others use the folder; `clean` if there is nothing that the next user has to recover."""
        try:
            if clean:
                with contextlib.suppress(OSError):
                    self._mark.unlink(missing_ok=True)
        finally:
            os.close(self._lock)
