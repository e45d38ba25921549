"""Heads: what a device states, signed, about its own feed.

A head travels as msgpack `[body, signature]`, where `body` is the msgpack array of the statement. The signature covers
the very bytes of the body, so peers pass a head on unchanged, with fields of a later version that they do not know.

Where a segment ends, the head states a *mark* that follows from all segments as they were first sealed. Segments are
merged and written anew later, marks stay. So two heads of one device that give different marks for one number prove
that it has signed two histories (`contradiction`), and every peer sees that without fetching anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from syncfs.crypto import labels
from syncfs.crypto.hashing import blake3
from syncfs.crypto.identity import DeviceIdentity, device_id, verify
from syncfs.model.errors import ForeignError
from syncfs.model.ids import HASH_BYTES, DeviceId
from syncfs.wire.messages import MAX_HEAD

MAX_SEGMENTS = 8192
"""Segments of one feed; they are merged as they age, long before there are so many."""
MAX_SEQUENCE = 2**63 - 1

MARK_BYTES = 16

_Sequence = Annotated[int, Meta(ge=1, le=MAX_SEQUENCE)]


class SegmentRef(Struct, frozen=True, array_like=True):
    """The records `first` to `last` of the feed are in the sealed segment at `address`, of `size` bytes.

    `mark` stands for the whole history up to `last`; it is empty in heads that were signed before there were any.
    """

    first: _Sequence
    last: _Sequence
    address: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
    size: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    mark: Annotated[bytes, Meta(max_length=MARK_BYTES)] = b""


class _Body(Struct, frozen=True, array_like=True):
    device_public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    sequence: Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
    segments: Annotated[list[SegmentRef], Meta(max_length=MAX_SEGMENTS)]
    time: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Envelope(Struct, frozen=True, array_like=True):
    body: bytes
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A feed up to record `sequence`, as `segments` in ascending order; `time` in s since 1970 is for people.

    `encoded` holds the bytes in which the head travels and is kept.
    """

    device_public: bytes
    sequence: int
    segments: tuple[SegmentRef, ...]
    time: int
    signature: bytes
    encoded: bytes

    @property
    def device(self) -> DeviceId:
        """The device whose feed this is."""
        return device_id(self.device_public)


_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)
_body_decoder = msgspec.msgpack.Decoder(_Body)


def sign_head(identity: DeviceIdentity, sequence: int, segments: Sequence[SegmentRef], time: int) -> SignedHead:
    """The head of this device's feed. Raises ValueError if the segments do not fit the sequence or are too many."""
    problem = _problem(sequence, segments)
    if problem is not None:
        raise ValueError(problem)
    body = _encoder.encode(_Body(identity.public, sequence, list(segments), time))
    signature = identity.sign(body, labels.SIGN_HEAD)
    encoded = _encoder.encode(_Envelope(body, signature))
    return SignedHead(identity.public, sequence, tuple(segments), time, signature, encoded)


def decode_head(data: bytes) -> SignedHead:
    """The head in foreign bytes, its signature not checked yet. Raises ForeignError."""
    try:
        if len(data) > MAX_HEAD:
            raise ForeignError("a head is longer than a head may be")
        envelope = _envelope_decoder.decode(data)
        body = _body_decoder.decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignError(f"a head cannot be read ({error})") from error
    problem = _problem(body.sequence, body.segments)
    if problem is not None:
        raise ForeignError(problem)
    return SignedHead(
        body.device_public, body.sequence, tuple(body.segments), body.time, envelope.signature, bytes(data)
    )


def verify_head(head: SignedHead) -> None:
    """Check that the device in the head has signed it. Raises ForeignError.

    Whether that device may write to the share is another question: ask its certificate.
    """
    body = _envelope_decoder.decode(head.encoded).body
    verify(head.device_public, body, head.signature, labels.SIGN_HEAD)


def next_mark(before: bytes, address: bytes) -> bytes:
    """The mark after a segment that was sealed for the first time, from the mark before it (empty at the start)."""
    return blake3(before + address)[:MARK_BYTES]


def contradiction(one: SignedHead, other: SignedHead) -> int | None:
    """A record number up to which two heads of one device tell different histories; None if they may both be true."""
    marks = {ref.last: ref.mark for ref in one.segments if ref.mark}
    return next((ref.last for ref in other.segments if ref.mark and marks.get(ref.last, ref.mark) != ref.mark), None)


def _problem(sequence: int, segments: Sequence[SegmentRef]) -> str | None:
    if len(segments) > MAX_SEGMENTS:
        return "a head lists too many segments"
    before = 0
    for segment in segments:
        if not before < segment.first <= segment.last:
            return "a head lists segments that overlap or are out of order"
        before = segment.last
    return "a head lists segments beyond its own end" if before > sequence else None
