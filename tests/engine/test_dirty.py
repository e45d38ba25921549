"""The unsettled state of a file while others wait for its chunks."""

import trio

from syncfs.engine.writing.dirty import Dirty
from syncfs.model.chunking import KIB, chunk_start

ENTRY = b"e" * 64


class Slowly:
    """Gives the plaintext of every entry once it may."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.may = trio.Event()

    async def __call__(self, entry: bytes) -> bytes:
        self.asked.set()
        await self.may.wait()
        return bytes(128 * KIB)


async def test_a_file_is_cut_short_while_its_last_chunk_is_loaded() -> None:
    dirty, load, found = Dirty(chunk_start(4), dict.fromkeys(range(4), ENTRY), 0), Slowly(), []
    dirty.write(chunk_start(3) + 5, b"x", 0)

    async def look(index: int) -> None:
        found.append((index, await dirty.chunk(index, load)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look, 3)
        nursery.start_soon(look, 1)
        await load.asked.wait()
        dirty.size = chunk_start(1) + 7
        load.may.set()
    assert sorted(found) == [(1, bytes(7)), (3, b"")]
