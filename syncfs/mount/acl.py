"""POSIX ACLs as FUSE wants them kept: the kernel enforces them, we keep them in step with the mode bits.

Layout of the attributes system.posix_acl_access and _default (linux/posix_acl_xattr.h): version 2 (u32), then entries
tag (u16), permissions (u16), id (u32), little endian, sorted by tag and id. What the mode bits say and what the ACL
says of owner, mask (or group, where there is no mask) and others is the same thing; see acl(5).
"""

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from syncfs.model.errors import PosixError

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"
VERSION: Final = 2
USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20
TAGS: Final = frozenset({USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER})
_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an ACL; `id` counts for USER and GROUP only."""

    tag: int
    permissions: int
    id: int


Acl = tuple[Entry, ...]


def parse(value: bytes) -> Acl:
    """Reads an attribute. Raises PosixError(EINVAL) where it is no ACL."""
    body = value[_HEADER.size :]
    if len(value) < _HEADER.size or _HEADER.unpack_from(value)[0] != VERSION or len(body) % _ENTRY.size:
        raise PosixError(errno.EINVAL)
    acl = tuple(Entry(*fields) for fields in _ENTRY.iter_unpack(body))
    tags = [entry.tag for entry in acl]
    single = all(tags.count(tag) == 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER)) and tags.count(MASK) <= 1
    named = USER in tags or GROUP in tags
    if not (TAGS.issuperset(tags) and single and (MASK in tags or not named)):
        raise PosixError(errno.EINVAL)
    return acl


def encode(acl: Acl) -> bytes:
    """The attribute of an ACL."""
    return _HEADER.pack(VERSION) + b"".join(_ENTRY.pack(entry.tag, entry.permissions, entry.id) for entry in acl)


def mode_of(acl: Acl) -> int:
    """The nine permission bits that an ACL stands for."""
    permissions = {entry.tag: entry.permissions & 7 for entry in acl}
    group = permissions.get(MASK, permissions[GROUP_OBJ])
    return permissions[USER_OBJ] << 6 | group << 3 | permissions[OTHER]


def with_mode(acl: Acl, mode: int) -> Acl:
    """An ACL after chmod(2)."""
    return _limited(acl, mode, lambda _old, new: new)


def inherited(default: Acl, mode: int) -> Acl:
    """The access ACL of what is made with `mode` in a directory with a default ACL: both have to allow."""
    return _limited(default, mode, lambda old, new: old & new)


def is_plain(acl: Acl) -> bool:
    """Whether the mode bits alone say the same."""
    return all(entry.tag in (USER_OBJ, GROUP_OBJ, OTHER) for entry in acl)


def _limited(acl: Acl, mode: int, combine: Callable[[int, int], int]) -> Acl:
    group = MASK if any(entry.tag == MASK for entry in acl) else GROUP_OBJ
    bits = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    return tuple(
        Entry(entry.tag, combine(entry.permissions, bits[entry.tag]), entry.id) if entry.tag in bits else entry
        for entry in acl
    )
