"""The tree as it was at a past moment: what the records up to then show, directory by directory.

The definition is that of `model.tree.full_view`, taken of the records whose wall clock time is not after the moment;
here it is derived for one directory at a time, so that looking into an old tree costs what is looked at. What retention
has thinned out is missing: of a file then the kept version before shows, or else the one after.
"""

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from syncfs.index import nodes
from syncfs.index.nodes import Node, split_stamps
from syncfs.index.schema import ROOT_INO
from syncfs.index.versions import versions_for
from syncfs.model.directory import Candidate, Head, Shown, directory_view
from syncfs.model.ids import ROOT_NODE, DeviceId, LinkId, NodeId, Stamp, device_of
from syncfs.model.merge import LinkEnd, node_view
from syncfs.model.moves import Placement, Seat, resolve_moves
from syncfs.model.records import THINNED, Owner, Times
from syncfs.model.versions import heads

CACHED_FOLDERS = 256
_PAST = "p.link, p.ino, p.parent, p.name, p.deleted, p.seen, p.from_parent, p.from_name, p.stamp, p.time"
_NOW = (
    "l.link, l.ino, coalesce(l.recorded_parent, l.parent), coalesce(l.recorded_name, l.name), l.deleted, l.seen, "
    "l.from_parent, l.from_name, l.stamp, l.time"
)


class Rows(Protocol):
    """Where rows are read from: the index's connection, or one of its own for a thread."""

    def read(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row of a query, or None."""
        ...

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query."""
        ...


class PastLink(msgspec.Struct, frozen=True, gc=False):
    """The record of a link that counted at the moment."""

    link: LinkId
    ino: int
    parent: int
    name: bytes
    deleted: int
    seen: bytes
    from_parent: int
    from_name: bytes
    stamp: Stamp
    time: int


@dataclass(frozen=True, slots=True)
class PastEntry:
    """A name at the moment; `folders` are the directories that it showed as one, `head` the version of a file."""

    name: bytes
    ino: int
    kind: int
    link: LinkId
    folders: tuple[int, ...] = ()
    head: Stamp | None = None
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class PastNode:
    """What a node was like at the moment; `version` is the kept one that stands for its head."""

    ino: int
    kind: int
    rdev: int
    target: bytes
    mode: int
    owner: Owner
    xattrs: Mapping[bytes, bytes]
    atime: int
    mtime: int
    ctime: int
    size: int = 0
    nlink: int = 1
    version: Stamp | None = None


ROOT_FOLDER = (ROOT_INO,)


class Moment:
    """The tree at `time` (ns since 1970)."""

    def __init__(self, source: Rows, time: int, device_names: Mapping[DeviceId, str]) -> None:
        self.time = time
        self._latest = time
        """No time that is shown is later (ns)."""
        self._not_replaced = (
            f"{self._counts('p')} AND NOT EXISTS (SELECT 1 FROM links l WHERE l.link = p.link AND {self._counts('l')} "
            "AND l.stamp > p.stamp) AND NOT EXISTS (SELECT 1 FROM past_links q WHERE q.link = p.link "
            f"AND q.stamp > p.stamp AND {self._counts('q')})"
        )
        self._source = source
        self._names = device_names
        self._listed: dict[tuple[int, ...], list[PastEntry]] = {}
        self._undone: dict[NodeId, Seat] | None = None
        self._alive: dict[int, bool] = {}

    def entries(self, folders: tuple[int, ...]) -> list[PastEntry]:
        """What a directory showed, by name; `folders` are all that it was shown as one with."""
        found = self._listed.get(folders)
        if found is None:
            if len(self._listed) >= CACHED_FOLDERS:
                self._listed.clear()
            candidates = [one for folder in folders for one in self._candidates(folder)]
            found = self._listed[folders] = [self._entry(shown) for shown in directory_view(candidates)]
        return found

    def lookup(self, folders: tuple[int, ...], name: bytes) -> PastEntry | None:
        """What a name in a directory showed."""
        return next((entry for entry in self.entries(folders) if entry.name == name), None)

    def resolve(self, path: bytes) -> PastEntry | None:
        """What a path from the root showed; the empty path is the root."""
        found = PastEntry(b"", ROOT_INO, stat.S_IFDIR, LinkId(ROOT_NODE), ROOT_FOLDER)
        for name in path.split(b"/"):
            if name and name != b".":
                below = self.lookup(found.folders, name) if found.folders else None
                if below is None:
                    return None
                found = below
        return found

    def node(self, entry: PastEntry) -> PastNode:
        """What the node behind an entry was like."""
        now = Node(*self._source.read(nodes.SELECT, (entry.ino,)))
        mode, owner, xattrs = now.mode, Owner(now.uid, now.gid, now.user, now.group), now.xattrs
        times, set_at = Times(now.atime, now.times_mtime), now.group_stamp(nodes.TIMES)
        for group, stamp, value in self._source.rows(
            f"SELECT grp, max(stamp), value FROM past_nodes v WHERE v.ino = ?2 AND {self._counts('v')} GROUP BY grp",
            (self.time, entry.ino),
        ):
            match group:
                case nodes.MODE:
                    mode = msgspec.msgpack.decode(value, type=int)
                case nodes.OWNER:
                    owner = msgspec.msgpack.decode(value, type=Owner)
                case nodes.TIMES:
                    times, set_at = msgspec.msgpack.decode(value, type=Times), Stamp(stamp)
                case nodes.XATTRS:
                    xattrs = msgspec.msgpack.decode(value, type=dict[bytes, bytes])
        plain = PastNode(
            entry.ino, now.kind, now.rdev, now.target, mode, owner, xattrs, times.atime, times.mtime,
            min(now.ctime, self._latest),
        )  # fmt: skip
        if now.is_directory:
            return plain
        plain = replace(plain, size=len(now.target), nlink=self._nlink(entry.ino))
        kept = self.kept_version(entry.ino, entry.head)
        if kept is None:
            return plain
        size, mtime, time = self._source.read("SELECT size, mtime, time FROM versions WHERE stamp = ?", (kept,))
        plain = replace(plain, size=size, ctime=min(time, self._latest), version=kept)
        if entry.is_copy:
            return replace(plain, atime=mtime, mtime=mtime)
        return replace(plain, mtime=mtime) if entry.head is not None and entry.head > set_at else plain

    def kept_version(self, ino: int, head: Stamp | None) -> Stamp | None:
        """The version with content that stands for a head: itself, or the kept one before, or the one after."""
        if head is None:
            return None
        for order in ("stamp <= ? AND depth != ? ORDER BY stamp DESC", "stamp > ? AND depth != ? ORDER BY stamp"):
            row = self._source.read(
                f"SELECT stamp FROM versions WHERE ino = ? AND {order} LIMIT 1", (ino, head, THINNED)
            )
            if row is not None:
                return Stamp(row[0])
        return None

    def links_of(self, ino: int) -> list[PastLink]:
        """The records that counted of all links of a node."""
        now = self._source.rows(
            f"SELECT {_NOW} FROM links l WHERE l.ino = ?2 AND {self._counts('l')}", (self.time, ino)
        )
        past = self._source.rows(
            f"SELECT {_PAST} FROM past_links p WHERE p.ino = ?2 AND {self._not_replaced}", (self.time, ino)
        )
        seen: dict[bytes, bytes] = {}
        for link, stamps in self._source.rows(
            "SELECT link, seen FROM past_links WHERE ino = ? AND time <= ? AND seen != x''", (ino, self.time)
        ):
            seen[link] = seen.get(link, b"") + stamps
        links = [PastLink(*row) for row in (*now, *past)]
        return [msgspec.structs.replace(one, seen=one.seen + seen.get(one.link, b"")) for one in links]

    def directory_parent(self, ino: int) -> int | None:
        """The directory in which a directory was; None for the root, and where it was nowhere."""
        row = self._source.read("SELECT node FROM nodes WHERE ino = ?", (ino,))
        node = NodeId(row[0])
        seat = self._undone_moves().get(node)
        if seat is not None:
            return int(self._source.read("SELECT ino FROM nodes WHERE node = ?", (seat.parent,))[0])
        link = self._directory_link(node)
        return None if link is None else link.parent

    def shown_heads(self, ino: int) -> Sequence[Stamp]:
        """The heads of a file that names showed, the main one first."""
        ends = [LinkEnd(one.link, one.stamp, bool(one.deleted), split_stamps(one.seen)) for one in self.links_of(ino)]
        return node_view(ends, self._heads(ino), versions_for(ino, self._source.read)).heads

    # --- inside -----------------------------------------------------------------------------------------------------

    def _in_folder(self, folder: int) -> list[PastLink]:
        """The records that put a link into a directory, deleted ones included."""
        found: dict[bytes, PastLink] = {}
        for where in (
            "l.shown_parent = ?2",
            "l.parent = ?2 AND l.deleted = 1",
            "l.recorded_parent = ?2 AND l.recorded_parent IS NOT NULL",
        ):
            for row in self._source.rows(
                f"SELECT {_NOW} FROM links l WHERE {where} AND {self._counts('l')}", (self.time, folder)
            ):
                if row[2] == folder:
                    found[row[0]] = PastLink(*row)
        for row in self._source.rows(
            f"SELECT {_PAST} FROM past_links p WHERE p.parent = ?2 AND {self._not_replaced}", (self.time, folder)
        ):
            found[row[0]] = PastLink(*row)
        return list(found.values())

    def _candidates(self, folder: int) -> Iterable[Candidate]:
        undone = self._undone_moves()
        if undone:
            here = NodeId(self._source.read("SELECT node FROM nodes WHERE ino = ?", (folder,))[0])
            for node, seat in undone.items():
                if seat.parent == here:
                    link = self._directory_link(node)
                    if link is not None:
                        yield from self._candidate(msgspec.structs.replace(link, name=seat.name))
        for link in self._in_folder(folder):
            if not undone or NodeId(link.link) not in undone:
                yield from self._candidate(link)

    def _candidate(self, link: PastLink) -> Iterable[Candidate]:
        row = self._source.read(
            "SELECT n.node, n.kind, n.head, n.copies, n.hidden, v.time FROM nodes n "
            "LEFT JOIN versions v ON v.stamp = n.head WHERE n.ino = ?",
            (link.ino,),
        )
        node, kind, head, copies, hidden, head_time = row
        if kind == 0:
            return
        shown: tuple[Stamp, ...] = ()
        if kind == stat.S_IFDIR:
            if link.link != node or (link.deleted and not self._has_life(link.ino)):
                return
        elif link.deleted or not (
            copies is None and hidden is None and (head is None or self._counts_version(head, head_time))
        ):
            all_heads = self._heads(link.ino) if kind == stat.S_IFREG else ()
            ends = [
                LinkEnd(one.link, one.stamp, bool(one.deleted), split_stamps(one.seen))
                for one in self.links_of(link.ino)
            ]
            view = node_view(ends, all_heads, versions_for(link.ino, self._source.read))
            if link.link not in view.links:
                return
            shown = view.heads
        yield Candidate(
            link.link, NodeId(node), link.name, kind, link.stamp, self._device(link.stamp), link.time,
            [self._head(stamp) for stamp in shown] if len(shown) > 1 or link.deleted else (), bool(link.deleted),
        )  # fmt: skip

    def _entry(self, shown: Shown) -> PastEntry:
        ino, kind, head = self._source.read("SELECT ino, kind, head FROM nodes WHERE node = ?", (shown.node,))
        folders: tuple[int, ...] = ()
        version = shown.head
        if kind == stat.S_IFDIR:
            merged = [self._source.read("SELECT ino FROM nodes WHERE node = ?", (node,))[0] for _, node in shown.merged]
            folders = (ino, *merged)
        elif kind == stat.S_IFREG and version is None:
            version = self._main_head(ino, head)
        return PastEntry(shown.name, ino, kind, shown.link, folders, version, shown.head is not None)

    def _main_head(self, ino: int, now: bytes | None) -> Stamp | None:
        if now is not None:
            row = self._source.read(
                "SELECT v.time, n.copies, n.hidden FROM versions v JOIN nodes n ON n.ino = v.ino WHERE v.stamp = ?",
                (now,),
            )
            if self._counts_version(now, row[0]) and row[1] is None and row[2] is None:
                return Stamp(now)
        return next(iter(self.shown_heads(ino)), None)

    def _has_life(self, folder: int) -> bool:
        """Whether anything lived in a deleted directory."""
        known = self._alive.get(folder)
        if known is None:
            self._alive[folder] = False
            known = self._alive[folder] = next(iter(self._candidates(folder)), None) is not None
        return known

    def _counts(self, alias: str) -> str:
        """The condition, for SQL, under which a row of records counts; ?1 is the time."""
        return f"{alias}.time <= ?1"

    def _counts_version(self, stamp: bytes, time: int) -> bool:
        """Whether the only head of a file counts, so that nothing else has to be looked at."""
        return time <= self.time

    def _heads(self, ino: int) -> tuple[Stamp, ...]:
        rows = self._source.rows("SELECT stamp, parents FROM versions WHERE ino = ? AND time <= ?", (ino, self.time))
        return heads({Stamp(stamp): split_stamps(parents) for stamp, parents in rows})

    def _head(self, stamp: Stamp) -> Head:
        row = self._source.read("SELECT time FROM versions WHERE stamp = ?", (stamp,))
        return Head(stamp, self._device(stamp), row[0] if row else 0)

    def _device(self, stamp: Stamp) -> str:
        device = device_of(stamp)
        return self._names.get(device) or device.hex()[:8]

    def _nlink(self, ino: int) -> int:
        return max(1, sum(not link.deleted for link in self.links_of(ino)))

    def _undone_moves(self) -> dict[NodeId, Seat]:
        """The directories that were not where their record put them.

        Of each circle that was, one directory has been moved elsewhere since, or is undone to this day.
        """
        if self._undone is None:
            starts = self._source.rows(
                "SELECT link FROM links WHERE recorded_parent IS NOT NULL UNION "
                "SELECT p.link FROM past_links p JOIN nodes n ON n.node = p.link JOIN links l ON l.link = p.link "
                "WHERE n.kind = ? AND p.parent != coalesce(l.recorded_parent, l.parent)",
                (stat.S_IFDIR,),
            )
            self._undone = resolve_moves([NodeId(link) for (link,) in starts], self._placement)
        return self._undone

    def _directory_link(self, node: NodeId) -> PastLink | None:
        row = self._source.read("SELECT ino, kind FROM nodes WHERE node = ?", (node,))
        if row is None or row[1] != stat.S_IFDIR or node == ROOT_NODE:
            return None
        return next((link for link in self.links_of(row[0]) if link.link == LinkId(node)), None)

    def _placement(self, node: NodeId) -> Placement | None:
        link = self._directory_link(node)
        if link is None:
            return None
        former = Seat(self._id(link.from_parent), link.from_name or link.name) if link.from_parent else None
        return Placement(link.stamp, Seat(self._id(link.parent), link.name), former)

    def _id(self, ino: int) -> NodeId:
        return NodeId(self._source.read("SELECT node FROM nodes WHERE ino = ?", (ino,))[0])


def parts_of(path: bytes) -> Sequence[bytes]:
    """The names of a path, without empty ones."""
    return [name for name in path.split(b"/") if name and name != b"."]
