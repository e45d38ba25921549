"""Chunks that were sealed and written over again before any version told of them."""

import os
from pathlib import Path
from random import Random

import pytest

from syncfs.engine.chunks import fresh
from syncfs.engine.chunks.fresh import FreshChunks
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Limits
from syncfs.engine.tree.posix import Caller
from syncfs.model.ids import Address

ME = Caller(0, 0)
MIB = 1024 * 1024
ONE, TWO = Address(b"1" * 32), Address(b"2" * 32)


def test_only_what_one_put_stored_and_nobody_else_needs_is_given_up() -> None:
    chunks = FreshChunks()
    chunks.stored([(ONE, 5), (TWO, 5)], [ONE, TWO])
    chunks.give_up([ONE])
    assert chunks.take() == {ONE}
    assert chunks.take() == set()
    chunks.stored([(TWO, 5)], [])
    chunks.give_up([TWO])
    assert chunks.take() == set()


def test_what_is_stored_twice_at_once_or_needed_again_stays() -> None:
    chunks = FreshChunks()
    chunks.stored([(ONE, 5), (ONE, 5), (TWO, 5)], [ONE, TWO])
    chunks.give_up([ONE, TWO])
    chunks.needed([TWO])
    assert chunks.take() == set()


async def test_writing_over_a_file_again_and_again_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "DROP_BYTES", 8 * MIB)
    create_share(tmp_path, "s", {}, os.urandom)
    chance = Random(5)
    expected = bytearray(chance.randbytes(8 * MIB))
    async with open_share(tmp_path, "s", limits=Limits(dirty=2 * MIB)) as share:
        volume = share.volume
        _, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, bytes(expected))
        await volume.flush()
        for number in range(400):
            at, block = chance.randrange(7 * MIB), chance.randbytes(100_000)
            await volume.write(handle, at, block)
            expected[at : at + len(block)] = block
            if number % 20 == 0:
                assert bytes(await volume.read(handle, at - 50, 200_000)) == expected[max(at - 50, 0) :][:200_000]
        await share.collector.drop_given_up()
        assert share.store.stats().bytes < 20 * MIB
        await volume.flush()
        found = b"".join([bytes(await volume.read(handle, at, MIB)) for at in range(0, 8 * MIB, MIB)])
        assert found == expected
        await volume.release(handle)
