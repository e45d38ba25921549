"""A memory volume through a real mount: every operation does what it says."""

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncfs.mount import table
from tests.mounted.mounting import MemoryMount, memory_mount

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryMount]:
    with memory_mount(tmp_path_factory.mktemp("mount")) as mount:
        yield mount


def test_files_are_written_read_and_truncated(mount: MemoryMount) -> None:
    path = mount / "file"
    path.write_bytes(b"hello " * 100_000)
    assert path.read_bytes() == b"hello " * 100_000
    os.truncate(path, 10)
    assert path.read_bytes() == b"hello hell"
    with path.open("r+b") as file:
        file.seek(20)
        file.write(b"end")
        os.fsync(file.fileno())
    assert path.read_bytes() == b"hello hell" + bytes(10) + b"end"
    with path.open("ab") as file:
        file.write(b"!")
    assert path.stat().st_size == 24
    path.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_an_unlinked_file_can_still_be_used(mount: MemoryMount) -> None:
    path = mount / "doomed"
    with path.open("w+b") as file:
        file.write(b"still here")
        file.flush()
        path.unlink()
        file.seek(0)
        assert file.read() == b"still here"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert not path.exists()


def test_directories_links_and_special_files(mount: MemoryMount) -> None:
    top = mount / "top"
    top.mkdir(mode=0o750)
    assert stat.S_IMODE(top.stat().st_mode) == 0o750
    (top / "a").write_text("x")
    os.link(top / "a", top / "b")
    assert (top / "a").stat().st_nlink == (top / "b").stat().st_nlink == 2
    (top / "s").symlink_to("a" * 3000)
    assert str((top / "s").readlink()) == "a" * 3000
    os.mkfifo(top / "p")
    assert stat.S_ISFIFO((top / "p").stat().st_mode)
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ENOTEMPTY):
        top.rmdir()
    for path in top.iterdir():
        path.unlink()
    top.rmdir()
    assert not top.exists()


def test_rename_with_every_flag(mount: MemoryMount) -> None:
    one, two = mount / "one", mount / "two"
    one.write_text("1")
    two.write_text("2")
    assert _renameat2(one, two, 1) == errno.EEXIST
    assert _renameat2(one, two, 2) == 0
    assert (one.read_text(), two.read_text()) == ("2", "1")
    assert _renameat2(one, two, 8) == errno.EINVAL
    one.rename(two)
    assert two.read_text() == "2"
    assert not one.exists()
    two.unlink()


def test_attributes(mount: MemoryMount) -> None:
    path = mount / "attributes"
    path.write_text("x")
    path.chmod(0o4711)
    os.utime(path, ns=(1, 4_102_444_800_123_456_789))
    seen = path.stat()
    assert (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, seen.st_atime_ns) == (0o4711, 4_102_444_800_123_456_789, 1)
    assert seen.st_blksize == 1 << 20
    path.unlink()


@pytest.mark.root
def test_setuid_goes_when_others_write_and_anybody_chowns(mount: MemoryMount) -> None:
    path = mount / "setuid"
    path.write_text("x")
    path.chmod(0o6777)
    path.write_text("root may")
    assert stat.S_IMODE(path.stat().st_mode) == 0o6777
    assert _as_nobody(mount, lambda: os.write(os.open("setuid", os.O_WRONLY), b"y")) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    path.chmod(0o6777)
    assert _as_nobody(mount, lambda: os.truncate("setuid", 1)) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    path.chmod(0o6777)
    os.chown(path, 12, 13)
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    path.unlink()


def test_extended_attributes(mount: MemoryMount) -> None:
    path = mount / "xattrs"
    path.write_text("x")
    os.setxattr(path, b"user.a", b"1")
    os.setxattr(path, b"user.empty", b"")
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EEXIST):
        os.setxattr(path, b"user.a", b"2", os.XATTR_CREATE)
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ENODATA):
        os.setxattr(path, b"user.b", b"2", os.XATTR_REPLACE)
    assert (os.listxattr(path), os.getxattr(path, b"user.a")) == (["user.a", "user.empty"], b"1")
    os.removexattr(path, b"user.a")
    assert os.listxattr(path) == ["user.empty"]
    path.unlink()


def test_a_directory_lists_every_entry_once_while_it_changes(mount: MemoryMount) -> None:
    crowd = mount / "crowd"
    crowd.mkdir()
    for number in range(3000):
        (crowd / f"name-{number:05}").touch()
    seen: list[str] = []
    with os.scandir(crowd) as listing:
        for entry in listing:
            seen.append(entry.name)
            if len(seen) == 10:
                for number in range(0, 3000, 3):
                    (crowd / f"name-{number:05}").unlink()
                for number in range(500):
                    (crowd / f"later-{number}").touch()
    assert len(seen) == len(set(seen))
    lasting = {f"name-{number:05}" for number in range(3000) if number % 3}
    assert lasting <= set(seen)
    assert {"."} & set(seen) == set()


def test_listings_have_dots_and_offsets_to_return_to(mount: MemoryMount) -> None:
    place = mount / "offsets"
    place.mkdir()
    for number in range(200):
        (place / f"{number:03}-{'x' * 200}").touch()
    entries = _getdents(place)
    assert [name for _, _, name in entries[:2]] == [b".", b".."]
    assert entries[0][0] == place.stat().st_ino
    assert entries[1][0] == mount.directory.stat().st_ino
    for position in (0, 1, 2, 57, 150):
        rest = _getdents(place, entries[position][1])
        assert [name for _, _, name in rest] == [name for _, _, name in entries[position + 1 :]]


def test_names_need_not_be_text_and_may_be_255_bytes_long(mount: MemoryMount) -> None:
    path = mount / (b"\xff\xfe" * 127 + b"z")
    path.write_text("odd")
    assert path in mount.directory.iterdir()
    path.unlink()
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ENAMETOOLONG):
        (mount / ("x" * 256)).touch()


def test_the_mount_table_shows_type_and_source(tmp_path: Path) -> None:
    with memory_mount(tmp_path, source="Büro, \\ zwei") as mount:
        mounted = table.mounted_at(str(mount.directory))
        assert mounted is not None
        assert (mounted.type, mounted.source) == ("fuse.syncfs", "Büro, \\ zwei")


def test_what_is_known_is_not_asked_again(mount: MemoryMount) -> None:
    path = mount / "known"
    path.write_text("x")
    path.stat()
    before = mount.ask("calls")
    for _ in range(50):
        path.stat()
        assert not (mount / "missing").exists()
    after = mount.ask("calls")
    assert after["getattr"] == before["getattr"]
    assert after["lookup"] == before["lookup"] + 1
    path.unlink()


def test_without_xattrs_a_listing_asks_for_none(tmp_path: Path) -> None:
    with memory_mount(tmp_path, options="xattr=off") as mount:
        (mount / "file").write_text("x")
        for _ in range(10):
            with pytest.raises(OSError, check=lambda error: error.errno == errno.EOPNOTSUPP):
                os.getxattr(mount / "file", b"user.a")
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EOPNOTSUPP):
            os.setxattr(mount / "file", b"user.a", b"1")
        assert "getxattr" not in mount.ask("calls")


def test_a_long_listing_asks_once_for_each_file(tmp_path: Path) -> None:
    """`ls -l` asks for the ACL of each file, which the kernel forgets with each listing, and for nothing else."""
    with memory_mount(tmp_path) as mount:
        place = mount / "many"
        place.mkdir()
        for number in range(3000):
            (place / str(number)).touch()
        before = mount.ask("calls")
        subprocess.run(["ls", "-l", place], check=True, stdout=subprocess.DEVNULL)
        after = mount.ask("calls")
        assert after["getxattr"] - before.get("getxattr", 0) <= 3010
        assert all(after[name] - before.get(name, 0) < 20 for name in after if name != "getxattr"), (before, after)


def test_many_small_writes_ask_once_for_capabilities(mount: MemoryMount) -> None:
    path = mount / "steps"
    before = mount.ask("calls")
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"step")
    after = mount.ask("calls")
    assert after["write"] - before.get("write", 0) == 100
    # The other one is ours: whether the directory has a default ACL.
    assert after["getxattr"] - before.get("getxattr", 0) <= 2
    path.unlink()


def test_without_acls_a_long_listing_asks_for_none(tmp_path: Path) -> None:
    with memory_mount(tmp_path, options="noacl") as mount:
        for number in range(100):
            (mount / str(number)).touch()
        subprocess.run(["ls", "-l", mount.directory], check=True, stdout=subprocess.DEVNULL)
        assert mount.ask("calls").get("getxattr", 0) < 5


@pytest.mark.root
def test_acls_and_modes_say_the_same_and_are_inherited(mount: MemoryMount) -> None:
    place, path = mount / "acls", mount / "acls/file"
    place.mkdir(mode=0o755)
    path.touch()
    path.chmod(0o600)
    # user::rw- user:65534:r-- group::--- mask::r-- other::---
    acl = _acl((1, 6, -1), (2, 4, 65534), (4, 0, -1), (16, 4, -1), (32, 0, -1))
    assert _as_nobody(mount, lambda: os.read(os.open("acls/file", os.O_RDONLY), 1)) == errno.EACCES
    os.setxattr(path, b"system.posix_acl_access", acl)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert _as_nobody(mount, lambda: os.read(os.open("acls/file", os.O_RDONLY), 1)) == 0
    path.chmod(0o600)
    assert os.getxattr(path, b"system.posix_acl_access") == _acl(
        (1, 6, -1), (2, 4, 65534), (4, 0, -1), (16, 0, -1), (32, 0, -1)
    )
    assert _as_nobody(mount, lambda: os.read(os.open("acls/file", os.O_RDONLY), 1)) == errno.EACCES
    os.setxattr(place, b"system.posix_acl_default", acl)
    (place / "heir").touch(mode=0o666)
    assert os.getxattr(place / "heir", b"system.posix_acl_access") == acl
    assert stat.S_IMODE((place / "heir").stat().st_mode) == 0o640
    (place / "below").mkdir()
    assert os.getxattr(place / "below", b"system.posix_acl_default") == acl
    # What the mode can say alone is not kept as an ACL.
    os.setxattr(path, b"system.posix_acl_access", _acl((1, 6, -1), (4, 4, -1), (32, 4, -1)))
    assert os.listxattr(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def _renameat2(old: Path, new: Path, flags: int) -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags)
    return ctypes.get_errno() if failed else 0


def _getdents(directory: Path, offset: int = 0) -> list[tuple[int, int, bytes]]:
    """Inode, offset after it and name of each entry, by getdents64(2) from an offset on."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(8192)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    found = []
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        while (size := libc.syscall(217, descriptor, buffer, len(buffer))) > 0:
            place = 0
            while place < size:
                length = int.from_bytes(buffer.raw[place + 16 : place + 18], "little")
                ino, after = (int.from_bytes(buffer.raw[place + at : place + at + 8], "little") for at in (0, 8))
                name = buffer.raw[place + 19 : place + length].split(b"\0", 1)[0]
                found.append((ino, after, name))
                place += length
    finally:
        os.close(descriptor)
    return found


def _as_nobody(mount: MemoryMount, action: Callable[[], object]) -> int:
    """Runs something in a child as nobody, in the mount; its errno."""
    child = os.fork()
    if not child:
        try:
            os.chdir(mount.directory)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            action()
        except OSError as error:
            os._exit(error.errno or 255)
        except BaseException:
            os._exit(255)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + permissions.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, permissions, who in entries
    )
