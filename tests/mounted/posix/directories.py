"""Directories: making and removing them, and listings that hold while the directory changes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, names
from tests.mounted.posix.system_calls import Entry, getdents64, list_directory

MANY = 5_000
VERY_MANY = 100_000
_DOTS = (b".", b"..")


def making_and_removing(directory: Path) -> Iterator[Seen]:
    file, full = filled(directory / "file"), folder(directory / "full")
    filled(full / "inside")
    (directory / "link").symlink_to("full")
    (directory / "dangling").symlink_to("nowhere")
    for name in ("file", "full", "link", "dangling", "nothing/new", "file/new"):
        yield f"mkdir {name}", attempt(os.mkdir, directory / name)
    for name in ("file", "full", "link", "dangling", "nothing", "file/new", "full/."):
        yield f"rmdir {name}", attempt(os.rmdir, f"{directory}/{name}")
    yield "rmdir full/..", attempt(os.rmdir, f"{directory}/full/..") in ("ENOTEMPTY", "EEXIST")
    yield "unlink of a directory", attempt(os.unlink, full)
    os.unlink(full / "inside")
    yield "rmdir once empty", attempt(os.rmdir, full)
    os.chdir(folder(directory / "here"))
    os.rmdir(directory / "here")
    yield "in a removed directory", (attempt(os.listdir, "."), attempt(os.mkdir, "new"), attempt(os.getcwd))
    os.chdir(directory)
    yield "left", (names(directory), file.exists())


def entries(directory: Path) -> Iterator[Seen]:
    """Each entry tells the kind and the inode that stat tells; the two dots are there."""
    filled(directory / "file")
    folder(directory / "folder")
    (directory / "symlink").symlink_to("nowhere")
    os.mkfifo(directory / "fifo")
    os.mknod(directory / "socket", stat.S_IFSOCK | 0o600)
    os.link(directory / "file", directory / "link")
    descriptor = os.open(directory, os.O_RDONLY)
    found = {entry.name: entry for entry in list_directory(descriptor)}
    yield "names", sorted(found)
    for name in sorted(found):
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        kind = found[name].kind
        yield f"kind of {name!r}", kind in (0, stat.S_IFMT(status.st_mode) >> 12)
        if name != b"..":
            yield f"inode of {name!r}", found[name].inode == status.st_ino
    yield "a buffer too small", attempt(getdents64, os.open(directory, os.O_RDONLY), 10)
    os.close(descriptor)


def _populate(directory: Path, count: int) -> set[bytes]:
    expected = {b"entry %06d" % number for number in range(count)}
    descriptor = os.open(directory, os.O_RDONLY)
    for name in expected:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    return expected


def _step_through(descriptor: int, size: int = 1024) -> Iterator[list[Entry]]:
    while entries := getdents64(descriptor, size):
        yield entries


def _stable_listing(directory: Path, count: int) -> Iterator[Seen]:
    """While half the names go and new ones come, every name that stays is listed exactly once."""
    expected = _populate(directory, count)
    doomed = {name for name in expected if name.endswith((b"1", b"3", b"5", b"7", b"9"))}
    descriptor = os.open(directory, os.O_RDONLY)
    seen: list[bytes] = []
    removed: set[bytes] = set()
    waiting = sorted(doomed)
    for number, step in enumerate(_step_through(descriptor)):
        seen.extend(entry.name for entry in step)
        for name in (waiting.pop() for _ in range(min(len(waiting), 30))):
            os.unlink(name, dir_fd=descriptor)
            removed.add(name)
        if number < 20:  # for ever, the listing would never end where new names come last
            os.close(os.open(b"new %06d" % number, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    staying = expected - removed
    yield "all that stayed were listed", staying <= set(seen)
    yield "nothing was listed twice", len(seen) == len(set(seen))
    yield "nothing else was listed", all(name in expected or name in _DOTS or name.startswith(b"new ") for name in seen)
    os.lseek(descriptor, 0, os.SEEK_SET)
    again = {entry.name for entry in list_directory(descriptor)} - set(_DOTS)
    yield "the next listing is true", again == set(names(directory)) and not again & removed
    os.close(descriptor)


def listing_while_changing(directory: Path) -> Iterator[Seen]:
    yield from _stable_listing(directory, 1_000)


def removing_while_listing(directory: Path) -> Iterator[Seen]:
    """What `rm -r` does: each entry is removed as soon as it is listed."""
    _populate(directory, 1_000)
    descriptor = os.open(directory, os.O_RDONLY)
    for step in _step_through(descriptor):
        for entry in step:
            if entry.name not in _DOTS:
                os.unlink(entry.name, dir_fd=descriptor)
    yield "left", names(directory)
    os.close(descriptor)


def renaming_while_listing(directory: Path) -> Iterator[Seen]:
    """Each entry is renamed away and back as soon as it is listed: the listing ends all the same."""
    _populate(directory, 500)
    descriptor, count = os.open(directory, os.O_RDONLY), 0
    for step in _step_through(descriptor):
        for entry in step:
            if entry.name not in _DOTS and count < 5_000:
                count += 1
                os.rename(entry.name, b"away", src_dir_fd=descriptor, dst_dir_fd=descriptor)
                os.rename(b"away", entry.name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    yield "each was listed, about once", 500 <= count < 1_000
    os.close(descriptor)


def offsets(directory: Path) -> Iterator[Seen]:
    """A place in a listing leads to the same entries later, though others came and went."""
    _populate(directory, 300)
    descriptor = os.open(directory, os.O_RDONLY)
    order = list(list_directory(descriptor))
    yield "offsets are different", len({entry.offset for entry in order}) == len(order)
    for place in (0, 1, 2, 50, 150, 298):
        os.lseek(descriptor, order[place].offset, os.SEEK_SET)
        following = [entry.name for entry in list_directory(descriptor)]
        yield f"after entry {place}", following == [entry.name for entry in order[place + 1 :]]
    for entry in order[2:200:2]:
        if entry.name not in _DOTS:
            os.unlink(entry.name, dir_fd=descriptor)
    left = set(names(directory))
    for place in (2, 100, 199):
        os.lseek(descriptor, order[place].offset, os.SEEK_SET)
        following = [entry.name for entry in list_directory(descriptor)]
        expected = [entry.name for entry in order[place + 1 :] if entry.name in left or entry.name in _DOTS]
        yield f"after entry {place}, which may be gone", following == expected
    os.lseek(descriptor, order[-1].offset, os.SEEK_SET)
    yield "after the last", list(list_directory(descriptor))
    os.close(descriptor)


def two_listings(directory: Path) -> Iterator[Seen]:
    expected = _populate(directory, 200)
    first, second = os.open(directory, os.O_RDONLY), os.open(directory, os.O_RDONLY)
    seen: tuple[list[bytes], list[bytes]] = ([], [])
    running = True
    while running:
        running = False
        for descriptor, found in zip((first, second), seen, strict=True):
            step = getdents64(descriptor, 512)
            found.extend(entry.name for entry in step)
            running |= bool(step)
    yield "both are whole", [set(found) - set(_DOTS) == expected and len(found) == 202 for found in seen]
    os.close(first)
    os.close(second)


def _many(directory: Path, count: int) -> Iterator[Seen]:
    place = folder(directory / "many")
    expected = _populate(place, count)
    yield "listed", set(names(place)) == expected
    yield "found", all((place / f"entry {number:06d}").exists() for number in range(0, count, 97))
    yield "not found", attempt(os.stat, place / "entry")
    with os.scandir(place) as scan:
        yield "all are files", sum(entry.is_file(follow_symlinks=False) for entry in scan)
    yield "rmdir", attempt(os.rmdir, place)
    os.rename(place, directory / "moved")
    yield "moved", len(os.listdir(directory / "moved"))
    for name in os.listdir(directory / "moved"):
        os.unlink(directory / "moved" / name)
    yield "emptied", attempt(os.rmdir, directory / "moved")


def many_entries(directory: Path) -> Iterator[Seen]:
    yield from _many(directory, MANY)


def very_many_entries(directory: Path) -> Iterator[Seen]:
    yield from _many(directory, VERY_MANY)


def very_many_entries_changing(directory: Path) -> Iterator[Seen]:
    yield from _stable_listing(directory, VERY_MANY)


CASES = (
    Case(making_and_removing),
    Case(entries),
    Case(listing_while_changing),
    Case(removing_while_listing),
    Case(renaming_while_listing),
    Case(offsets),
    Case(two_listings),
    Case(many_entries),
    Case(very_many_entries, soak=True),
    Case(very_many_entries_changing, soak=True),
)
