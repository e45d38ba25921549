"""Hard links with their true count, files that live on without a name, and symlinks."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, names, open_and_close, shape, times_changed


def counts(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"content")
    sub = folder(directory / "sub")
    for number in range(20):
        os.link(path, sub / f"link {number}")
        yield f"after link {number}", path.stat().st_nlink
    yield "all are one", all(os.path.samefile(path, link) for link in sub.iterdir())
    (sub / "link 3").write_bytes(b"through a link")
    (sub / "link 4").chmod(0o600)
    yield "through the first name", (path.read_bytes(), shape(path))
    path.unlink()
    yield "after the first name went", shape(sub / "link 7")
    for number in range(19):
        (sub / f"link {number}").unlink()
    yield "the last", shape(sub / "link 19")


def counts_of_directories(directory: Path) -> Iterator[Seen]:
    """Either 2 and one for each subdirectory, or always 1, is a true count."""
    for number in range(3):
        folder(directory / f"sub {number}")
        filled(directory / f"file {number}")
        yield f"with {number + 1}", directory.stat().st_nlink in (1, number + 3)
    os.rmdir(directory / "sub 1")
    yield "after rmdir", directory.stat().st_nlink in (1, 4)
    yield "of an empty one", (directory / "sub 0").stat().st_nlink in (1, 2)


def impossible_links(directory: Path) -> Iterator[Seen]:
    path, place = filled(directory / "file"), folder(directory / "place")
    (directory / "dangling").symlink_to("nowhere")
    yield "to a directory", attempt(os.link, place, directory / "new")
    yield "over a file", attempt(os.link, path, path)
    yield "over a directory", attempt(os.link, path, place)
    yield "over a dangling symlink", attempt(os.link, path, directory / "dangling")
    yield "of nothing", attempt(os.link, directory / "nothing", directory / "new")
    yield "into a file", attempt(os.link, path, path / "new")
    yield "into nothing", attempt(os.link, path, directory / "nothing" / "new")
    yield "of a name too long", attempt(os.link, directory / ("n" * 256), directory / "new")
    yield "to a name too long", attempt(os.link, path, directory / ("n" * 256))
    yield (
        "of a symlink, not followed",
        attempt(os.link, directory / "dangling", directory / "new", follow_symlinks=False),
    )
    yield "which is", (shape(directory / "new"), os.readlink(directory / "new"))
    yield "of a symlink, followed", attempt(os.link, directory / "dangling", directory / "new2", follow_symlinks=True)
    yield "left", names(directory)


def links_of_special_files(directory: Path) -> Iterator[Seen]:
    os.mkfifo(directory / "fifo")
    os.mknod(directory / "socket", stat.S_IFSOCK | 0o600)
    for kind in ("fifo", "socket"):
        os.link(directory / kind, directory / f"{kind} link")
        yield kind, (shape(directory / kind), shape(directory / f"{kind} link"))


def times_of_links(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    yield "file linked", times_changed(path, lambda: os.link(path, directory / "link"))
    yield "directory linked into", times_changed(directory, lambda: os.link(path, directory / "link 2"))
    yield "file unlinked", times_changed(path, lambda: os.unlink(directory / "link"))
    yield "directory unlinked from", times_changed(directory, lambda: os.unlink(directory / "link 2"))


def open_without_a_name(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"content", 0o644)
    descriptor = os.open(path, os.O_RDWR)
    second = os.open(path, os.O_RDONLY)
    path.unlink()
    yield "no name", (names(directory), shape(descriptor))
    yield "read", os.pread(descriptor, 100, 0)
    yield "written", (os.pwrite(descriptor, b"more" * 50_000, 7), os.fstat(descriptor).st_size)
    yield "seen by the other", os.pread(second, 10, 5)
    os.ftruncate(descriptor, 9)
    os.fchmod(descriptor, 0o600)
    os.utime(descriptor, ns=(5, 6))
    os.fsync(descriptor)
    found = os.fstat(descriptor)
    yield "changed", (shape(descriptor), found.st_atime_ns, found.st_mtime_ns)
    yield "named again", attempt(os.link, f"/proc/self/fd/{descriptor}", directory / "again", follow_symlinks=True)
    yield "opened again", os.read(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY), 100)
    yield "annotated", attempt(os.setxattr, descriptor, "user.note", b"note")
    yield "the note", attempt(os.getxattr, descriptor, "user.note")
    filled(path, b"another")
    yield "a new file of that name", (path.read_bytes(), os.pread(descriptor, 100, 0))
    os.close(descriptor)
    yield "the other still reads", os.pread(second, 100, 0)
    os.close(second)
    yield "then", names(directory)


def replaced_while_open(directory: Path) -> Iterator[Seen]:
    old, new = filled(directory / "name", b"old"), filled(directory / "new", b"new")
    descriptor = os.open(old, os.O_RDWR)
    os.rename(new, old)
    yield "open file", (os.pread(descriptor, 10, 0), os.fstat(descriptor).st_nlink)
    os.pwrite(descriptor, b"OLD", 0)
    yield "name", old.read_bytes()
    os.close(descriptor)


def directory_without_a_name(directory: Path) -> Iterator[Seen]:
    place = folder(directory / "place")
    descriptor = os.open(place, os.O_RDONLY)
    place.rmdir()
    yield "listed", attempt(os.listdir, descriptor)
    yield "file made in it", attempt(os.open, "new", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)
    yield "directory made in it", attempt(os.mkdir, "new", dir_fd=descriptor)
    yield "mode changed", attempt(os.fchmod, descriptor, 0o700)
    place.mkdir()
    yield "another of that name", os.path.samestat(os.fstat(descriptor), place.stat())
    os.close(descriptor)


def symlinks(directory: Path) -> Iterator[Seen]:
    filled(directory / "file", b"content")
    folder(directory / "place")
    targets: dict[str, str | bytes] = {
        "file": "file",
        "directory": "place",
        "dangling": "nowhere",
        "absolute": "/nowhere/at/all",
        "dot": ".",
        "odd bytes": b"\xff\xfe\n \\",
        "long": "t" * 4095,
        "far up": "../" * 30,
    }
    for label, target in targets.items():
        path = directory / f"to {label}"
        os.symlink(target, path)
        found = path.lstat()
        yield label, (os.readlink(os.fsencode(path)), stat.filemode(found.st_mode), found.st_size, found.st_nlink)
    yield "too long", attempt(os.symlink, "t" * 4096, directory / "new")
    yield "empty", attempt(os.symlink, "", directory / "new")
    yield "over a file", attempt(os.symlink, "x", directory / "file")
    yield "readlink of a file", attempt(os.readlink, directory / "file")
    for label in ("file", "directory", "dangling", "long"):
        path = directory / f"to {label}"
        yield f"{label} opened", attempt(open_and_close, path, os.O_RDONLY)
        yield f"{label} not followed", attempt(open_and_close, path, os.O_RDONLY | os.O_NOFOLLOW)
        yield f"{label} created exclusively", attempt(open_and_close, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        yield f"{label} rmdir", attempt(os.rmdir, path)
        yield f"{label} mkdir", attempt(os.mkdir, path)
        yield f"{label} with a slash", attempt(os.lstat, f"{path}/") in ("ENOENT", "ENOTDIR", "ENAMETOOLONG")
    os.symlink("loop b", directory / "loop a")
    os.symlink("loop a", directory / "loop b")
    yield "loop", attempt(open_and_close, directory / "loop a", os.O_RDONLY)
    yield "created through a dangling one", attempt(open_and_close, directory / "to dangling", os.O_CREAT | os.O_WRONLY)
    yield "then", names(directory)


CASES = tuple(
    Case(observe)
    for observe in (
        counts,
        counts_of_directories,
        impossible_links,
        links_of_special_files,
        times_of_links,
        open_without_a_name,
        replaced_while_open,
        directory_without_a_name,
        symlinks,
    )
)
