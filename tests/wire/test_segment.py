"""Segments: sealed for readers, counted by stores, bounded for all."""

from contextlib import suppress

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.crypto.sealing import address_of, seal_segment
from syncfs.model.errors import ForeignError
from syncfs.model.ids import DeviceId
from syncfs.model.records import LinkRecord, NodeRecord, Owner, SettingRecord, Times, VersionRecord
from syncfs.wire.segment import MAX_PLAIN, decode_segment, decode_segment_public, encode_segment

from .people import share_keys

READ = share_keys().read
assert READ is not None
OTHER = share_keys("other").read
assert OTHER is not None
DEVICE = DeviceId(b"d" * 16)
NODE = b"n" * 16
ADDS, DROPS = [b"a" * 32, b"b" * 32], [b"c" * 32]
NONCE = bytes(24)
RECORDS = [
    NodeRecord(1, -5, NODE, mode=0o644, owner=Owner(0, 0, "root"), times=Times(-1, 2), xattrs={b"user.x": b"\xff"}),
    LinkRecord(2, 0, NODE, NODE, bytes(16), b"name \xff"),
    VersionRecord(3, 0, NODE, (), 3, 0, -1, b"abc"),
    SettingRecord(4, 0, "retention", "all"),
]
SEGMENT = encode_segment(READ, DEVICE, 7, RECORDS, ADDS, DROPS, NONCE)


def test_readers_read_what_was_written():
    public, records = decode_segment(READ, SEGMENT.data)
    assert records == RECORDS
    assert (public.device, public.first, public.last) == (DEVICE, 7, 10)
    assert (list(public.adds), list(public.drops)) == (ADDS, DROPS)
    assert SEGMENT.address == address_of(SEGMENT.data)


def test_stores_read_the_public_part_only():
    assert decode_segment_public(SEGMENT.data) == decode_segment(READ, SEGMENT.data)[0]
    with pytest.raises(ForeignError, match="decrypted"):
        decode_segment(OTHER, SEGMENT.data)
    assert b"user.x" not in SEGMENT.data


def test_a_merged_segment_may_hold_fewer_records():
    merged = encode_segment(READ, DEVICE, 1, RECORDS, [], [], NONCE, last=1000)
    assert decode_segment(READ, merged.data)[0].last == 1000


@pytest.mark.parametrize(("first", "last"), [(0, None), (1, 3), (2**63, None)])
def test_impossible_batches_are_not_written(first, last):
    with pytest.raises(ValueError, match="do not fit"):
        encode_segment(READ, DEVICE, first, RECORDS, [], [], NONCE, last=last)


def test_the_public_part_cannot_be_exchanged():
    public, sealed = msgspec.msgpack.decode(SEGMENT.data)
    fields = msgspec.msgpack.decode(public)
    with pytest.raises(ForeignError):
        decode_segment(READ, msgspec.msgpack.encode([msgspec.msgpack.encode([b"e" * 16, *fields[1:]]), sealed]))


def forge(body: bytes, public: list[object] | None = None) -> bytes:
    """A segment that a reader could make, with this in place of the packed records."""
    encoded = msgspec.msgpack.encode(public or [DEVICE, 1, 4, b"", b""])
    return msgspec.msgpack.encode([encoded, seal_segment(READ, NONCE, body, encoded)])


def pack(value: object) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(value))


def stated(size: int) -> bytes:
    """A zstd frame that says it holds so many bytes."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no zstd",
        stated(MAX_PLAIN + 1),
        stated(2**62),
        stated(MAX_PLAIN),
        zstandard.compress(bytes(MAX_PLAIN + 1)),
        zstandard.ZstdCompressor(write_content_size=False).compress(pack([])),
        pack({}),
        pack([["z", 1]]),
        pack([["n", 1, 0, b"short"]]),
        pack([["n", 0, 0, NODE]]),
        pack([["l", 1, 0, NODE, NODE, NODE, b".."]]),
        pack([["l", 1, 0, NODE, NODE, NODE, b"a/b"]]),
        pack(RECORDS * 2),
        zstandard.compress(b"\x91" * 100_000),
    ],
    ids=range(15),
)
def test_a_bad_body_is_refused(body):
    with pytest.raises(ForeignError):
        decode_segment(READ, forge(body))


@pytest.mark.parametrize(
    "public",
    [
        [b"short", 1, 4, b"", b""],
        [DEVICE, 4, 1, b"", b""],
        [DEVICE, 0, 4, b"", b""],
        [DEVICE, 1, 4, b"odd", b""],
        [DEVICE, 1, 4, b"", bytes(33)],
    ],
)
def test_a_bad_public_part_is_refused(public):
    with pytest.raises(ForeignError):
        decode_segment_public(forge(pack(RECORDS), public))


def test_a_segment_that_is_too_long():
    with pytest.raises(ForeignError, match="longer"):
        decode_segment_public(bytes(5 << 20))


@given(st.integers(0, len(SEGMENT.data) - 1), st.integers(1, 255))
def test_no_changed_byte_is_believed(position, change):
    changed = bytearray(SEGMENT.data)
    changed[position] ^= change
    with pytest.raises(ForeignError):
        decode_segment(READ, bytes(changed))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_foreign_error(data):
    with suppress(ForeignError):
        decode_segment_public(data)
    with suppress(ForeignError):
        decode_segment(READ, forge(data))
