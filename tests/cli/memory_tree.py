"""A tree in memory that fulfils the protocol which a mount and an import need; nothing in it is remembered."""

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from syncfs.engine.tree.posix import AttributeChange, Attributes, Caller, Invalidation, Listed, Opened, StatFs
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.model.errors import PosixError


@dataclass
class Entry:
    """A node with all that it holds."""

    attributes: Attributes
    content: bytearray = field(default_factory=bytearray)
    target: bytes = b""
    children: dict[bytes, int] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


class MemoryTree:
    """What a volume does, for one user, without peers."""

    @property
    def generation(self) -> int:
        """Another one each time, so that nobody keeps anything."""
        self._generation = getattr(self, "_generation", 0) + 1
        return self._generation

    def __init__(self) -> None:
        self.nodes: dict[int, Entry] = {}
        self.released = 0
        self._add(stat.S_IFDIR | 0o755, Caller(os.getuid(), os.getgid()))

    def at(self, path: str) -> Entry:
        """The entry at a path below the root."""
        ino = 1
        for name in path.encode().split(b"/"):
            ino = self.nodes[ino].children[name]
        return self.nodes[ino]

    def lookup(self, parent: int, name: bytes) -> Attributes:
        if name not in self.nodes[parent].children:
            raise PosixError(errno.ENOENT)
        return self.nodes[self.nodes[parent].children[name]].attributes

    def getattr(self, ino: int) -> Attributes:
        return self.nodes[ino].attributes

    def readdir(self, ino: int, after: int, limit: int) -> Sequence[Listed]:
        children = sorted((child, name) for name, child in self.nodes[ino].children.items())
        listed = [Listed(2 + child, name, self.nodes[child].attributes) for child, name in children]
        return [entry for entry in listed if entry.cookie > after]

    def tells_of_names(self, ino: int) -> bool:
        return True

    def readlink(self, ino: int) -> bytes:
        return self.nodes[ino].target

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        return self._place(parent, name, stat.S_IFDIR | mode, caller)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        return self._place(parent, name, mode, caller, rdev)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        made = self._place(parent, name, stat.S_IFLNK | 0o777, caller)
        self.nodes[made.ino].target = target
        return made

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        entry = self.nodes[ino]
        entry.attributes = replace(entry.attributes, nlink=entry.attributes.nlink + 1)
        self.nodes[parent].children[name] = ino
        return entry.attributes

    def unlink(self, parent: int, name: bytes) -> None:
        del self.nodes[parent].children[name]

    rmdir = unlink

    def holds_xattrs(self) -> bool:
        return any(entry.xattrs for entry in self.nodes.values())

    def statfs(self) -> StatFs:
        return StatFs(4096, 1000, 500, 500, 1000, 500)

    def getxattr(self, ino: int, name: bytes) -> bytes:
        if name not in self.nodes[ino].xattrs:
            raise PosixError(errno.ENODATA)
        return self.nodes[ino].xattrs[name]

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        if not name.startswith(b"user."):
            raise PosixError(errno.ENOTSUP)
        self.nodes[ino].xattrs[name] = value

    def listxattr(self, ino: int) -> list[bytes]:
        return list(self.nodes[ino].xattrs)

    def removexattr(self, ino: int, name: bytes) -> None:
        self.nodes[ino].xattrs.pop(name)

    def forget(self, ino: int) -> None:
        """Nothing is held for the kernel."""

    def watch(self, callback: Callable[[Invalidation], None]) -> None:
        """Nothing changes by itself."""

    async def rename(
        self,
        old_parent: int,
        old_name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: object,
        more_time: MoreTime = patient,
    ) -> None:
        self.nodes[new_parent].children[new_name] = self.nodes[old_parent].children.pop(old_name)

    async def open(self, ino: int, flags: int, pid: int) -> Opened:
        return Opened(ino, keep_cache=False)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> tuple[Attributes, int]:
        made = self._place(parent, name, stat.S_IFREG | mode, caller)
        return made, made.ino

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        return bytes(self.nodes[handle].content[offset : offset + size])

    async def write(self, handle: int, offset: int, data: bytes, more_time: MoreTime = patient) -> int:
        content = self.nodes[handle].content
        content.extend(bytes(max(offset + len(data) - len(content), 0)))
        content[offset : offset + len(data)] = data
        self._resize(handle)
        return len(data)

    async def fsync(self, handle: int, datasync: bool, more_time: MoreTime = patient) -> None:
        """Memory is as safe as it gets."""

    async def release(self, handle: int) -> None:
        self.released += 1

    async def sync_directory(self) -> None:
        """Memory is as safe as it gets."""

    async def setattr(
        self, ino: int, change: AttributeChange, handle: int | None, more_time: MoreTime = patient
    ) -> Attributes:
        entry = self.nodes[ino]
        if change.size is not None:
            del entry.content[change.size :]
            entry.content.extend(bytes(change.size - len(entry.content)))
            self._resize(ino)
        now = entry.attributes
        entry.attributes = replace(
            now,
            mode=now.mode if change.mode is None else stat.S_IFMT(now.mode) | change.mode,
            uid=now.uid if change.uid is None else change.uid,
            gid=now.gid if change.gid is None else change.gid,
            atime=now.atime if change.atime is None else change.atime,
            mtime=now.mtime if change.mtime is None else change.mtime,
        )
        return entry.attributes

    def _place(self, parent: int, name: bytes, mode: int, caller: Caller, rdev: int = 0) -> Attributes:
        if name in self.nodes[parent].children:
            raise PosixError(errno.EEXIST)
        made = self._add(mode, caller, rdev)
        self.nodes[parent].children[name] = made.ino
        directory = self.nodes[parent]
        directory.attributes = replace(directory.attributes, mtime=time.time_ns())
        return made

    def _add(self, mode: int, caller: Caller, rdev: int = 0) -> Attributes:
        now, ino = time.time_ns(), len(self.nodes) + 1
        made = Attributes(ino, mode, 1, caller.uid, caller.gid, rdev, 0, 0, now, now, now)
        self.nodes[ino] = Entry(made)
        return made

    def _resize(self, ino: int) -> None:
        entry = self.nodes[ino]
        size = len(entry.content)
        entry.attributes = replace(entry.attributes, size=size, blocks=-(-size // 512), mtime=time.time_ns())
