"""The chunk store on disk: small chunks in packs, large ones as files, and the rules of store.contract.

Nothing is held before it is recorded, and what the catalogue says is believed: nothing is deleted from disk that the
catalogue does not know to be gone, and a store that lost its catalogue is refilled by `recover`, never emptied.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import BadChunkError, DamageError, SetupError, SyncfsError, UnavailableError
from syncfs.model.ids import Address
from syncfs.model.places import OWN_FILE, Held, Place
from syncfs.store.compaction import Compaction, Copied, Weights
from syncfs.store.contract import Catalogue, StoreStats, verify
from syncfs.store.files import ChunkFiles
from syncfs.store.folder import StoreFolder
from syncfs.store.packformat import PACK_BYTES, PACKED_LIMIT, PREAMBLE_BYTES, Gap
from syncfs.store.packs import Packs
from syncfs.store.pending import Pending

_log = logging.getLogger(__name__)

UNSYNCED_BYTES = 128 * 1024 * 1024
"""What was written last and may not be on the disk after a loss of power is no more than this, but for rare cases."""
_BLOCK = 4096
_WEIGHED_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Damage:
    """What `scan` found that is no whole chunk: `size` bytes of a pack from `offset` on, or a chunk file.

    At the end of a pack (`tail`) it is what a crash cut off while it was being written, and nothing is lost.
    """

    path: Path
    offset: int
    size: int
    tail: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """How many chunks `recover` noted in the catalogue and took out of it, and what it found damaged."""

    adopted: int
    damage: tuple[Damage, ...]
    lost: int = 0


class DiskStore:
    """A ChunkStore in one folder, used by one process at a time; see store.contract for loop side and thread side."""

    def __init__(self, directory: Path, catalogue: Catalogue, *, pack_bytes: int = PACK_BYTES) -> None:
        """Open the store, or make it if the catalogue is empty.

        Call `recover` first where `unclean` says so. Raises SetupError, BusyError, NewerFormatError, DamageError.
        """
        self._catalogue = catalogue
        self._folder = StoreFolder(directory, expected=catalogue.totals().chunks > 0)
        try:
            self._packs = Packs(
                self._folder.packs, append_to_last=not self._folder.unclean, pack_bytes=max(pack_bytes, PREAMBLE_BYTES)
            )
            self._files = ChunkFiles(self._folder.chunks)
        except BaseException:
            self._folder.close(clean=False)
            raise
        forgotten = not catalogue.totals().chunks and (
            self._packs.numbers() != [] or next(self._files.walk(), None) is not None
        )
        self.unclean = self._folder.unclean or forgotten
        """The last user was killed, or the catalogue was lost, and `recover` has not yet looked for what is here."""
        self._writing: Pending[Address] = Pending()
        self._strays: deque[Place] = deque()
        self._weights = Weights(self._packs.numbers())
        self._emptying: set[int] = set()
        self._emptied: set[int] = set()
        self._given_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Make everything durable and let others use the store. Raises SetupError, having closed all the same."""
        clean = False
        try:
            self.sync()
            clean = not self.unclean
        finally:
            self._packs.close()
            self._folder.close(clean=clean)

    # Both sides in one: for callers that may block.

    def put(self, address: Address, data: BytesLike, *, now: int) -> None:
        """See ChunkStore."""
        if self.has(address):
            self.touch(address, now)
        else:
            self.record(address, self.write(address, data), now)

    def get(self, address: Address) -> bytes | None:
        """See ChunkStore."""
        place = self.locate(address)
        while place is not None:
            data = self.read_cached(place)
            if data is not None:
                return data
            try:
                return self.read(place)
            except UnavailableError:
                again = self.locate(address)
                if again == place:
                    raise DamageError(
                        "a file of the chunk store is missing: run `syncfs check NAME --repair` to fetch it again"
                    ) from None
                place = again
        return None

    def remove(self, addresses: Iterable[Address]) -> None:
        """See ChunkStore."""
        self.discard(self.forget(addresses))

    # Loop side.

    def has(self, address: Address) -> bool:
        """See ChunkStore."""
        return self._catalogue.find(address) is not None

    def locate(self, address: Address) -> Place | None:
        """See ChunkStore."""
        return self._catalogue.find(address)

    def touch(self, address: Address, now: int) -> None:
        """See ChunkStore."""
        self._catalogue.touch(address, now)

    def oldest(self, limit: int) -> Iterable[Held]:
        """See ChunkStore."""
        return self._catalogue.oldest(limit)

    def record(self, address: Address, place: Place, now: int) -> None:
        """See ChunkStore."""
        if self._catalogue.find(address) is None:
            self._catalogue.add(address, place, now)
            self._weights.held(place)
        else:
            self._catalogue.touch(address, now)
        self._written(place)

    def record_all(self, chunks: Iterable[tuple[Address, Place]], now: int) -> None:
        """Record chunks; where the catalogue refuses one, it and those after it are abandoned."""
        left = deque(chunks)
        try:
            while left:
                self.record(*left[0], now)
                left.popleft()
        finally:
            self.abandon(place for _, place in left)

    def forget(self, addresses: Iterable[Address]) -> Sequence[Place]:
        """See ChunkStore."""
        places = list(self._take_strays())
        for address in addresses:
            place = self._catalogue.find(address)
            if place is None or address in self._writing:
                continue
            if place.pack == OWN_FILE:
                self._files.doom(address)
            self._drop(place)
            places.append(place)
        return places

    def _take_strays(self) -> Iterator[Place]:
        while self._strays:
            place = self._strays.popleft()
            self._written(place)
            if place.pack == OWN_FILE and place.address not in self._writing and not self.has(place.address):
                self._files.doom(place.address)
                yield place

    def quarantine(self, address: Address) -> None:
        """See ChunkStore."""
        place = self._catalogue.find(address)
        if place is None:
            return
        self._drop(place)
        _log.warning("a chunk kept here is damaged or gone: it is put aside, and fetched again when it is read")
        with contextlib.suppress(OSError, SyncfsError):
            aside = self._folder.place_aside(address)
            if place.pack != OWN_FILE:
                data = self._packs.read(place)
                aside.touch(mode=0o600)
                aside.write_bytes(data)
            elif address not in self._writing:
                self._files.put_aside(address, aside)

    @property
    def directory(self) -> Path:
        """The folder."""
        return self._folder.path

    def require_folder(self) -> None:
        """Raise SetupError where the folder has vanished, though what is open of it can still be read."""
        self._folder.check()

    def stats(self) -> StoreStats:
        """See ChunkStore; a chunk file is counted with a whole block more than it has bytes."""
        totals = self._catalogue.totals()
        own = totals.own_bytes + totals.own_chunks * _BLOCK
        return StoreStats(totals.chunks, totals.bytes, own + self._packs.total_bytes())

    # Thread side.

    def read(self, place: Place) -> bytes:
        """See ChunkStore."""
        try:
            return (self._files if place.pack == OWN_FILE else self._packs).read(place)
        except UnavailableError:
            self._folder.check()
            raise

    def read_cached(self, place: Place) -> bytes | None:
        """See ChunkStore."""
        return None if place.pack == OWN_FILE else self._packs.read_cached(place)

    def write(self, address: Address, data: BytesLike) -> Place:
        """See ChunkStore."""
        self._writing.begin(address)
        try:
            if len(data) <= PACKED_LIMIT:
                return self._packs.append(address, data)
            return self._files.write(address, data)
        except BaseException:
            self._writing.end(address)
            raise

    def write_many(self, chunks: Iterable[tuple[Address, BytesLike]]) -> list[Place]:
        """See ChunkStore."""
        places: list[Place] = []
        try:
            for address, data in chunks:
                places.append(self.write(address, data))
        except BaseException:
            self.abandon(places)
            raise
        return places

    def abandon(self, places: Iterable[Place]) -> None:
        """See ChunkStore."""
        self._strays.extend(places)

    def discard(self, places: Iterable[Place]) -> None:
        """See ChunkStore; dead space in packs is left to compaction."""
        self._files.discard(place.address for place in places if place.pack == OWN_FILE)

    def sync(self) -> None:
        """See ChunkStore."""
        self._files.sync()
        self._packs.sync()

    def scan(self, on_damage: Callable[[Damage], None] = lambda damage: None) -> Iterator[tuple[Address, Place]]:
        """Every whole chunk on disk, whatever the catalogue says; all else goes to `on_damage`. Any thread.

        Reads and verifies everything, holding one chunk in memory. Raises SetupError, NewerFormatError, DamageError.
        """
        for number in self._packs.numbers():
            yield from self._scan_pack(number, PREAMBLE_BYTES, on_damage)
        for place in self._files.walk():
            try:
                verify(place.address, self._files.read(place))
            except UnavailableError:
                continue
            except DamageError:
                on_damage(Damage(Path(self._files.path(place.address)), 0, place.size, tail=False))
            else:
                yield place.address, place

    def _scan_pack(
        self, number: int, start: int, on_damage: Callable[[Damage], None]
    ) -> Iterator[tuple[Address, Place]]:
        for found in self._packs.walk(number, start):
            if isinstance(found, Gap):
                tail = found.stop == self._packs.size(number)
                on_damage(Damage(self._packs.path(number), found.start, found.stop - found.start, tail))
            else:
                yield found.address, found

    # Recovery and compaction.

    def recover(self, now: int, *, thorough: bool = False) -> Recovery:
        """Note in the catalogue what the last user wrote and could not record; may take long, so call it first of all.

        Looks behind the last noted chunk of every pack; `thorough`, or with an empty catalogue, at everything there is.
        What was written last may have been noted and not have reached the disk; that is taken out of the catalogue.
        Raises SetupError, NewerFormatError, DamageError.
        """
        damage: list[Damage] = []
        adopted, lost = 0, self._drop_lost()
        thorough = thorough or not self._catalogue.totals().chunks
        for address, place in self.scan(damage.append) if thorough else self._tails(damage.append):
            if self._catalogue.find(address) is None:
                self._catalogue.add(address, place, now)
                self._weights.held(place)
                adopted += 1
        self.unclean = False
        return Recovery(adopted, tuple(damage), lost)

    def _drop_lost(self) -> int:
        left, lost = UNSYNCED_BYTES, 0
        last = max(self._packs.numbers(), default=0) + UNSYNCED_BYTES // PACK_BYTES + 1  # a pack may be lost whole
        for number in range(last, 0, -1):
            for place in reversed(list(self._catalogue.entries_of_pack(number))):
                if left <= 0:
                    return lost
                left -= place.size
                try:
                    verify(place.address, self._packs.read(place))
                except (BadChunkError, UnavailableError):
                    self._catalogue.remove(place.address)
                    lost += 1
        return lost

    def _tails(self, on_damage: Callable[[Damage], None]) -> Iterator[tuple[Address, Place]]:
        for number in self._packs.numbers():
            places = list(self._catalogue.entries_of_pack(number))
            self._weights.weigh(number, places)
            start = max((place.offset + place.size for place in places), default=PREAMBLE_BYTES)
            yield from self._scan_pack(number, start, on_damage)

    def wasteful(self) -> Compaction | None:
        """A pack that is worth emptying now; None if there is none, or before an unclean store was recovered. Loop."""
        if self.unclean:
            return None
        for _ in range(_WEIGHED_AT_ONCE):
            number = self._weights.next_unweighed()
            if number is None:
                break
            self._weights.weigh(number, self._catalogue.entries_of_pack(number))
        pack = self._weights.most_wasteful(self._packs, self._emptying | self._emptied)
        if pack is None:
            return None
        self._emptying.add(pack)
        return Compaction(pack, tuple(self._catalogue.entries_of_pack(pack)))

    def copy_live(self, compaction: Compaction) -> Copied:
        """Copy what lives in a pack and make the copies durable; `adopt` must follow, unless this raises. Thread.

        Raises SetupError, DamageError or UnavailableError where the disk cannot take or give the bytes.
        """
        try:
            copied = self._copy(compaction)
            try:
                self._packs.sync()
            except BaseException:
                self.abandon(new for _, new in copied.moved)
                raise
        except BaseException:
            self._emptying.discard(compaction.pack)
            raise
        return copied

    def _copy(self, compaction: Compaction) -> Copied:
        moved: list[tuple[Place, Place]] = []
        bad: list[Address] = []
        try:
            for place in compaction.places:
                try:
                    data = self._packs.read(place)
                    verify(place.address, data)
                except BadChunkError:
                    bad.append(place.address)
                else:
                    moved.append((place, self.write(place.address, data)))
        except BaseException:
            self.abandon(new for _, new in moved)
            raise
        return Copied(tuple(moved), tuple(bad))

    def adopt(self, compaction: Compaction, copied: Copied) -> None:
        """Tell the catalogue where the chunks are now; bad ones are quarantined. Loop."""
        left = deque(copied.moved)
        try:
            while left:
                old, new = left[0]
                if self._catalogue.find(old.address) == old:
                    self._catalogue.move(old.address, new)
                    self._weights.dropped(old)
                    self._weights.held(new)
                self._written(new)
                left.popleft()
            for address in copied.bad:
                self.quarantine(address)
        finally:  # the catalogue may refuse
            self.abandon(new for _, new in left)
            self._emptying.discard(compaction.pack)
        if self._packs.settled(compaction.pack) and not list(self._catalogue.entries_of_pack(compaction.pack)):
            self._emptied.add(compaction.pack)

    def emptied(self) -> Sequence[int]:
        """The packs that `unlink` may delete as soon as the catalogue, as it is now, is durable. Loop."""
        return tuple(self._emptied)

    def unlink(self, packs: Iterable[int]) -> None:
        """Delete emptied packs. Thread. Raises SetupError."""
        for pack in packs:
            self._packs.remove(pack)
            self._emptied.discard(pack)
            self._weights.removed(pack)

    # After a sync that failed.

    @property
    def failure(self) -> str:
        """Why nothing is promised since a sync failed; empty when all is well."""
        return self._packs.failure

    @property
    def wants_renewal(self) -> bool:
        """Whether a sync failed, and writing anew what it was about may help."""
        return bool(self.failure) and not self._given_up

    def in_doubt(self) -> list[Compaction] | None:
        """The packs that failed syncs were about, to be copied by `renew`; None while one is being written to. Loop."""
        self.discard(self.forget(()))
        packs = self._packs.in_doubt()
        if any(map(self._packs.is_written, packs)):
            return None
        return [Compaction(pack, tuple(self._catalogue.entries_of_pack(pack))) for pack in packs]

    def renew(self, doubtful: Sequence[Compaction]) -> list[Copied]:
        """Copy what lives in packs in doubt and make the copies durable; `believe` must follow. Thread.

        Raises SetupError, DamageError or UnavailableError where the disk cannot take or give the bytes.
        """
        copied: list[Copied] = []
        try:
            for compaction in doubtful:
                copied.append(self._copy(compaction))
            self._packs.sync_in_doubt()
        except BaseException:
            self.abandon(new for one in copied for _, new in one.moved)
            self._packs.doubt()  # what the next try copies goes into another pack, and this one is deleted
            raise
        return copied

    def believe(self, doubtful: Sequence[Compaction], copied: Sequence[Copied]) -> None:
        """Tell the catalogue where the chunks are now, and promise again. Loop.

        Raises SetupError where the catalogue refuses, or where a chunk cannot be read as it was written: nobody knows
        whether it is in memory elsewhere, so nothing is promised any more.
        """
        if any(one.bad for one in copied):
            self.abandon(new for one in copied for _, new in one.moved)
            self._given_up = True
            failure = SetupError(
                f"the disk that holds {self._folder.packs} has lost some of what was last written: check that disk, "
                "and start syncfs again"
            )
            self._packs.give_up(failure)
            raise failure
        for compaction, one in zip(doubtful, copied, strict=True):
            self.adopt(compaction, one)
        self._packs.believe(compaction.pack for compaction in doubtful)

    def compact(self, commit: Callable[[], None]) -> int:
        """Empty one wasteful pack from start to end, `commit` making the catalogue durable; returns the bytes freed."""
        compaction = self.wasteful()
        if compaction is None:
            return 0
        before = self._packs.total_bytes()
        self.adopt(compaction, self.copy_live(compaction))
        commit()
        self.unlink(self.emptied())
        return before - self._packs.total_bytes()

    def _drop(self, place: Place) -> None:
        self._catalogue.remove(place.address)
        self._weights.dropped(place)

    def _written(self, place: Place) -> None:
        self._writing.end(place.address)
        if place.pack != OWN_FILE:
            self._packs.recorded(place.pack)
