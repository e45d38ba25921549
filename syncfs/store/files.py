"""Chunks that are files of their own: `chunks/ab/<address in hex>`, written under `chunks/incoming/` and renamed.

A chunk that was forgotten may be written again before its file is deleted. `doom` marks the file, `write` takes the
mark away when it puts a new file there, and `discard` deletes only what is still marked; renames and deletions are
serialised, so that a deletion never meets a file that came after it.
"""

import itertools
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import BadChunkError, SetupError, SyncfsError, UnavailableError
from syncfs.model.ids import HASH_BYTES, Address
from syncfs.model.places import OWN_FILE, Place
from syncfs.store.faults import refused, sync_directory, unreadable, write_all

_INCOMING = "incoming"


class ChunkFiles:
    """The chunk files below one directory."""

    def __init__(self, directory: Path) -> None:
        """Open the directory and delete what was being written when its last user died. Raises SetupError."""
        self._directory = directory
        self._incoming = directory / _INCOMING
        try:
            self._incoming.mkdir(mode=0o700, exist_ok=True)
            for entry in os.scandir(self._incoming):
                os.unlink(entry.path)  # noqa: PTH108
        except OSError as error:
            raise refused(error, directory) from error
        self._numbers = itertools.count()
        self._names = threading.Lock()
        self._marks = threading.Lock()
        self._doomed: set[Address] = set()
        self._sync = threading.Lock()
        self._unsynced: set[Address] = set()
        self._new_folders = False
        self._failure: SyncfsError | None = None

    def path(self, address: Address) -> str:
        """Where the file of a chunk is."""
        name = address.hex()
        return f"{self._directory}/{name[:2]}/{name}"

    def write(self, address: Address, data: BytesLike) -> Place:
        """Put a file there, whole or not at all. Any thread. Raises SetupError."""
        temporary = f"{self._incoming}/{address.hex()}.{next(self._numbers)}"
        try:
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    write_all(descriptor, (data,), 0)
                finally:
                    os.close(descriptor)
                self._rename(temporary, address)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise refused(error, self._directory) from error
        return Place(OWN_FILE, 0, len(data), address)

    def _rename(self, temporary: str, address: Address) -> None:
        path = self.path(address)
        with self._names:
            try:
                os.rename(temporary, path)  # noqa: PTH104
                new_folder = False
            except FileNotFoundError:
                Path(path).parent.mkdir(mode=0o700, exist_ok=True)
                os.rename(temporary, path)  # noqa: PTH104
                new_folder = True
            with self._marks:
                self._doomed.discard(address)
                self._unsynced.add(address)
                self._new_folders |= new_folder

    def read(self, place: Place) -> bytes:
        """The bytes of a chunk. Any thread. Raises UnavailableError, BadChunkError, DamageError, SetupError."""
        path = self.path(place.address)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.read(descriptor, place.size)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise UnavailableError("a chunk was removed while it was read: locate it again") from None
        except OSError as error:
            raise unreadable(error, self._directory) from error
        if len(data) != place.size:
            raise BadChunkError(f"the chunk {path} is cut short: run `syncfs check NAME --repair`")
        return data

    def doom(self, address: Address) -> None:
        """Mark the file of a chunk for `discard`."""
        with self._marks:
            self._doomed.add(address)

    def discard(self, addresses: Iterable[Address]) -> None:
        """Delete the files that are still marked. Any thread. Raises SetupError."""
        for address in addresses:
            with self._names:
                with self._marks:
                    if address not in self._doomed:
                        continue
                    self._doomed.remove(address)
                    self._unsynced.discard(address)
                try:
                    os.unlink(self.path(address))  # noqa: PTH108
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise refused(error, self._directory) from error

    def put_aside(self, address: Address, target: Path) -> None:
        """Move the file of a chunk out of the store. Raises OSError."""
        with self._names:
            with self._marks:
                self._unsynced.discard(address)
            os.rename(self.path(address), target)  # noqa: PTH104

    def sync(self) -> None:
        """All files written before, and their names, survive a loss of power. Any thread. Raises SetupError."""
        with self._sync:
            if self._failure is not None:
                raise self._failure
            with self._marks:
                unsynced, self._unsynced = self._unsynced, set()
                new_folders, self._new_folders = self._new_folders, False
            if not unsynced and not new_folders:
                return
            try:
                for address in unsynced:
                    self._sync_file(address)
                for folder in {address[:1].hex() for address in unsynced}:
                    sync_directory(self._directory / folder)
                if new_folders:
                    sync_directory(self._directory)
            except OSError as error:
                self._failure = refused(error, self._directory)
                raise self._failure from error
            except SetupError as error:
                self._failure = error
                raise

    def _sync_file(self, address: Address) -> None:
        try:
            descriptor = os.open(self.path(address), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._directory.exists():
                return  # removed since
            raise
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def walk(self) -> Iterator[Place]:
        """Every chunk file by its name and size; nothing is read. Any thread. Raises DamageError, SetupError."""
        try:
            for folder in sorted(os.scandir(self._directory), key=lambda entry: entry.name):
                if len(folder.name) != 2 or not folder.is_dir(follow_symlinks=False):
                    continue
                for entry in os.scandir(folder.path):
                    address = _address_of(entry.name)
                    if address is not None:
                        yield Place(OWN_FILE, 0, entry.stat(follow_symlinks=False).st_size, address)
        except OSError as error:
            raise unreadable(error, self._directory) from error


def _address_of(name: str) -> Address | None:
    try:
        address = bytes.fromhex(name)
    except ValueError:
        return None
    return Address(address) if len(address) == HASH_BYTES and address.hex() == name else None
