"""Certificates: only the share key makes them, only one encoding is one, and clocks matter only where they must."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncfs.crypto.certificates import (
    CLOCK_TOLERANCE,
    MAX_CERTIFICATE_BYTES,
    Certificate,
    decode_certificate,
    encode_certificate,
    issue,
    verify_certificate,
)
from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.keys import Role, derive_keys, secrets_of
from syncfs.crypto.secrets import Kind, Secret
from syncfs.model.errors import ForeignError, RefusedError, SecretError, UsageError

NOW = 1_750_000_000
DAY = 86400
DEVICE = DeviceIdentity(bytes(32))
KEYS = derive_keys(Secret(Kind.WRITER, bytes(17)))
SHARE_PUBLIC = KEYS.share_public or b""


def make(expires: int = 0, name: str = "laptop", role: Role = Role.WRITER) -> Certificate:
    return issue(KEYS, DEVICE.public, role, name, NOW, expires, lambda size: b"s" * size)


def encoded(certificate: Certificate, *more: object) -> bytes:
    return msgspec.msgpack.encode([1, *msgspec.structs.astuple(certificate), *more])


names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=16)


@given(st.sampled_from(Role), names, st.integers(0, 10**9))
def test_certificates_go_round(role: Role, name: str, life: int) -> None:
    certificate = make(NOW + life if life else 0, name, role)
    data = encode_certificate(certificate)
    assert len(data) <= MAX_CERTIFICATE_BYTES
    assert decode_certificate(data) == certificate and certificate.device == DEVICE.id
    verify_certificate(certificate, SHARE_PUBLIC, NOW)


def test_largest_certificate_fits() -> None:
    largest = make(253_402_300_799, "ü" * 32)
    assert decode_certificate(encode_certificate(largest)) == largest


@pytest.mark.parametrize("now", [0, NOW - 365 * DAY, NOW, NOW + 365 * DAY, 2**62, -(2**62)])
def test_no_end_no_clock(now: int) -> None:
    verify_certificate(make(), SHARE_PUBLIC, now)


def test_ends_and_wrong_clocks() -> None:
    certificate = make(NOW + DAY)
    for now in (NOW - CLOCK_TOLERANCE, NOW, NOW + DAY - 1):
        verify_certificate(certificate, SHARE_PUBLIC, now)
    for now in (NOW + DAY, NOW + 365 * DAY, 2**62):
        with pytest.raises(RefusedError, match="ended on 2025-06-16"):
            verify_certificate(certificate, SHARE_PUBLIC, now)
    for now in (NOW - CLOCK_TOLERANCE - 1, NOW - 365 * DAY, -(2**62)):
        with pytest.raises(RefusedError, match="set the clock"):
            verify_certificate(certificate, SHARE_PUBLIC, now)


@pytest.mark.parametrize(
    "change",
    [
        {"device_public": bytes(32)},
        {"role": "reader"},
        {"name": "other"},
        {"issued": NOW + 1},
        {"expires": NOW + 2 * DAY},
        {"serial": b"t" * 8},
        {"signature": bytes(64)},
        {"serial": b""},
        {"role": "king"},
        {"name": "two\nlines"},
        {"signature": b""},
    ],
)
def test_any_change_is_a_forgery(change: dict[str, object]) -> None:
    forged = replace(make(NOW + DAY), **change)
    with pytest.raises(ForeignError):
        verify_certificate(forged, SHARE_PUBLIC, NOW)


def test_other_shares_do_not_count() -> None:
    other = derive_keys(Secret(Kind.WRITER, b"\1" * 16 + b"\0")).share_public or b""
    with pytest.raises(ForeignError):
        verify_certificate(make(), other, NOW)


def test_only_writers_issue_and_only_sense() -> None:
    reader = secrets_of(KEYS).reader
    assert reader is not None
    with pytest.raises(SecretError):
        issue(derive_keys(reader), DEVICE.public, Role.WRITER, "laptop", NOW, 0, bytes)
    for name in ("", "x" * 65, "tab\t", "\udc80"):
        with pytest.raises(UsageError):
            make(name=name)
    for expires in (NOW, NOW - 1, -1, 2**60):
        with pytest.raises(UsageError):
            make(expires)
    with pytest.raises(ValueError, match="32 bytes"):
        issue(KEYS, b"short", Role.WRITER, "laptop", NOW, 0, bytes)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_foreign_error(data: bytes) -> None:
    with pytest.raises(ForeignError):
        decode_certificate(data)


@given(st.data())
def test_damaged_certificates_are_a_foreign_error_or_fail_to_verify(data: st.DataObject) -> None:
    damaged = bytearray(encode_certificate(make(NOW + DAY)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ForeignError):
        verify_certificate(decode_certificate(bytes(damaged)), SHARE_PUBLIC, NOW)


simple = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=70) | st.text(max_size=70)


@given(st.lists(simple | st.lists(simple, max_size=3), max_size=10))
def test_any_array_is_a_foreign_error(values: list[object]) -> None:
    with pytest.raises(ForeignError):
        decode_certificate(msgspec.msgpack.encode(values))


def test_second_encodings_are_refused() -> None:
    certificate = make()
    data = encode_certificate(certificate)
    assert encoded(certificate) == data
    assert data[1:2] == b"\x01"
    padded = data[:1] + b"\xcc\x01" + data[2:]  # the tag 1 as uint8 instead of fixint
    for odd in (data + b"\0", encoded(certificate, "more"), padded, data[:-1], bytes(MAX_CERTIFICATE_BYTES + 1)):
        with pytest.raises(ForeignError):
            decode_certificate(odd)
    assert decode_certificate(data) == certificate
