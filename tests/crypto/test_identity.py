"""A device's signatures hold for one text and one purpose."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto import labels
from syncfs.crypto.hashing import blake3
from syncfs.crypto.identity import DeviceIdentity, device_id, new_identity, verify
from syncfs.crypto.noise import x25519_public
from syncfs.model.errors import ForeignError

IDENTITY = DeviceIdentity(bytes(range(32)))


def test_all_follows_from_the_seed() -> None:
    assert DeviceIdentity(IDENTITY.seed) == IDENTITY != new_identity(os.urandom)
    assert IDENTITY.id == device_id(IDENTITY.public) == blake3(IDENTITY.public)[:16]
    assert IDENTITY.noise_public == x25519_public(IDENTITY.noise_static) != IDENTITY.public
    assert repr(IDENTITY.seed) not in repr(IDENTITY)
    assert IDENTITY.journal_key(b"a" * 16) != IDENTITY.journal_key(b"b" * 16)
    with pytest.raises(ValueError, match="32 bytes"):
        DeviceIdentity(b"short")


@given(st.binary(max_size=200))
def test_signatures_hold(data: bytes) -> None:
    signature = IDENTITY.sign(data, labels.SIGN_HEAD)
    verify(IDENTITY.public, data, signature, labels.SIGN_HEAD)
    for public, text, label in (
        (IDENTITY.public, data, labels.SIGN_HELLO),
        (IDENTITY.public, data + b"\0", labels.SIGN_HEAD),
        (DeviceIdentity(bytes(32)).public, data, labels.SIGN_HEAD),
    ):
        with pytest.raises(ForeignError):
            verify(public, text, signature, label)


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_any_bytes_are_a_foreign_error(public: bytes, signature: bytes) -> None:
    for key in (public, IDENTITY.public):
        with pytest.raises(ForeignError):
            verify(key, b"data", signature, labels.SIGN_HEAD)
