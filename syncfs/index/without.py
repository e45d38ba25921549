"""The tree as it would be now if one device had done nothing since a time, but for what others have built on.

Left out are the device's records since then. They count nevertheless where somebody else went on with what they made:
versions that another version replaces, and nodes that are its own but that others have written to, changed, linked, or
put something into.
"""

from collections.abc import Mapping

from syncfs.index.moment import Moment, Rows
from syncfs.index.nodes import TIMES, split_stamps
from syncfs.model.ids import DeviceId, Stamp, device_of
from syncfs.model.versions import heads

ALWAYS = 2**62


class Without(Moment):
    """The tree without what `device` did since `time` (ns since 1970), and without records from lamport `now` on."""

    def __init__(
        self, source: Rows, device: DeviceId, time: int, now: int, device_names: Mapping[DeviceId, str]
    ) -> None:
        self._now = now.to_bytes(8, "big")
        self._left_out = device
        self._theirs = f"(substr({{0}}.stamp, 9) = x'{device.hex()}' AND {{0}}.time >= {time})"
        self._rows = source
        self.kept: set[int] = set()
        """The nodes of the device on which others have built."""
        self.kept = self._built_on()
        super().__init__(source, time, device_names)
        self._latest = ALWAYS

    def affected(self) -> set[int]:
        """The nodes about which the device recorded something since."""
        found: set[int] = set()
        for table in ("versions", "past_nodes", "links", "past_links"):
            rows = self._rows.rows(f"SELECT DISTINCT ino FROM {table} t WHERE {self._theirs.format('t')}")
            found.update(ino for (ino,) in rows)
        return found

    def places(self) -> set[int]:
        """The directories of the names that the device made, moved or deleted since."""
        found: set[int] = set()
        for table in ("links", "past_links"):
            for rows in self._rows.rows(f"SELECT parent, from_parent FROM {table} t WHERE {self._theirs.format('t')}"):
                found.update(rows)
        return found - {0}

    def _built_on(self) -> set[int]:
        theirs = self._theirs.format
        own = {
            ino
            for (ino,) in self._rows.rows(
                f"SELECT DISTINCT ino FROM links t WHERE {theirs('t')} AND NOT EXISTS (SELECT 1 FROM past_links p "
                f"WHERE p.ino = t.ino AND NOT {theirs('p')}) AND NOT EXISTS (SELECT 1 FROM links l WHERE l.ino = t.ino "
                f"AND NOT {theirs('l')})"
            )
        }
        waiting = [ino for ino in own if self._has_guests(ino)]
        # What others have linked or renamed has links that are not theirs, so its directory has guests.
        kept: set[int] = set()
        while waiting:
            ino = waiting.pop()
            if ino not in kept:
                kept.add(ino)
                above = self._rows.rows("SELECT parent FROM links WHERE ino = ? AND deleted = 0", (ino,))
                waiting += [parent for (parent,) in above if parent in own]
        return kept

    def _has_guests(self, ino: int) -> bool:
        theirs = self._theirs.format
        return any(
            self._rows.read(statement, (ino,)) is not None
            for statement in (
                f"SELECT 1 FROM versions t WHERE ino = ? AND NOT {theirs('t')} LIMIT 1",
                f"SELECT 1 FROM past_nodes t WHERE ino = ? AND grp != {TIMES} AND time > 0 AND NOT {theirs('t')}",
                f"SELECT 1 FROM links t WHERE parent = ? AND deleted = 0 AND NOT {theirs('t')} LIMIT 1",
            )
        )

    def _counts(self, alias: str) -> str:
        kept = ", ".join(map(str, sorted(self.kept)))
        counts = f"NOT {self._theirs.format(alias)} OR {alias}.ino IN ({kept})"
        return f"(?1 = ?1 AND {alias}.stamp < x'{self._now.hex()}' AND ({counts}))"

    def _counts_version(self, stamp: bytes, time: int) -> bool:
        return stamp < self._now and (device_of(Stamp(stamp)) != self._left_out or time < self.time)

    def _heads(self, ino: int) -> tuple[Stamp, ...]:
        rows = self._rows.rows("SELECT stamp, parents, time FROM versions WHERE ino = ?", (ino,))
        parents = {Stamp(stamp): split_stamps(joined) for stamp, joined, _ in rows}
        counting = {
            Stamp(stamp)
            for stamp, _, time in rows
            if self._counts_version(stamp, time) or (ino in self.kept and stamp < self._now)
        }
        waiting = list(counting)
        while waiting:
            for parent in parents[waiting.pop()]:
                if parent in parents and parent not in counting:
                    counting.add(parent)
                    waiting.append(parent)
        return heads({stamp: parents[stamp] for stamp in counting})
