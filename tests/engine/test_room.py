"""What a file's content takes: holes nothing, as far as a manifest shows them."""

from syncfs.engine.tree.room import stored_bytes
from syncfs.engine.writing.dirty import Dirty
from syncfs.model.chunking import MAX_CHUNK, MIB, chunk_count, chunk_start
from syncfs.model.manifest import FAN_OUT
from syncfs.model.records import HOLE, INLINE

ENTRY = b"x" * 64


def test_holes_count_for_nothing() -> None:
    assert stored_bytes(5, INLINE, b"12345") == 5
    size = 10 * MIB + 7
    count = chunk_count(size)
    assert stored_bytes(size, 0, ENTRY * count) == size
    assert stored_bytes(size, 0, HOLE * count) == 0
    assert stored_bytes(size, 0, HOLE * (count - 1) + ENTRY) == 7
    assert stored_bytes(size, 0, ENTRY + HOLE * (count - 1)) == chunk_start(1)


def test_of_a_large_file_only_the_top_is_seen() -> None:
    size = chunk_start(3 * FAN_OUT)
    assert stored_bytes(size, 1, HOLE + ENTRY + HOLE) == FAN_OUT * MAX_CHUNK
    assert stored_bytes(size - 9, 1, HOLE + HOLE + ENTRY) == FAN_OUT * MAX_CHUNK - 9


def test_unsettled_content_counts_what_was_written() -> None:
    dirty = Dirty(0, {}, 0)
    dirty.write(100 * MIB, b"end", 0)
    assert (dirty.size, dirty.stored) == (100 * MIB + 3, 3)
    dirty = Dirty(100 * MIB, {0: ENTRY, 50: ENTRY}, 0)
    assert dirty.stored == chunk_start(1) + MAX_CHUNK
    assert Dirty(5, {0: ENTRY}, 0).stored == 5
