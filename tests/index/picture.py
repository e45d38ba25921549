"""What an index shows, read as a program would read it, to be held against `model.tree.full_view`."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from syncfs.index.index import ROOT_INO, Changes, Index, Node
from syncfs.model.ids import ROOT_NODE, DeviceId, NodeId, Stamp
from syncfs.model.records import Birth, Record
from syncfs.model.tree import ShownNode, State, Tree, full_view
from tests.model.replica import NAMES

Entry = tuple[DeviceId, Record]


@dataclass(frozen=True)
class Seen:
    """What a path shows. `node` is that of the file where it is a conflict copy, `merged` of all directories there."""

    node: NodeId
    kind: int
    mode: int
    is_copy: bool
    head: Stamp | None
    size: int
    nlink: int
    merged: tuple[NodeId, ...]
    links: tuple[bytes, ...]


def know_devices(index: Index) -> None:
    """Certify the devices of `tests.model.replica`."""
    for device, name in NAMES.items():
        index.feeds.add_device(device, bytes(32), name, "writer", b"")


def apply_all(index: Index, entries: Iterable[Entry]) -> None:
    """Apply records of several feeds, those of one device that follow each other as one batch."""
    batch: list[Record] = []
    author: DeviceId | None = None
    for device, record in entries:
        if author is not None and device != author:
            index.apply(batch, author)
            batch = []
        author = device
        batch.append(record)
    if author is not None:
        index.apply(batch, author)


def seen_by_index(index: Index) -> dict[bytes, Seen]:
    """All that is under the root of an index, by path."""
    root = index.nodes.must(ROOT_INO)
    seen = {b"": _seen(index, root, root, False, ())}
    waiting = [(b"", ROOT_INO)]
    while waiting:
        path, parent = waiting.pop()
        for _, name, node in index.nodes.listed(parent, 0, 10**6):
            below = path + b"/" + name if path else name
            found = index.entry(parent, name)
            assert found is not None
            assert index.nodes.must(node.ino) == found[0] == node == index.lookup(parent, name)
            shown, link, head = found
            assert (head is not None) == shown.is_copy
            assert head is None or (shown.head == head and shown.view_of == link.ino)
            base = index.nodes.must(link.ino) if head is not None else shown
            links = tuple(one.link for one in index.links_behind(parent, name))
            seen[below] = _seen(index, shown, base, head is not None, links[:1] if head is not None else links)
            if shown.is_directory:
                waiting.append((below, shown.ino))
                assert index.path_of(shown.ino) == below
    return seen


def _seen(index: Index, node: Node, base: Node, is_copy: bool, links: tuple[bytes, ...]) -> Seen:
    merged = tuple(index.merged_with(node.ino)) if node.is_directory else ()
    nlink = index.nodes.nlink(node)
    return Seen(base.node, node.kind, node.mode, is_copy, node.head, node.size, nlink, merged, links)


def seen_by_model(state: State) -> dict[bytes, Seen]:
    """The same from the model."""
    tree = full_view(state, NAMES)
    names: dict[tuple[NodeId, Stamp | None], int] = {}
    for shown in tree.values():
        head = shown.entry.head if shown.entry else None
        names[shown.node, head] = names.get((shown.node, head), 0) + 1
    folders = dict.fromkeys(tree, 2)
    for path, shown in tree.items():
        if path and shown.kind == stat.S_IFDIR:
            folders[path.rpartition(b"/")[0]] += 1
    return {path: _modelled(state, tree, path, shown, names, folders) for path, shown in tree.items()}


def _modelled(
    state: State,
    tree: Tree,
    path: bytes,
    shown: ShownNode,
    names: dict[tuple[NodeId, Stamp | None], int],
    folders: dict[bytes, int],
) -> Seen:
    entry, fields = shown.entry, dict(shown.fields)
    is_directory = shown.kind == stat.S_IFDIR
    mode = fields.get("mode", 0o755 if shown.node == ROOT_NODE else 0)
    assert isinstance(mode, int)
    merged = entry.merged if entry else ()
    is_copy = entry is not None and entry.head is not None
    return Seen(
        shown.node,
        shown.kind,
        mode,
        is_copy,
        shown.head,
        state.by_stamp[shown.head].size if shown.head is not None else 0,
        folders[path] if is_directory else names[shown.node, entry.head if entry else None],
        (shown.node, *sorted(node for _, node in merged)) if is_directory else (),
        (entry.link, *sorted(link for link, _ in merged)) if entry else (),
    )


def check(index: Index, state: State) -> None:
    """The index shows what the model says."""
    assert {path: _sorted_links(one) for path, one in seen_by_index(index).items()} == seen_by_model(state)
    views = state.views()
    for node in state.nodes:
        ino = index.nodes.ino_of(node)
        assert ino is not None
        heads = state.heads(node)
        assert set(index.heads_of(ino)) >= set(heads)
        if state.kind(node) == stat.S_IFREG:
            assert index.heads_of(ino) == heads
            view = views.get(node)
            if view is not None and view.links:
                assert index.shown_heads(ino) == view.heads
                assert set(index.hidden_heads(ino)) == set(heads) - set(view.heads)
        for group, (stamp, value) in state.nodes[node].items():
            if group == "birth" and isinstance(value, Birth) and node != ROOT_NODE:
                assert index.nodes.must(ino).kind == value.kind
                assert index.nodes.must(ino).group_stamp(0) == stamp


def _sorted_links(seen: Seen) -> Seen:
    return Seen(
        seen.node, seen.kind, seen.mode, seen.is_copy, seen.head, seen.size, seen.nlink, seen.merged,
        (*seen.links[:1], *sorted(seen.links[1:])),
    )  # fmt: skip


@dataclass
class Shadow:
    """A copy of the tree that is kept only by what `Changes` tells."""

    nodes: dict[int, Node] = field(default_factory=dict)
    entries: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """What names show, by the directory that stands for all that are shown as one with it."""

    def take(self, index: Index) -> Changes:
        """Follow an index."""
        changes = index.take_changes()
        for ino in changes.nodes:
            node = index.nodes.must(ino)
            before = self.nodes.get(ino)
            if before is not None and before.head != node.head:
                assert ino in changes.contents
            self.nodes[ino] = node
        regrouped = {ino for pair in changes.regrouped for ino in pair}
        for (parent, name), before_ino in changes.entries.items():
            if (parent, name) in self.entries and parent not in regrouped:
                assert before_ino is not None
            assert before_ino is None or before_ino in self.nodes
            place = index.nodes.shown_as(parent), name
            shown = index.lookup(*place)
            if shown is None:
                self.entries.pop(place, None)
            else:
                self.entries[place] = shown.ino
        if regrouped:
            self.entries = {place: ino for place, ino in self.entries.items() if place[0] not in regrouped}
        for ino in map(index.nodes.shown_as, regrouped):
            self.entries |= {(ino, name): node.ino for _, name, node in index.nodes.listed(ino, 0, 10**6)}
        return changes

    def check(self, index: Index) -> None:
        """The copy is the same as what it follows."""
        rows = index.database.rows("SELECT parent, name, ino FROM entries")
        shown = {(index.nodes.shown_as(parent), name): ino for parent, name, ino in rows}
        assert self.entries == shown
        assert len(shown) == len(rows)
        assert not index.database.rows(
            "SELECT 1 FROM entries e JOIN links l ON l.id = e.link WHERE l.parent != e.parent"
        )
        assert not index.database.rows("SELECT 1 FROM links WHERE shown_parent != parent")
        index.nodes.forget_cached()
        inos = [ino for (ino,) in index.database.rows("SELECT ino FROM nodes")]
        assert {ino: node for ino, node in self.nodes.items() if ino != ROOT_INO} == {
            ino: index.nodes.must(ino) for ino in inos if ino != ROOT_INO
        }
