"""Pack files: small chunks, appended one after the other.

* One pack at a time grows; appends are serialised by a lock and become visible only when they are whole.
* A pack never changes where it has been written. A number is used once (the last pack is never removed), so a stale
  place cannot name other bytes.
* A pack that a process left without closing the store is never appended to: nobody knows how its tail looks.
* A descriptor lives as long as somebody reads through it: a `_Pack` closes it when its last reference goes, so a pack
  may be removed or dropped from the table of open packs while other threads read from it.
* An fdatasync that failed may have lost what it should have written, so the packs that it was about are in doubt, and
  `sync` goes on failing until nothing lives in them any more (`believe`). Nothing is appended to them.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import BadChunkError, DamageError, NewerFormatError, SyncfsError, UnavailableError
from syncfs.model.ids import Address
from syncfs.model.places import Place
from syncfs.store.faults import gone, refused, sync_directory, unreadable, write_all
from syncfs.store.packformat import (
    HEADER_BYTES,
    PACK_BYTES,
    PREAMBLE_BYTES,
    Gap,
    check_preamble,
    entry_header,
    preamble,
    walk,
)
from syncfs.store.pending import Pending

_OPEN_PACKS = 256
"""So many packs keep a descriptor; one more closes the one that was opened first."""
_NOWAIT: Final = os.RWF_NOWAIT


class _Pack:
    """An open pack file."""

    __slots__ = ("descriptor", "number")

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class Packs:
    """The packs in one directory."""

    def __init__(self, directory: Path, *, append_to_last: bool, pack_bytes: int = PACK_BYTES) -> None:
        """Find the packs; the last may only grow if the process that wrote it closed it. Raises SetupError."""
        self._directory = directory
        self._pack_bytes = pack_bytes
        self._sizes: dict[int, int] = {}
        try:
            for entry in os.scandir(directory):
                number = _number_of(entry.name)
                if number is not None:
                    self._sizes[number] = entry.stat().st_size
        except OSError as error:
            raise refused(error, directory) from error
        self._last = max(self._sizes, default=0)
        self._append = threading.Lock()
        self._growing: _Pack | None = None
        self._growable = self._last if append_to_last else 0
        self._table = threading.Lock()
        self._open: dict[int, _Pack] = {}
        self._pending: Pending[int] = Pending()
        self._sync = threading.Lock()
        self._unsynced: set[int] = set()
        self._new_names = False
        self._doubtful: set[int] = set()
        self._failure: SyncfsError | None = None
        self._nowait = True

    def numbers(self) -> list[int]:
        """All packs, the oldest first."""
        return sorted(self._sizes)

    def size(self, number: int) -> int:
        """The bytes of a pack's file, 0 if there is none."""
        return self._sizes.get(number, 0)

    def total_bytes(self) -> int:
        """The bytes of all packs' files."""
        return sum(list(self._sizes.values()))

    def settled(self, number: int) -> bool:
        """Whether a pack no longer grows and all that was written to it has been recorded."""
        return number in self._sizes and number not in self._pending and number not in (self._growable, self._last)

    def append(self, address: Address, data: BytesLike) -> Place:
        """Lay down a chunk at the end of the growing pack; `recorded` must follow. Any thread. Raises SetupError."""
        with self._append:
            try:
                pack = self._pack_with_room(HEADER_BYTES + len(data))
                start = self._sizes[pack.number]
                try:
                    stop = start + write_all(pack.descriptor, (entry_header(address, len(data)), data), start)
                except BaseException:
                    self._withdraw(pack, start)
                    raise
            except OSError as error:
                raise refused(error, self._directory) from error
            self._pending.begin(pack.number)
            self._unsynced.add(pack.number)
            self._sizes[pack.number] = stop
        return Place(pack.number, start + HEADER_BYTES, len(data), address)

    def recorded(self, number: int) -> None:
        """What `append` wrote has been recorded, or never will be."""
        self._pending.end(number)

    def _withdraw(self, pack: _Pack, start: int) -> None:
        try:
            os.ftruncate(pack.descriptor, start)
        except OSError:
            self._growing, self._growable = None, 0

    def _pack_with_room(self, size: int) -> _Pack:
        growing = self._growing
        if growing is None and self._growable:
            growing = self._reopened(self._growable)
        if growing is None or self._sizes[growing.number] + size > self._pack_bytes:
            growing = self._create()
        self._growing, self._growable = growing, growing.number
        return growing

    def _reopened(self, number: int) -> _Pack | None:
        try:
            pack = _Pack(number, os.open(self.path(number), os.O_RDWR | os.O_CLOEXEC))
            self._checked(pack)
        except (DamageError, FileNotFoundError):
            return None
        return pack

    def _create(self) -> _Pack:
        number = self._last + 1
        path = self.path(number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        pack = _Pack(number, descriptor)
        try:
            write_all(descriptor, (preamble(),), 0)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._new_names = True
        self._sizes[number] = PREAMBLE_BYTES
        self._last = number
        with self._table:
            self._enter(pack)
        return pack

    def read(self, place: Place) -> bytes:
        """The bytes at a place. Any thread. Raises UnavailableError, BadChunkError, DamageError, SetupError."""
        try:
            pack = self._open.get(place.pack) or self._opened(place.pack)
            data = os.pread(pack.descriptor, place.size, place.offset)
        except FileNotFoundError:
            raise UnavailableError("a chunk was moved while it was read: locate it again") from None
        except NewerFormatError:
            raise
        except DamageError as error:  # a loss of power may leave less than the first bytes of a pack
            raise BadChunkError(str(error)) from error
        except OSError as error:
            raise unreadable(error, self._directory) from error
        if len(data) != place.size:
            raise BadChunkError(f"the pack {self.path(place.pack)} is cut short: run `syncfs check NAME --repair`")
        return data

    def read_cached(self, place: Place) -> bytes | None:
        """The bytes at a place if the kernel has them in memory, else None. Any thread; never waits for the disk."""
        pack = self._open.get(place.pack)
        if pack is None or not self._nowait:
            return None
        data = bytearray(place.size)
        try:
            size = os.preadv(pack.descriptor, (data,), place.offset, _NOWAIT)
        except BlockingIOError:
            return None
        except OSError:
            self._nowait = False  # this file system cannot say; read() tells of real trouble
            return None
        return bytes(data) if size == place.size else None

    def sync(self) -> None:
        """All that was appended before survives a loss of power. Any thread. Raises SetupError."""
        with self._sync:
            if self._failure is not None:
                raise self._failure
            self._sync_all()

    def sync_in_doubt(self) -> None:
        """The same for copies of what is in packs in doubt, while `sync` fails. Any thread. Raises SetupError."""
        with self._sync:
            self._sync_all()

    def _sync_all(self) -> None:
        with self._append:
            unsynced, self._unsynced = self._unsynced - self._doubtful, set()
            new_names, self._new_names = self._new_names, False
        try:
            for number in unsynced:
                self._sync_pack(number)
            if new_names:
                sync_directory(self._directory)
        except (OSError, SyncfsError) as error:
            self.doubt(unsynced)
            self._failure = refused(error, self._directory) if isinstance(error, OSError) else error
            if self._failure is error:
                raise
            raise self._failure from error

    @property
    def failure(self) -> str:
        """Why nothing is promised since a sync failed; empty when all is well."""
        return str(self._failure or "")

    def in_doubt(self) -> list[int]:
        """The packs that a sync which failed was about."""
        return sorted(self._doubtful)

    def is_written(self, number: int) -> bool:
        """Whether somebody writes to the pack what is not recorded yet."""
        return number in self._pending

    def doubt(self, numbers: Iterable[int] = ()) -> None:
        """Append to these packs no more, nor to the one that grows. Any thread."""
        with self._append:
            self._doubtful.update(numbers)
            if self._growing is not None:
                self._doubtful.add(self._growing.number)
            self._growing, self._growable = None, 0

    def give_up(self, failure: SyncfsError) -> None:
        """Go on failing until the store is opened again. Any thread."""
        with self._sync:
            self._failure = failure

    def believe(self, numbers: Iterable[int]) -> None:
        """Nothing lives in these packs any more, and nobody writes to them. Any thread."""
        with self._sync:
            self._doubtful.difference_update(numbers)
            if not self._doubtful:
                self._failure = None

    def _sync_pack(self, number: int) -> None:
        try:
            pack = self._open.get(number) or self._opened(number)
        except FileNotFoundError:
            present = False
        else:
            os.fdatasync(pack.descriptor)
            present = os.fstat(pack.descriptor).st_nlink > 0
        if not present and number in self._sizes:
            raise gone(self._directory)

    def remove(self, number: int) -> None:
        """Delete a pack, in which nothing is held any more. Any thread. Raises SetupError."""
        with self._append:
            self._sizes.pop(number, None)
            with self._table:
                self._open.pop(number, None)
            self._unsynced.discard(number)
            try:
                self.path(number).unlink(missing_ok=True)
            except OSError as error:
                raise refused(error, self._directory) from error

    def walk(self, number: int, start: int = PREAMBLE_BYTES) -> Iterator[Place | Gap]:
        """The whole entries and the gaps of a pack from an offset on; holds one chunk in memory at a time. Any thread.

        A pack whose first bytes are not those of a pack is walked all the same. Raises NewerFormatError, DamageError.
        """
        stop = self.size(number)
        try:
            descriptor = os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise unreadable(error, self._directory) from error
        pack = _Pack(number, descriptor)
        try:
            self._checked(pack)
        except NewerFormatError:
            raise
        except DamageError:
            yield Gap(0, min(PREAMBLE_BYTES, stop))
        try:
            yield from walk(descriptor, number, max(start, PREAMBLE_BYTES), stop)
        except OSError as error:
            raise unreadable(error, self._directory) from error

    def close(self) -> None:
        """Let go of all descriptors; what is being read is read to its end."""
        with self._append, self._table:
            self._open.clear()
            self._unsynced.clear()
            self._growing = None

    def path(self, number: int) -> Path:
        """Where the file of a pack is."""
        return self._directory / f"{number:06}.pack"

    def _opened(self, number: int) -> _Pack:
        with self._table:
            pack = self._open.get(number)
            if pack is None:
                pack = _Pack(number, os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC))
                self._checked(pack)
                self._enter(pack)
            return pack

    def _checked(self, pack: _Pack) -> None:
        check_preamble(os.pread(pack.descriptor, PREAMBLE_BYTES, 0), self.path(pack.number))

    def _enter(self, pack: _Pack) -> None:
        self._open[pack.number] = pack
        if len(self._open) > _OPEN_PACKS:
            del self._open[next(iter(self._open))]


def _number_of(name: str) -> int | None:
    stem, dot, ending = name.partition(".")
    return int(stem) if dot and ending == "pack" and stem.isascii() and stem.isdigit() and int(stem) > 0 else None
