"""Journals of files that are written here and there: what was written, encrypted, at the cost of what was written.

A journal belongs to one unsettled file and goes over the version that the writing started from. An fsync puts into it
what was written, and so does whoever is short of memory: from then on the bytes are read from there. When a version is
made, a mark says how far it reaches; once the version is durable what stands before the mark is given back, or all of
the journal. A save that failed may have lost what it was to write, so the next fsync makes a version. After a crash
what is left is taken into the files (see engine.journals_left).
"""

import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.sealing import JournalCipher
from syncfs.engine.writing.dirty import Dirty, Frozen
from syncfs.engine.writing.extents import Piece
from syncfs.engine.writing.openfile import OpenFile
from syncfs.engine.writing.spilled import Spilled, spilled
from syncfs.model.errors import SyncfsError
from syncfs.store.journal import Journal, Replay, replay

SALT_BYTES = 16
SUFFIX = ".journal"
SLACK_BYTES = 64 * 1024 * 1024
"""A journal is written anew when it takes this and SLACK_FACTOR times more than what it still tells."""
SLACK_FACTOR = 2

_log = logging.getLogger(__name__)


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Which node a journal is of, which versions it goes over, and how long the file was then.

    `partial` says that it tells everything from the first mark on only of which a version was made.
    """

    node: bytes
    base: tuple[bytes, ...]
    size: int
    partial: bool = False


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """By what a version is known that has all that stands before the mark: its size and times (ns)."""

    size: int
    mtime: int
    ctime: int


@dataclass(slots=True, eq=False)
class _Open:
    """The journal of a dirty file, the mark of the version that it goes over, and that of the one being made."""

    journal: Journal
    base: Mark | None = None
    making: Mark | None = None
    position: int = 0
    """Where the last mark stands."""
    end: int = 0
    """Where it ends."""


class Journals:
    """The journals of one share, in one folder."""

    def __init__(
        self, directory: Path, identity: DeviceIdentity, durable: Callable[[], Awaitable[None]],
        random: Callable[[int], bytes] = os.urandom, slack: int = SLACK_BYTES,
    ) -> None:  # fmt: skip
        """`durable` makes the versions recorded so far durable."""
        self._directory = directory
        self._identity = identity
        self._durable = durable
        self._random = random
        self._slack = slack
        self._open: dict[Dirty, _Open] = {}
        self._broken: set[Dirty] = set()
        self._adopted: dict[Dirty, Replay] = {}

    def has(self, dirty: Dirty) -> bool:
        """Whether a journal of this unsettled state exists."""
        return dirty in self._open or dirty in self._adopted

    def tells_all(self, dirty: Dirty) -> bool:
        """Whether a journal has everything that was ever saved of this unsettled state."""
        return dirty in self._open and not dirty.only_version and not self.is_broken(dirty)

    def is_broken(self, dirty: Dirty) -> bool:
        """Whether only a version can make all that was written durable: saving failed, or a journal was adopted."""
        return dirty in self._broken or dirty in self._adopted

    def is_overgrown(self, dirty: Dirty) -> bool:
        """Whether the journal takes far more of the disk than what it still tells, and could give it back."""
        if dirty not in self._open or not self._open[dirty].journal.gives_back:
            return False
        return self._open[dirty].journal.kept > self._slack + (1 + SLACK_FACTOR) * dirty.saved.total

    def adopt(self, dirty: Dirty, found: Replay) -> None:
        """An earlier process's journal was read into this unsettled state: keep it until a version has its content."""
        self._adopted[dirty] = found

    async def save(self, file: OpenFile, dirty: Dirty) -> bool:
        """Make everything durable that was written so far to a file and is not cut. Raises SetupError.

        False where no journal can be written any more.
        """
        async with dirty.journal_lock:
            if file.dirty is not dirty:
                return True  # a version has all of it, or nobody can see the file any more
            if self.is_broken(dirty):
                return False
            await self._save(file, dirty)
            if self.is_overgrown(dirty) and not dirty.folded and dirty.frozen is None:
                try:
                    await self._write_anew(dirty)
                except SyncfsError as error:
                    dirty.folded = True
                    _log.warning("a journal could not be written anew: %s", error)
            return True

    async def freeze(self, file: OpenFile, dirty: Dirty) -> None:
        """Take what was written so far for a version, and mark where that ends. Raises SetupError."""
        async with dirty.journal_lock:
            if self.tells_all(dirty):
                dirty.freeze()
                try:
                    await self._save(file, dirty)
                    await self._mark(dirty)
                except SyncfsError:
                    dirty.thaw()
                else:
                    dirty.move_frozen(live=False)
                    return
            dirty.freeze()
            dirty.move_frozen(live=True)
            dirty.only_version = True
            if dirty in self._open and not self.is_broken(dirty):
                with suppress(SyncfsError):  # it is removed when there is a version
                    await self._mark(dirty)

    def recorded(self, dirty: Dirty) -> None:
        """The version was recorded: the journal goes over it now."""
        if dirty in self._open:
            self._open[dirty].base = self._open[dirty].making
        else:
            self._broken.discard(dirty)

    async def settled(self, dirty: Dirty, whole: bool) -> None:
        """The version recorded last is durable: give back what it has, which may be the whole. Raises SetupError."""
        async with dirty.journal_lock:
            self._broken.discard(dirty)
            adopted = self._adopted.pop(dirty, None)
            if adopted is not None:
                adopted.close()
                if not adopted.damage:
                    adopted.path.unlink(missing_ok=True)
            entry = self._open.get(dirty)
            if entry is None:
                return
            if whole or entry.journal.size == entry.end or entry.base is None:
                del self._open[dirty]
                await trio.to_thread.run_sync(entry.journal.remove)
            else:
                await trio.to_thread.run_sync(entry.journal.discard, entry.position)

    async def drop(self, dirty: Dirty) -> None:
        """Nobody can see the file any more. Raises SetupError."""
        async with dirty.journal_lock:
            entry, adopted = self._open.pop(dirty, None), self._adopted.pop(dirty, None)
            self._broken.add(dirty)
            if entry is not None:
                await trio.to_thread.run_sync(entry.journal.remove)
            if adopted is not None:
                adopted.close()
                adopted.path.unlink(missing_ok=True)
            self._broken.discard(dirty)

    def close(self) -> None:
        """Close all files; what is in them is recovered when the share is opened next."""
        for entry in self._open.values():
            entry.journal.close()
        for adopted in self._adopted.values():
            adopted.close()
        self._open.clear()
        self._adopted.clear()

    def left(self) -> list[Path]:
        """The journals that an earlier process left behind."""
        return sorted(self._directory.glob(f"*{SUFFIX}")) if self._directory.exists() else []

    def open_left(self, path: Path) -> tuple[Replay, Header] | None:
        """A journal of an earlier process; None where nothing in it was promised. Raises DamageError, SetupError."""
        found = replay(path, self._cipher(path.name.removesuffix(SUFFIX)))
        if found is None:
            return None
        try:
            return found, msgspec.msgpack.decode(found.header, type=Header)
        except msgspec.DecodeError:
            found.close()
            raise

    async def _save(self, file: OpenFile, dirty: Dirty) -> None:
        entry, base = self._open.get(dirty), None
        while entry is None and base != file.base:  # a journal over a version that a crash takes tells nothing
            base = file.base
            await self._durable()
        header = Header(file.node, file.base, file.content.size, dirty.only_version)
        making = _mark_of(dirty.frozen)
        size = dirty.size
        shrunk, pieces = dirty.take_unsaved()

        def write() -> tuple[_Open, list[tuple[int, Spilled]]]:
            found = entry or self._begin(header, making)
            if shrunk is not None:
                found.journal.truncate(shrunk)
            places = _append(found.journal, pieces)
            found.journal.truncate(size)
            found.journal.sync()
            return found, places

        try:
            self._open[dirty], places = await trio.to_thread.run_sync(write)
        except BaseException:
            self._broken.add(dirty)
            dirty.not_saved(shrunk)
            raise
        dirty.saved_as(places)

    async def _mark(self, dirty: Dirty) -> None:
        entry, making = self._open[dirty], _mark_of(dirty.frozen)
        assert making is not None

        def write() -> int:
            position = entry.journal.mark(msgspec.msgpack.encode(making))
            entry.journal.sync()
            return position

        try:
            entry.position = await trio.to_thread.run_sync(write)
        except BaseException:
            self._broken.add(dirty)
            raise
        entry.making, entry.end = making, entry.journal.size

    async def _write_anew(self, dirty: Dirty) -> None:
        """Put what the journal still tells behind everything else, and give back what stands before."""
        entry, pieces = self._open[dirty], dirty.saved.pieces()
        journal, base, lowest, size = entry.journal, entry.base, dirty.lowest, dirty.size

        def write() -> tuple[int, list[tuple[int, Spilled]]]:
            start = journal.size
            if lowest is not None:
                journal.truncate(lowest)
            places: list[tuple[int, Spilled]] = []
            for piece in pieces:
                places += _append(journal, [piece])
            journal.truncate(size)
            journal.sync()
            journal.begin_anew(start, b"" if base is None else msgspec.msgpack.encode(base))
            journal.sync()
            return start, places

        start, places = await trio.to_thread.run_sync(write)
        dirty.moved(places)
        await trio.to_thread.run_sync(journal.discard, start)

    def _begin(self, header: Header, making: Mark | None) -> _Open:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = self._random(SALT_BYTES).hex()
        path = self._directory / f"{name}{SUFFIX}"
        entry = _Open(Journal(path, self._cipher(name), msgspec.msgpack.encode(header), self._random))
        if making is not None:
            entry.making = making
            entry.position = entry.journal.mark(msgspec.msgpack.encode(making))
            entry.end = entry.journal.size
        return entry

    def _cipher(self, name: str) -> JournalCipher:
        return JournalCipher(self._identity.journal_key(bytes.fromhex(name)))


def _mark_of(frozen: Frozen | None) -> Mark | None:
    return None if frozen is None else Mark(frozen.size, frozen.mtime, frozen.ctime)


def _append(journal: Journal, pieces: list[tuple[int, Piece]]) -> list[tuple[int, Spilled]]:
    """Append pieces (offset, bytes); gives where they are now."""
    places: list[tuple[int, Spilled]] = []
    for offset, piece in pieces:
        data = piece.source.read(piece.extent)[piece.low : piece.high] if isinstance(piece, Spilled) else piece
        places += [(extent.offset, spilled(journal, extent)) for extent in journal.append(offset, data)]
    return places
