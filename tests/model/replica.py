"""A device that works on the visible tree as programs do and writes the records that an honest engine writes.

It has no chunks, no index and no kernel: file system calls in, records out. What it may not do raises RefusedCallError,
as the kernel would refuse it. It also notes which contents its user gave up knowingly; all others must stay visible.
"""

import stat
from collections.abc import Iterable, Mapping
from itertools import count

from syncfs.model.directory import Shown
from syncfs.model.ids import DeviceId, LinkId, NodeId, Stamp, make_stamp
from syncfs.model.moves import Seat
from syncfs.model.records import INLINE, Birth, LinkRecord, NodeRecord, Owner, Record, VersionRecord
from syncfs.model.tree import ShownNode, State, Tree, full_view, undone_moves
from syncfs.model.versions import own_node

Entry = tuple[DeviceId, Record]
NAMES: Mapping[DeviceId, str] = {DeviceId(bytes([number]) * 16): "ABCDEFGH"[number - 1] for number in range(1, 9)}


class RefusedCallError(Exception):
    """The call is not possible in the tree that the device sees."""


class Replica:
    """Device number 1 to 8, named A to H, with its own knowledge and its own (possibly wrong) wall clock in s."""

    def __init__(self, number: int, clock: int = 1_700_000_000) -> None:
        self.device = DeviceId(bytes([number]) * 16)
        self.state = State()
        self.lamport = 0
        self.clock = clock
        self.feed: list[Record] = []
        self.given_up: set[bytes] = set()
        self._ids = count(1)

    def receive(self, entries: Iterable[Entry]) -> None:
        """Take in records of other devices."""
        for device, record in entries:
            self.lamport = max(self.lamport, record.lamport)
            self.state.apply(record, device)

    def entries(self) -> list[Entry]:
        """The feed, as others receive it."""
        return [(self.device, record) for record in self.feed]

    def tree(self) -> Tree:
        """What this device sees."""
        return full_view(self.state, NAMES)

    # What programs do

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self._add(path, Birth(stat.S_IFDIR), 0o755)

    def create(self, path: str, content: bytes) -> None:
        """Make a file and close it."""
        self._write_version(self._add(path, Birth(stat.S_IFREG), 0o644), (), content)

    def symlink(self, target: str, path: str) -> None:
        """Make a symlink."""
        self._add(path, Birth(stat.S_IFLNK, target=target.encode()), 0o777)

    def write(self, path: str, content: bytes) -> None:
        """Replace the content of a file; a conflict copy becomes a file of its own first."""
        shown = self._file(path)
        if shown.entry is not None and shown.entry.head is not None:
            self._make_own(shown.entry, self._parent(path)[0], shown.entry.name)
            shown = self._file(path)
        if shown.head is not None and self._content(shown) != content:
            self.given_up.add(self._content(shown))
        self._write_version(shown.node, self._replaced_by(shown.node, shown.head), content)

    def append(self, path: str, content: bytes) -> None:
        """Add to the content of a file."""
        self.write(path, self._content(self._file(path)) + content)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions."""
        for _, node in self._all(self._entry(path)):
            self._emit(NodeRecord(self._tick(), self._time(), node, mode=mode))

    def chown(self, path: str, uid: int) -> None:
        """Set the owner."""
        for _, node in self._all(self._entry(path)):
            self._emit(NodeRecord(self._tick(), self._time(), node, owner=Owner(uid, uid)))

    def setxattr(self, path: str, value: bytes) -> None:
        """Set the extended attribute user.a, and no other."""
        for _, node in self._all(self._entry(path)):
            self._emit(NodeRecord(self._tick(), self._time(), node, xattrs={b"user.a": value}))

    def link(self, old: str, new: str) -> None:
        """Make a hard link."""
        shown, entry = self._file(old), self._entry(old)
        parent, name = self._free(new)
        if entry.head is not None:
            raise RefusedCallError("a conflict copy has no links of its own")
        self._confirm(entry)
        self._place(self._new_id(), shown.node, Seat(parent, name))

    def unlink(self, path: str) -> None:
        """Remove a name; of a conflict copy: drop that head."""
        if self._look(path).kind == stat.S_IFDIR:
            raise RefusedCallError("is a directory")
        entry = self._entry(path)
        directory, _ = self._parent(path)
        if entry.head is not None:
            self.given_up.add(self._content(self._look(path)))
            self._resolve(entry.node, keep=self._main(entry.node), drop=entry.head)
            return
        links = [link for link, _ in self._all(entry)]
        others = [
            link
            for link, (_, record) in self.state.links.items()
            if record.node == entry.node and not record.deleted and link not in links
        ]
        if not others:
            # Removing one name must not remove its neighbours: copies shown beside it become files of their own.
            copies = [one.entry for one in self.tree().values() if one.entry and one.entry.link == entry.link]
            for copy in copies:
                if copy.head is not None:
                    self._found(copy, directory, copy.name)
            self.given_up.add(self._content(self._look(path)))
        seen = () if others else self.state.heads(entry.node)
        for link in links:
            self._replace_link(link, deleted=True, seen=seen)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        if self._look(path).kind != stat.S_IFDIR or self._below(path):
            raise RefusedCallError("not an empty directory")
        entry = self._entry(path)
        self._parent(path)
        for link, _ in self._all(entry):
            self._replace_link(link, deleted=True)

    def remove_tree(self, path: str) -> None:
        """`rm -r`."""
        for below in sorted(self._below(path), reverse=True):
            self._remove(below)
        self._remove(path)

    def rename(self, old: str, new: str) -> None:
        """Move, over whatever may be replaced."""
        source, entry = self._look(old), self._entry(old)
        (parent, name), _ = self._parent_of_new(old, new), self._parent(old)
        target = self.tree().get(new.encode())
        if new == old or (target is not None and (target.node, target.head) == (source.node, source.head)):
            return
        if target is not None:
            if (target.kind == stat.S_IFDIR) != (source.kind == stat.S_IFDIR):
                raise RefusedCallError("a directory and something else")
            if entry.head is not None and target.node == source.node:
                self.given_up.add(self._content(target))
                self._resolve(entry.node, keep=entry.head, drop=self._main(entry.node))
                return
            self._remove(new)
        if entry.head is not None:
            self._make_own(entry, parent, name)
            return
        if source.kind == stat.S_IFDIR:
            for node, seat in undone_moves(self.state).items():
                self._place(LinkId(node), node, seat)
            moving = self._all(entry)
        else:
            moving = [(entry.link, entry.node)]
            for link, _ in entry.merged:
                self._replace_link(link, deleted=True)
        self._confirm(entry)
        for link, node in moving:
            self._place(link, node, Seat(parent, name), self._seat(link))

    def replace(self, path: str, content: bytes) -> None:
        """Save as editors do: write a new file beside it and rename that over the old one."""
        self.create(path + ".tmp", content)
        self.rename(path + ".tmp", path)

    # How that is said in records

    def _add(self, path: str, birth: Birth, mode: int) -> NodeId:
        parent, name = self._free(path)
        node = NodeId(self._new_id())
        self._emit(NodeRecord(self._tick(), self._time(), node, birth=birth, mode=mode))
        self._place(LinkId(node), node, Seat(parent, name))
        return node

    def _new_id(self) -> LinkId:
        return LinkId(self.device[:8] + next(self._ids).to_bytes(8, "big"))

    def _place(self, link: LinkId, node: NodeId, seat: Seat, former: Seat | None = None) -> None:
        before = (former.parent, former.name) if former else (b"", b"")
        self._emit(LinkRecord(self._tick(), self._time(), link, node, seat.parent, seat.name, False, (), *before))

    def _replace_link(self, link: LinkId, deleted: bool, seen: tuple[Stamp, ...] = ()) -> None:
        _, old = self.state.links[link]
        seat = self._seat(link)
        kept = (old.from_parent, old.from_name) if seat == Seat(NodeId(old.parent), old.name) else (b"", b"")
        self._emit(LinkRecord(self._tick(), self._time(), link, old.node, seat.parent, seat.name, deleted, seen, *kept))

    def _write_version(self, node: NodeId, parents: tuple[Stamp, ...], content: bytes) -> None:
        time = self._time()
        self._emit(VersionRecord(self._tick(), time, node, parents, len(content), time, INLINE, content))

    def _resolve(self, node: NodeId, keep: Stamp, drop: Stamp) -> None:
        parents = (*self._replaced_by(node, keep), drop)
        self._write_version(node, parents, self.state.versions[node][keep].body)

    def _make_own(self, copy: Shown, parent: NodeId, name: bytes) -> None:
        """Make a conflict copy a file of its own, and drop it as a head."""
        assert copy.head is not None
        self._found(copy, parent, name)
        self._resolve(copy.node, keep=self._main(copy.node), drop=copy.head)

    def _found(self, copy: Shown, parent: NodeId, name: bytes) -> None:
        """The file of its own that a conflict copy becomes, with its content and permissions."""
        assert copy.head is not None
        node = own_node(copy.head)
        mode = self.state.nodes[copy.node].get("mode", (None, 0o644))[1]
        assert isinstance(mode, int)
        self._emit(NodeRecord(self._tick(), self._time(), node, birth=Birth(stat.S_IFREG), mode=mode))
        self._place(LinkId(node), node, Seat(parent, name))
        self._write_version(node, (copy.head,), self.state.versions[copy.node][copy.head].body)

    def _confirm(self, entry: Shown) -> None:
        """What is only back because of an unseen edit stays for good, and what was deleted with the link stays away."""
        if entry.revived:
            if self.state.heads(entry.node):
                main = self._main(entry.node)
                parents = self._replaced_by(entry.node, main)
                self._write_version(entry.node, parents, self.state.versions[entry.node][main].body)
            self._replace_link(entry.link, deleted=False)

    def _emit(self, record: Record) -> None:
        self.feed.append(record)
        self.state.apply(record, self.device)

    def _tick(self) -> int:
        self.lamport += 1
        return self.lamport

    def _time(self) -> int:
        self.clock += 1
        return self.clock * 1_000_000_000

    # What it sees

    def _look(self, path: str) -> ShownNode:
        shown = self.tree().get(path.encode())
        if shown is None:
            raise RefusedCallError(f"no {path}")
        return shown

    def _entry(self, path: str) -> Shown:
        entry = self._look(path).entry
        if entry is None:
            raise RefusedCallError("the root")
        return entry

    def _file(self, path: str) -> ShownNode:
        shown = self._look(path)
        if shown.kind != stat.S_IFREG:
            raise RefusedCallError("not a file")
        return shown

    def _below(self, path: str) -> list[str]:
        return [one.decode() for one in self.tree() if one.startswith(path.encode() + b"/")]

    def _all(self, entry: Shown) -> list[tuple[LinkId, NodeId]]:
        return [(entry.link, entry.node), *entry.merged]

    def _content(self, shown: ShownNode) -> bytes:
        return self.state.by_stamp[shown.head].body if shown.head is not None else b""

    def _main(self, node: NodeId) -> Stamp:
        return self.state.view(node).heads[0]

    def _replaced_by(self, node: NodeId, head: Stamp | None) -> tuple[Stamp, ...]:
        """What a version that comes from `head` replaces: that, and all heads that are not shown."""
        return tuple(one for one in self.state.heads(node) if one == head or one not in self.state.view(node).heads)

    def _seat(self, link: LinkId) -> Seat:
        _, record = self.state.links[link]
        return undone_moves(self.state).get(NodeId(link)) or Seat(NodeId(record.parent), record.name)

    def _parent(self, path: str) -> tuple[NodeId, bytes]:
        """The directory of a path, about to be changed: one that is only back because of its content stays for good."""
        above, _, name = path.rpartition("/")
        directory = self._look(above)
        if directory.kind != stat.S_IFDIR:
            raise RefusedCallError("not a directory")
        if directory.entry is not None:
            self._confirm(directory.entry)
        return directory.node, name.encode()

    def _parent_of_new(self, old: str, new: str) -> tuple[NodeId, bytes]:
        if new.startswith(old + "/"):
            raise RefusedCallError("into itself")
        return self._parent(new)

    def _free(self, path: str) -> tuple[NodeId, bytes]:
        if path.encode() in self.tree():
            raise RefusedCallError("exists")
        return self._parent(path)

    def _remove(self, path: str) -> None:
        (self.rmdir if self._look(path).kind == stat.S_IFDIR else self.unlink)(path)


def stamp_of(entry: Entry) -> Stamp:
    """The stamp of a record in a feed."""
    device, record = entry
    return make_stamp(record.lamport, device)
