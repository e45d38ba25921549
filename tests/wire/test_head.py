"""Heads: signed, strict, passed on unchanged."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.crypto import labels
from syncfs.model.errors import ForeignError
from syncfs.wire.head import (
    SegmentRef,
    SignedHead,
    contradiction,
    decode_head,
    next_mark,
    sign_head,
    verify_head,
)

from .people import person

IDENTITY = person("ann").identity
ONE = SegmentRef(1, 10, bytes(32), 100)
TWO = SegmentRef(11, 12, bytes(range(32)), 200)
HEAD = sign_head(IDENTITY, 12, [ONE, TWO], 1_800_000_000)


def test_is_read_as_it_was_signed():
    head = decode_head(HEAD.encoded)
    assert head == HEAD
    assert (head.device, head.sequence, head.segments) == (IDENTITY.id, 12, (ONE, TWO))
    verify_head(head)


def test_the_empty_feed():
    verify_head(decode_head(sign_head(IDENTITY, 0, [], 0).encoded))


def test_fields_of_a_later_version_are_passed_on_and_signed():
    body = msgspec.msgpack.encode([*msgspec.msgpack.decode(msgspec.msgpack.decode(HEAD.encoded)[0]), "later"])
    encoded = msgspec.msgpack.encode([body, IDENTITY.sign(body, labels.SIGN_HEAD)])
    head = decode_head(encoded)
    verify_head(head)
    assert head.encoded == encoded


def test_another_signer_is_refused():
    other = person("bob").identity
    body = msgspec.msgpack.decode(HEAD.encoded)[0]
    forged = decode_head(msgspec.msgpack.encode([body, other.sign(body, labels.SIGN_HEAD)]))
    with pytest.raises(ForeignError):
        verify_head(forged)


@pytest.mark.parametrize(
    ("sequence", "segments"),
    [
        (12, [TWO, ONE]),
        (12, [ONE, ONE]),
        (12, [ONE, SegmentRef(10, 11, bytes(32), 1)]),
        (11, [ONE, TWO]),
        (9, [SegmentRef(9, 8, bytes(32), 1)]),
    ],
)
def test_segments_out_of_order_are_neither_signed_nor_read(sequence, segments):
    with pytest.raises(ValueError, match="a head lists"):
        sign_head(IDENTITY, sequence, segments, 0)
    body = msgspec.msgpack.encode([IDENTITY.public, sequence, segments, 0])
    with pytest.raises(ForeignError, match="a head lists"):
        decode_head(msgspec.msgpack.encode([body, bytes(64)]))


def test_a_head_that_is_too_long():
    with pytest.raises(ForeignError, match="longer"):
        decode_head(bytes(600 * 1024))


@given(st.integers(0, len(HEAD.encoded) - 1), st.integers(0, 255))
def test_no_changed_byte_is_believed(position, value):
    changed = bytearray(HEAD.encoded)
    if changed[position] == value:
        return
    changed[position] = value
    with pytest.raises(ForeignError):
        verify_head(decode_head(bytes(changed)))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_foreign_error(data):
    with suppress(ForeignError):
        decode_head(data)


def head_of(*segments: SegmentRef) -> SignedHead:
    return sign_head(IDENTITY, segments[-1].last, segments, 0)


def test_two_histories_contradict_each_other_where_they_part():
    first = next_mark(b"", b"a" * 32)
    ours, theirs = (next_mark(first, address) for address in (b"b" * 32, b"c" * 32))
    begin = SegmentRef(1, 10, b"a" * 32, 1, first)
    short, long = head_of(begin), head_of(begin, SegmentRef(11, 12, b"b" * 32, 1, ours))
    merged = head_of(SegmentRef(1, 12, b"m" * 32, 1, ours))
    other = head_of(begin, SegmentRef(11, 12, b"c" * 32, 1, theirs))
    later = head_of(begin, SegmentRef(11, 12, b"c" * 32, 1, theirs), SegmentRef(13, 13, b"d" * 32, 1, bytes(16)))
    for one, two in ((short, long), (long, merged), (merged, short), (short, other), (other, later), (HEAD, long)):
        assert contradiction(one, two) is contradiction(two, one) is None
    for one, two in ((long, other), (merged, other), (long, later), (merged, later)):
        assert contradiction(one, two) == contradiction(two, one) == 12
