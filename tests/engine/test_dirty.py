"""The unsettled state of a file while others wait for its chunks, or its journal has no room."""

import errno
from pathlib import Path

import pytest
import trio

from syncfs.crypto.sealing import JournalCipher
from syncfs.engine.writing.dirty import Dirty
from syncfs.model.chunking import KIB, chunk_start
from syncfs.model.errors import SetupError
from syncfs.store.journal import Journal

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


async def test_what_could_not_be_saved_is_kept_and_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    dirty, journal = Dirty(0, {}, 0), Journal(tmp_path / "journal", JournalCipher(bytes(32)), b"", bytes)
    for number, letter in enumerate(b"AB"):
        dirty.write(number * 1000, bytes([letter]) * 1000, 0)
    shrunk, pieces = dirty.take_unsaved()
    dirty.write(2000, b"C" * 1000, 0)
    monkeypatch.setattr("syncfs.store.journal.write_all", no_room)
    try:
        for offset, piece in pieces:
            assert isinstance(piece, bytearray)
            journal.append(offset, piece)
    except SetupError:  # which holds on to the bytes as long as it is handled
        dirty.not_saved(shrunk)
        dirty.write(3000, b"D" * 1000, 0)
        dirty.freeze()
        dirty.move_frozen(live=True)
    journal.close()
    assert await dirty.read_frozen(0, 4000, Slowly()) == b"".join(bytes([letter]) * 1000 for letter in b"ABCD")
