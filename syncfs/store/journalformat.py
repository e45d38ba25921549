"""The bytes of a journal (docs/formats/store.md): pure encoding and sealing of its head and its records.

    journal = magic 7 ‖ version u8 ‖ nonce 12 ‖ size u32 ‖ sealed(file key 32 ‖ header) ‖ record*
    record  = magic 4 ‖ kind u8 ‖ 3 zero bytes ‖ size u32 ‖ offset u64 ‖ durable u64 ‖ counter u64 ‖ CRC-32 u32 ‖ sealed

Numbers are big endian; `size` counts the plaintext, sealing adds 16 bytes. The head is sealed under the device's
journal key with a random nonce, the records under the file key with their counter as nonce. What stands before sealed
bytes, and for records where they stand, is bound to them. `durable` is the length of the journal that was known to be
on stable storage when the record was written: what is broken before it was damaged, what is broken behind it was never
promised. Counters only grow.

A mark has data of the engine's, by which it tells whether what stands before the mark still counts. An anew has the
position from which on everything is told once more, so that nothing before it counts.
"""

import struct
import zlib
from dataclasses import dataclass

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.sealing import JOURNAL_NONCE_BYTES, TAG_BYTES, JournalCipher
from syncfs.model.errors import DamageError, NewerFormatError

PIECE = 128 * 1024
"""An append is cut where the file's offset is a multiple of this, so that reading a little back opens little."""
MAX_HEADER = 64 * 1024
FILE_KEY_BYTES = 32

_VERSION = 2
_NAME = b"syncfsJ"
_HEAD = struct.Struct(f">7sB{JOURNAL_NONCE_BYTES}sI")
HEAD_BYTES = _HEAD.size

MAGIC = b"\xb5\x1e\x9aj"
_FIELDS = struct.Struct(">4sB3xIQQQ")
_CRC = struct.Struct(">I")
FIELDS_BYTES = _FIELDS.size + _CRC.size
RECORD_BYTES = FIELDS_BYTES + TAG_BYTES
"""What a record takes beyond its plaintext."""

EXTENT = 1
TRUNCATE = 2
MARK = 3
ANEW = 4
MAX_OFFSET = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Fields:
    """What stands in the clear before the sealed bytes of a record."""

    kind: int
    size: int
    offset: int
    durable: int
    counter: int

    @property
    def record_bytes(self) -> int:
        """The length of the whole record."""
        return RECORD_BYTES + self.size


def seal_head(cipher: JournalCipher, nonce: bytes, file_key: bytes, header: bytes) -> bytes:
    """The head of a journal, whose records are sealed under `file_key`."""
    clear = _HEAD.pack(_NAME, _VERSION, nonce, len(header))
    return clear + cipher.seal(nonce, file_key + header, clear)


def head_size(clear: bytes) -> int | None:
    """The length of a whole head that begins with these HEAD_BYTES bytes; None if it was never written.

    Raises DamageError, NewerFormatError.
    """
    if not any(clear):
        return None
    name, version, _, size = _HEAD.unpack(clear)
    if name != _NAME or size > MAX_HEADER:
        raise DamageError(
            "a journal of unsaved writes is damaged at its start: run `syncfs check NAME` to find out more"
        )
    if version > _VERSION:
        raise NewerFormatError("a journal comes from a newer syncfs: please update syncfs on this computer")
    return HEAD_BYTES + FILE_KEY_BYTES + int(size) + TAG_BYTES


def damaged_start() -> DamageError:
    """The error for a journal whose head was written and cannot be read."""
    return DamageError("a journal of unsaved writes is damaged at its start: run `syncfs check NAME` to find out more")


def open_head(cipher: JournalCipher, head: bytes) -> tuple[bytes, bytes]:
    """File key and header from a whole head. Raises DamageError."""
    clear = head[:HEAD_BYTES]
    plain = cipher.open(_HEAD.unpack(clear)[2], head[HEAD_BYTES:], clear)
    return plain[:FILE_KEY_BYTES], plain[FILE_KEY_BYTES:]


def seal_record(cipher: JournalCipher, fields: Fields, position: int, plain: BytesLike) -> tuple[bytes, bytes]:
    """Clear and sealed part of the record that is to stand at `position`."""
    clear = _FIELDS.pack(MAGIC, fields.kind, fields.size, fields.offset, fields.durable, fields.counter)
    clear += _CRC.pack(zlib.crc32(clear))
    return clear, cipher.seal(_nonce(fields), plain, _bound(clear, position))


def parse_fields(clear: bytes) -> Fields | None:
    """The fields of the record that begins with `clear`, or None if none does."""
    if len(clear) < FIELDS_BYTES:
        return None
    magic, kind, size, offset, durable, counter = _FIELDS.unpack_from(clear)
    (crc,) = _CRC.unpack_from(clear, _FIELDS.size)
    if magic != MAGIC or crc != zlib.crc32(clear[: _FIELDS.size]):
        return None
    if size > PIECE or kind not in (EXTENT, TRUNCATE, MARK, ANEW) or offset + size > MAX_OFFSET:
        return None
    return Fields(kind, size, offset, durable, counter)


def open_record(cipher: JournalCipher, record: bytes, position: int) -> bytes | None:
    """The plaintext of a whole record that stands at `position`, or None if it is not what was written."""
    fields = parse_fields(record[:FIELDS_BYTES])
    if fields is None or len(record) != fields.record_bytes:
        return None
    try:
        return cipher.open(_nonce(fields), record[FIELDS_BYTES:], _bound(record[:FIELDS_BYTES], position))
    except DamageError:
        return None


def _nonce(fields: Fields) -> bytes:
    return fields.counter.to_bytes(JOURNAL_NONCE_BYTES, "big")


def _bound(clear: bytes, position: int) -> bytes:
    return clear + position.to_bytes(8, "big")
