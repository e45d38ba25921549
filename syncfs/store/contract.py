"""What a chunk store and its catalogue owe their callers; tests/store/suite.py holds every store to it.

A store keeps sealed bytes by address. It has two sides, so that slow work can leave the loop:

* loop side, plain functions for the thread that owns the catalogue: has, locate, oldest, record, touch, forget,
  quarantine;
* thread side, plain file work that touches no catalogue: read, read_cached, write, write_many, abandon, discard, sync.

put is write + record, get is locate + read, remove is forget + discard: for callers that may block. A chunk counts as
held only once it is recorded; what is written but never recorded is lost space, which `DiskStore.recover` finds again.
Nothing is durable before `sync` returned, and a catalogue must be made durable after it, never before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.sealing import check_address
from syncfs.model.ids import Address
from syncfs.model.places import OWN_FILE, Held, Place, Totals

__all__ = ["OWN_FILE", "Catalogue", "ChunkStore", "Held", "Place", "StoreStats", "Totals", "verify"]


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How many chunks are held, their sealed bytes, and the disk space they take (dead space in packs included)."""

    chunks: int
    bytes: int
    disk_bytes: int


class Catalogue(Protocol):
    """Which chunks are here and where; used on one thread only. Times are ns since 1970."""

    def find(self, address: Address) -> Place | None:
        """Where a chunk lies, or None."""

    def add(self, address: Address, place: Place, now: int) -> None:
        """Note a chunk that was not held as held and used `now`."""

    def move(self, address: Address, place: Place) -> None:
        """Note a new place of a chunk that is held; when it was last of use stays."""

    def remove(self, address: Address) -> None:
        """Note that a chunk is no longer held; nothing happens if it was not."""

    def touch(self, address: Address, now: int) -> None:
        """Note that a chunk was of use `now`; nothing happens if it is not held."""

    def totals(self) -> Totals:
        """Sums over all chunks held; cheap."""

    def oldest(self, limit: int) -> Iterable[Held]:
        """At most `limit` chunks, the least recently used first."""

    def entries_of_pack(self, pack: int) -> Iterable[Place]:
        """The places of all chunks in a pack, by offset."""


class ChunkStore(Protocol):
    """A store of sealed chunks. All methods raise SetupError where the disk refuses."""

    def has(self, address: Address) -> bool:
        """Whether the chunk is held."""

    def put(self, address: Address, data: BytesLike, *, now: int) -> None:
        """Hold a chunk; if it was held before, only note that it was of use. The caller answers for the address."""

    def get(self, address: Address) -> bytes | None:
        """The bytes of a chunk as they lie there, or None if it is not held. Raises DamageError."""

    def remove(self, addresses: Iterable[Address]) -> None:
        """Stop holding these chunks, those excepted that are being written at this moment."""

    def stats(self) -> StoreStats:
        """What is held and what it takes."""

    def sync(self) -> None:
        """Everything written so far survives a loss of power. Any thread; fails until what failed is written anew."""

    def locate(self, address: Address) -> Place | None:
        """Where the chunk lies, for `read`; None if it is not held."""

    def touch(self, address: Address, now: int) -> None:
        """Note that the chunk was of use `now`."""

    def oldest(self, limit: int) -> Iterable[Held]:
        """At most `limit` chunks, the least recently used first: what eviction.choose takes."""

    def record(self, address: Address, place: Place, now: int) -> None:
        """Hold what `write` wrote; each write is recorded or abandoned once. The first place of an address stays."""

    def forget(self, addresses: Iterable[Address]) -> Sequence[Place]:
        """Stop holding these chunks, those excepted that are being written; the places are for `discard`."""

    def quarantine(self, address: Address) -> None:
        """Put the bytes of a bad chunk aside and stop holding it. Never fails because the bytes are unreadable."""

    def read(self, place: Place) -> bytes:
        """The bytes at a place. Any thread.

        Raises UnavailableError if the chunk was moved or removed since it was located (locate it again; if it still is
        at that place, its file is gone: quarantine it), BadChunkError if it is cut short, DamageError if the disk
        cannot read it, SetupError if the store itself is gone.
        """

    def read_cached(self, place: Place) -> bytes | None:
        """The bytes of a small chunk if they are in memory already, else None; never waits for a disk. Any thread."""

    def write(self, address: Address, data: BytesLike) -> Place:
        """Lay down the bytes of a chunk, for `record`. Any thread, several at once. Leaves no trace where it fails."""

    def write_many(self, chunks: Iterable[tuple[Address, BytesLike]]) -> list[Place]:
        """Write chunks, each to be recorded; where one fails, those before it are abandoned. Any thread."""

    def abandon(self, places: Iterable[Place]) -> None:
        """What was written there will not be recorded; the next `forget` hands it over for `discard`. Any thread."""

    def discard(self, places: Iterable[Place]) -> None:
        """Free the space of forgotten chunks. Any thread."""


def verify(address: Address, data: BytesLike) -> None:
    """Raises BadChunkError unless `data` is the chunk that the address names."""
    check_address(address, data)
