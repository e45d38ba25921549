"""Segments: batches of records, sealed for readers, with a public part that stores can read.

A segment is msgpack `[public, sealed]`. `public` is the msgpack array of the Segment below; its very bytes are bound to
the sealed body. The body is zstd of the msgpack array of records. The address of the whole is that of any chunk.
Foreign segments are bounded before anything is unpacked: so many bytes, so many records, so many bytes decompressed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import zstandard
from msgspec import Meta, Struct

from syncfs.crypto.keys import ReadKeys
from syncfs.crypto.sealing import address_of, open_segment, seal_segment
from syncfs.model.errors import ForeignError
from syncfs.model.ids import DEVICE_BYTES, HASH_BYTES, Address, DeviceId
from syncfs.model.records import Record, check_record
from syncfs.wire.pieces import MIB

MAX_SEGMENT = 4 * MIB
"""Bytes of a sealed segment."""
MAX_PLAIN = 16 * MIB
"""Bytes of the records of one segment, decompressed."""
MAX_RECORDS = 65_536
MAX_SEQUENCE = 2**63 - 1
_LEVEL = 3

_Sequence = Annotated[int, Meta(ge=1, le=MAX_SEQUENCE)]


class _Public(Struct, frozen=True, array_like=True):
    device: Annotated[bytes, Meta(min_length=DEVICE_BYTES, max_length=DEVICE_BYTES)]
    first: _Sequence
    last: _Sequence
    adds: bytes
    drops: bytes


class _Envelope(Struct, frozen=True, array_like=True):
    public: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """The public part: whose records they are, `first` to `last` of its feed, and which chunks they add and drop."""

    device: DeviceId
    first: int
    last: int
    adds: tuple[Address, ...]
    drops: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A segment as it is stored and sent; `address` is the hash of `data`."""

    address: Address
    first: int
    last: int
    data: bytes = field(repr=False)


_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)
_public_decoder = msgspec.msgpack.Decoder(_Public)
_records_decoder: msgspec.msgpack.Decoder[list[Record]] = msgspec.msgpack.Decoder(list[Record])


def encode_record(record: Record) -> bytes:
    """The msgpack bytes of one record, by whose length a batch can be kept below MAX_PLAIN."""
    return _encoder.encode(record)


def encode_segment(
    read_keys: ReadKeys,
    device: DeviceId,
    first: int,
    records: Sequence[Record],
    adds: Iterable[bytes],
    drops: Iterable[bytes],
    nonce: bytes,
    *,
    last: int | None = None,
) -> SealedSegment:
    """Seal a batch of records whose first has number `first` in the feed of `device`; `nonce` has 24 random bytes.

    `last` is given where records that lost were left out. Raises ValueError if the batch is empty or breaks a limit.
    """
    last = first + len(records) - 1 if last is None else last
    plain = _encoder.encode(records)
    if (
        not 0 < first <= last <= MAX_SEQUENCE
        or len(records) > min(last - first + 1, MAX_RECORDS)
        or len(plain) > MAX_PLAIN
    ):
        raise ValueError(f"{len(records)} records of {len(plain)} bytes do not fit into a segment {first} to {last}")
    public = _encoder.encode(_Public(device, first, last, b"".join(adds), b"".join(drops)))
    sealed = seal_segment(read_keys, nonce, zstandard.ZstdCompressor(level=_LEVEL).compress(plain), public)
    data = _encoder.encode(_Envelope(public, sealed))
    if len(data) > MAX_SEGMENT:
        raise ValueError(f"a segment of {len(data)} bytes is too long: put fewer records into it")
    return SealedSegment(address_of(data), first, last, data)


def decode_segment_public(data: bytes) -> Segment:
    """What anybody may know of a segment. Raises ForeignError."""
    return _open_envelope(data)[0]


def decode_segment(read_keys: ReadKeys, data: bytes) -> tuple[Segment, list[Record]]:
    """The public part and the records, each of them checked. Raises ForeignError on anything odd, and nothing else."""
    segment, envelope = _open_envelope(data)
    plain = _decompress(open_segment(read_keys, envelope.sealed, envelope.public))
    try:
        records = _records_decoder.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignError(f"the records of a segment cannot be read ({error})") from error
    if len(records) > min(segment.last - segment.first + 1, MAX_RECORDS):
        raise ForeignError("a segment holds more records than it says")
    for record in records:
        check_record(record)
    return segment, records


def _open_envelope(data: bytes) -> tuple[Segment, _Envelope]:
    if len(data) > MAX_SEGMENT:
        raise ForeignError("a segment is longer than a segment may be")
    try:
        envelope = _envelope_decoder.decode(data)
        public = _public_decoder.decode(envelope.public)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignError(f"a segment cannot be read ({error})") from error
    if public.first > public.last:
        raise ForeignError("a segment ends before it begins")
    adds, drops = _split(public.adds), _split(public.drops)
    return Segment(DeviceId(public.device), public.first, public.last, adds, drops), envelope


def _split(joined: bytes) -> tuple[Address, ...]:
    if len(joined) % HASH_BYTES:
        raise ForeignError("a segment holds a list of addresses that is cut short")
    return tuple(Address(joined[start : start + HASH_BYTES]) for start in range(0, len(joined), HASH_BYTES))


def _decompress(packed: bytes) -> bytes:
    """The plain bytes, whose number must be stated at the start, since memory for all of them is taken at once."""
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 < size <= MAX_PLAIN:
            raise ForeignError("a segment would unpack to more than a segment may hold")
        return zstandard.ZstdDecompressor(max_window_size=2 * MAX_PLAIN).decompress(packed)
    except zstandard.ZstdError as error:
        raise ForeignError("a segment cannot be unpacked") from error
