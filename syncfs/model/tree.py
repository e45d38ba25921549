"""The whole visible tree from a complete set of records: short, slow, and the measure for everything incremental.

`State` takes records in any order and as often as they come, and keeps what wins; `full_view` makes of it what names
show. Two peers with the same records have the same tree, whatever came first. In order:

1. directories are put where they are (`model.moves`); a directory has one link, the one that bears its node's id;
2. what is shown of each node is found (`model.merge`), and with it the directories above it, up to the root;
3. from the root down, each directory shows its names (`model.directory`).

A link whose node or parent directory has not arrived is not shown until it has.
"""

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from syncfs.model.directory import Candidate, Head, Shown, directory_view
from syncfs.model.ids import ROOT_NODE, DeviceId, LinkId, NodeId, Stamp, device_of, make_stamp
from syncfs.model.merge import LinkEnd, NodeView, directory_alive, newer, node_view
from syncfs.model.moves import Placement, Seat, resolve_moves
from syncfs.model.records import (
    Birth,
    LinkRecord,
    NodeRecord,
    Record,
    SettingRecord,
    VersionRecord,
    content_digest,
)
from syncfs.model.versions import Version, heads

FIELD_GROUPS = ("birth", "mode", "owner", "times", "xattrs")

K = TypeVar("K")
V = TypeVar("V")

Fields = dict[str, tuple[Stamp, object]]


@dataclass(slots=True)
class State:
    """What wins among the records that have come so far, and all versions, by file and by stamp."""

    nodes: dict[NodeId, Fields] = field(default_factory=dict)
    links: dict[LinkId, tuple[Stamp, LinkRecord]] = field(default_factory=dict)
    seen: dict[LinkId, set[bytes]] = field(default_factory=dict)
    versions: dict[NodeId, dict[Stamp, VersionRecord]] = field(default_factory=dict)
    by_stamp: dict[Stamp, VersionRecord] = field(default_factory=dict)
    settings: dict[str, tuple[Stamp, SettingRecord]] = field(default_factory=dict)

    def apply(self, record: Record, device: DeviceId) -> None:
        """Take in a record from the feed of `device`."""
        stamp = make_stamp(record.lamport, device)
        match record:
            case NodeRecord():
                fields = self.nodes.setdefault(NodeId(record.node), {})
                for group in FIELD_GROUPS:
                    if getattr(record, group) is not None:
                        _put(fields, group, stamp, getattr(record, group))
            case LinkRecord():
                _put(self.links, LinkId(record.link), stamp, record)
                self.seen.setdefault(LinkId(record.link), set()).update(record.seen)
            case VersionRecord():
                self.versions.setdefault(NodeId(record.node), {}).setdefault(stamp, record)
                self.by_stamp.setdefault(stamp, record)
            case SettingRecord():
                _put(self.settings, record.key, stamp, record)

    def kind(self, node: NodeId) -> int | None:
        """The S_IFMT value of a node, or None as long as it is not known."""
        if node == ROOT_NODE:
            return stat.S_IFDIR
        _, birth = self.nodes.get(node, {}).get("birth", (None, None))
        return birth.kind if isinstance(birth, Birth) else None

    def heads(self, node: NodeId) -> tuple[Stamp, ...]:
        """All heads of a file, shown or not; empty for whatever is no regular file."""
        if self.kind(node) != stat.S_IFREG:
            return ()
        return heads({stamp: version.parents for stamp, version in self.versions.get(node, {}).items()})

    def version(self, node: NodeId, stamp: Stamp) -> Version | None:
        """What matters of a version to what is shown of a file."""
        record = self.by_stamp.get(stamp)
        if record is None:
            return None
        if record.node != node:
            return Version((), content_key(record), foreign=True)
        return Version(record.parents, content_key(record))

    def view(self, node: NodeId) -> NodeView:
        """What is shown of a node that is no directory."""
        return self._view(node, self._ends().get(node, []))

    def views(self) -> dict[NodeId, NodeView]:
        """What is shown of every node that is no directory."""
        return {node: self._view(node, ends) for node, ends in self._ends().items()}

    def _view(self, node: NodeId, ends: Sequence[LinkEnd]) -> NodeView:
        return node_view(ends, self.heads(node), partial(self.version, node))

    def _ends(self) -> dict[NodeId, list[LinkEnd]]:
        ends: dict[NodeId, list[LinkEnd]] = {}
        for link, (stamp, record) in self.links.items():
            if self.kind(NodeId(record.node)) not in (None, stat.S_IFDIR):
                ends.setdefault(NodeId(record.node), []).append(LinkEnd(link, stamp, record.deleted, self.seen[link]))
        return ends

    def placement(self, node: NodeId) -> Placement | None:
        """Where the records put a directory; None for the root and whatever is no known directory."""
        stamp, record = self.links.get(LinkId(node), (None, None))
        if stamp is None or record is None or record.node != node or node == ROOT_NODE:
            return None
        if self.kind(node) != stat.S_IFDIR:
            return None
        former = Seat(NodeId(record.from_parent), record.from_name or record.name) if record.from_parent else None
        return Placement(stamp, Seat(NodeId(record.parent), record.name), former)


def _put(values: dict[K, tuple[Stamp, V]], key: K, stamp: Stamp, value: V) -> None:
    current = values.get(key)
    if newer(stamp, current[0] if current else None):
        values[key] = (stamp, value)


@dataclass(frozen=True, slots=True)
class ShownNode:
    """What a path shows; `head` is the version, where a regular file has any; `entry` tells how the name came about."""

    node: NodeId
    kind: int
    head: Stamp | None
    fields: tuple[tuple[str, object], ...]
    entry: Shown | None


Tree = dict[bytes, ShownNode]
"""All paths, `b""` being the root, names joined by `/`."""


def full_view(state: State, device_names: Mapping[DeviceId, str]) -> Tree:
    """The whole visible tree. `device_names` name the devices in conflict names; unnamed ones appear by their id."""
    views = state.views()
    inside = _candidates(state, views, device_names)
    tree = {b"": _shown_node(state, ROOT_NODE, None, None)}
    waiting: list[tuple[bytes, list[NodeId]]] = [(b"", [ROOT_NODE])]
    while waiting:
        path, nodes = waiting.pop()
        for entry in directory_view(one for node in nodes for one in inside.get(node, [])):
            below = path + b"/" + entry.name if path else entry.name
            main = next(iter(views[entry.node].heads), None) if entry.node in views else None
            tree[below] = shown = _shown_node(state, entry.node, entry, entry.head or main)
            if shown.kind == stat.S_IFDIR:
                waiting.append((below, [entry.node, *(node for _, node in entry.merged)]))
    return tree


def tree_hash(tree: Tree) -> bytes:
    """32 bytes that are equal for equal trees: paths, identities, contents and attributes."""
    rows = [
        (path, shown.node, shown.kind, shown.head, shown.fields, shown.entry and (shown.entry.link, shown.entry.merged))
        for path, shown in sorted(tree.items())
    ]
    return hashlib.sha256(msgspec.msgpack.encode(rows)).digest()


def undone_moves(state: State) -> dict[NodeId, Seat]:
    """The directories that are not where their record puts them, because it would close a cycle."""
    return resolve_moves([NodeId(link) for link in state.links], state.placement)


def _candidates(
    state: State, views: Mapping[NodeId, NodeView], device_names: Mapping[DeviceId, str]
) -> dict[NodeId, list[Candidate]]:
    """The live links by the directory that they are in."""
    seats = {
        node: placement.seat for node in map(NodeId, state.links) if (placement := state.placement(node)) is not None
    } | undone_moves(state)
    live = [link for view in views.values() for link in view.links]

    full: set[NodeId] = set()
    directories = [NodeId(state.links[link][1].parent) for link in live]
    directories += [seats[node].parent for node in seats if not state.links[LinkId(node)][1].deleted]
    for above in directories:
        while above not in full and above in seats:
            full.add(above)
            above = seats[above].parent
    for node in seats:
        if directory_alive(state.links[LinkId(node)][1].deleted, node in full):
            live.append(LinkId(node))

    inside: dict[NodeId, list[Candidate]] = {}
    for link in live:
        stamp, record = state.links[link]
        node = NodeId(record.node)
        seat = seats.get(node) or Seat(NodeId(record.parent), record.name)
        author = _device_name(stamp, device_names)
        candidate = Candidate(
            link,
            node,
            seat.name,
            state.kind(node) or 0,
            stamp,
            author,
            record.time,
            tuple(_head(state, stamp, device_names) for stamp in views[node].heads) if node in views else (),
            record.deleted,
        )
        inside.setdefault(seat.parent, []).append(candidate)
    return inside


def _head(state: State, stamp: Stamp, device_names: Mapping[DeviceId, str]) -> Head:
    return Head(stamp, _device_name(stamp, device_names), state.by_stamp[stamp].time)


def content_key(version: VersionRecord) -> bytes:
    """Bytes that are equal for versions of equal content."""
    return content_digest(version.size, version.depth, version.body)


def _device_name(stamp: Stamp, device_names: Mapping[DeviceId, str]) -> str:
    device = device_of(stamp)
    return device_names.get(device) or device.hex()[:8]


def _shown_node(state: State, node: NodeId, entry: Shown | None, head: Stamp | None) -> ShownNode:
    fields = tuple((group, _plain(value)) for group, (_, value) in sorted(state.nodes.get(node, {}).items()))
    return ShownNode(node, state.kind(node) or 0, head, fields, entry)


def _plain(value: object) -> object:
    return tuple(sorted(value.items())) if isinstance(value, dict) else value
