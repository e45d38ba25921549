"""A small volume in memory: an honest implementation of `syncfs.mount.volume.Volume` for tests of the mount.

Beside the volume it has what a test does as "another peer": changes that did not come through the mount and are told to
whoever watches; and files whose reading misbehaves on purpose, chosen by name (see `TROUBLES`).
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

import trio

from syncfs.engine.tree.posix import (
    AttributeChange,
    Attributes,
    Caller,
    EntryChanged,
    InodeChanged,
    Invalidation,
    Listed,
    Opened,
    RenameFlags,
    StatFs,
)
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.model.errors import PosixError, UnavailableError

PAGE: Final = 500
TROUBLES: Final = ("explode", "unavailable", "never", "held")
"""Reading a file of this name raises something unknown, finds no peer, never ends, waits for `let_go`."""


@dataclass(slots=True)
class Node:
    """A node, with content, entries (name to cookie and inode) or target as its kind has it."""

    ino: int
    mode: int
    uid: int
    gid: int
    rdev: int = 0
    nlink: int = 1
    content: bytearray = field(default_factory=bytearray)
    entries: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    parent: int = 1
    target: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    atime: int = 0
    mtime: int = 0
    ctime: int = 0
    version: int = 0


class MemoryVolume:
    """The tree; `opened` and `forgotten` count for tests."""

    def __init__(self) -> None:
        self._inodes = count(2)
        self._cookies = count(3)
        self._handle_numbers = count(1)
        self._nodes: dict[int, Node] = {}
        self._handles: dict[int, tuple[Node, int]] = {}
        self._shown: dict[int, int] = {}
        self._callbacks: list[Callable[[Invalidation], None]] = []
        self._go = trio.Event()
        self.calls: dict[str, int] = {}
        self._generations = count()
        self.released: list[int] = []
        self._nodes[1] = self._stamped(Node(1, stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), nlink=2))

    def watch(self, callback: Callable[[Invalidation], None]) -> None:
        self._callbacks.append(callback)

    @property
    def generation(self) -> int:
        """Another one each time, so that nobody keeps anything."""
        return next(self._generations)

    def lookup(self, parent: int, name: bytes) -> Attributes:
        self._count("lookup")
        directory = self._directory(parent)
        if name == b"..":
            return self.getattr(directory.parent)
        return self._shown_attributes(self._entry(directory, name))

    def getattr(self, ino: int) -> Attributes:
        self._count("getattr")
        return self._shown_attributes(self._node(ino))

    def size_of(self, handle: int) -> int:
        return len(self._handles[handle][0].content)

    def readdir(self, ino: int, after: int, limit: int = PAGE) -> Sequence[Listed]:
        self._count("readdir")
        entries = sorted((cookie, name, child) for name, (cookie, child) in self._directory(ino).entries.items())
        later = [entry for entry in entries if entry[0] > after][: min(limit, PAGE)]
        return [Listed(cookie, name, self._shown_attributes(self._nodes[child])) for cookie, name, child in later]

    def tells_of_names(self, ino: int) -> bool:
        return True

    def readlink(self, ino: int) -> bytes:
        return self._node(ino).target

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        made = self._make(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), caller)
        made.nlink = 2
        made.parent = parent
        self._node(parent).nlink += 1
        return self._shown_attributes(made)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        made = self._make(parent, name, mode, caller)
        made.rdev = rdev
        return self._shown_attributes(made)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        made = self._make(parent, name, stat.S_IFLNK | 0o777, caller)
        made.target = target
        return self._shown_attributes(made)

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        node, directory = self._node(ino), self._directory(parent)
        self._absent(directory, name)
        directory.entries[name] = (next(self._cookies), ino)
        node.nlink += 1
        self._touch(node, content=False)
        self._touch(directory)
        return self._shown_attributes(node)

    def unlink(self, parent: int, name: bytes) -> None:
        directory = self._directory(parent)
        node = self._entry(directory, name)
        if stat.S_ISDIR(node.mode):
            raise PosixError(errno.EISDIR)
        self._remove(directory, name)

    def rmdir(self, parent: int, name: bytes) -> None:
        directory = self._directory(parent)
        node = self._entry(directory, name)
        if not stat.S_ISDIR(node.mode):
            raise PosixError(errno.ENOTDIR)
        if node.entries:
            raise PosixError(errno.ENOTEMPTY)
        self._remove(directory, name)

    async def rename(
        self,
        old_parent: int,
        old_name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: RenameFlags,
        more_time: MoreTime = patient,
    ) -> None:
        source, target = self._directory(old_parent), self._directory(new_parent)
        node = self._entry(source, old_name)
        there = self._nodes[target.entries[new_name][1]] if new_name in target.entries else None
        if flags is RenameFlags.EXCHANGE:
            if there is None:
                raise PosixError(errno.ENOENT)
            self._place(source, old_name, there)
            self._place(target, new_name, node)
        else:
            if there is not None:
                if flags is RenameFlags.NOREPLACE:
                    raise PosixError(errno.EEXIST)
                if there is node:
                    return
                self._check_replace(node, there)
                self._remove(target, new_name)
            del source.entries[old_name]
            if stat.S_ISDIR(node.mode):
                source.nlink -= 1
                target.nlink += 1
            self._place(target, new_name, node)
        for touched in (source, target):
            self._touch(touched)
        self._touch(node, content=False)

    async def open(self, ino: int, flags: int, pid: int) -> Opened:
        node = self._node(ino)
        keep = self._shown.get(ino) == node.version
        if flags & os.O_TRUNC:
            node.content.clear()
            self._touch(node)
        self._shown[ino] = node.version
        return Opened(self._open(node, flags), keep)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> tuple[Attributes, int]:
        made = self._make(parent, name, stat.S_IFREG | stat.S_IMODE(mode), caller)
        return self._shown_attributes(made), self._open(made, flags)

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        self._count("read")
        node = self._handles[handle][0]
        await self._trouble(node)
        return bytes(node.content[offset : offset + size])

    async def write(self, handle: int, offset: int, data: bytes, more_time: MoreTime = patient) -> int:
        self._count("write")
        node = self._handles[handle][0]
        await self._trouble(node)
        if offset > len(node.content):
            node.content.extend(bytes(offset - len(node.content)))
        node.content[offset : offset + len(data)] = data
        self._touch(node)
        self._shown[node.ino] = node.version
        return len(data)

    async def fsync(self, handle: int, datasync: bool, more_time: MoreTime = patient) -> None:
        self._count("fsync")

    async def sync_directory(self) -> None:
        self._count("sync_directory")

    async def release(self, handle: int) -> None:
        node, _ = self._handles.pop(handle)
        self.released.append(node.ino)
        self._drop_orphan(node)

    async def setattr(
        self, ino: int, change: AttributeChange, handle: int | None, more_time: MoreTime = patient
    ) -> Attributes:
        self._count("setattr")
        node = self._node(ino)
        if change.size is not None and change.size != len(node.content):
            del node.content[change.size :]
            node.content.extend(bytes(change.size - len(node.content)))
            self._touch(node)
            self._shown[ino] = node.version
        if change.mode is not None:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(change.mode)
        node.uid = node.uid if change.uid is None else change.uid
        node.gid = node.gid if change.gid is None else change.gid
        self._touch(node, content=False)
        node.atime = node.atime if change.atime is None else change.atime
        node.mtime = node.mtime if change.mtime is None else change.mtime
        return self._shown_attributes(node)

    def statfs(self) -> StatFs:
        return StatFs(4096, 1 << 20, 1 << 19, 1 << 19, 1 << 20, (1 << 20) - len(self._nodes))

    def getxattr(self, ino: int, name: bytes) -> bytes:
        self._count("getxattr")
        try:
            return self._node(ino).xattrs[name]
        except KeyError:
            raise PosixError(errno.ENODATA) from None

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        node = self._node(ino)
        if flags & os.XATTR_CREATE and name in node.xattrs:
            raise PosixError(errno.EEXIST)
        if flags & os.XATTR_REPLACE and name not in node.xattrs:
            raise PosixError(errno.ENODATA)
        node.xattrs[name] = value
        self._touch(node, content=False)

    def listxattr(self, ino: int) -> list[bytes]:
        return sorted(self._node(ino).xattrs)

    def removexattr(self, ino: int, name: bytes) -> None:
        if self._node(ino).xattrs.pop(name, None) is None:
            raise PosixError(errno.ENODATA)

    def forget(self, ino: int) -> None:
        self._count("forget")

    def remote_write(self, path: str, content: bytes, *, keep_times: bool = False) -> None:
        """Another peer makes a file, or changes its content."""
        directory, name = self._walk(path)
        if name not in directory.entries:
            made = self._make(directory.ino, name, stat.S_IFREG | 0o644, Caller(0, 0))
            made.content[:] = content
            self._tell(EntryChanged(directory.ino, name))
            return
        node = self._entry(directory, name)
        before = node.mtime
        node.content[:] = content
        self._touch(node)
        if keep_times:
            node.mtime = before
        self._tell(InodeChanged(node.ino, content=True))

    def remote_remove(self, path: str) -> None:
        """Another peer removes a name."""
        directory, name = self._walk(path)
        node = self._entry(directory, name)
        self._remove(directory, name)
        self._tell(EntryChanged(directory.ino, name, node.ino))

    def remote_move(self, old: str, new: str) -> None:
        """Another peer moves a name."""
        source, old_name = self._walk(old)
        target, new_name = self._walk(new)
        node = self._entry(source, old_name)
        del source.entries[old_name]
        self._place(target, new_name, node)
        self._tell(EntryChanged(source.ino, old_name, node.ino))
        self._tell(EntryChanged(target.ino, new_name))

    def remote_mode(self, path: str, mode: int) -> None:
        """Another peer changes a mode."""
        directory, name = self._walk(path)
        node = self._entry(directory, name)
        node.mode = stat.S_IFMT(node.mode) | mode
        self._touch(node, content=False)
        self._tell(InodeChanged(node.ino, content=False))

    def say_changed(self, path: str) -> None:
        """Tells of a change of content that there was not."""
        directory, name = self._walk(path)
        self._tell(InodeChanged(self._entry(directory, name).ino, content=True))

    def let_go(self) -> None:
        """Lets those go on who read `held` files."""
        self._go.set()

    async def _trouble(self, node: Node) -> None:
        names = [name for name, (_, ino) in self._nodes[node.parent].entries.items() if ino == node.ino]
        match names[:1]:
            case [b"explode"]:
                raise ZeroDivisionError("a fault on purpose")
            case [b"unavailable"]:
                raise UnavailableError("no peer that has this file can be reached: start one of them")
            case [b"never"]:
                await trio.sleep_forever()
            case [b"held"]:
                self._count("held")
                await self._go.wait()

    def _make(self, parent: int, name: bytes, mode: int, caller: Caller) -> Node:
        directory = self._directory(parent)
        self._absent(directory, name)
        gid = caller.gid
        if directory.mode & stat.S_ISGID:
            gid = directory.gid
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        node = self._stamped(Node(next(self._inodes), mode, caller.uid, gid, parent=parent))
        self._nodes[node.ino] = node
        directory.entries[name] = (next(self._cookies), node.ino)
        self._touch(directory)
        return node

    def _remove(self, directory: Node, name: bytes) -> None:
        _, ino = directory.entries.pop(name)
        node = self._nodes[ino]
        if stat.S_ISDIR(node.mode):
            node.nlink = 0
            directory.nlink -= 1
        else:
            node.nlink -= 1
        self._touch(node, content=False)
        self._touch(directory)
        self._drop_orphan(node)

    def _place(self, directory: Node, name: bytes, node: Node) -> None:
        directory.entries[name] = (next(self._cookies), node.ino)
        node.parent = directory.ino

    def _check_replace(self, node: Node, there: Node) -> None:
        if stat.S_ISDIR(there.mode) and not stat.S_ISDIR(node.mode):
            raise PosixError(errno.EISDIR)
        if stat.S_ISDIR(node.mode) and not stat.S_ISDIR(there.mode):
            raise PosixError(errno.ENOTDIR)
        if there.entries:
            raise PosixError(errno.ENOTEMPTY)

    def _drop_orphan(self, node: Node) -> None:
        if node.nlink == 0 and not any(held is node for held, _ in self._handles.values()):
            self._nodes.pop(node.ino, None)

    def _open(self, node: Node, flags: int) -> int:
        handle = next(self._handle_numbers)
        self._handles[handle] = (node, flags)
        return handle

    def _node(self, ino: int) -> Node:
        try:
            return self._nodes[ino]
        except KeyError:
            raise PosixError(errno.ENOENT) from None

    def _directory(self, ino: int) -> Node:
        node = self._node(ino)
        if not stat.S_ISDIR(node.mode):
            raise PosixError(errno.ENOTDIR)
        return node

    def _entry(self, directory: Node, name: bytes) -> Node:
        if len(name) > 255:
            raise PosixError(errno.ENAMETOOLONG)
        if name not in directory.entries:
            raise PosixError(errno.ENOENT)
        return self._nodes[directory.entries[name][1]]

    def _absent(self, directory: Node, name: bytes) -> None:
        if directory.nlink == 0:
            raise PosixError(errno.ENOENT)
        if name in directory.entries:
            raise PosixError(errno.EEXIST)

    def _walk(self, path: str) -> tuple[Node, bytes]:
        *above, last = os.fsencode(path).split(b"/")
        directory = self._nodes[1]
        for name in above:
            directory = self._entry(directory, name)
        return directory, last

    def _stamped(self, node: Node) -> Node:
        node.atime = node.mtime = node.ctime = time.time_ns()
        return node

    def _touch(self, node: Node, *, content: bool = True) -> None:
        node.ctime = max(time.time_ns(), node.ctime + 1)
        if content:
            node.mtime = node.ctime
            node.version += 1

    def _shown_attributes(self, node: Node) -> Attributes:
        size = len(node.content) if stat.S_ISREG(node.mode) else len(node.target)
        plain = Attributes(
            node.ino, node.mode, node.nlink, node.uid, node.gid, node.rdev, size, -(-size // 512), 0, 0, 0
        )
        return replace(plain, atime=node.atime, mtime=node.mtime, ctime=node.ctime)

    def _tell(self, event: Invalidation) -> None:
        for callback in self._callbacks:
            callback(event)

    def _count(self, what: str) -> None:
        self.calls[what] = self.calls.get(what, 0) + 1
