"""BLAKE3 in its three modes; big inputs are hashed without holding the GIL."""

from typing import TypeAlias

from blake3 import blake3 as _blake3

BytesLike: TypeAlias = bytes | bytearray | memoryview

HASH_BYTES = 32


def blake3(data: BytesLike) -> bytes:
    """The 32 bytes of the BLAKE3 hash of `data`."""
    return _blake3(data).digest()


def keyed_blake3(key: bytes, data: BytesLike) -> bytes:
    """The 32 bytes of the BLAKE3 hash of `data` under a key of 32 bytes: a MAC, or a key for each `data`."""
    return _blake3(data, key=key).digest()


def derive(key: bytes, label: str, size: int = HASH_BYTES) -> bytes:
    """`size` bytes derived from secret `key` for the use that `label` (one of crypto.labels) names."""
    return _blake3(key, derive_key_context=label).digest(length=size)
