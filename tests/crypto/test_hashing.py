"""The three modes of BLAKE3 are the published ones."""

import pytest

from syncfs.crypto.hashing import blake3, derive, keyed_blake3


def test_known_values() -> None:
    """The hash of nothing, and of "abc", as every implementation of BLAKE3 gives them."""
    assert blake3(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert blake3(b"abc").hex() == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_any_bytes_like(size: int) -> None:
    data = bytes(size)
    for same in (bytearray(data), memoryview(data)):
        assert blake3(same) == blake3(data)
        assert keyed_blake3(bytes(32), same) == keyed_blake3(bytes(32), data)


def test_modes_labels_and_sizes_are_separate() -> None:
    made = {blake3(b"k"), keyed_blake3(bytes(32), b"k"), derive(b"k", "one"), derive(b"k", "two")}
    assert len(made) == 4
    assert derive(b"k", "one", 64)[:32] == derive(b"k", "one")
