"""The messages between the kernel and a file system, as `linux/fuse.h` lays them out (protocol 7.31).

A request is a header and a body; an answer a header and a payload. Times that the kernel may keep something for are
infinite: what it has is right until `invalidation` takes it away. The block size for programs is 1 MiB, the largest
write, so that programs that follow it write in few requests. Nothing here touches the device or the volume.
"""

import stat
import struct
from typing import Final, NamedTuple

from syncfs.engine.tree.posix import AttributeChange, Attributes, Caller, StatFs

LARGEST_WRITE: Final = 1 << 20
LARGEST_REQUEST: Final = LARGEST_WRITE + 4096
MAX_NAME: Final = 255
FOREVER: Final = (1 << 64) - 1
"""Seconds."""

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
SETATTR: Final = 4
READLINK: Final = 5
SYMLINK: Final = 6
MKNOD: Final = 8
MKDIR: Final = 9
UNLINK: Final = 10
RMDIR: Final = 11
RENAME: Final = 12
LINK: Final = 13
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
STATFS: Final = 17
RELEASE: Final = 18
FSYNC: Final = 20
SETXATTR: Final = 21
GETXATTR: Final = 22
LISTXATTR: Final = 23
REMOVEXATTR: Final = 24
INIT: Final = 26
READDIR: Final = 28
FSYNCDIR: Final = 30
CREATE: Final = 35
INTERRUPT: Final = 36
DESTROY: Final = 38
BATCH_FORGET: Final = 42
READDIRPLUS: Final = 44
RENAME2: Final = 45

DIRECT_IO: Final = 1 << 0
KEEP_CACHE: Final = 1 << 1
"""Flags of an answer to OPEN."""

DATASYNC: Final = 1 << 0
"""A flag of FSYNC."""
OF_HANDLE: Final = 1 << 0
"""A flag of GETATTR: somebody reads through this handle."""

REQUEST: Final = struct.Struct("<IIQQIIIHH")
"""Length, opcode, unique, node, uid, gid, pid, length of extensions, padding."""
ANSWER: Final = struct.Struct("<IiQ")
"""Length, negative errno, unique."""
NUMBER: Final = struct.Struct("<Q")
GETATTR_IN: Final = struct.Struct("<I4xQ")
"""Flags, handle."""
SETATTR_IN: Final = struct.Struct("<I4xQQ8xqqqIIII4xII4x")
"""Valid fields, handle, size, three times in s, their ns, mode, uid, gid."""
MKNOD_IN: Final = struct.Struct("<III4x")
"""Mode, device, umask."""
MKDIR_IN: Final = struct.Struct("<II")
"""Mode, umask."""
RENAME2_IN: Final = struct.Struct("<QI4x")
"""New parent, flags."""
OPEN_IN: Final = struct.Struct("<I4x")
READ_IN: Final = struct.Struct("<QQI20x")
"""Handle, offset, size; READDIR and WRITE begin alike."""
HANDLE_IN: Final = struct.Struct("<QI")
"""Handle, flags: of FSYNC and RELEASE."""
SETXATTR_IN: Final = struct.Struct("<II")
"""Size, flags."""
GETXATTR_IN: Final = struct.Struct("<I4x")
CREATE_IN: Final = struct.Struct("<IIII")
"""Flags of open(2), mode, umask, flags of FUSE."""
FORGET_ONE: Final = struct.Struct("<QQ")
"""Node, lookups."""

_ATTRIBUTES: Final = struct.Struct("<QQQqqqIIIIIIIIII")
"""Node, size, blocks, three times in s, their ns, mode, links, uid, gid, device, block size, flags."""
_ATTRIBUTES_OUT: Final = struct.Struct("<QII")
_ENTRY: Final = struct.Struct("<QQQQII")
"""Node, generation, how long the name and the attributes hold in s, and the ns of both."""
_OPEN: Final = struct.Struct("<QII")
_LISTED: Final = struct.Struct("<QQII")
"""Node, offset, length of the name, type."""
_STATFS: Final = struct.Struct("<QQQQQIIII24x")
_SIZE: Final = struct.Struct("<II")
_INIT_IN: Final = struct.Struct("<IIII")
_INIT_OUT: Final = struct.Struct("<IIIIHHIIHHI28x")
_INVAL_INODE: Final = struct.Struct("<Qqq")
_INVAL_ENTRY: Final = struct.Struct("<QII")
_DELETE: Final = struct.Struct("<QQII")

NOTIFY_INVAL_INODE: Final = 2
NOTIFY_INVAL_ENTRY: Final = 3
NOTIFY_DELETE: Final = 6


class Request(NamedTuple):
    """What the kernel asks; the body lies in the buffer for requests and holds until the answerer awaits anything."""

    length: int
    opcode: int
    unique: int
    ino: int
    uid: int
    gid: int
    pid: int
    body: memoryview

    def caller(self, umask: int = 0) -> Caller:
        """Who asks."""
        return Caller(uid=self.uid, gid=self.gid, umask=umask, pid=self.pid)

    def name(self, start: int = 0) -> bytes:
        """The name that ends the body."""
        return self.body[start:-1].tobytes()

    def names(self, start: int = 0) -> tuple[bytes, bytes]:
        """The two names that end the body."""
        first, second = self.body[start:-1].tobytes().split(b"\0")
        return first, second


def attributes_reply(attributes: Attributes, lasting: bool = True) -> bytes:
    """What answers GETATTR and SETATTR; where it is not `lasting` the kernel asks again each time."""
    return _ATTRIBUTES_OUT.pack(FOREVER if lasting else 0, 0, 0) + _attributes(attributes)


def entry(attributes: Attributes, lasting: bool = True) -> bytes:
    """What answers LOOKUP and whatever makes a node; see `attributes_reply`."""
    return _ENTRY.pack(attributes.ino, 0, FOREVER, FOREVER if lasting else 0, 0, 0) + _attributes(attributes)


NO_ENTRY: Final = _ENTRY.pack(0, 0, FOREVER, 0, 0, 0) + bytes(_ATTRIBUTES.size)
"""That a name is not there, to be remembered as well."""


UNTOLD: Final = bytes(len(NO_ENTRY))
"""In a listing, that nothing is said of an entry but its name."""


def opened(handle: int, flags: int) -> bytes:
    """What answers OPEN, and after an entry CREATE."""
    return _OPEN.pack(handle, flags, 0)


def listed(name: bytes, ino: int, mode: int, cookie: int) -> bytes:
    """An entry in the answer to READDIR, and after an `entry` to READDIRPLUS."""
    return _LISTED.pack(ino, cookie, len(name), mode >> 12 & 15) + name + bytes(-len(name) % 8)


def statfs_reply(of: StatFs) -> bytes:
    """What answers STATFS."""
    return _STATFS.pack(
        of.blocks, of.free, of.available, of.files, of.files_free, of.block_size, MAX_NAME, of.block_size, 0
    )


def size_reply(count: int) -> bytes:
    """What answers WRITE, and a question for the length of an attribute."""
    return _SIZE.pack(count, 0)


def asked_change(body: memoryview, now: int) -> tuple[AttributeChange, int | None]:
    """What SETATTR asks for, and the handle it goes through; `now` in ns."""
    valid, handle, length, atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns, mode, uid, gid = SETATTR_IN.unpack_from(
        body
    )

    def moment(given: int, at_once: int, seconds: int, ns: int) -> int | None:
        if valid & at_once:
            return now
        return seconds * 1_000_000_000 + ns if valid & given else None

    change = AttributeChange(
        mode=stat.S_IMODE(mode) if valid & 1 << 0 else None,
        uid=uid if valid & 1 << 1 else None,
        gid=gid if valid & 1 << 2 else None,
        size=length if valid & 1 << 3 else None,
        atime=moment(1 << 4, 1 << 7, atime, atime_ns),
        mtime=moment(1 << 5, 1 << 8, mtime, mtime_ns),
        ctime=moment(1 << 10, 0, ctime, ctime_ns),
    )
    return change, handle if valid & 1 << 6 else None


def forgotten(body: memoryview) -> list[tuple[int, int]]:
    """The nodes of BATCH_FORGET, each with how many lookups are taken back."""
    count = NUMBER.unpack_from(body)[0] & 0xFFFFFFFF
    return [FORGET_ONE.unpack_from(body, NUMBER.size + place * FORGET_ONE.size) for place in range(count)]


ASYNC_READ: Final = 1 << 0
ATOMIC_O_TRUNC: Final = 1 << 3
EXPORT_SUPPORT: Final = 1 << 4
BIG_WRITES: Final = 1 << 5
DONT_MASK: Final = 1 << 6
"""The umask is ours to apply, since it must not count where a default ACL does (see `xattrs`)."""
AUTO_INVAL_DATA: Final = 1 << 12
DO_READDIRPLUS: Final = 1 << 13
POSIX_ACL: Final = 1 << 20
MAX_PAGES: Final = 1 << 22
CACHE_SYMLINKS: Final = 1 << 23
"""The targets of symlinks never change."""
NO_OPENDIR_SUPPORT: Final = 1 << 24
HANDLE_KILLPRIV_V2: Final = 1 << 28
"""A file without security.capability and set-id bits is remembered as such, so that not every write asks for them; the
bits are dropped by us (see `privileges`)."""
WANTED: Final = (
    *(ASYNC_READ, ATOMIC_O_TRUNC, EXPORT_SUPPORT, BIG_WRITES, DONT_MASK, AUTO_INVAL_DATA, DO_READDIRPLUS),
    *(MAX_PAGES, CACHE_SYMLINKS, NO_OPENDIR_SUPPORT, HANDLE_KILLPRIV_V2),
)
"""Flags of INIT; what the kernel does not offer it does without.

Not among them is ASYNC_DIO: after a direct write that goes on in the background the kernel keeps the pages that it had
of the place, so who read through the page cache just then went on seeing what was there before.
"""
MAJOR: Final = 7
MINOR: Final = 31
OLDEST: Final = 29
"""The minor version from which on directories need not be opened (Linux 5.1)."""
MAX_BACKGROUND: Final = 64
"""Requests of readahead and the like under way at once; the kernel's default is 12."""
CONGESTION: Final = 48


def init_reply(body: memoryview, acls: bool) -> bytes | None:
    """The terms for the life of a mount; None where the kernel speaks a protocol that we do not."""
    major, minor, readahead, offered = _INIT_IN.unpack_from(body)
    if major != MAJOR or minor < OLDEST:
        return None
    flags = offered & (sum(WANTED) | (POSIX_ACL if acls else 0))
    pages = LARGEST_WRITE // 4096
    return _INIT_OUT.pack(*(MAJOR, MINOR, readahead, flags, MAX_BACKGROUND, CONGESTION, LARGEST_WRITE, 1, pages, 0, 0))


def inode_notice(ino: int, content: bool) -> bytes:
    """Tells the kernel to drop the attributes of a node, and its pages with `content`."""
    return _notice(NOTIFY_INVAL_INODE, _INVAL_INODE.pack(ino, 0 if content else -1, 0))


def entry_notice(parent: int, name: bytes, deleted: int) -> bytes:
    """Tells the kernel to drop a name; `deleted` is its node where that is gone for good, else 0."""
    if deleted:
        return _notice(NOTIFY_DELETE, _DELETE.pack(parent, deleted, len(name), 0) + name + b"\0")
    return _notice(NOTIFY_INVAL_ENTRY, _INVAL_ENTRY.pack(parent, len(name), 0) + name + b"\0")


def _notice(code: int, payload: bytes) -> bytes:
    return ANSWER.pack(ANSWER.size + len(payload), code, 0) + payload


def _attributes(of: Attributes) -> bytes:
    atime, atime_ns = divmod(of.atime, 1_000_000_000)
    mtime, mtime_ns = divmod(of.mtime, 1_000_000_000)
    ctime, ctime_ns = divmod(of.ctime, 1_000_000_000)
    return _ATTRIBUTES.pack(
        *(of.ino, of.size, of.blocks, atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns),
        *(of.mode, of.nlink, of.uid, of.gid, of.rdev & 0xFFFFFFFF, LARGEST_WRITE, 0),
    )
