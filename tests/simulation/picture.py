"""What a node shows, read as a program would read it, and what must be true of it whatever has happened."""

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from syncfs.engine.chunks.content import Content
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import Listed
from syncfs.index.index import ROOT_INO
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import DeviceId
from syncfs.model.records import THINNED
from syncfs.model.tree import State, full_view
from syncfs.wire.segment import decode_segment
from tests.simulation.promises import digest

Picture = dict[bytes, tuple[tuple[str, object], ...]]
"""Each path with what stat, readlink, listxattr and read tell of it."""


@dataclass(frozen=True, slots=True)
class _Shown:
    path: bytes
    parent: int
    listed: Listed


def _walk(share: Share) -> list[_Shown]:
    found: list[_Shown] = []
    waiting = [(ROOT_INO, b"")]
    while waiting:
        ino, path = waiting.pop()
        after = 0
        while page := share.volume.readdir(ino, after):
            for one in page:
                found.append(_Shown(path + b"/" + one.name, ino, one))
                if stat.S_ISDIR(one.attributes.mode):
                    waiting.append((one.attributes.ino, found[-1].path))
            after = page[-1].cookie
        if len(found) > 100_000:
            raise AssertionError("the tree does not end: a folder is inside itself")
    return found


def faults(share: Share) -> list[str]:
    """What is wrong with a tree in the eyes of a POSIX program, at any moment."""
    wrong: list[str] = []
    shown = _walk(share)
    places = Counter((one.parent, one.listed.name) for one in shown)
    wrong += [f"{name!r} is listed {count} times" for (_, name), count in places.items() if count > 1]
    names = Counter(one.listed.attributes.ino for one in shown)
    folders = Counter(one.parent for one in shown if stat.S_ISDIR(one.listed.attributes.mode))
    for one in shown:
        listed = one.listed.attributes
        if share.volume.lookup(one.parent, one.listed.name) != listed or share.volume.getattr(listed.ino) != listed:
            wrong.append(f"{one.path!r}: readdir, lookup and getattr do not agree")
        if stat.S_ISDIR(listed.mode):
            if names[listed.ino] != 1:
                wrong.append(f"{one.path!r}: a folder with {names[listed.ino]} names")
            if share.volume.parent(listed.ino) != one.parent:
                wrong.append(f"{one.path!r}: .. leads elsewhere")
            if listed.nlink != 2 + folders[listed.ino]:
                wrong.append(f"{one.path!r}: nlink {listed.nlink} with {folders[listed.ino]} folders inside")
        elif listed.nlink != names[listed.ino]:
            wrong.append(f"{one.path!r}: nlink {listed.nlink} with {names[listed.ino]} names")
    root = share.volume.getattr(ROOT_INO)
    if root.nlink != 2 + folders[ROOT_INO]:
        wrong.append(f"the root: nlink {root.nlink} with {folders[ROOT_INO]} folders inside")
    return wrong


async def picture(share: Share) -> Picture:
    """All that a node shows, contents included."""
    seen: Picture = {}
    volume = share.volume
    root = volume.getattr(ROOT_INO)
    for path, now in [(b"/", root), *((one.path, one.listed.attributes) for one in _walk(share))]:
        content: object = None
        if stat.S_ISREG(now.mode):
            handle = (await volume.open(now.ino, os.O_RDONLY, 1)).handle
            try:
                data = bytes(await volume.read(handle, 0, 1 << 40))
                content = digest(data).hex() if len(data) == now.size else f"{len(data)} bytes"
            except SyncfsError as error:
                content = f"not to be read: {error}"
            finally:
                await volume.release(handle)
        elif stat.S_ISLNK(now.mode):
            content = volume.readlink(now.ino)
        seen[path] = (
            ("mode", oct(now.mode)),
            ("nlink", now.nlink),
            ("owner", (now.uid, now.gid)),
            ("size", now.size),
            ("mtime", now.mtime),
            ("atime", now.atime),
            ("xattrs", tuple((name, volume.getxattr(now.ino, name)) for name in sorted(volume.listxattr(now.ino)))),
            ("content", content),
        )
    return seen


def differences(one: Picture, other: Picture) -> list[str]:
    """How two pictures differ, in a few lines."""
    lines: list[str] = []
    for path in sorted(one.keys() | other.keys()):
        here, there = one.get(path), other.get(path)
        if here is None or there is None:
            lines.append(f"{path!r} is {'missing' if here is None else 'shown'} here only")
        elif here != there:
            what = [f"{key} {mine!r} against {theirs!r}" for (key, mine), (_, theirs) in zip(here, there, strict=True)
                    if mine != theirs]  # fmt: skip
            lines.append(f"{path!r}: {', '.join(what)}")
    return lines[:6] + ([f"and {len(lines) - 6} more"] if len(lines) > 6 else [])


async def history(shares: Sequence[Share]) -> tuple[set[bytes], list[str]]:
    """The digests of all versions that any of the nodes keeps, and what none of those who keep it could read."""
    found: dict[bytes, bytes | None] = {}
    for share in shares:
        rows = share.index.database.rows("SELECT stamp, size, depth, body FROM versions WHERE depth != ?", (THINNED,))
        for stamp, size, depth, body in rows:
            if found.get(stamp) is None:
                try:
                    found[stamp] = digest(bytes(await Content(size, depth, body, share.chunks).read(0, size)))
                except SyncfsError:
                    found[stamp] = None
    unread = [f"version {stamp.hex()}" for stamp, content in found.items() if content is None]
    return {content for content in found.values() if content is not None}, unread


def model_differences(share: Share) -> list[str]:
    """How what is shown differs from what the model makes of all records that the feeds hold."""
    read = share.member.keys.read
    if read is None:
        return []
    state, index = State(), share.index
    for device in index.feeds.applied():
        for address, *_ in index.feeds.segments_of(device):
            data = index.feeds.segment(address)
            if data is None:
                return [f"a segment of {device.hex()[:8]} is missing"]
            for record in decode_segment(read, data)[1]:
                state.apply(record, device)
    names = {DeviceId(device): name for device, name in index.feeds.device_names().items()}
    model = {
        b"/" + path: (shown.kind, shown.node.hex()[:8], (shown.head or b"").hex()[:24])
        for path, shown in full_view(state, names).items()
        if path
    }
    seen = {}
    for one in _walk(share):
        node = index.nodes.must(one.listed.attributes.ino)
        base = index.nodes.must(node.view_of) if node.is_copy and node.view_of is not None else node
        seen[one.path] = (node.kind, base.node.hex()[:8], (node.head or b"").hex()[:24])
    return [
        f"{path!r} shows {seen.get(path)}, by the rules {model.get(path)}"
        for path in sorted(model.keys() | seen.keys())
        if model.get(path) != seen.get(path)
    ][:6]
