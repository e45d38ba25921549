"""The main job: two peers by --peer, whole trees, lazy reading, every kind of change both ways."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import Peer, until
from tests.end_to_end.trees import differences, digest, scan

pytestmark = [pytest.mark.fuse, pytest.mark.root]

MIB = 1024 * 1024


def plant(root: Path) -> None:
    """A small tree with one of everything."""
    root.mkdir()
    for number in range(700):  # more than one slice of records
        directory = root / f"d{number % 7}"
        directory.mkdir(exist_ok=True)
        (directory / f"file {number}").write_bytes(b"%d " % number * (number * 7 % 900))
    (root / "large").write_bytes(os.urandom(9 * MIB + 13))
    (root / "hard").hardlink_to(root / "large")
    (root / "symlink").symlink_to("d1/file 1")
    (root / "dangling").symlink_to("/nowhere")
    (root / "empty").touch()
    (root / "mode").touch()
    os.chown(root / "mode", 1234, 4321)
    (root / "mode").chmod(0o4751)
    os.utime(root / "empty", ns=(1_000_000_000_123_456_789, 981_173_106_987_654_321))
    os.mkfifo(root / "pipe")
    os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.setxattr(root / "mode", "user.note", b"kept \0 too")
    os.setxattr(root / "d1", "user.on.directory", b"1")
    with (root / "sparse").open("wb") as sparse:
        sparse.truncate(33 * MIB)
        sparse.seek(20 * MIB)
        sparse.write(b"in the middle")
    os.mkdir(os.fsencode(root) + b"/not \xff utf-8")  # noqa: PTH102 - bytes


def except_root(told: list[str]) -> list[str]:
    return [line for line in told if not line.startswith(".:")]


def test_the_whole_tree_is_there_when_mount_returns_and_equals_the_source(group: Group, tmp_path: Path) -> None:
    source = tmp_path / "source"
    plant(source)
    first = group.add("first", "", "--from", source)
    second = group.add("second")
    original = scan(source)
    assert scan(second.mount, contents=False).keys() == original.keys()
    assert second.cached() == 0
    assert except_root(differences(original, scan(first.mount))) == []
    assert except_root(differences(original, scan(second.mount))) == []


def test_bytes_come_when_they_are_read(group: Group, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / name).write_bytes(os.urandom(16 * MIB))
    group.add("first", "", "--from", source)
    second = group.add("second")
    assert (second / "a").stat().st_size == 16 * MIB and second.cached() == 0
    with (second / "a").open("rb", buffering=0) as file:
        file.seek(5 * MIB)
        assert file.read(4096) == (source / "a").read_bytes()[5 * MIB : 5 * MIB + 4096]
    assert 0 < second.cached() < 6 * MIB
    assert digest(second / "b") == digest(source / "b")
    assert 16 * MIB <= second.cached() < 24 * MIB


def visible(root: Path) -> dict[str, tuple[object, ...]]:
    """What a tree shows, without the times of directories, which say when they changed here."""
    return {
        path: (entry.mode, entry.uid, entry.gid, entry.digest, entry.target, entry.xattrs, entry.twins)
        for path, entry in scan(root).items()
    }


def _write(root: Path) -> None:
    (root / "new").write_bytes(b"first line\n")


def _append(root: Path) -> None:
    with (root / "new").open("ab") as file:
        file.write(b"x" * 3000)


def _overwrite(root: Path) -> None:
    with (root / "new").open("r+b") as file:
        file.seek(5)
        file.write(b"LINES")


def _grow_large(root: Path) -> None:
    (root / "large").write_bytes(bytes(range(256)) * 16384)


def _change_in_the_middle(root: Path) -> None:
    with (root / "large").open("r+b") as file:
        file.seek(2 * MIB + 77)
        file.write(b"changed")


def _truncate(root: Path) -> None:
    os.truncate(root / "large", MIB + 5)


def _replace(root: Path) -> None:
    (root / "new.tmp").write_text("replaced")
    (root / "new.tmp").rename(root / "new")


def _rename_directory(root: Path) -> None:
    (root / "dir").rename(root / "renamed")


CHANGES: dict[str, Callable[[Path], object]] = {
    "create and write": _write,
    "append": _append,
    "overwrite": _overwrite,
    "chmod": lambda root: (root / "new").chmod(0o640),
    "chown": lambda root: os.chown(root / "new", 77, 88),
    "set an attribute": lambda root: os.setxattr(root / "new", "user.a", b"1"),
    "change an attribute": lambda root: os.setxattr(root / "new", "user.a", b"2"),
    "remove an attribute": lambda root: os.removexattr(root / "new", "user.a"),
    "link": lambda root: (root / "twin").hardlink_to(root / "new"),
    "write through a link": lambda root: (root / "twin").write_text("by its other name"),
    "symlink": lambda root: (root / "pointer").symlink_to("new"),
    "make directories": lambda root: (root / "dir/inner").mkdir(parents=True),
    "write inside": lambda root: (root / "dir/inner/file").write_text("deep"),
    "rename a file": lambda root: (root / "twin").rename(root / "dir/twin"),
    "rename a directory": _rename_directory,
    "replace by rename": _replace,
    "a large file": _grow_large,
    "a change in the middle": _change_in_the_middle,
    "truncate": _truncate,
    "delete": lambda root: (root / "large").unlink(),
    "delete the symlink": lambda root: (root / "pointer").unlink(),
    "delete inside": lambda root: (root / "renamed/inner/file").unlink(),
    "remove a directory": lambda root: (root / "renamed/inner").rmdir(),
}


def walk_through_changes(writer: Peer, reader: Peer) -> None:
    """Do all changes in a new directory on one peer, and see after each that the other shows the same."""
    place = f"changes by {writer.name}"
    (writer / place).mkdir()
    until((reader / place).is_dir, "the directory arrives")
    for what, change in CHANGES.items():
        change(writer / place)
        until(
            lambda: visible(reader / place) == visible(writer / place),
            f"{what} on {writer.name} shows on {reader.name}",
        )
    for path in ("new", "renamed/twin"):
        (writer / place / path).unlink()
    (writer / place / "renamed").rmdir()
    (writer / place).rmdir()
    until(lambda: not (reader / place).exists(), "all is gone again")


def test_every_kind_of_change_shows_on_the_other_side_both_ways(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    walk_through_changes(first, second)
    walk_through_changes(second, first)
    until(lambda: first.status()["in_sync"] and second.status()["in_sync"], "both say that they are in sync")
    for one in (first, second):
        told = one.run("check", "photos", "--json")
        assert (told.code, told.json["problems"]) == (0, [])


def test_times_follow_exactly(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "file").write_text("x")
    (first / "file").chmod(0o600)
    until(lambda: (second / "file").read_text() == "x", "the file arrives")
    for writer, reader in ((first, second), (second, first)):
        moment = 1_600_000_000_000_000_001 + writer.pid
        os.utime(writer / "file", ns=(moment, moment))
        until(lambda: (reader / "file").stat().st_mtime_ns == moment, "utime arrives")  # noqa: B023
        (writer / "file").write_text(f"by {writer.name}")
        wanted = (writer / "file").stat().st_mtime_ns
        until(lambda: (reader / "file").stat().st_mtime_ns == wanted, "the time of a write arrives")  # noqa: B023


def test_what_was_written_while_a_peer_was_away_is_there_when_it_comes_back(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "before").write_text("1")
    until((second / "before").exists, "the file arrives")
    second.stop()
    (first / "meanwhile").write_bytes(b"m" * 300_000)
    (first / "before").unlink()
    second.start("xattr=on")
    until(lambda: (second / "meanwhile").read_bytes() == b"m" * 300_000, "the file written meanwhile arrives")
    until(lambda: not (second / "before").exists(), "the deletion arrives")


def test_a_peer_without_a_single_reachable_peer_mounts_and_writes(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "known").write_text("1")
    until(lambda: (second / "known").read_text() == "1", "the file arrives")
    second.stop()
    first.stop()
    second.start("xattr=on")
    assert (second / "known").read_text() == "1"
    (second / "written alone").write_text("2")
    first.start("xattr=on")
    until(lambda: (first / "written alone").read_text() == "2", "what was written alone arrives")


def test_a_third_peer_hears_through_the_second(group: Group) -> None:
    first, second = group.add("first"), group.add("second")
    group.ports.reverse()
    third = group.add("third", knows=1)  # knows the second only
    (first / "file").write_bytes(b"a" * 5000)
    until((third / "file").exists, "the name arrives through the second")
    until(lambda: third.status()["peers"] >= 1, "the third is linked")
    assert (second / "file").read_bytes() == b"a" * 5000
    assert (third / "file").read_bytes() == b"a" * 5000


def test_a_reader_reads_and_cannot_write(group: Group) -> None:
    first = group.add("first")
    (first / "file").write_text("for all")
    reader = group.add("reader", "read_only")
    until(lambda: (reader / "file").read_text() == "for all", "the file arrives")
    attempts: list[Callable[[], object]] = [
        lambda: (reader / "new").write_text("no"),
        lambda: (reader / "file").open("r+b"),
        (reader / "dir").mkdir,
        (reader / "file").unlink,
        lambda: (reader / "file").rename(reader / "moved"),
        lambda: (reader / "file").chmod(0o600),
        lambda: os.truncate(reader / "file", 0),
        lambda: (reader / "twin").hardlink_to(reader / "file"),
        lambda: (reader / "pointer").symlink_to("file"),
        lambda: os.setxattr(reader / "file", "user.a", b"1"),
        lambda: os.utime(reader / "file"),
    ]
    for number, attempt in enumerate(attempts):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EROFS, number
    assert sorted(path.name for path in first.mount.iterdir()) == ["file"]
    assert (reader.status()["role"], first.status()["role"]) == ("reader", "writer")


def test_one_directory_made_on_both_sides_at_once_holds_what_both_put_there(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    second.stop()
    (first / "work").mkdir()
    (first / "work/by first").write_text("1")
    first.stop()
    second.start("xattr=on")
    (second / "work").mkdir()
    (second / "work/by second").write_text("2")
    first.start("xattr=on")
    for one in (first, second):
        until(
            lambda: sorted(path.name for path in (one / "work").iterdir()) == ["by first", "by second"],  # noqa: B023
            f"{one.name} shows both files",
        )
        assert [(one / "work/by first").read_text(), (one / "work/by second").read_text()] == ["1", "2"]
