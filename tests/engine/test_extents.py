"""The extent map against a byte array with a mask."""

from hypothesis import given
from hypothesis import strategies as st

from syncfs.engine.writing.extents import ExtentMap

SIZE = 60
steps = st.lists(
    st.tuples(st.sampled_from(["write", "drop"]), st.integers(0, SIZE - 1), st.integers(0, 20)), max_size=30
)


@given(steps, st.integers(0, SIZE), st.integers(0, SIZE))
def test_behaves_like_a_masked_byte_array(steps: list[tuple[str, int, int]], low: int, high: int) -> None:
    extents, content, mask = ExtentMap(), bytearray(SIZE + 20), bytearray(SIZE + 20)
    for number, (action, offset, length) in enumerate(steps, start=1):
        if action == "write":
            data = bytes([number]) * length
            extents.write(offset, data)
            content[offset : offset + length] = data
            mask[offset : offset + length] = b"\1" * length
        else:
            extents.drop(offset, offset + length)
            mask[offset : offset + length] = bytes(length)
    assert extents.total == sum(mask)
    assert extents.end == len(mask.rstrip(b"\0"))
    expected = bytearray(b"\xff" * len(mask))
    shown = bytearray(expected)
    for offset, known in enumerate(mask):
        if known:
            expected[offset] = content[offset]
    extents.overlay(shown, 0, {})
    assert shown == expected
    assert extents.covers(low, high) == all(mask[low:high])
    if extents.covers(low, high):
        assert extents.whole(low, high) == content[low:high]
    ends = [0]
    for start, piece in extents.pieces():
        assert start >= ends[-1]
        ends.append(start + len(piece))


def test_what_somebody_still_looks_at_can_be_continued() -> None:
    extents = ExtentMap()
    extents.write(0, b"one ")
    extents.write(4, b"two ")
    seen = [view for _, view in extents.within(0, 8)]
    extents.write(8, b"three")
    assert extents.whole(0, 13) == b"one two three"
    assert (extents.total, len(extents.pieces())) == (13, 1)
    assert [bytes(view) for view in seen if isinstance(view, memoryview)] == [b"one two "]
