"""The buffer that a peer's bytes are received into, against a plain string of bytes."""

from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.wire.inflow import READ_BYTES, Inflow

sizes = st.one_of(st.integers(1, 200), st.integers(READ_BYTES - 2, READ_BYTES + 2), st.integers(1, 5 * READ_BYTES))


@settings(max_examples=60, deadline=None)
@given(st.lists(sizes, min_size=1, max_size=12), st.lists(st.integers(1000, 400_000), min_size=1, max_size=5))
def test_units_come_out_as_they_went_in(units, reads):
    stream = b"".join(bytes([number % 251]) * size for number, size in enumerate(units))
    inflow, sent, arriving = Inflow(), 0, cycle(reads)
    for number, size in enumerate(units):
        while len(inflow) < size:
            room = inflow.room(size)
            assert room, "somebody who waits for bytes has to be given room for them"
            count = min(next(arriving), len(room), len(stream) - sent)
            room[:count] = stream[sent : sent + count]
            inflow.filled(count)
            sent += count
        assert bytes(inflow.peek(3)) == (bytes([number % 251]) * size + stream[sent - len(inflow) + size : sent])[:3]
        assert bytes(inflow.take(size)) == bytes([number % 251]) * size
    assert len(inflow) == len(stream[:sent]) - sum(units)


def test_a_large_unit_is_read_to_its_end_and_no_further():
    inflow = Inflow()
    inflow.room(4)[:4] = b"size"
    inflow.filled(4)
    assert len(inflow.room(1_000_000)) == 1_000_000 - 4


def test_memory_is_what_the_largest_unit_needs():
    inflow = Inflow()
    for size in (10, 300_000, 20, 300_000, READ_BYTES):
        while len(inflow) < size:
            inflow.filled(len(inflow.room(size)))
        inflow.take(size)
        inflow.take(len(inflow))
    assert len(inflow._buffer) == 300_000
