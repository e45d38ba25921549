"""Feeds, segments, devices, and the counters that exist once."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from syncfs.index.database import IndexDatabase
from syncfs.model.ids import Address, DeviceId


class Feeds:
    """What this computer knows of every device's feed, and holds of it to pass on."""

    def __init__(self, database: IndexDatabase, renamed: Callable[[], None]) -> None:
        """`renamed` is called when a device has a name that it had not before."""
        self._database = database
        self._renamed = renamed
        self._names: dict[DeviceId, str] | None = None

    def number(self, key: str, default: int = 0) -> int:
        """A counter of this index."""
        row = self._database.read("SELECT value FROM meta WHERE key = ?", (key,))
        return default if row is None else int(row[0])

    def text(self, key: str) -> bytes:
        """A text that exists once; empty where it is not known."""
        row = self._database.read("SELECT value FROM meta WHERE key = ?", (key,))
        return b"" if row is None else bytes(row[0])

    def texts(self, begin: str) -> list[tuple[str, bytes]]:
        """The texts whose keys begin so, without empty ones: (key, text)."""
        rows = self._database.rows(
            "SELECT key, value FROM meta WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 AND value != x''", (begin,)
        )
        return [(key, bytes(value)) for key, value in rows]

    def set_text(self, key: str, value: bytes) -> None:
        """Keep a text."""
        self._database.write("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def drop_text(self, key: str) -> None:
        """Keep a text no longer."""
        self._database.write("DELETE FROM meta WHERE key = ?", (key,))

    def set_number(self, key: str, value: int) -> None:
        """Keep a counter."""
        self._database.write("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def applied(self) -> dict[DeviceId, int]:
        """For each device up to which sequence its records are applied here."""
        return {
            DeviceId(device): applied for device, applied in self._database.rows("SELECT device, applied FROM feeds")
        }

    def head(self, device: DeviceId) -> tuple[bytes, int, int] | None:
        """The newest signed head of a device: (encoded head, its sequence, applied)."""
        row = self._database.read("SELECT head, sequence, applied FROM feeds WHERE device = ?", (device,))
        return None if row is None else (row[0], row[1], row[2])

    def heads(self) -> list[tuple[DeviceId, bytes, int]]:
        """All heads whose records are applied: (device, encoded head, sequence)."""
        rows = self._database.rows(
            "SELECT device, head, sequence FROM feeds WHERE applied >= sequence AND sequence > 0"
        )
        return [(DeviceId(device), head, sequence) for device, head, sequence in rows]

    def set_head(self, device: DeviceId, head: bytes, sequence: int, applied: int) -> None:
        """Keep a device's head, and how far it is applied."""
        self._database.write(
            "INSERT INTO feeds (device, head, sequence, applied) VALUES (?, ?, ?, ?) ON CONFLICT (device) DO UPDATE "
            "SET head = excluded.head, sequence = excluded.sequence, applied = excluded.applied",
            (device, head, sequence, applied),
        )

    def add_segment(self, address: Address, device: DeviceId, first: int, last: int, data: bytes) -> None:
        """Hold a segment."""
        self._database.write(
            "INSERT OR IGNORE INTO segments (address, device, first, last, data) VALUES (?, ?, ?, ?, ?)",
            (address, device, first, last, data),
        )

    def segment(self, address: bytes) -> bytes | None:
        """The bytes of a segment held here."""
        row = self._database.read("SELECT data FROM segments WHERE address = ?", (address,))
        return None if row is None else row[0]

    def has_segment(self, address: bytes) -> bool:
        """Whether a segment is held here."""
        return self._database.read("SELECT 1 FROM segments WHERE address = ?", (address,)) is not None

    def segments_of(self, device: DeviceId) -> list[tuple[Address, int, int, int]]:
        """The segments held of a device's feed, in order: (address, first, last, bytes)."""
        rows = self._database.rows(
            "SELECT address, first, last, length(data) FROM segments WHERE device = ? ORDER BY first, last", (device,)
        )
        return [(Address(address), first, last, size) for address, first, last, size in rows]

    def drop_segments(self, device: DeviceId, keep: AbstractSet[bytes]) -> None:
        """Stop holding the segments of a device that are not in `keep`: its head lists them no longer."""
        for address, *_ in self.segments_of(device):
            if address not in keep:
                self._database.write("DELETE FROM segments WHERE address = ?", (address,))

    def add_device(self, device: DeviceId, public: bytes, name: str, role: str, certificate: bytes) -> None:
        """Keep a device's verified certificate."""
        is_new = self.device_names().get(device) != name
        if not is_new and self.certificate(device) == certificate:
            return  # which needs no room on the disk
        self._database.write(
            "INSERT OR REPLACE INTO devices (device, public, name, role, certificate) VALUES (?, ?, ?, ?, ?)",
            (device, public, name, role, certificate),
        )
        if is_new:
            self._names = None
            self._renamed()

    def certificate(self, device: DeviceId) -> bytes | None:
        """A device's certificate, verified when it was kept."""
        row = self._database.read("SELECT certificate FROM devices WHERE device = ?", (device,))
        return None if row is None else row[0]

    def device_names(self) -> Mapping[DeviceId, str]:
        """The names of all devices that were ever certified."""
        if self._names is None:
            rows = self._database.rows("SELECT device, name FROM devices")
            self._names = {DeviceId(device): name for device, name in rows}
        return self._names

    def device_roles(self) -> dict[DeviceId, str]:
        """The roles of all devices that were ever certified."""
        return {DeviceId(device): role for device, role in self._database.rows("SELECT device, role FROM devices")}

    def forget_cached(self) -> None:
        """Forget what is kept in memory, after a rollback."""
        self._names = None
