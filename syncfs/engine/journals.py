"""Journals of files that are fsynced again and again: what was written, durable at the cost of what was written.

A journal belongs to one unsettled file and goes over the version that the writing started from. It is removed once a
version with its content is durable. A save that failed may have lost what it was to write, so the next fsync makes a
version. After a crash what is left is taken into the files, as versions whose parent is the
one the journal names: if somebody else has changed the file meanwhile, that is a conflict and nothing is lost.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.sealing import JournalCipher
from syncfs.engine.dirty import Dirty
from syncfs.index.index import Index
from syncfs.model.ids import DeviceId, NodeId, Stamp, device_of
from syncfs.store.journal import Journal, Replay, replay

SALT_BYTES = 16
SUFFIX = ".journal"


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Which node a journal is of, which versions it goes over, and how long the file was then."""

    node: bytes
    base: tuple[bytes, ...]
    size: int


class Journals:
    """The journals of one share, in one folder."""

    def __init__(self, directory: Path, identity: DeviceIdentity, random: Callable[[int], bytes] = os.urandom) -> None:
        self._directory = directory
        self._identity = identity
        self._random = random
        self._open: dict[Dirty, Journal] = {}
        self._broken: set[Dirty] = set()
        self._adopted: dict[Dirty, Path] = {}

    def has(self, dirty: Dirty) -> bool:
        """Whether a journal of this unsettled state exists."""
        return dirty in self._open or dirty in self._adopted

    def is_broken(self, dirty: Dirty) -> bool:
        """Whether only a version can make all that was written durable: saving failed, or a journal was adopted."""
        return dirty in self._broken or dirty in self._adopted

    def adopt(self, dirty: Dirty, path: Path) -> None:
        """An earlier process's journal was read into this unsettled state: keep it until a version has its content."""
        self._adopted[dirty] = path

    async def save(self, dirty: Dirty, node: NodeId, base: tuple[Stamp, ...], base_size: int) -> None:
        """Make everything written so far durable. Raises SetupError."""
        self._broken.add(dirty)
        size = dirty.size
        shrunk, pieces = dirty.take_unsaved()
        journal = self._open.get(dirty)
        if journal is None:
            journal = await trio.to_thread.run_sync(self._begin, Header(node, base, base_size))
            self._open[dirty] = journal

        def write() -> None:
            if shrunk is not None:
                journal.truncate(shrunk)
            for offset, data in pieces:
                journal.append(offset, data)
            journal.truncate(size)
            journal.sync()

        await trio.to_thread.run_sync(write)
        self._broken.discard(dirty)

    def forget(self, dirty: Dirty) -> None:
        """A version with all of it was recorded: it no longer matters whether saving had failed."""
        self._broken.discard(dirty)

    async def settled(self, dirty: Dirty) -> None:
        """A version with all of it is durable: remove the journal. Raises SetupError."""
        journal, adopted = self._open.pop(dirty, None), self._adopted.pop(dirty, None)
        if journal is not None:
            await trio.to_thread.run_sync(journal.remove)
        if adopted is not None:
            adopted.unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files; what is in them is recovered when the share is opened next."""
        for journal in self._open.values():
            journal.close()
        self._open.clear()

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

    def _begin(self, header: Header) -> Journal:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = self._random(SALT_BYTES).hex()
        path = self._directory / f"{name}{SUFFIX}"
        return Journal(path, self._cipher(name), msgspec.msgpack.encode(header), self._random)

    def _cipher(self, name: str) -> JournalCipher:
        return JournalCipher(self._identity.journal_key(bytes.fromhex(name)))


def is_stale(index: Index, header: Header, device: DeviceId) -> bool:
    """Whether a version of this device has taken the journal in already, or the file was removed here.

    Removing a journal is not made durable, so one may come back with a loss of power.
    """
    ino = index.nodes.ino_of(header.node)
    if ino is None or (index.nodes.must(ino).nlink == 0 and index.taken_by(ino) == device):
        return True
    base = set(header.base)
    own = [version for version in index.versions_of(ino) if device_of(version.stamp) == device]
    return any(set(version.parents) & base or (not base and not version.parents) for version in own)
