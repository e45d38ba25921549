"""POSIX ACLs as the extended attributes that the kernel takes (linux/posix_acl_xattr.h, version 2)."""

import os
import struct
from pathlib import Path
from typing import Final

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"
OWNER_BITS, USER, GROUP_BITS, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NAMES: Final = {
    OWNER_BITS: "owner",
    USER: "user",
    GROUP_BITS: "owning group",
    GROUP: "group",
    MASK: "mask",
    OTHER: "other",
}
_NOBODY: Final = 0xFFFFFFFF

Entries = tuple[tuple[int, int, int], ...]
"""(tag, id, permission bits) each, in the order of the tags; the id counts for USER and GROUP."""


def entry(tag: int, bits: int, number: int = _NOBODY) -> tuple[int, int, int]:
    """One entry."""
    return tag, number, bits


def pack(entries: Entries) -> bytes:
    """The value of the extended attribute."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, number) for tag, number, bits in entries)


def unpack(value: bytes) -> list[str]:
    """The entries as text, such as `user 65104 rw-`."""
    found = []
    for place in range(4, len(value), 8):
        tag, bits, number = struct.unpack_from("<HHI", value, place)
        letters = "".join(letter if bits & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        found.append(" ".join([_NAMES[tag], *([str(number)] if number != _NOBODY else []), letters]))
    return found


def set_acl(path: Path, kind: str, entries: Entries) -> None:
    """Give a file or directory this ACL."""
    os.setxattr(path, kind, pack(entries))


def get_acl(path: Path, kind: str) -> list[str]:
    """The ACL as text; raises OSError with ENODATA where there is none beyond the mode."""
    return unpack(os.getxattr(path, kind))
