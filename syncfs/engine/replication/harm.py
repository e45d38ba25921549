"""What records of a peer would take away from the tree that is shown here; asked before they are applied.

A file is harmed if it goes with its last name, or gets a version in the place of one that is shown, or its place is
taken by another file (whoever saves by renaming deletes the old one). Not counted is what the same device made itself
within the time that the brake looks at, what comes back as it was before, edits beside which the old content stays
shown, and whatever a person restores or undoes.
"""

import stat
from collections.abc import Sequence

from syncfs.engine.replication.brake import Harm
from syncfs.index.index import Index
from syncfs.index.nodes import Node
from syncfs.model.ids import DeviceId, Stamp, device_of, make_stamp
from syncfs.model.records import LinkRecord, NodeRecord, Record, SettingRecord, VersionRecord, content_digest

RESTORING = "restoring "
"""The key of a setting, followed by a device in hex."""
GOING_ON = "goes on"
"""Its value where what was told before goes on, after others had their turn."""


def harms(index: Index, records: Sequence[Record], device: DeviceId, within: int, counted: set[int]) -> list[Harm]:
    """What each record would take away, in their order; `counted` files are left out, and those found are added."""
    return _Look(index, device, within, counted).at(records)


def restoring(device: DeviceId) -> str:
    """The key of the setting that has a value while what a device records is put back on purpose."""
    return f"{RESTORING}{device.hex()}"


class _Look:
    def __init__(self, index: Index, device: DeviceId, within: int, counted: set[int]) -> None:
        self._index = index
        self._device = device
        self._within = within
        self._counted = counted
        self._mark = restoring(device)
        self._restoring = bool(index.setting(self._mark))
        self._replaced: set[bytes] = set()
        self._names_gone: dict[int, set[bytes]] = {}

    def at(self, records: Sequence[Record]) -> list[Harm]:
        born = {record.node for record in records if isinstance(record, NodeRecord) and record.birth is not None}
        found: list[Harm] = []
        for record in records:
            harm = None
            match record:
                case SettingRecord(key=self._mark):
                    self._restoring = bool(record.value)
                case VersionRecord() if record.node not in born:
                    harm = self._version(record)
                case LinkRecord(deleted=True) if record.node not in born:
                    harm = self._deletion(record)
            if harm is not None and not self._restoring:
                found.append(harm)
        return found

    def _version(self, record: VersionRecord) -> Harm | None:
        node = self._file(record.node)
        if node is None:
            return None
        self._replaced.update(record.parents)
        lost = [head for head in node.shown_heads if head in record.parents and not self._is_own(head, record.time)]
        if not lost or node.ino in self._counted or self._is_known(node, record):
            return None
        self._counted.add(node.ino)
        return Harm(record.time, False)

    def _deletion(self, record: LinkRecord) -> Harm | None:
        node, stamp = self._file(record.node), make_stamp(record.lamport, self._device)
        rows = self._index.database.rows("SELECT link, stamp, time FROM links WHERE ino = ? AND deleted = 0", (
            node.ino if node is not None else 0,
        ))  # fmt: skip
        row = next((row for row in rows if row[0] == record.link), None)
        if node is None or row is None or stamp <= row[1] or node.ino in self._counted:
            return None
        gone = self._names_gone.setdefault(node.ino, set())
        gone.add(record.link)
        if len(gone) < len(rows) or any(
            head not in record.seen for head in node.shown_heads if head not in self._replaced
        ):
            return None
        is_own = self._is_new(Stamp(row[1]), row[2], record.time)
        if node.head is not None:
            is_own = self._is_own(node.head, record.time)
        if is_own:
            return None
        self._counted.add(node.ino)
        return Harm(record.time, True)

    def _file(self, id_: bytes) -> Node | None:
        """Whatever is no directory and is shown."""
        ino = self._index.nodes.ino_of(id_)
        node = self._index.nodes.get(ino) if ino is not None else None
        return node if node is not None and node.nlink and node.kind not in (0, stat.S_IFDIR) else None

    def _is_own(self, stamp: Stamp, now: int) -> bool:
        """Whether the device made a version itself, a short time before."""
        row = self._index.database.read("SELECT time FROM versions WHERE stamp = ?", (stamp,))
        return row is not None and self._is_new(stamp, row[0], now)

    def _is_new(self, stamp: Stamp, time: int, now: int) -> bool:
        return device_of(stamp) == self._device and abs(now - time) <= self._within

    def _is_known(self, node: Node, record: VersionRecord) -> bool:
        """Whether the file had this content before; it was empty if there was nothing to lose."""
        if not node.size:
            return True
        same = content_digest(record.size, record.depth, record.body)
        return any(content_digest(one.size, one.depth, one.body) == same for one in self._index.versions_of(node.ino))
