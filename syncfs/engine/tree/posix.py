"""The values that cross between the volume and whoever mounts it."""

from dataclasses import dataclass
from enum import Flag


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the ids, the umask and the process of the program behind a request."""

    uid: int
    gid: int
    umask: int = 0
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat(2) shows of a node; `mode` has the type bits, times are ns since 1970, `blocks` count 512 bytes."""

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime: int
    mtime: int
    ctime: int


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """What setattr is to change; None leaves a field alone."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None
    ctime: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a directory listing; listing goes on after `cookie`, which is above 2 and lasting."""

    cookie: int
    name: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file: its handle, and whether the kernel's cached pages still show the content opened."""

    handle: int
    keep_cache: bool


@dataclass(frozen=True, slots=True)
class StatFs:
    """What statvfs(3) shows; sizes in blocks of `block_size` bytes."""

    block_size: int
    blocks: int
    free: int
    available: int
    files: int
    files_free: int


class RenameFlags(Flag):
    """The flags of renameat2(2) that the kernel passes on."""

    NONE = 0
    NOREPLACE = 1
    EXCHANGE = 2


@dataclass(frozen=True, slots=True)
class InodeChanged:
    """A node changed behind the kernel's back; `content` where its pages are stale too, not only its attributes."""

    ino: int
    content: bool


@dataclass(frozen=True, slots=True)
class EntryChanged:
    """A name in a directory appeared, vanished or shows another node; `removed` is the inode that it showed."""

    parent: int
    name: bytes
    removed: int | None = None


Invalidation = InodeChanged | EntryChanged
