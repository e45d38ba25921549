"""Chunks as plaintext: from memory, from the store, or from peers; and new ones into the store.

Reading asks memory first, then a small chunk that the kernel has in its page cache, then the store in a thread, then
the peers. Whoever asks for a chunk that is already on its way waits for the same arrival. What was fetched is verified,
decrypted in one trip to a thread, and goes to the disk later (see behind.py).
"""

import errno
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence

import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.sealing import Sealed, Sealer, check_address
from syncfs.engine.chunks.behind import WriteBehind
from syncfs.engine.chunks.fetch import Fetcher, Urgency
from syncfs.engine.chunks.fresh import FreshChunks
from syncfs.model.errors import BadChunkError, DamageError, PosixError, SyncfsError, UnavailableError
from syncfs.model.ids import HASH_BYTES, Address, ChunkId
from syncfs.model.places import Place
from syncfs.store.disk import DiskStore

SMALL = 64 * 1024
"""Chunks up to this size are sealed and opened in the loop: a trip to a thread costs more."""
PLAIN_CACHE_BYTES = 64 * 1024 * 1024
PREFETCH_BYTES = 32 * 1024 * 1024
"""Prefetched chunks under way at most."""


_log = logging.getLogger(__name__)


class PlainCache:
    """The plaintext of chunks read lately, bounded in bytes."""

    def __init__(self, limit: int = PLAIN_CACHE_BYTES) -> None:
        self._limit = limit
        self._total = 0
        self._chunks: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, chunk: bytes) -> bytes | None:
        """The plaintext of a chunk by its id."""
        plain = self._chunks.get(chunk)
        if plain is not None:
            self._chunks.move_to_end(chunk)
        return plain

    def put(self, chunk: bytes, plain: bytes) -> None:
        """Keep a plaintext, dropping the longest unused."""
        if chunk in self._chunks:
            return
        self._chunks[chunk] = plain
        self._total += len(plain)
        while self._total > self._limit:
            _, dropped = self._chunks.popitem(last=False)
            self._total -= len(dropped)

    def drop(self, chunk: bytes) -> None:
        """Keep a plaintext no longer."""
        plain = self._chunks.pop(chunk, None)
        if plain is not None:
            self._total -= len(plain)


class ChunkCache:
    """All chunks of a share as this computer can get at them."""

    def __init__(
        self,
        store: DiskStore,
        sealer: Sealer | None,
        fetcher: Fetcher,
        nursery: trio.Nursery,
        wall: Callable[[], int],
        elsewhere: Callable[[Address], None],
        doubted: bool = False,
    ) -> None:
        """`elsewhere` hears of each chunk that a peer is known to have; a store has no `sealer`.

        `doubted` says that the last process was killed: after a loss of power what it noted need not be on the disk.
        """
        self.behind = WriteBehind(store, wall, elsewhere)
        self.fresh = FreshChunks()
        self._store = store
        self._sealer = sealer
        self._fetcher = fetcher
        self._nursery = nursery
        self._wall = wall
        self._memory = PlainCache()
        self._arrivals: dict[Address, trio.Event] = {}
        self._prefetching = 0
        self.wrote: Callable[[Sequence[Address]], object] = len
        """Hears of the chunks of `put` before it looks whether they are here, so that nobody takes them away."""
        self.lost: Callable[[Address], object] = len
        """Hears of a chunk that a peer asked for and that turned out to be damaged."""
        self._doubted = doubted
        self._written = 0
        self._synced = 0
        self._syncing = trio.Lock()
        # With more threads than processors each chunk waits for the interpreter's lock again and again.
        self._threads = trio.CapacityLimiter(max(2, len(os.sched_getaffinity(0))))

    @property
    def _keys(self) -> Sealer:
        if self._sealer is None:
            raise PosixError(errno.EACCES, "this device stores the share and cannot read it")
        return self._sealer

    def ready(self, entry: bytes) -> bytes | None:
        """The plaintext of a chunk where it can be had without waiting."""
        chunk, address = _split(entry)
        plain = self._memory.get(chunk)
        if plain is not None:
            return plain
        if address in self._arrivals:
            return None
        data = self.behind.get(address)
        if data is None:
            place = self._store.locate(address)
            if place is None or place.size > SMALL + 16:
                return None
            data = self._store.read_cached(place)
            if data is None:
                return None
            self._store.touch(address, self._wall())
        try:
            return self._keys.open(chunk, data)
        except BadChunkError:
            return None

    def used_up(self, entry: bytes) -> None:
        """Somebody has read a chunk whole: the kernel keeps it now, so memory need not."""
        self._memory.drop(entry[:HASH_BYTES])

    def is_here(self, entry: bytes) -> bool:
        """Whether a chunk is in memory, in the store or on its way."""
        chunk, address = _split(entry)
        return self._memory.get(chunk) is not None or address in self._arrivals or self.has_sealed(address)

    def is_kept(self, entry: bytes) -> bool:
        """Whether a chunk is in the store, or about to be."""
        return self.has_sealed(_split(entry)[1])

    async def plain(self, entry: bytes, urgency: Urgency = Urgency.READ) -> bytes:
        """The plaintext of a chunk. Raises UnavailableError where no peer has it, SetupError where the disk refuses."""
        chunk, address = _split(entry)
        while True:
            plain = self.ready(entry)
            if plain is not None:
                return plain
            arrival = self._arrivals.get(address)
            if arrival is None:
                break
            await arrival.wait()
            if self._memory.get(chunk) is None and not self.has_sealed(address):
                break
        event = self._arrivals.setdefault(address, trio.Event())
        try:
            plain = await self._from_store(chunk, address)
            if plain is None:
                plain = await self._from_peers(chunk, address, urgency)
            self._memory.put(chunk, plain)
            return plain
        finally:
            if self._arrivals.get(address) is event:
                del self._arrivals[address]
            event.set()

    def prefetch(self, entry: bytes, size: int) -> bool:
        """Begin to bring a chunk into memory; false where enough is under way."""
        if self._memory.get(entry[:HASH_BYTES]) is not None or entry[HASH_BYTES:] in self._arrivals:
            return True
        if self._prefetching + size > PREFETCH_BYTES:
            return False
        self._prefetching += size
        self._nursery.start_soon(self._prefetch, entry, size)
        return True

    async def fetch_small(self, entries: Sequence[bytes]) -> None:
        """Bring many small chunks into the store with few requests; what nobody has is left out."""
        wanted = [entry for entry in entries if not self.is_here(entry)]
        if not wanted:
            return
        events = {_split(entry)[1]: trio.Event() for entry in wanted}
        self._arrivals.update(events)
        try:
            found = await self._fetcher.get_many(list(events))
            await self.keep(found)
        except (UnavailableError, BadChunkError):
            return
        finally:
            for address, event in events.items():
                if self._arrivals.get(address) is event:
                    del self._arrivals[address]
                event.set()

    async def keep(self, found: Sequence[tuple[Address, BytesLike]]) -> None:
        """Verify and keep chunks as they came from a peer. Raises BadChunkError."""

        def verify() -> None:
            for address, data in found:
                check_address(address, data)

        if sum(len(data) for _, data in found) <= SMALL:
            verify()
        else:
            await trio.to_thread.run_sync(verify, limiter=self._threads)
        await self.behind.room()
        self.fresh.needed(address for address, _ in found)
        for address, data in found:
            self.behind.put(address, data)

    async def put(self, plains: Sequence[bytes]) -> list[bytes]:
        """Seal and store plaintexts; returns their manifest entries. Raises SetupError."""
        if not plains:
            return []

        def seal() -> list[Sealed]:
            return [self._keys.seal(plain) for plain in plains]

        small = sum(len(plain) for plain in plains) <= SMALL
        sealed = seal() if small else await trio.to_thread.run_sync(seal)
        self.wrote([one.address for one in sealed])
        await self._look_at([one.address for one in sealed])
        new = [one for one in sealed if not self._store.has(one.address)]

        def write() -> list[Place]:
            return self._store.write_many([(one.address, one.data) for one in new])

        places = write() if small else await trio.to_thread.run_sync(write)
        self._store.record_all(zip((one.address for one in new), places, strict=True), self._wall())
        self._note_fresh(sealed, new)
        self._written += len(sealed)
        return [one.id + one.address for one in sealed]

    async def put_durably(self, plains: Sequence[bytes]) -> list[bytes]:
        """Seal, store and make durable many small plaintexts; returns their manifest entries. Raises SetupError."""
        if not plains:
            return []
        sealed = [self._keys.seal(plain) for plain in plains]
        self.wrote([one.address for one in sealed])
        await self._look_at([one.address for one in sealed])
        new = list({one.address: one for one in sealed if not self._store.has(one.address)}.values())

        def write() -> list[Place]:
            places = self._store.write_many([(one.address, one.data) for one in new])
            try:
                self._store.sync()
            except BaseException:
                self._store.abandon(places)
                raise
            return places

        places = await trio.to_thread.run_sync(write)
        self._store.record_all(zip((one.address for one in new), places, strict=True), self._wall())
        self._note_fresh(sealed, new)
        return [one.id + one.address for one in sealed]

    def _note_fresh(self, sealed: Sequence[Sealed], new: Sequence[Sealed]) -> None:
        self.fresh.stored([(one.address, len(one.data)) for one in sealed], [one.address for one in new])

    async def _look_at(self, addresses: Sequence[Address]) -> None:
        """Put aside those chunks that are here and bad, before anybody is promised that they are here."""
        if self._doubted:
            for address in addresses:
                await self.sealed(address)

    async def sync(self) -> None:
        """Make every chunk stored so far durable; callers that come together share one flush. Raises SetupError."""
        wanted = self._written
        async with self._syncing:
            if self._synced >= wanted:
                return
            covered = self._written
            await trio.to_thread.run_sync(self._store.sync)
            self._synced = covered

    def has_sealed(self, address: Address) -> bool:
        """Whether the sealed bytes of a chunk are here."""
        return self.behind.get(address) is not None or self._store.has(address)

    async def sealed(self, address: Address) -> BytesLike | None:
        """The sealed bytes of a chunk to pass on, verified; None where it is not here (any more)."""
        waiting = self.behind.get(address)
        if waiting is not None:
            return waiting
        place = self._store.locate(address)
        if place is None:
            return None

        def load() -> bytes:
            data = self._store.read(place)
            check_address(address, data)
            return data

        data = self._store.read_cached(place) if place.size <= SMALL + 16 else None
        try:
            if data is None:
                return await trio.to_thread.run_sync(load, limiter=self._threads)
            check_address(address, data)
            return data
        except UnavailableError:
            return None
        except BadChunkError:
            self._store.quarantine(address)
            self.lost(address)
            return None

    async def _from_store(self, chunk: ChunkId, address: Address) -> bytes | None:
        place = self._store.locate(address)
        if place is None:
            return None

        def load() -> bytes:
            return self._keys.open(chunk, self._store.read(place))

        try:
            plain = await trio.to_thread.run_sync(load, limiter=self._threads)
        except BadChunkError:
            self._store.quarantine(address)
            return None
        except UnavailableError:
            if self._store.locate(address) == place:
                self._store.quarantine(address)
            return None
        self._store.touch(address, self._wall())
        return plain

    async def _from_peers(self, chunk: ChunkId, address: Address, urgency: Urgency) -> bytes:
        async def arrived(data: BytesLike) -> bytes:
            def verify() -> bytes:
                check_address(address, data)
                try:
                    return self._keys.open(chunk, data)
                except BadChunkError as error:  # the peer sent what its address says: the manifest is wrong
                    raise DamageError(
                        "a version names a chunk that cannot be its content: restore another version"
                    ) from error

            plain = verify() if len(data) <= SMALL else await trio.to_thread.run_sync(verify, limiter=self._threads)
            await self.behind.room()
            self.behind.put(address, data)
            return plain

        return await self._fetcher.get(address, urgency, arrived)

    async def _prefetch(self, entry: bytes, size: int) -> None:
        try:
            await self.plain(entry, Urgency.AHEAD)
        except SyncfsError:
            return  # whoever really reads it will be told
        except Exception:
            _log.exception("reading ahead failed")
        finally:
            self._prefetching -= size


def _split(entry: bytes) -> tuple[ChunkId, Address]:
    return ChunkId(entry[:HASH_BYTES]), Address(entry[HASH_BYTES:])
