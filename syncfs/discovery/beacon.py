"""The datagram by which members of a share find each other on a LAN; bytes only, no input or output.

To anybody without the rendezvous key a beacon is random bytes: nothing in it repeats, neither between two beacons of
one device nor between devices of one share, so it tells neither the share nor the device. Its time keeps an old capture
from being replayed elsewhere to see who reacts. The layout is in docs/formats/discovery.md.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from hmac import compare_digest
from typing import Final

from syncfs.crypto.hashing import derive, keyed_blake3
from syncfs.model.errors import ForeignError

DERIVE_BEACON_KEYS: Final = "syncfs v1 rendezvous: LAN beacon"
DERIVE_SHARE_TAG: Final = "syncfs v1 rendezvous: share tag"

NONCE_BYTES = 16
TAG_BYTES = 16
INSTANCE_BYTES = 8
_BODY = struct.Struct(">BHQ8s")  # kind, port, time in s since 1970, instance
MAX_BODY_BYTES = 32
"""One BLAKE3 output masks the body; what a later version appends is authenticated, and passed over by us."""
BEACON_BYTES = NONCE_BYTES + TAG_BYTES + _BODY.size


class Kind(IntEnum):
    """Why a beacon was sent: HELLO asks whoever hears it for an ANSWER, ALIVE only keeps a sighting fresh."""

    HELLO = 1
    ALIVE = 2
    ANSWER = 3


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a member says: its TCP port (0: listens nowhere), its wall clock in s, the random id of its process."""

    kind: Kind
    port: int
    time: int
    instance: bytes


@dataclass(frozen=True, slots=True)
class BeaconKeys:
    """The two keys of a share's beacons, 32 bytes each."""

    mask: bytes
    tag: bytes


def beacon_keys(rendezvous_key: bytes) -> BeaconKeys:
    """The keys that all members of a share derive from its rendezvous key (32 bytes)."""
    both = derive(rendezvous_key, DERIVE_BEACON_KEYS, 64)
    return BeaconKeys(both[:32], both[32:])


def share_tag(rendezvous_key: bytes) -> bytes:
    """8 bytes that name a share within this process; never sent."""
    return derive(rendezvous_key, DERIVE_SHARE_TAG, 8)


def encode_beacon(keys: BeaconKeys, beacon: Beacon, nonce: bytes) -> bytes:
    """The datagram of `beacon`, BEACON_BYTES long; `nonce` is NONCE_BYTES of fresh randomness."""
    body = _BODY.pack(beacon.kind, beacon.port, beacon.time, beacon.instance)
    masked = _mask(keys, nonce, body)
    return nonce + _tag(keys, nonce, masked) + masked


def decode_beacon(keys: BeaconKeys, data: bytes) -> Beacon:
    """The beacon in `data`, which anybody may have sent. Raises ForeignError unless a member of the share made it."""
    masked = data[NONCE_BYTES + TAG_BYTES :]
    if not _BODY.size <= len(masked) <= MAX_BODY_BYTES:
        raise ForeignError("a LAN datagram has a length that none of ours has")
    nonce, tag = data[:NONCE_BYTES], data[NONCE_BYTES : NONCE_BYTES + TAG_BYTES]
    if not compare_digest(tag, _tag(keys, nonce, masked)):
        raise ForeignError("a LAN datagram is not of this share")
    kind, port, time, instance = _BODY.unpack_from(_mask(keys, nonce, masked))
    try:
        return Beacon(Kind(kind), port, time, instance)
    except ValueError:
        raise ForeignError(f"a LAN datagram is of the unknown kind {kind}") from None


def _mask(keys: BeaconKeys, nonce: bytes, body: bytes) -> bytes:
    stream = keyed_blake3(keys.mask, nonce)
    return bytes(a ^ b for a, b in zip(body, stream, strict=False))


def _tag(keys: BeaconKeys, nonce: bytes, masked: bytes) -> bytes:
    return keyed_blake3(keys.tag, nonce + masked)[:TAG_BYTES]
