"""The share as the mount shows it: the present, and the past in `.syncfs`.

Every call goes to one of the two by the bit in its inode number or handle. In the past nothing can be changed: EROFS.
"""

import errno
import os
from collections.abc import Callable, Sequence

from syncfs.engine.chunks.content import BytesLike
from syncfs.engine.history.past_view import PAST_BIT, TOP, TOP_NAME, PastView
from syncfs.engine.tree.posix import (
    AttributeChange,
    Attributes,
    Caller,
    Invalidation,
    Listed,
    Opened,
    RenameFlags,
    StatFs,
)
from syncfs.engine.tree.volume import LISTING, Volume
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.index.index import ROOT_INO
from syncfs.model.errors import PosixError


class WholeVolume:
    """What `Volume` offers, with the past in it."""

    def __init__(self, now: Volume, past: PastView) -> None:
        self._now = now
        self._past = past
        self._watchers: list[Callable[[Invalidation], None]] = []

    @property
    def generation(self) -> int:
        """A number that is another one after anything in the tree has changed."""
        return self._now.generation

    def watch(self, callback: Callable[[Invalidation], None]) -> None:
        """Be told of every change that the kernel does not know of."""
        self._watchers.append(callback)
        self._now.watch(callback)

    def records_came(self, time: int) -> None:
        """Records of a peer as old as `time` (ns) were applied."""
        for change in self._past.came(time):
            for watcher in self._watchers:
                watcher(change)

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """The node that a name shows. Raises PosixError."""
        if parent & PAST_BIT:
            found = self._past.parent(parent) if name == b".." else 0
            return self._now.getattr(found) if found == ROOT_INO else self._past.lookup(parent, name)
        if name == TOP_NAME and parent == ROOT_INO:
            return self._past.getattr(TOP)
        return self._now.lookup(parent, name)

    def getattr(self, ino: int) -> Attributes:
        """The attributes of a node. Raises PosixError."""
        return self._past.getattr(ino) if ino & PAST_BIT else self._now.getattr(ino)

    def size_of(self, handle: int) -> int:
        """How long the content is that an open file of the present shows. Raises PosixError."""
        return self._now.size_of(handle)

    def readdir(self, ino: int, after: int, limit: int = LISTING) -> Sequence[Listed]:
        """The entries of a directory after a cookie."""
        return self._past.readdir(ino, after) if ino & PAST_BIT else self._now.readdir(ino, after, limit)

    def tells_of_names(self, ino: int) -> bool:
        """Whether watchers hear of every change of this directory's names that the kernel does not make itself."""
        return not ino & PAST_BIT and self._now.tells_of_names(ino)

    def readlink(self, ino: int) -> bytes:
        """The target of a symlink. Raises PosixError."""
        return self._past.readlink(ino) if ino & PAST_BIT else self._now.readlink(ino)

    def statfs(self) -> StatFs:
        """Space on the disk that holds the share's cache."""
        return self._now.statfs()

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        """Make a directory. Raises PosixError."""
        _require_present(parent, name)
        return self._now.mkdir(parent, name, mode, caller)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        """Make a file, fifo, socket or device node. Raises PosixError."""
        _require_present(parent, name)
        return self._now.mknod(parent, name, mode, rdev, caller)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        """Make a symlink. Raises PosixError."""
        _require_present(parent, name)
        return self._now.symlink(parent, name, target, caller)

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        """Give a node one more name. Raises PosixError."""
        _require_present(ino)
        _require_present(parent, name)
        return self._now.link(ino, parent, name)

    def unlink(self, parent: int, name: bytes) -> None:
        """Take a name from a node. Raises PosixError."""
        _require_present(parent)
        self._now.unlink(parent, name)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory. Raises PosixError."""
        _require_present(parent)
        if name == TOP_NAME and parent == ROOT_INO:
            raise PosixError(errno.EROFS)
        self._now.rmdir(parent, name)

    async def rename(
        self,
        old_parent: int,
        old_name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: RenameFlags,
        more_time: MoreTime = patient,
    ) -> None:
        """Move a name. Raises PosixError."""
        for parent, name in ((old_parent, old_name), (new_parent, new_name)):
            if parent & PAST_BIT or (name == TOP_NAME and parent == ROOT_INO):
                raise PosixError(errno.EROFS)
        await self._now.rename(old_parent, old_name, new_parent, new_name, flags, more_time)

    async def setattr(
        self, ino: int, change: AttributeChange, handle: int | None, more_time: MoreTime = patient
    ) -> Attributes:
        """Change attributes. Raises PosixError, UnavailableError."""
        _require_present(ino)
        return await self._now.setattr(ino, change, handle, more_time)

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """The value of an extended attribute. Raises PosixError."""
        if ino & PAST_BIT:
            value = self._past.xattrs(ino).get(name)
            if value is None:
                raise PosixError(errno.ENODATA)
            return value
        return self._now.getxattr(ino, name)

    def listxattr(self, ino: int) -> list[bytes]:
        """The names of the extended attributes."""
        return list(self._past.xattrs(ino)) if ino & PAST_BIT else self._now.listxattr(ino)

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute. Raises PosixError."""
        _require_present(ino)
        self._now.setxattr(ino, name, value, flags)

    def removexattr(self, ino: int, name: bytes) -> None:
        """Remove an extended attribute. Raises PosixError."""
        _require_present(ino)
        self._now.removexattr(ino, name)

    async def open(self, ino: int, flags: int, pid: int) -> Opened:
        """Open a file. Raises PosixError, UnavailableError."""
        if ino & PAST_BIT:
            if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
                raise PosixError(errno.EROFS)
            return Opened(self._past.open(ino), True)
        return await self._now.open(ino, flags, pid)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> tuple[Attributes, int]:
        """Make a file and open it. Raises PosixError."""
        _require_present(parent, name)
        return await self._now.create(parent, name, mode, flags, caller)

    async def read(self, handle: int, offset: int, size: int) -> BytesLike:
        """Bytes of an open file. Raises UnavailableError, SetupError, PosixError."""
        return await (self._past if handle & PAST_BIT else self._now).read(handle, offset, size)

    async def write(self, handle: int, offset: int, data: bytes, more_time: MoreTime = patient) -> int:
        """Put bytes into an open file. Raises UnavailableError, SetupError, PosixError."""
        _require_present(handle)
        return await self._now.write(handle, offset, data, more_time)

    async def fsync(self, handle: int, datasync: bool, more_time: MoreTime = patient) -> None:
        """Make a file's content, attributes and names durable. Raises SetupError, UnavailableError."""
        if not handle & PAST_BIT:
            await self._now.fsync(handle, datasync, more_time)

    async def release(self, handle: int) -> None:
        """Close a handle."""
        if handle & PAST_BIT:
            self._past.release(handle)
        else:
            await self._now.release(handle)

    async def sync_directory(self) -> None:
        """Make all names durable. Raises SetupError."""
        await self._now.sync_directory()

    def forget(self, ino: int) -> None:
        """The kernel no longer knows a node."""
        if ino & PAST_BIT:
            self._past.forget(ino)
        else:
            self._now.forget(ino)


def _require_present(ino: int, name: bytes = b"") -> None:
    """Refuse to change the past, or to make what would be hidden by it."""
    if ino & PAST_BIT:
        raise PosixError(errno.EROFS)
    if name == TOP_NAME and ino == ROOT_INO:
        raise PosixError(errno.EEXIST)
