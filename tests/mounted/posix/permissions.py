"""Who may do what: permission bits, directories, the sticky bit, owners. All of it needs root to become others."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import BY_GROUP, MEMBER, OWNER, ROOT, STRANGER, attempt, call_as
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, mode, open_and_close, shape
from tests.mounted.posix.system_calls import UTIME_NOW, utimensat

PEOPLE = {"owner": OWNER, "member": MEMBER, "by group": BY_GROUP, "stranger": STRANGER, "root": ROOT}
OURS = (OWNER.uid, OWNER.gid)


def file_bits(directory: Path) -> Iterator[Seen]:
    for bits in (0o000, 0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001, 0o640, 0o604, 0o077, 0o777):
        path = filled(directory / f"{bits:03o}", b"#!/bin/true\n", bits, OURS)
        for who, user in PEOPLE.items():
            wishes = {"read": os.O_RDONLY, "write": os.O_WRONLY, "both": os.O_RDWR}
            for wish, flags in wishes.items():
                yield f"{bits:03o} {who} {wish}", call_as(user, open_and_close, path, flags)
            yield f"{bits:03o} {who} access x", call_as(user, lambda path=path: os.access(path, os.X_OK))


def execution(directory: Path) -> Iterator[Seen]:
    program = Path("/bin/true").read_bytes()
    for bits in (0o700, 0o710, 0o701, 0o644, 0o111):
        path = filled(directory / f"{bits:03o}", program, bits, OURS)
        for who, user in PEOPLE.items():
            yield (
                f"{bits:03o} {who} runs it",
                call_as(user, lambda path=path: subprocess.run([path], check=False).returncode),
            )


def directory_bits(directory: Path) -> Iterator[Seen]:
    for bits in (0o700, 0o070, 0o007, 0o444, 0o111, 0o333, 0o555, 0o770):
        place = folder(directory / f"{bits:03o}")
        filled(place / "inside", b"x", 0o666, OURS)
        os.chown(place, *OURS)
        place.chmod(bits)
        for who, user in PEOPLE.items():
            label = f"{bits:03o} {who}"
            yield f"{label} lists", call_as(user, _listed, place)
            yield f"{label} stats inside", call_as(user, lambda p=place: bool(os.stat(p / "inside")))
            yield f"{label} stats nothing", call_as(user, lambda p=place: bool(os.stat(p / "nothing")))
            yield (
                f"{label} creates",
                call_as(user, open_and_close, place / f"by {who}", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
            )
            yield f"{label} makes", call_as(user, os.mkdir, place / f"made by {who}")
            yield f"{label} links", call_as(user, os.link, place / "inside", place / f"linked by {who}")
            yield f"{label} renames", call_as(user, os.rename, place / f"by {who}", place / f"moved by {who}")
            yield f"{label} removes", call_as(user, os.unlink, place / f"moved by {who}")
            yield f"{label} goes in", call_as(user, os.chdir, place)


def _listed(place: Path) -> list[str]:
    return sorted(os.listdir(place))


def sticky_directories(directory: Path) -> Iterator[Seen]:
    """Whoever may write in a sticky directory removes and renames only what is his, or everything if it is his."""
    for who, user in PEOPLE.items():
        for bits in (0o777, 0o1777):
            for owner_name, owner in (("stranger", STRANGER), ("owner", OWNER), ("root", ROOT)):
                label = f"{who} in {bits:o} of {owner_name}"
                place = folder(directory / label, bits, (owner.uid, owner.gid))
                filled(place / "file", b"", 0o666, (MEMBER.uid, MEMBER.gid))
                filled(place / "target", b"", 0o666, (MEMBER.uid, MEMBER.gid))
                folder(place / "folder", 0o777, (MEMBER.uid, MEMBER.gid))
                yield f"{label} brings his own", call_as(user, open_and_close, place / "own", os.O_CREAT | os.O_WRONLY)
                yield f"{label} renames the other's", call_as(user, os.rename, place / "file", place / "file2")
                yield f"{label} replaces the other's", call_as(user, os.rename, place / "own", place / "target")
                yield f"{label} removes the other's", call_as(user, os.unlink, place / "target")
                yield f"{label} removes the other's folder", call_as(user, os.rmdir, place / "folder")
                yield f"{label} leaves", sorted(os.listdir(place))


def changing_mode(directory: Path) -> Iterator[Seen]:
    for who, user in PEOPLE.items():
        path = filled(directory / who, b"", 0o600, OURS)
        yield f"{who} chmods", call_as(user, os.chmod, path, 0o640)
        yield f"{who} sees", shape(path)
    for who, user in PEOPLE.items():
        path = filled(directory / f"{who} setgid", b"", 0o600, (user.uid, STRANGER.gid if user is OWNER else OWNER.gid))
        yield f"{who} sets the group bit of a group", call_as(user, os.chmod, path, 0o6755)
        yield f"{who} sees after", shape(path)
    for bits in (0o1644, 0o2644, 0o4644, 0o7777, 0o7000):
        path = filled(directory / f"{bits:o}", b"", 0o600, OURS)
        yield f"owner chmods a file to {bits:o}", (call_as(OWNER, os.chmod, path, bits), mode(path))
        place = folder(directory / f"{bits:o} folder", 0o700, OURS)
        yield f"owner chmods a directory to {bits:o}", (call_as(OWNER, os.chmod, place, bits), mode(place))


def changing_owner(directory: Path) -> Iterator[Seen]:
    changes = {
        "to a stranger": (STRANGER.uid, -1),
        "to himself": (OWNER.uid, -1),
        "to his own group": (-1, OWNER.gid),
        "to his other group": (-1, OWNER.groups[0]),
        "to a foreign group": (-1, STRANGER.gid),
        "to nothing new": (-1, -1),
        "to both": (OWNER.uid, OWNER.groups[0]),
    }
    for who, user in PEOPLE.items():
        for change, ids in changes.items():
            path = filled(directory / f"{who} {change}", b"", 0o644, OURS)
            yield f"{who} gives {change}", (call_as(user, os.chown, path, *ids), shape(path))


def inherited_group(directory: Path) -> Iterator[Seen]:
    place = folder(directory / "shared", 0o2777, (0, OWNER.groups[0]))
    for who, user in (("owner", OWNER), ("stranger", STRANGER)):
        yield f"{who} creates", call_as(user, open_and_close, place / f"{who} file", os.O_CREAT | os.O_WRONLY, 0o2775)
        yield f"{who} file", shape(place / f"{who} file")
        yield f"{who} makes", call_as(user, os.mkdir, place / f"{who} folder")
        yield f"{who} folder", shape(place / f"{who} folder")
        yield f"{who} makes a fifo", call_as(user, os.mkfifo, place / f"{who} fifo")
        yield f"{who} fifo", shape(place / f"{who} fifo")
        yield f"{who} makes a symlink", call_as(user, os.symlink, "anywhere", place / f"{who} symlink")
        yield f"{who} symlink", shape(place / f"{who} symlink")
    plain = folder(directory / "plain", 0o777, (0, OWNER.groups[0]))
    yield "created without setgid", call_as(STRANGER, open_and_close, plain / "file", os.O_CREAT | os.O_WRONLY)
    yield "file without setgid", shape(plain / "file")


def setting_times(directory: Path) -> Iterator[Seen]:
    """Any writer may say `now`; only the owner may say when."""
    for bits in (0o644, 0o666):
        for who, user in PEOPLE.items():
            path = filled(directory / f"{who} {bits:o}", b"", bits, OURS)
            yield f"{who} touches {bits:o}", call_as(user, os.utime, path)
            yield f"{who} dates {bits:o}", call_as(user, os.utime, path, (1, 1))
            yield f"{who} half touches {bits:o}", call_as(user, utimensat, path, (0, UTIME_NOW), (7, 0))


def truncating(directory: Path) -> Iterator[Seen]:
    for bits in (0o644, 0o622):
        for who, user in PEOPLE.items():
            path = filled(directory / f"{who} {bits:o}", b"content", bits, OURS)
            yield f"{who} truncates {bits:o}", (call_as(user, os.truncate, path, 3), path.stat().st_size)
            yield f"{who} opens with O_TRUNC {bits:o}", call_as(user, open_and_close, path, os.O_WRONLY | os.O_TRUNC)
            yield f"{who} reads and truncates {bits:o}", call_as(user, open_and_close, path, os.O_RDONLY | os.O_TRUNC)
            yield f"{who} asks for no atime {bits:o}", call_as(user, open_and_close, path, os.O_WRONLY | os.O_NOATIME)


def special_files(directory: Path) -> Iterator[Seen]:
    place = folder(directory / "open", 0o777)
    for who, user in PEOPLE.items():
        for kind, bits in (
            ("fifo", stat.S_IFIFO),
            ("socket", stat.S_IFSOCK),
            ("character", stat.S_IFCHR),
            ("block", stat.S_IFBLK),
        ):
            made = call_as(user, os.mknod, place / f"{who} {kind}", bits | 0o600, os.makedev(1, 3))
            yield f"{who} makes a {kind} node", made
    for who, user in PEOPLE.items():
        yield f"{who} reads a foreign device", call_as(user, open_and_close, place / "root character", os.O_RDONLY)


def an_open_file_stays_open(directory: Path) -> Iterator[Seen]:
    """Permission is asked at open and never again."""
    path = filled(directory / "file", b"content", 0o600, OURS)

    def read_after_chmod() -> bytes:
        descriptor = os.open(path, os.O_RDWR)
        path.chmod(0)
        os.pwrite(descriptor, b"C", 0)
        return os.pread(descriptor, 20, 0)

    yield "read and written after chmod 0", call_as(OWNER, read_after_chmod)
    yield "opened again", call_as(OWNER, open_and_close, path, os.O_RDONLY)
    yield "created without any bit, written at once", call_as(OWNER, _create_closed, directory)
    place = folder(directory / "his", 0o700, OURS)
    yield "created without any bit in his own place", call_as(OWNER, _create_closed, place)
    yield "which is", shape(place / "closed")
    yield "root reads it", attempt((place / "closed").read_bytes)


def _create_closed(directory: Path) -> int:
    descriptor = os.open(directory / "closed", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0)
    return os.write(descriptor, b"written")


CASES = tuple(
    Case(observe, root=True)
    for observe in (
        file_bits,
        execution,
        directory_bits,
        sticky_directories,
        changing_mode,
        changing_owner,
        inherited_group,
        setting_times,
        truncating,
        special_files,
        an_open_file_stays_open,
    )
)
