"""Between our values and those of pyfuse3.

All timeouts are infinite: what the kernel has is right until `invalidation` takes it away. The block size for programs
is 1 MiB, the largest request that pyfuse3 takes, so that programs that follow it write in few requests.
"""

import errno
import math
import stat
from typing import Final

import pyfuse3

from syncfs.engine.posix import AttributeChange, Attributes, Caller, StatFs
from syncfs.model.errors import PosixError

BLOCK_SIZE: Final = 1 << 20
MAX_NAME: Final = 255


class Entries:
    """Makes replies."""

    def __init__(self) -> None:
        self.absent = pyfuse3.EntryAttributes()
        """The reply that a name is not there, to be remembered as well."""
        self.absent.entry_timeout = math.inf

    def of(self, attributes: Attributes) -> pyfuse3.EntryAttributes:
        """The reply for a node."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = attributes.ino
        entry.st_mode = attributes.mode
        entry.st_nlink = attributes.nlink
        entry.st_uid = attributes.uid
        entry.st_gid = attributes.gid
        entry.st_rdev = attributes.rdev
        entry.st_size = attributes.size
        entry.st_blocks = attributes.blocks
        entry.st_blksize = BLOCK_SIZE
        entry.st_atime_ns = attributes.atime
        entry.st_mtime_ns = attributes.mtime
        entry.st_ctime_ns = attributes.ctime
        entry.entry_timeout = math.inf
        entry.attr_timeout = math.inf
        return entry

    @staticmethod
    def pointer(ino: int, mode: int) -> pyfuse3.EntryAttributes:
        """The `.` or `..` of a listing, of which the kernel takes the number and the type only."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = ino
        entry.st_mode = mode
        return entry


def asked_change(attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> AttributeChange:
    """What a request to set attributes asks for."""
    return AttributeChange(
        mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        atime=attr.st_atime_ns if fields.update_atime else None,
        mtime=attr.st_mtime_ns if fields.update_mtime else None,
        ctime=attr.st_ctime_ns if fields.update_ctime else None,
    )


def sizes_reply(sizes: StatFs) -> pyfuse3.StatvfsData:
    """The reply to statfs(2)."""
    reply = pyfuse3.StatvfsData()
    reply.f_bsize = reply.f_frsize = sizes.block_size
    reply.f_blocks, reply.f_bfree, reply.f_bavail = sizes.blocks, sizes.free, sizes.available
    reply.f_files, reply.f_ffree, reply.f_favail = sizes.files, sizes.files_free, sizes.files_free
    reply.f_namemax = MAX_NAME
    return reply


def caller_of(ctx: pyfuse3.RequestContext) -> Caller:
    """Who asks."""
    return Caller(uid=ctx.uid, gid=ctx.gid, umask=ctx.umask, pid=ctx.pid)


def checked_name(name: bytes) -> bytes:
    """A name for something new. Raises PosixError(ENAMETOOLONG); the kernel lets 1024 bytes pass."""
    if len(name) > MAX_NAME:
        raise PosixError(errno.ENAMETOOLONG)
    return name
