"""Names of things: devices, nodes, links, chunks, and the stamps that order what happened.

A stamp is 24 bytes, `lamport (8, big endian) ‖ device (16)`, so that comparing two stamps as bytes compares them as
Lamport clocks with the device as tie-break. A stamp is unique, because a device never uses a lamport twice; the
stamp of a version record is therefore also the version's id.
"""

from typing import NewType

DeviceId = NewType("DeviceId", bytes)
"""16 bytes: the start of the BLAKE3 of the device's Ed25519 public key."""
NodeId = NewType("NodeId", bytes)
"""16 random bytes, chosen by whoever created the node; the root has 16 zero bytes."""
LinkId = NewType("LinkId", bytes)
"""16 bytes; the first link of a node bears the node's own id, further hard links have random ones."""
ChunkId = NewType("ChunkId", bytes)
"""32 bytes: keyed BLAKE3 of the plaintext, known to readers only."""
Address = NewType("Address", bytes)
"""32 bytes: BLAKE3 of the sealed bytes, by which anybody can verify them."""
Stamp = NewType("Stamp", bytes)
"""24 bytes: lamport and device, ordered as bytes."""

DEVICE_BYTES = 16
NODE_BYTES = 16
HASH_BYTES = 32
STAMP_BYTES = 8 + DEVICE_BYTES
MAX_LAMPORT = 2**63 - 1

ROOT_NODE = NodeId(bytes(NODE_BYTES))
NO_STAMP = Stamp(bytes(STAMP_BYTES))
"""Smaller than the stamp of anything that ever happened."""


def make_stamp(lamport: int, device: DeviceId) -> Stamp:
    """The stamp of the record that `device` wrote at `lamport`."""
    return Stamp(lamport.to_bytes(8, "big") + device)


def lamport_of(stamp: Stamp) -> int:
    """The lamport of a stamp."""
    return int.from_bytes(stamp[:8], "big")


def device_of(stamp: Stamp) -> DeviceId:
    """The device of a stamp."""
    return DeviceId(stamp[8:])
