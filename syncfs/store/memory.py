"""A chunk store and a catalogue in memory: for tests, simulations and stores that need not last."""

import heapq
from collections.abc import Iterable, Iterator, Sequence

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import UnavailableError
from syncfs.model.ids import Address
from syncfs.model.places import OWN_FILE, Held, Place, Totals
from syncfs.store.contract import StoreStats
from syncfs.store.pending import Pending


class MemoryCatalogue:
    """A catalogue in dictionaries."""

    def __init__(self) -> None:
        self._places: dict[Address, Place] = {}
        self._used: dict[Address, int] = {}
        self._packs: dict[int, dict[Address, Place]] = {}
        self._totals = Totals()

    def __iter__(self) -> Iterator[Address]:
        return iter(list(self._places))

    def find(self, address: Address) -> Place | None:
        """See Catalogue."""
        return self._places.get(address)

    def add(self, address: Address, place: Place, now: int) -> None:
        """See Catalogue."""
        self._used[address] = now
        self._enter(address, place, 1)

    def move(self, address: Address, place: Place) -> None:
        """See Catalogue."""
        used = self._used.get(address)
        if used is not None:
            self.remove(address)
            self.add(address, place, used)

    def remove(self, address: Address) -> None:
        """See Catalogue."""
        place = self._places.get(address)
        if place is not None:
            del self._used[address]
            self._enter(address, place, -1)

    def touch(self, address: Address, now: int) -> None:
        """See Catalogue."""
        if address in self._used:
            self._used[address] = now

    def totals(self) -> Totals:
        """See Catalogue."""
        return self._totals

    def oldest(self, limit: int) -> Iterable[Held]:
        """See Catalogue."""
        for used, address in heapq.nsmallest(limit, ((used, address) for address, used in self._used.items())):
            yield Held(address, self._places[address].size, used)

    def entries_of_pack(self, pack: int) -> Iterable[Place]:
        """See Catalogue."""
        return sorted(self._packs.get(pack, {}).values(), key=lambda place: place.offset)

    def _enter(self, address: Address, place: Place, step: int) -> None:
        pack = self._packs.setdefault(place.pack, {})
        if step > 0:
            self._places[address] = pack[address] = place
        else:
            del self._places[address], pack[address]
            if not pack:
                del self._packs[place.pack]
        totals, own = self._totals, step if place.pack == OWN_FILE else 0
        self._totals = Totals(
            totals.chunks + step,
            totals.bytes + step * place.size,
            totals.own_chunks + own,
            totals.own_bytes + own * place.size,
        )


class MemoryStore:
    """A chunk store in a dictionary; each chunk is a file of its own, so to say."""

    def __init__(self) -> None:
        self._catalogue = MemoryCatalogue()
        self._data: dict[Address, bytes] = {}
        self._writing: Pending[Address] = Pending()
        self._strays: list[Place] = []

    def has(self, address: Address) -> bool:
        """See ChunkStore."""
        return self._catalogue.find(address) is not None

    def put(self, address: Address, data: BytesLike, *, now: int) -> None:
        """See ChunkStore."""
        if self.has(address):
            self.touch(address, now)
        else:
            self.record(address, self.write(address, data), now)

    def get(self, address: Address) -> bytes | None:
        """See ChunkStore."""
        return self._data[address] if self.has(address) else None

    def remove(self, addresses: Iterable[Address]) -> None:
        """See ChunkStore."""
        self.discard(self.forget(addresses))

    def stats(self) -> StoreStats:
        """See ChunkStore."""
        totals = self._catalogue.totals()
        return StoreStats(totals.chunks, totals.bytes, totals.bytes)

    def sync(self) -> None:
        """See ChunkStore; memory cannot do better."""

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
        self._writing.end(address)
        if self.has(address):
            self._catalogue.touch(address, now)
        else:
            self._catalogue.add(address, place, now)

    def forget(self, addresses: Iterable[Address]) -> Sequence[Place]:
        """See ChunkStore."""
        places = []
        while self._strays:
            stray = self._strays.pop()
            self._writing.end(stray.address)
            places.append(stray)
        for address in addresses:
            place = self._catalogue.find(address)
            if place is not None and address not in self._writing:
                self._catalogue.remove(address)
                places.append(place)
        return places

    def quarantine(self, address: Address) -> None:
        """See ChunkStore."""
        self._catalogue.remove(address)

    def read(self, place: Place) -> bytes:
        """See ChunkStore."""
        data = self._data.get(place.address)
        if data is None:
            raise UnavailableError("a chunk was removed while it was read: locate it again")
        return data

    def read_cached(self, place: Place) -> bytes | None:
        """See ChunkStore."""
        return self._data.get(place.address)

    def write(self, address: Address, data: BytesLike) -> Place:
        """See ChunkStore."""
        self._writing.begin(address)
        self._data[address] = bytes(data)
        return Place(OWN_FILE, 0, len(data), address)

    def write_many(self, chunks: Iterable[tuple[Address, BytesLike]]) -> list[Place]:
        """See ChunkStore."""
        return [self.write(address, data) for address, data in chunks]

    def abandon(self, places: Iterable[Place]) -> None:
        """See ChunkStore."""
        self._strays.extend(places)

    def discard(self, places: Iterable[Place]) -> None:
        """See ChunkStore."""
        for place in places:
            if not self.has(place.address) and place.address not in self._writing:
                self._data.pop(place.address, None)
