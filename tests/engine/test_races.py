"""What happens to a file while something else about it waits for a disk or a peer."""

import os
from pathlib import Path

import pytest
import trio

from syncfs.engine.chunks import ChunkCache
from syncfs.engine.posix import AttributeChange, Caller
from syncfs.engine.setup import create_share
from syncfs.engine.share import open_share

ME = Caller(0, 0)


async def test_a_version_made_while_a_truncation_waits_does_not_undo_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    content = os.urandom(100_000)
    gate, waiting = trio.Event(), trio.Event()
    plain = ChunkCache.plain

    async def slow_at_first(self: ChunkCache, *words: object) -> bytes:
        if not waiting.is_set():
            waiting.set()
            await gate.wait()
        return await plain(self, *words)  # type: ignore[arg-type]

    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, content)
        await volume.flush()
        monkeypatch.setattr(ChunkCache, "plain", slow_at_first)
        async with trio.open_nursery() as nursery:
            await volume.write(handle, 10, b"x")
            nursery.start_soon(volume.setattr, made.ino, AttributeChange(size=60_000), handle)
            await waiting.wait()
            with trio.move_on_after(0.5):  # it waits for the truncation, or is done at once
                await volume.flush()
            gate.set()
        assert volume.getattr(made.ino).size == 60_000
        await volume.flush()
        expected = content[:10] + b"x" + content[11:60_000]
        assert bytes(await volume.read(handle, 0, 200_000)) == expected
        await volume.release(handle)
