"""Frames arrive whole and in order or not at all, and both sides rekey at the same frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto.frames import FrameCipher
from syncfs.model.errors import ForeignError

KEY = bytes(range(32))


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=8)), max_size=20), st.integers(1, 500))
def test_both_sides_stay_together_across_rekeys(frames: list[tuple[bytes, bytes]], rekey_bytes: int) -> None:
    sender = FrameCipher(KEY, rekey_bytes=rekey_bytes, rekey_frames=3)
    receiver = FrameCipher(KEY, rekey_bytes=rekey_bytes, rekey_frames=3)
    for plain, aad in frames:
        data = sender.encrypt(plain, aad)
        assert len(data) == len(plain) + 16
        assert receiver.decrypt(memoryview(data), aad) == plain


def test_rekey_changes_what_is_sent() -> None:
    plain, rekeyed = FrameCipher(KEY), FrameCipher(KEY)
    rekeyed.rekey()
    assert plain.encrypt(b"x") != rekeyed.encrypt(b"x")


def test_automatic_rekey_is_the_explicit_one() -> None:
    automatic, explicit = FrameCipher(KEY, rekey_frames=2), FrameCipher(KEY)
    for _ in range(2):
        assert automatic.encrypt(b"x") == explicit.encrypt(b"x")
    explicit.rekey()
    assert automatic.encrypt(b"x") == explicit.encrypt(b"x")


def test_encrypt_into_is_encrypt() -> None:
    out = bytearray(5 + 16)
    assert FrameCipher(KEY).encrypt_into(b"hello", out, b"a") == len(out)
    assert bytes(out) == FrameCipher(KEY).encrypt(b"hello", b"a")


def test_repeated_reordered_or_changed_frames_end_the_stream() -> None:
    sender = FrameCipher(KEY)
    first, second = sender.encrypt(b"1"), sender.encrypt(b"2")
    for wrong in ([second], [first, first], [first[:-1]], [b""], [first + b"x"]):
        receiver = FrameCipher(KEY)
        with pytest.raises(ForeignError):
            for data in wrong:
                receiver.decrypt(data)
        with pytest.raises(ForeignError):
            receiver.decrypt(first)
    with pytest.raises(ForeignError):
        FrameCipher(KEY).decrypt(first, b"other")
