"""The names of conflict copies: `report (conflict laptop 2024-05-01 101500).txt`.

Every peer must make the same name from the same records, so nothing here depends on locale, time zone or the version of
a Unicode table. A conflict name tells its original name, so copies of two different names never get the same name; only
a real name that happens to look like it, or a second copy of the same second, can be in the way (then `count` differs).
"""

import hashlib
from datetime import UTC, datetime

from syncfs.model.records import MAX_NAME

MARK = b" (conflict "
"""What every conflict name contains; the appearance of a real name with it may move a conflict name aside."""
MAX_DEVICE = 40
"""Bytes of a device's name that a conflict name repeats."""
MAX_EXTENSION = 16
_LAST_SECOND = 253_402_300_799
"""9999-12-31 23:59:59 UTC."""
_UNSAFE = frozenset('()/\\:*?"<>|\x7f')
_DIGEST_BYTES = 16
"""Of a name too long to be repeated whole; long enough that nobody can make two names that agree in it."""


def conflict_name(name: bytes, device: str, time: int, count: int = 1) -> bytes:
    """The name under which a conflict copy of `name` is shown: at most 255 bytes, the extension kept.

    `time` is a wall clock in ns since 1970, `count` tells copies of one device and second apart (1 is not written).
    """
    stem, extension = split_extension(name)
    number = f" {count}" if count > 1 else ""
    tail = MARK + f"{safe_device(device)} {_date(time)}{number})".encode() + extension
    room = MAX_NAME - len(tail)
    if len(stem) > room:
        digest = b"~" + hashlib.blake2b(name, digest_size=_DIGEST_BYTES).hexdigest().encode()
        stem = _cut(stem, room - len(digest)) + digest
    return stem + tail


def split_extension(name: bytes) -> tuple[bytes, bytes]:
    """The name without and its extension with the dot; a leading dot starts none, nor does an odd or long end."""
    stem, dot, extension = name.rpartition(b".")
    if not stem.strip(b".") or len(extension) > MAX_EXTENSION or not extension.isalnum():
        return name, b""
    return stem, dot + extension


def safe_device(device: str) -> str:
    """A device's name as it may stand within a file name on any system."""
    safe = "".join("-" if _is_unsafe(character) else character for character in device)
    words = " ".join(word for word in safe.split(" ") if word)
    return _cut(words.strip(" .").encode(), MAX_DEVICE).decode().strip(" .") or "unknown"


def _is_unsafe(character: str) -> bool:
    return character in _UNSAFE or character < " " or "\ud800" <= character <= "\udfff"


def _date(time: int) -> str:
    seconds = min(max(time // 1_000_000_000, 0), _LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H%M%S")


def _cut(text: bytes, size: int) -> bytes:
    """At most `size` bytes from the start, without half a UTF-8 character at the end."""
    if len(text) <= size:
        return text
    end = size
    while end > max(size - 3, 0) and text[end] & 0xC0 == 0x80:
        end -= 1
    return text[:end]
