"""Journals that an earlier process left behind: what of them still has to be taken in, and over which version.

A journal goes over the version in its header, or over the last version of which it has a mark. Removing a journal, and
giving back a part of it, is not made durable, so one may come back with a loss of power: it is stale where a version of
this device has followed the one that it goes over.
"""

from dataclasses import dataclass

import msgspec

from syncfs.engine.writing.journals import Header, Mark
from syncfs.index.index import Index
from syncfs.model.ids import DeviceId, Stamp, device_of
from syncfs.store.journal import Extent, JournalDamage, Marked, Replay, Truncated


@dataclass(frozen=True, slots=True)
class Left:
    """What counts of a journal: the versions that it goes over, what was written to them, and what of it is broken."""

    base: tuple[Stamp, ...]
    entries: tuple[Extent | Truncated, ...]
    damage: tuple[JournalDamage, ...]


def counted(index: Index, device: DeviceId, found: Replay, header: Header) -> Left | None:
    """What of a journal no version of this device has taken in already; None where nothing is left."""
    ino = index.nodes.ino_of(header.node)
    if ino is None or (index.nodes.must(ino).nlink == 0 and index.taken_by(ino) == device):
        return None
    own = [version for version in index.versions_of(ino) if device_of(version.stamp) == device]
    made = {Mark(version.size, version.mtime, version.time): version.stamp for version in own}
    base, start, position, size = tuple(map(Stamp, header.base)), None if header.partial else 0, 0, header.size
    for number, entry in enumerate(found.entries):
        if isinstance(entry, Marked):
            mark = msgspec.msgpack.decode(entry.data, type=Mark)
            stamp = made.get(mark)
            if stamp is not None:
                base, start, position, size = (stamp,), number, entry.position, mark.size
    followed = any(set(version.parents) & set(base) or (not base and not version.parents) for version in own)
    if start is None or followed:
        return None
    entries = tuple(entry for entry in found.entries[start:] if not isinstance(entry, Marked))
    damage = tuple(one for one in found.damage if one.position >= position)
    if not damage and all(isinstance(entry, Truncated) and entry.size == size for entry in entries):
        return None
    return Left(base, entries, damage)
