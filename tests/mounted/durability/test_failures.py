"""The disk under a share fails while it runs.

Programs get a clear errno, `status` says why, nothing that was kept is lost, and once the cause is gone all goes on by
itself.
"""

import errno
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from syncfs.mount import table
from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, peer, same, until
from tests.end_to_end.trees import differences, scan
from tests.mounted.durability.conftest import home_of, killing
from tests.mounted.durability.disk import MIB, Disk, ThinDisk, mounted, run

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.timeout(300)]

SEED = 5
AddOnDisk = Callable[[str, Disk], Peer]


def content(number: int, size: int) -> bytes:
    """Bytes like no others."""
    return random.Random(f"{SEED} {number}").randbytes(size)


def save(path: Path, data: bytes) -> None:
    """What an editor does: write, fsync, close."""
    with path.open("wb", buffering=0) as file:
        assert file.write(data) == len(data)
        os.fsync(file.fileno())


def fill_with_files(place: Path, size: int, limit: int = 10_000) -> tuple[dict[str, bytes], int | None]:
    """Save files until one fails: what was saved, and the errno."""
    saved: dict[str, bytes] = {}
    for number in range(limit):
        name, data = f"{size}-{number}", content(number, size)
        try:
            save(place / name, data)
        except OSError as error:
            return saved, error.errno
        saved[name] = data
    return saved, None


def whole(place: Path, saved: dict[str, bytes]) -> list[str]:
    """The names whose content is not what was saved."""
    wrong = []
    for name, data in saved.items():
        try:
            if (place / name).read_bytes() != data:
                wrong.append(name)
        except OSError as error:
            wrong.append(f"{name}: {error}")
    return wrong


def is_well(one: Peer) -> bool:
    """Whether `status` has no complaint."""
    status = one.status()
    return status["state"] == "running" and not status["reasons"]


def agree(one: Peer, other: Peer) -> None:
    """Both peers come into one state of which `status` has nothing to complain."""
    try:
        until(lambda: is_well(one) and same(one, other)(), "both are well and in sync", 30)
    except AssertionError as error:
        error.add_note("\n".join(f"{peer.status()}\n{peer.log()[-3000:]}" for peer in (one, other)))
        raise


def goes_on(one: Peer, other: Peer, saved: dict[str, bytes]) -> None:
    """All is as it should be, without a restart and after one, here and on the other peer."""
    until(lambda: save(one / "afterwards", b"works") is None, "files can be saved again", 30)
    assert whole(one.mount, saved) == []
    agree(one, other)
    saved = {**saved, "afterwards": b"works"}
    assert whole(other.mount, saved) == []
    assert differences(scan(one.mount), scan(other.mount)) == []
    with killing(one.pid):
        pass
    one.start("xattr=on")
    assert whole(one.mount, saved) == []
    told = one.run("check", SHARE, "--json")
    assert told.code == 0, told
    agree(one, other)
    assert differences(scan(one.mount), scan(other.mount)) == []


@pytest.mark.parametrize("size", [300, 50_000, 700_000], ids=["inline", "packed", "files"])
def test_a_full_disk(group: Group, on_disk: AddOnDisk, tmp_path: Path, size: int) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "full"), 128)
    one, other = on_disk("full", disk), group.add("other")
    save(one / "before", b"before")
    ballast = disk.fill(leave=3 * MIB)
    saved, failed = fill_with_files(one.mount, size)
    assert failed == errno.ENOSPC, f"errno {failed} after {len(saved)} files\n{one.log()[-3000:]}"
    with pytest.raises(OSError, match="No space left"):
        save(one / "one more", content(1, 2 * MIB))
    assert (one / "before").read_bytes() == b"before"
    status = one.status()
    assert status["state"] == "degraded" and any("full" in reason for reason in status["reasons"]), status
    ballast.unlink()
    goes_on(one, other, {"before": b"before", **saved})


@pytest.mark.parametrize("ended", ["in order", "by a kill"])
def test_a_share_on_a_full_disk_can_be_mounted(group: Group, on_disk: AddOnDisk, tmp_path: Path, ended: str) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "full"), 128)
    one, other = on_disk("full", disk), group.add("other")
    saved = {f"{size}-{number}": content(number, size) for size in (300, 50_000, 700_000) for number in range(5)}
    for name, data in saved.items():
        save(one / name, data)
    agree(one, other)
    if ended == "in order":
        one.stop()
    ballast = disk.fill()
    os.truncate(ballast, ballast.stat().st_size - MIB)
    if ended == "by a kill":
        with killing(one.pid):
            pass
    one.start("xattr=on")
    assert whole(one.mount, saved) == []
    with pytest.raises(OSError, match="No space left"):
        save(one / "one more", b"x")
    until(lambda: any("full" in reason for reason in one.status()["reasons"]), "status says that the disk is full")
    one.stop()
    nothing_left = disk.fill(name="more")
    told = one.run("mount", SHARE, one.mount)
    assert (told.code, "free some space" in told.err, told.err.count("\n")) == (6, True, 1), told
    nothing_left.unlink()
    one.start("xattr=on")
    assert whole(one.mount, saved) == []
    ballast.unlink()
    goes_on(one, other, saved)


def test_a_program_writes_on_while_there_is_no_room(group: Group, on_disk: AddOnDisk, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "full"), 128)
    one, other = on_disk("full", disk), group.add("other")
    written, errors = bytearray(content(1, 4 * MIB)), []
    save(one / "long", written)

    def append(size: int) -> None:
        data = content(len(written), size)
        assert file.write(data) == size
        written.extend(data)

    def go_on() -> None:
        try:
            while not enough.is_set():
                append(100)
        except OSError as error:
            errors.append(error)

    with (one / "long").open("ab", buffering=0) as file:
        append(3000)
        os.fsync(file.fileno())
        ballast = disk.fill()
        os.truncate(ballast, ballast.stat().st_size - 300_000)
        for _ in range(400):
            append(2000)
        enough, program = threading.Event(), threading.Thread(target=go_on)
        program.start()
        try:
            for _ in range(10):
                with pytest.raises(OSError, match="No space left"):
                    os.fsync(file.fileno())
        finally:
            enough.set()
            program.join()
        assert errors == []
        ballast.unlink()
        until(lambda: os.fsync(file.fileno()) is None, "there is room again", 30)
    goes_on(one, other, {"long": bytes(written)})


def test_a_full_disk_loses_no_open_file(group: Group, on_disk: AddOnDisk, tmp_path: Path) -> None:
    """An fsync fails on the full disk; the next one that succeeds has kept also what the failed one had not."""
    disk = Disk(tmp_path / "image", home_of(tmp_path, "full"), 128)
    one, other = on_disk("full", disk), group.add("other")
    data = bytearray(content(1, 4 * MIB))
    save(one / "database", data)
    with (one / "database").open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"first", 4096)
        os.fsync(file.fileno())
        ballast = disk.fill()
        for number in range(200):
            piece = content(number, 8192)
            os.pwrite(file.fileno(), piece, number * 16384)
            data[number * 16384 : number * 16384 + 8192] = piece
        with pytest.raises(OSError, match="No space left"):
            os.fsync(file.fileno())
        ballast.unlink()
        os.pwrite(file.fileno(), b"last", 4 * MIB - 4)
        data[-4:] = b"last"
        until(lambda: os.fsync(file.fileno()) is None, "fsync works again", 30)
        with killing(one.pid):
            pass
    one.start("xattr=on")
    assert (one / "database").read_bytes() == data
    goes_on(one, other, {"database": bytes(data)})


def test_a_disk_that_fails_to_write_and_heals(group: Group, on_disk: AddOnDisk, tmp_path: Path) -> None:
    """After a failed fsync the kernel forgets what it could not write; an fsync that succeeds has it all the same."""
    disk = ThinDisk(tmp_path / "thin", home_of(tmp_path, "failing"), 96)
    one, other = on_disk("failing", disk), group.add("other")
    save(one / "before", content(0, 3 * MIB))
    saved = {"before": content(0, 3 * MIB)}
    disk.fail()
    more, failed = fill_with_files(one.mount, 400_000, limit=200)
    saved.update(more)
    # Which of both it is depends on how the kernel tells of the thin disk's refusal.
    assert failed in (errno.EIO, errno.ENOSPC), f"errno {failed} after {len(more)} files\n{one.log()[-3000:]}"
    status = one.status()
    assert status["state"] == "degraded" and any("the disk that holds" in reason for reason in status["reasons"]), (
        status
    )
    disk.heal()
    until(lambda: save(one / "healed", content(9, 100_000)) is None, "files can be saved again", 30)
    saved["healed"] = content(9, 100_000)
    with killing(one.pid):
        disk.cut()
    disk.unmount()
    disk.mount()
    one.start("xattr=on")
    goes_on(one, other, saved)


def test_a_disk_that_becomes_read_only(group: Group, on_disk: AddOnDisk, tmp_path: Path) -> None:
    """As ext4 makes itself after an error; such a disk has to be mounted anew, so syncfs is started anew as well."""
    disk = Disk(tmp_path / "image", home_of(tmp_path, "read-only"), 128, options=",errors=remount-ro")
    one, other = on_disk("read-only", disk), group.add("other")
    saved = {"before": content(0, 3 * MIB)}
    save(one / "before", saved["before"])
    Path(f"/sys/fs/ext4/{Path(disk.device).name}/trigger_fs_error").write_text("1")
    with pytest.raises(OSError) as caught:
        save(one / "meanwhile", content(1, 300_000))
    assert caught.value.errno in (errno.EROFS, errno.EIO)
    assert (one / "before").read_bytes() == saved["before"]
    status = one.status()
    assert status["state"] == "degraded" and status["reasons"], status
    with killing(one.pid):
        pass
    disk.unmount()
    run("e2fsck", "-f", "-p", str(disk.image), accept=(0, 1))
    disk.mount()
    one.start("xattr=on")
    goes_on(one, other, saved)


def test_an_index_locked_by_another_process(group: Group) -> None:
    one, other = group.add("locked"), group.add("other")
    save(one / "before", b"before")
    thief = sqlite3.connect(one.data / "index.db", isolation_level=None)
    try:
        until(lambda: thief.execute("BEGIN IMMEDIATE") is not None, "the index can be locked")
        with pytest.raises(OSError) as caught:
            save(one / "meanwhile", b"meanwhile")
        assert caught.value.errno == errno.EBUSY
        assert (one / "before").read_bytes() == b"before"
        status = one.status()
        assert status["state"] == "degraded" and any("another process" in reason for reason in status["reasons"])
    finally:
        thief.close()
    goes_on(one, other, {"before": b"before"})


def test_a_cache_directory_that_vanishes_and_comes_back(group: Group) -> None:
    one, other = group.add("robbed"), group.add("other")
    saved = {"small": content(1, 50_000), "large": content(2, 3 * MIB)}
    for name, data in saved.items():
        save(one / name, data)
    until(same(one, other), "both are in sync")
    data = one.data
    (data / "packs").rename(data / "packs elsewhere")
    with pytest.raises(OSError) as caught:
        for number in range(30):  # until the pack that is open is full
            save(one / "meanwhile", content(number, 6 * MIB))
    assert caught.value.errno == errno.EIO
    status = one.status()
    assert status["state"] == "degraded" and any("is gone" in reason for reason in status["reasons"]), status
    (data / "packs elsewhere").rename(data / "packs")
    goes_on(one, other, saved)


def test_a_share_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "full"), 64)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(content(1, 40 * MIB))
    with mounted(disk), peer(tmp_path, "full") as one:
        one.good("create", "other")
        (other,) = (one.home / "shares").iterdir()
        for left in (0, 8, 32, 64, 128, 256, 1024, 4096):
            ballast = disk.fill()
            os.truncate(ballast, max(ballast.stat().st_size - left * 1024, 0))
            for words in ((), ("--from", tree)):
                told = one.run("create", SHARE, *words)
                if not words and told.code == 0:
                    one.good("leave", SHARE, "--yes")
                    continue
                assert told.code in (6, 20) and told.err.count("\n") == 1, (left, words, told)
                assert "full" in told.err or "space" in told.err, (left, words, told)
                assert [share["name"] for share in one.run("list", "--json").json] == ["other"]
                assert list((one.home / "shares").iterdir()) == [other], (left, words)
            ballast.unlink()
        one.good("create", SHARE)


def test_a_share_on_a_full_disk_can_be_left(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "full"), 64)
    with mounted(disk), peer(tmp_path, "full") as one:
        one.create()
        disk.fill()
        one.good("leave", SHARE, "--yes")
        assert one.run("list", "--json").json == []


@pytest.mark.parametrize("trouble", ["full", "robbed"])
def test_a_share_whose_disk_fails_can_be_ended(group: Group, on_disk: AddOnDisk, tmp_path: Path, trouble: str) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "failing"), 128)
    one = on_disk("failing", disk)
    save(one / "before", b"before")
    if trouble == "full":
        disk.fill()
    else:
        shutil.rmtree(one.data / "packs")
    with suppress(OSError):
        (one / "meanwhile").write_bytes(content(1, 3 * MIB))
    until(lambda: one.status()["reasons"], "status tells of the trouble")
    pid = one.pid
    told = one.run("umount", SHARE)
    assert (told.code, f"'syncfs umount --force {SHARE}' ends it" in told.err, told.err.count("\n")) == (6, True, 1), (
        told
    )
    told = one.run("umount", "--force", SHARE)
    assert (told.code, "may be lost" in told.err) == (0, True), told
    assert one.record is None and not Path(f"/proc/{pid}/fd/0").exists()
    assert table.mounted_at(str(one.mount)) is None
