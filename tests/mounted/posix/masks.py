"""The umask, and access control lists: what new files inherit, what chmod does to a list, whom a list lets in."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acl import (
    ACCESS,
    DEFAULT,
    GROUP,
    GROUP_BITS,
    MASK,
    OTHER,
    OWNER_BITS,
    USER,
    Entries,
    entry,
    get_acl,
    pack,
    set_acl,
)
from tests.mounted.posix.acting import BY_GROUP, OWNER, STRANGER, attempt, call_as
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, mode, open_and_close, shape

MINIMAL: Entries = (entry(OWNER_BITS, 7), entry(GROUP_BITS, 5), entry(OTHER, 1))
NAMED: Entries = (
    entry(OWNER_BITS, 7),
    entry(USER, 6, STRANGER.uid),
    entry(GROUP_BITS, 4),
    entry(GROUP, 5, BY_GROUP.groups[0]),
    entry(MASK, 7),
    entry(OTHER, 0),
)


def umask(directory: Path) -> Iterator[Seen]:
    for mask in (0o000, 0o022, 0o027, 0o077, 0o777):
        for bits in (0o000, 0o644, 0o666, 0o777, 0o7777):
            label = f"{bits:o} under {mask:o}"
            os.umask(mask)
            descriptor = os.open(directory / f"{label} file", os.O_CREAT | os.O_WRONLY, bits)
            yield f"{label} open file", shape(descriptor)
            os.close(descriptor)
            os.mkdir(directory / f"{label} folder", bits)
            os.mkfifo(directory / f"{label} fifo", bits)
            os.mknod(directory / f"{label} node", stat.S_IFREG | bits)
            os.symlink("anywhere", directory / f"{label} symlink")
            os.umask(0o022)
            for kind in ("file", "folder", "fifo", "node", "symlink"):
                yield f"{label} {kind}", shape(directory / f"{label} {kind}")


def chmod_without_umask(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    os.umask(0o777)
    path.chmod(0o666)
    os.umask(0o022)
    yield "chmod under 777", mode(path)


def lists(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"", 0o640)
    yield "without a list", attempt(get_acl, path, ACCESS)
    set_acl(path, ACCESS, MINIMAL)
    yield "a list as small as a mode becomes one", (mode(path), attempt(get_acl, path, ACCESS))
    set_acl(path, ACCESS, NAMED)
    yield "a list with names", (mode(path), get_acl(path, ACCESS), os.listxattr(path))
    path.chmod(0o710)
    yield "after chmod 710", (mode(path), get_acl(path, ACCESS))
    path.chmod(0o777)
    yield "after chmod 777", (mode(path), get_acl(path, ACCESS))
    os.removexattr(path, ACCESS)
    yield "after removing it", (mode(path), attempt(get_acl, path, ACCESS))
    yield "removed again", attempt(os.removexattr, path, ACCESS)
    yield "a default for a file", attempt(set_acl, path, DEFAULT, MINIMAL)
    yield "a default of a file", attempt(get_acl, path, DEFAULT)


def impossible_lists(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    wrong: dict[str, bytes] = {
        "without the owner": pack(MINIMAL[1:]),
        "names without a mask": pack((*NAMED[:4], NAMED[5])),
        "in the wrong order": pack((MINIMAL[1], MINIMAL[0], MINIMAL[2])),
        "a user twice": pack((NAMED[0], NAMED[1], NAMED[1], *NAMED[2:])),
        "bits beyond rwx": pack((entry(OWNER_BITS, 15), *MINIMAL[1:])),
        "an unknown tag": pack((*MINIMAL, entry(0x40, 7))),
        "an unknown version": b"\x03" + pack(MINIMAL)[1:],
        "cut short": pack(MINIMAL)[:-3],
        "three bytes": b"abc",
    }
    for label, value in wrong.items():
        yield label, (attempt(os.setxattr, path, ACCESS, value), attempt(get_acl, path, ACCESS))


def who_is_let_in(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"content", 0o640, (OWNER.uid, OWNER.gid))
    for label, entries in {"named": NAMED, "masked": (*NAMED[:4], entry(MASK, 4), NAMED[5])}.items():
        set_acl(path, ACCESS, entries)
        for who, user in (("owner", OWNER), ("stranger", STRANGER), ("by group", BY_GROUP)):
            for wish, flags in (("reads", os.O_RDONLY), ("writes", os.O_WRONLY)):
                yield f"{label}: {who} {wish}", call_as(user, open_and_close, path, flags)
    yield "a stranger changes the list", call_as(STRANGER, set_acl, path, ACCESS, MINIMAL)
    yield "the owner changes the list", call_as(OWNER, set_acl, path, ACCESS, MINIMAL)
    yield "the list then", (mode(path), attempt(get_acl, path, ACCESS))


def defaults(directory: Path) -> Iterator[Seen]:
    place = folder(directory / "place", 0o755)
    yield "none", attempt(get_acl, place, DEFAULT)
    set_acl(place, DEFAULT, NAMED)
    yield "set", (mode(place), get_acl(place, DEFAULT), attempt(get_acl, place, ACCESS))
    yield from _inherited(place, 0o000)
    os.removexattr(place, DEFAULT)
    yield "removed", attempt(get_acl, place, DEFAULT)
    (place / "after").mkdir()
    yield "made after it was removed", attempt(get_acl, place / "after", DEFAULT)


def defaults_instead_of_umask(directory: Path) -> Iterator[Seen]:
    """Where a directory has a default list, the umask does not count."""
    for label, entries in {"minimal": MINIMAL, "named": NAMED}.items():
        place = folder(directory / label)
        set_acl(place, DEFAULT, entries)
        yield from ((f"{label}: {what}", seen) for what, seen in _inherited(place, 0o077))


def _inherited(place: Path, mask: int) -> Iterator[Seen]:
    os.umask(mask)
    for bits in (0o666, 0o600, 0o777):
        open_and_close(place / f"{bits:o} file", os.O_CREAT | os.O_WRONLY, bits)
        os.mkdir(place / f"{bits:o} folder", bits)
        os.mkfifo(place / f"{bits:o} fifo", bits)
    os.symlink("anywhere", place / "symlink")
    os.umask(0o022)
    for bits in (0o666, 0o600, 0o777):
        for kind in ("file", "folder", "fifo"):
            path = place / f"{bits:o} {kind}"
            yield f"{bits:o} {kind}", (mode(path), attempt(get_acl, path, ACCESS), attempt(get_acl, path, DEFAULT))
    yield "symlink", mode(place / "symlink")


CASES = (
    Case(umask),
    Case(chmod_without_umask),
    Case(lists),
    Case(impossible_lists),
    Case(who_is_let_in, root=True),
    Case(defaults),
    Case(defaults_instead_of_umask),
)
