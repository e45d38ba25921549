"""Which chunks are on this computer and where: the catalogue of the chunk store, in the index's transaction."""

from collections.abc import Iterable
from contextlib import suppress

from syncfs.index.database import IndexDatabase
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address
from syncfs.model.places import OWN_FILE, Held, Place, Totals

_TOUCHES = 4096
"""Uses of chunks are kept in memory up to this many: a write for every read would cost more than it is worth."""


class Presence:
    """The catalogue that store.contract.Catalogue describes."""

    def __init__(self, database: IndexDatabase) -> None:
        self._database = database
        self._touched: dict[bytes, int] = {}
        self._elsewhere: set[bytes] = set()
        self._totals = self._count()

    def forget_cached(self) -> None:
        """Count again, after a rollback."""
        self._totals = self._count()

    def find(self, address: Address) -> Place | None:
        """Where a chunk lies, or None."""
        row = self._database.read("SELECT pack, offset, size FROM chunks WHERE address = ?", (address,))
        return None if row is None else Place(row[0], row[1], row[2], address)

    def add(self, address: Address, place: Place, now: int) -> None:
        """Note a chunk that was not held as held and used `now`."""
        self._touched.pop(address, None)
        self._database.write(
            "INSERT INTO chunks (address, pack, offset, size, used) VALUES (?, ?, ?, ?, ?)",
            (address, place.pack, place.offset, place.size, now),
        )
        self._tally(place, 1)

    def move(self, address: Address, place: Place) -> None:
        """Note a new place of a chunk that is held; when it was last of use stays."""
        old = self.find(address)
        if old is not None:
            self._database.write(
                "UPDATE chunks SET pack = ?, offset = ?, size = ? WHERE address = ?",
                (place.pack, place.offset, place.size, address),
            )
            self._tally(old, -1)
            self._tally(place, 1)

    def remove(self, address: Address) -> None:
        """Note that a chunk is no longer held; nothing happens if it was not."""
        old = self.find(address)
        if old is not None:
            self._database.write("DELETE FROM chunks WHERE address = ?", (address,))
            self._tally(old, -1)
        self._touched.pop(address, None)

    def touch(self, address: Address, now: int) -> None:
        """Note that a chunk was of use `now`; nothing happens if it is not held."""
        self._touched[address] = now
        if len(self._touched) >= _TOUCHES:
            with suppress(SyncfsError):  # whoever reads a chunk need not hear of a disk that takes no changes
                self.write_touches()

    def write_touches(self) -> None:
        """Bring the uses noted in memory into the index."""
        touched, self._touched = self._touched, {}
        for address, now in touched.items():
            self._database.write("UPDATE chunks SET used = ? WHERE address = ?", (now, address))

    def seen_elsewhere(self, address: Address) -> None:
        """Note that a peer has the chunk as well."""
        if address not in self._elsewhere:
            self._database.write("UPDATE chunks SET elsewhere = 1 WHERE address = ? AND elsewhere = 0", (address,))
            if len(self._elsewhere) >= _TOUCHES:
                self._elsewhere.clear()
            self._elsewhere.add(address)

    def only_here(self) -> int:
        """Sealed bytes of the chunks that no peer is known to have."""
        row = self._database.read("SELECT coalesce(sum(size), 0) FROM chunks WHERE elsewhere = 0")
        return int(row[0])

    def totals(self) -> Totals:
        """Sums over all chunks held; cheap."""
        return self._totals

    def oldest(self, limit: int) -> Iterable[Held]:
        """At most `limit` chunks, the least recently used first."""
        self.write_touches()
        rows = self._database.rows("SELECT address, size, used FROM chunks ORDER BY used LIMIT ?", (limit,))
        return [Held(Address(address), size, used) for address, size, used in rows]

    def entries_of_pack(self, pack: int) -> Iterable[Place]:
        """The places of all chunks in a pack, by offset."""
        rows = self._database.rows(
            "SELECT pack, offset, size, address FROM chunks WHERE pack = ? AND pack > 0 ORDER BY offset", (pack,)
        )
        return [Place(*row) for row in rows]

    def _tally(self, place: Place, step: int) -> None:
        own = step if place.pack == OWN_FILE else 0
        old = self._totals
        self._totals = Totals(
            old.chunks + step, old.bytes + step * place.size, old.own_chunks + own, old.own_bytes + own * place.size
        )

    def _count(self) -> Totals:
        row = self._database.read(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(pack = 0), 0), coalesce(sum(size * (pack = 0)), 0) "
            "FROM chunks"
        )
        return Totals(*row)
