"""The disk refuses what the store writes: the program hears why, nothing written is lost, and the next try works."""

import errno
import os
from pathlib import Path

import pytest

from syncfs.engine.checking import check_open_share
from syncfs.engine.healing import Healer
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.tree.posix import Caller
from syncfs.model.errors import SetupError
from syncfs.mount.errnos import errno_of

ME = Caller(0, 0)


@pytest.mark.parametrize("folder", ["packs", "chunks"])
async def test_a_check_tells_of_a_store_that_is_gone(tmp_path: Path, folder: str) -> None:
    """Its open files can still be read, and no chunk is put aside because of it."""
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        for size in (3_000, 3_000_000):
            _, handle = await share.volume.create(1, b"%d" % size, 0o644, os.O_RDWR, ME)
            await share.volume.write(handle, 0, os.urandom(size))
            await share.volume.release(handle)
        await share.flush()
        held = share.presence.totals().chunks
        place = share.member.directory / folder
        place.rename(tmp_path / "elsewhere")
        report = await check_open_share(share, repair=True)
        told = [(problem.kind, problem.repaired) for problem in report.problems]
        assert told == [("store", False)] and "is gone: put the folder back" in report.problems[0].message
        (tmp_path / "elsewhere").rename(place)
        assert share.presence.totals().chunks == held
        assert (await check_open_share(share, repair=False)).clean


async def test_a_check_tells_of_a_disk_that_refused_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        monkeypatch.setattr(Healer, "failure", "the disk refused to write: check it")
        report = await check_open_share(share, repair=False)
        assert [problem.message for problem in report.problems] == ["the disk refused to write: check it"]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (errno.ENOSPC, errno.ENOSPC),
        (errno.EDQUOT, errno.EDQUOT),
        (errno.EROFS, errno.EROFS),
        (errno.EIO, errno.EIO),
        (errno.EACCES, errno.EIO),
    ],
)
@pytest.mark.parametrize("size", [3_000, 300_000])
async def test_what_the_disk_refused_is_written_when_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int, told: int, size: int
) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    content = os.urandom(size)

    def refuse(*words: object) -> int:
        raise OSError(refusal, os.strerror(refusal))

    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        with monkeypatch.context() as refusing:
            refusing.setattr("syncfs.store.faults.os.pwritev", refuse)
            await volume.write(handle, 0, content)
            for _ in range(2):
                with pytest.raises(SetupError) as caught:
                    await volume.fsync(handle, False)
                assert errno_of(caught.value) == told
                assert share.files.failure == str(caught.value)
            assert bytes(await volume.read(handle, 0, size)) == content
        await volume.fsync(handle, False)
        assert share.files.failure == ""
        await volume.release(handle)
    async with open_share(tmp_path, "s") as share:
        opened = await share.volume.open(made.ino, os.O_RDONLY, 0)
        assert bytes(await share.volume.read(opened.handle, 0, size)) == content
        await share.volume.release(opened.handle)


async def test_a_journal_that_was_refused_is_followed_by_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed save had taken from the list of unsaved writes was in no later one."""
    create_share(tmp_path, "s", {}, os.urandom)
    content = bytearray(os.urandom(2_000_000))

    def refuse(*words: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        _, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, bytes(content))
        await volume.flush()
        for number, at in enumerate((10_000, 700_000, 1_500_000)):
            piece = bytes([65 + number]) * 4096
            content[at : at + 4096] = piece
            await volume.write(handle, at, piece)
            if number == 1:
                with monkeypatch.context() as refusing, pytest.raises(SetupError):
                    refusing.setattr("syncfs.store.faults.os.pwritev", refuse)
                    await volume.fsync(handle, True)
            else:
                await volume.fsync(handle, True)
        node = share.index.lookup(1, b"file")
        assert node is not None
        journals = list((share.member.directory / "journal").glob("*"))
        version = share.index.version(node.head or b"")
        assert version is not None
        assert not journals, "a version holds all of it, so no journal is needed"
        await volume.release(handle)
    async with open_share(tmp_path, "s") as share:
        node = share.index.lookup(1, b"file")
        assert node is not None
        opened = await share.volume.open(node.ino, os.O_RDONLY, 0)
        assert bytes(await share.volume.read(opened.handle, 0, len(content))) == content
        await share.volume.release(opened.handle)
