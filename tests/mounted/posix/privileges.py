"""Set-id bits and file capabilities end when the file changes; who may keep them is the kernel's word."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.mounted.posix.acting import OWNER, ROOT, STRANGER, User, attempt, call_as
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, mode, open_and_close

SET_IDS = (0o4777, 0o2777, 0o6777, 0o2767, 0o6767, 0o7777)
"""2767 has setgid without the group's x bit: not a privilege, and kept where the kernel keeps it."""
PEOPLE: dict[str, User] = {"root": ROOT, "owner": OWNER, "stranger": STRANGER}


def _overwrite(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY)
    return os.write(descriptor, b"changed")


def _write_nothing(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY)
    return os.write(descriptor, b"")


def _append(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    return os.write(descriptor, b"changed")


def _write_direct(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_SYNC)
    return os.pwrite(descriptor, b"changed", 4096)


def _shorten(path: Path) -> None:
    os.truncate(path, 2)


def _shorten_open(path: Path) -> None:
    os.ftruncate(os.open(path, os.O_WRONLY), 2)


def _empty(path: Path) -> str:
    return open_and_close(path, os.O_WRONLY | os.O_TRUNC)


CHANGES: dict[str, Callable[[Path], object]] = {
    "overwritten": _overwrite,
    "written with nothing": _write_nothing,
    "appended": _append,
    "written in sync": _write_direct,
    "truncated": _shorten,
    "truncated while open": _shorten_open,
    "emptied by opening": _empty,
}


def cleared_by_writing(directory: Path) -> Iterator[Seen]:
    for bits in SET_IDS:
        for change, act in CHANGES.items():
            for who, user in PEOPLE.items():
                path = filled(directory / f"{bits:o} {change} {who}", b"content", bits, (OWNER.uid, OWNER.gid))
                yield f"{bits:o} {change} by {who}", (call_as(user, act, path), mode(path))


def cleared_by_chown(directory: Path) -> Iterator[Seen]:
    changes = {
        "owner": (STRANGER.uid, -1),
        "group": (-1, STRANGER.gid),
        "his group": (-1, OWNER.groups[0]),
        "none": (-1, -1),
    }
    for bits in SET_IDS:
        for change, ids in changes.items():
            for who, user in PEOPLE.items():
                path = filled(directory / f"{bits:o} {change} {who}", b"content", bits, (OWNER.uid, OWNER.gid))
                yield f"{bits:o} {change} changed by {who}", (call_as(user, os.chown, path, *ids), mode(path))
                place = folder(directory / f"{bits:o} {change} {who} folder", bits, (OWNER.uid, OWNER.gid))
                yield f"{bits:o} {change} of directory by {who}", (call_as(user, os.chown, place, *ids), mode(place))


def kept_while_nothing_changes(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"content", 0o6755, (OWNER.uid, OWNER.gid))
    os.link(path, directory / "link")
    os.rename(path, directory / "moved")
    os.utime(directory / "moved", (1, 1))
    (directory / "moved").read_bytes()
    attempt(os.setxattr, directory / "moved", "user.note", b"x")
    os.sync()
    yield "after link, rename, utime, read, setxattr", mode(directory / "moved")


def capabilities_cleared(directory: Path) -> Iterator[Seen]:
    """security.capability goes with the first change of content or owner, whoever makes it."""
    capability = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
    for change, act in {**CHANGES, "chowned": lambda path: os.chown(path, STRANGER.uid, -1)}.items():
        path = filled(directory / change, b"content", 0o755)
        yield f"capability set before {change}", attempt(os.setxattr, path, "security.capability", capability)
        yield f"{change} by root", attempt(act, path)
        yield f"capability after {change}", attempt(os.getxattr, path, "security.capability")


CASES = (
    Case(cleared_by_writing, root=True),
    Case(cleared_by_chown, root=True),
    Case(kept_while_nothing_changes, root=True),
    Case(capabilities_cleared, root=True),
)
