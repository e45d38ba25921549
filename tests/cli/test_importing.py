"""An import brings everything along, and says so where it cannot."""

import os
import socket
import stat
from pathlib import Path

import pytest

from syncfs.cli.importing import Progress, count_tree, import_tree
from syncfs.model.errors import SetupError, UsageError
from tests.cli.memory_tree import MemoryTree

NOWHERE = Path("/nonexistent")


async def imported(source: Path, leave_out: Path = NOWHERE) -> tuple[MemoryTree, Progress]:
    tree, progress = MemoryTree(), count_tree(source, leave_out)
    await import_tree(tree, source, leave_out, progress, lambda now: None)
    return tree, progress


async def test_metadata_and_links_come_along(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "file").write_bytes(b"content")
    (source / "a" / "b" / "file").chmod(0o4751)
    os.setxattr(source / "a" / "b" / "file", "user.note", b"hello")
    os.utime(source / "a" / "b" / "file", ns=(1_000_000_001, -5_000_000_007))
    os.link(source / "a" / "b" / "file", source / "z")
    (source / "way").symlink_to("a/b/file")
    os.mkfifo(source / "pipe")
    (source / "pipe").chmod(0o620)
    os.utime(source / "a", ns=(3, 7_000_000_003))
    os.utime(source, ns=(3, 9_000_000_009))
    tree, progress = await imported(source)
    file = tree.at("a/b/file")
    assert tree.at("z") is file and file.attributes.nlink == 2
    assert (bytes(file.content), file.xattrs) == (b"content", {b"user.note": b"hello"})
    assert (file.attributes.mode, file.attributes.uid) == (stat.S_IFREG | 0o4751, os.getuid())
    assert (file.attributes.atime, file.attributes.mtime) == (1_000_000_001, -5_000_000_007)
    assert tree.at("way").target == b"a/b/file"
    assert tree.at("pipe").attributes.mode == stat.S_IFIFO | 0o620
    assert tree.at("a").attributes.mtime == 7_000_000_003
    assert tree.getattr(1).mtime == 9_000_000_009
    assert (progress.entries, progress.bytes) == (progress.total_entries, progress.total_bytes) == (6, 14)
    assert tree.released == 1


async def test_holes_stay_holes_and_content_is_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    content = os.urandom(3_000_001)
    (source / "big").write_bytes(content)
    with (source / "sparse").open("wb") as sparse:
        sparse.seek(8 << 20)
        sparse.write(b"tail")
        sparse.truncate(20 << 20)
    tree, progress = await imported(source)
    assert bytes(tree.at("big").content) == content
    sparse_content = bytes(tree.at("sparse").content)
    assert len(sparse_content) == 20 << 20
    assert sparse_content[8 << 20 : (8 << 20) + 4] == b"tail"
    assert sparse_content.count(0) == (20 << 20) - 4
    assert progress.bytes == progress.total_bytes


async def test_odd_names_and_depth(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / os.fsdecode(b"\xff\xfe")).touch()
    deep = os.open(tmp_path / "s", os.O_RDONLY)
    for _ in range(600):
        os.mkdir(b"d", dir_fd=deep)
        below = os.open(b"d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    tree, progress = await imported(tmp_path / "s")
    assert b"\xff\xfe" in tree.nodes[1].children
    assert progress.entries == 601


async def test_the_home_itself_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "home" / "inner").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    tree, progress = await imported(tmp_path, leave_out=tmp_path / "home")
    assert set(tree.nodes[1].children) == {b"file"}
    assert progress.total_entries == 1


async def test_what_cannot_be_read_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    tree, progress = MemoryTree(), count_tree(tmp_path, NOWHERE)

    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "pread", refused)
    with pytest.raises(SetupError, match=r"file cannot be read \(Permission denied\): allow it"):
        await import_tree(tree, tmp_path, NOWHERE, progress, lambda now: None)
    assert tree.released == 1
    with pytest.raises(UsageError, match="no directory"):
        count_tree(tmp_path / "file", NOWHERE)


async def test_sockets_and_unsupported_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("ear")
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(os, "listxattr", lambda path, follow_symlinks: ["trusted.x"] if path.endswith(b"file") else [])
    monkeypatch.setattr(os, "getxattr", lambda path, name, follow_symlinks: b"1")
    tree, progress = await imported(tmp_path)
    assert stat.S_ISSOCK(tree.at("ear").attributes.mode)
    assert progress.lost_attributes == 1
