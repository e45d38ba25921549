"""The disk refuses to make anything durable for a while: nothing is promised, and the share goes on by itself."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from syncfs.engine.opening import open_share
from syncfs.engine.service import RunningShare
from syncfs.engine.setup import create_share
from syncfs.engine.tree.posix import Caller
from syncfs.model.errors import SetupError

ME = Caller(0, 0)
PARTS = {"index": r"index\.db", "store": r".*\.pack|packs", "both": ""}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("size", [300, 300_000])
async def test_what_was_refused_is_durable_with_the_next_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, size: int
) -> None:
    monkeypatch.setattr("syncfs.engine.healing.HEAL_SECONDS", 0.05)
    monkeypatch.setattr("syncfs.engine.share.TIDY_SECONDS", 0.05)
    create_share(tmp_path, "s", {}, os.urandom)
    content = os.urandom(size)
    refused: list[int] = []

    def refusing_where(real: Callable[[int], None]) -> Callable[[int], None]:
        def refuse(descriptor: int) -> None:
            if re.match(PARTS[part], Path(f"/proc/self/fd/{descriptor}").readlink().name):
                refused.append(descriptor)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(descriptor)

        return refuse

    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, b"before")
        await volume.fsync(handle, False)
        with monkeypatch.context() as refusing:
            refusing.setattr("os.fdatasync", refusing_where(os.fdatasync))
            refusing.setattr("os.fsync", refusing_where(os.fsync))
            await volume.write(handle, 0, content)
            if part != "store" or size > 1024:
                for _ in range(3):
                    with pytest.raises(SetupError, match="refused to write"):
                        await volume.fsync(handle, False)
                    await trio.sleep(0.1)
                assert refused
                status = RunningShare(share, None).status()
                assert status.state == "degraded" and any("the disk that holds" in told for told in status.reasons)
            assert bytes(await volume.read(handle, 0, size)) == content
        with trio.fail_after(10):
            while True:
                try:
                    await volume.fsync(handle, False)
                    break
                except SetupError:
                    await trio.sleep(0.02)
            while RunningShare(share, None).status().reasons:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert not share.index.database.wants_renewal and not share.store.wants_renewal
        await volume.release(handle)
    async with open_share(tmp_path, "s") as share:
        opened = await share.volume.open(made.ino, os.O_RDONLY, 0)
        assert bytes(await share.volume.read(opened.handle, 0, size)) == content
        await share.volume.release(opened.handle)
