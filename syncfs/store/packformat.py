"""The bytes of a pack file (docs/formats/store.md): pure encoding, and a walk that finds what is whole.

    pack   = "syncfs pack\\n" ‖ version u32 ‖ entry*                          16 bytes before the first entry
    entry  = magic 4 ‖ size u32 ‖ address 32 ‖ CRC-32 of these 40 u32 ‖ data  44 bytes before the data

Numbers are big endian. An entry is whole if its header fits its CRC and its data fits its address. What is not whole is
a gap: the walk looks for the next magic behind it, so that damage never hides the entries after it.
"""

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.sealing import address_of
from syncfs.model.errors import DamageError, NewerFormatError
from syncfs.model.ids import Address
from syncfs.model.places import Place

PACKED_LIMIT = 2 * 1024 * 1024
"""Chunks of at most so many bytes go into packs. A file of its own costs a name, an inode and a flush for each chunk:
making 128 chunks of 1 MiB durable took three times as long (docs/decisions)."""
PACK_BYTES = 64 * 1024 * 1024
"""A pack grows to at most so many bytes."""

_VERSION = 1
_PREAMBLE = struct.Struct(">12sI")
_NAME = b"syncfs pack\n"
PREAMBLE_BYTES = _PREAMBLE.size
_MAGIC = b"\xa7\x1cK\xf3"
_FIELDS = struct.Struct(">4sI32s")
_CRC = struct.Struct(">I")
HEADER_BYTES = _FIELDS.size + _CRC.size
_BLOCK = 4096
_WINDOW = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes start ≤ offset < stop of a pack that are no whole entry."""

    start: int
    stop: int


def preamble() -> bytes:
    """The first bytes of a pack."""
    return _PREAMBLE.pack(_NAME, _VERSION)


def check_preamble(data: bytes, path: Path) -> None:
    """Raises DamageError or NewerFormatError unless `data` begins a pack of today's format."""
    if len(data) < PREAMBLE_BYTES:
        raise DamageError(f"the pack {path} is cut short: run `syncfs check NAME --repair`")
    name, version = _PREAMBLE.unpack_from(data)
    if name != _NAME:
        raise DamageError(f"the pack {path} is damaged: run `syncfs check NAME --repair`")
    if version > _VERSION:
        raise NewerFormatError(f"the pack {path} was written by a newer syncfs: please update syncfs on this computer")


def entry_header(address: Address, size: int) -> bytes:
    """What stands before the data of an entry."""
    fields = _FIELDS.pack(_MAGIC, size, address)
    return fields + _CRC.pack(zlib.crc32(fields))


def parse_header(data: BytesLike) -> tuple[Address, int] | None:
    """Address and size of the entry that begins with `data`, or None if none does."""
    if len(data) < HEADER_BYTES:
        return None
    magic, size, address = _FIELDS.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _FIELDS.size)
    if magic != _MAGIC or size > PACKED_LIMIT or crc != zlib.crc32(memoryview(data)[: _FIELDS.size]):
        return None
    return Address(address), size


def walk(descriptor: int, pack: int, start: int, stop: int) -> Iterator[Place | Gap]:
    """Every whole entry between two offsets of a pack, and the gaps between them, in order. Raises OSError."""
    position, gap = start, None
    while position < stop:
        place = _entry_at(descriptor, pack, position, stop)
        if place is None:
            gap = position if gap is None else gap
            position = _next_magic(descriptor, position + 1, stop)
            continue
        if gap is not None:
            yield Gap(gap, position)
            gap = None
        yield place
        position = place.offset + place.size
    if gap is not None:
        yield Gap(gap, stop)


def _entry_at(descriptor: int, pack: int, position: int, stop: int) -> Place | None:
    parsed = parse_header(_readable(descriptor, position, min(HEADER_BYTES, stop - position)))
    if parsed is None:
        return None
    address, size = parsed
    offset = position + HEADER_BYTES
    if offset + size > stop or address_of(_readable(descriptor, offset, size)) != address:
        return None
    return Place(pack, offset, size, address)


def _next_magic(descriptor: int, position: int, stop: int) -> int:
    while position < stop:
        window = _readable(descriptor, position, min(_WINDOW, stop - position))
        found = window.find(_MAGIC)
        if found >= 0:
            return position + found
        if not window:
            return stop
        position += max(len(window) - len(_MAGIC) + 1, 1)
    return stop


def _readable(descriptor: int, offset: int, size: int) -> bytes:
    """The bytes at an offset, with zeros for blocks that the disk cannot read."""
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        if size <= _BLOCK:
            return bytes(size)
    half = max(size // 2 // _BLOCK * _BLOCK, _BLOCK)
    return _readable(descriptor, offset, half) + _readable(descriptor, offset + half, size - half)
