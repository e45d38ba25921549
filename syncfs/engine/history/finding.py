"""Finding what a path means, now or in the past, and what a person means by a device or a version."""

from dataclasses import dataclass
from datetime import datetime

from syncfs.index.index import ROOT_INO, Index, VersionRow
from syncfs.index.moment import parts_of
from syncfs.model.errors import UsageError
from syncfs.model.ids import DeviceId, device_of
from syncfs.model.records import THINNED
from syncfs.model.reports import shown_path


@dataclass(frozen=True, slots=True)
class Found:
    """What a path shows, or showed last; `shown` says which. A conflict copy is found as the file it belongs to."""

    ino: int
    shown: bool
    is_copy: bool = False


def find(index: Index, path: bytes) -> Found:
    """What a path shows, or what it showed last. Raises UsageError where there never was anything."""
    found = Found(ROOT_INO, True)
    for name in parts_of(path):
        node = index.lookup(found.ino, name) if found.shown else None
        if node is not None:
            found = Found(node.view_of if node.is_copy and node.view_of else node.ino, True, node.is_copy)
            continue
        row = index.database.read(
            "SELECT ino, stamp FROM links WHERE parent = ?1 AND name = ?2 AND deleted = 1 UNION ALL "
            "SELECT ino, stamp FROM past_links WHERE parent = ?1 AND name = ?2 ORDER BY stamp DESC LIMIT 1",
            (found.ino, name),
        )
        if row is None:
            raise UsageError(f"there is and was no '{shown_path(path)}' in this share: check the path")
        found = Found(row[0], False)
    return found


def kept_versions(index: Index, ino: int) -> list[VersionRow]:
    """The versions of a file whose content is kept, newest first."""
    return [version for version in index.versions_of(ino) if version.depth != THINNED]


def mtime_of(index: Index, version: VersionRow) -> int:
    """The modification time of a content (ns), also where somebody set it while that was current."""
    replaced = min((row.stamp for row in index.versions_of(version.ino) if version.stamp in row.parents), default=None)
    set_to = index.past.mtime_set(index.nodes.must(version.ino), version.stamp, replaced)
    return version.mtime if set_to is None else set_to


def pick_version(index: Index, ino: int, text: str, path: bytes) -> VersionRow:
    """The version whose id begins with `text`. Raises UsageError."""
    matching = [version for version in kept_versions(index, ino) if version.stamp.hex().startswith(text.lower())]
    if len(matching) != 1:
        what = "no version" if not matching else "more than one version"
        raise UsageError(f"'{shown_path(path)}' has {what} '{text}': 'syncfs versions' lists those that are kept")
    return matching[0]


def pick_device(index: Index, text: str) -> DeviceId:
    """The device of that name or that begin of an id. Raises UsageError."""
    names = index.feeds.device_names()
    named = [device for device, name in names.items() if name == text]
    if not named and len(text) >= 4:
        named = [device for device in names if device.hex().startswith(text.lower())]
    if len(named) != 1:
        known = ", ".join(
            f"{name} ({device.hex()[:8]})" for device, name in sorted(names.items(), key=lambda row: row[1])
        )
        what = "no device" if not named else "more than one device"
        raise UsageError(f"this share has {what} '{text}': name one of {known}")
    return named[0]


def device_name(index: Index, stamp: bytes) -> str:
    """Who wrote the record of a stamp, as people call it."""
    device = device_of(stamp)  # type: ignore[arg-type]
    return index.feeds.device_names().get(device) or device.hex()[:8]


def nanoseconds(when: datetime) -> int:
    """A time as ns since 1970."""
    return int(when.timestamp()) * 10**9 + when.microsecond * 1000
