"""The share as a POSIX-shaped tree: what the mount, and later the web page and WebDAV, call.

Namespace operations are plain functions: they check, compose records, and hand them to the feed, which applies them to
the index in the open transaction. Nothing here waits for a disk or a peer; what may wait is about content and is async.
Permissions are the kernel's business (default_permissions); what only a file system can know is checked here.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import trio

from syncfs.engine.feeds.feed import Feed
from syncfs.engine.tree.naming import Naming
from syncfs.engine.tree.owners import OwnerView
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
from syncfs.engine.tree.room import Room
from syncfs.engine.tree.stale import Stale
from syncfs.engine.writing.files import Files
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.index.index import Changes, Index, Node
from syncfs.model.errors import PosixError
from syncfs.model.records import MAX_NAME, MAX_XATTR_BYTES, NodeRecord, Owner, Times

LISTING = 1000
"""Entries read from the index at once."""
DIRECTORY_BYTES = 4096
TIME_LIMITS = -(2**63), 2**63 - 1
"""Times in ns that fit into a record and the index: from 1677 to April 2262. What is beyond becomes the limit."""
XATTR_CREATE, XATTR_REPLACE = 1, 2


class Volume:
    """One share as a tree of files."""

    def __init__(
        self, index: Index, feed: Feed | None, files: Files, owners: OwnerView, space: Callable[[], StatFs]
    ) -> None:
        self._index = index
        self._feed = feed
        self._files = files
        self._owners = owners
        self._space = space
        self._naming = Naming(index, feed)
        self._room = Room(index)
        self._watchers: list[Callable[[Invalidation], None]] = []
        self._stale = Stale(index, self._tell)
        self._own: set[tuple[int, bytes]] = set()
        files.watch(lambda ino: self._tell(InodeChanged(ino, True)))
        self._behind_kernel = False
        self.generation = 0
        """Another number after anything in the tree has changed, by whomever."""

    def watch(self, callback: Callable[[Invalidation], None]) -> None:
        """Be told of every change that the kernel does not know of."""
        self._watchers.append(callback)

    # --- reading the tree -------------------------------------------------------------------------------------------

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """The node that a name shows. Raises PosixError."""
        if len(name) > MAX_NAME:
            raise PosixError(errno.ENAMETOOLONG)
        node = self._index.lookup(self._index.nodes.shown_as(parent), name)
        if node is None:
            raise PosixError(errno.ENOENT)
        return self._attributes(node)

    def getattr(self, ino: int) -> Attributes:
        """The attributes of a node. Raises PosixError."""
        return self._attributes(self._node(ino))

    def size_of(self, handle: int) -> int:
        """How long the content is that an open file shows. Raises PosixError."""
        return self._files.handle(handle).file.size

    def readdir(self, ino: int, after: int, limit: int = LISTING) -> Sequence[Listed]:
        """The entries of a directory after a cookie, some at a time, without . and .."""
        listed = self._index.nodes.listed(self._index.nodes.shown_as(ino), after - 2, limit)
        return [Listed(cookie + 2, name, self._attributes(node)) for cookie, name, node in listed]

    def parent(self, ino: int) -> int:
        """The directory that holds a directory; the root holds itself."""
        return self._index.parent_of(self._index.nodes.shown_as(ino)) or ino

    def tells_of_names(self, ino: int) -> bool:
        """Whether watchers hear of every change of this directory's names that the kernel does not make itself.

        Of directories that are shown as one, the kernel changes one and thinks the others are as before.
        """
        return len(self._index.nodes.groups.of(ino)) == 1

    def readlink(self, ino: int) -> bytes:
        """The target of a symlink. Raises PosixError."""
        node = self._node(ino)
        if node.kind != stat.S_IFLNK:
            raise PosixError(errno.EINVAL)
        return node.target

    def statfs(self) -> StatFs:
        """Space on the disk that holds the share's cache."""
        return self._space()

    # --- changing the tree ------------------------------------------------------------------------------------------

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        """Make a directory. Raises PosixError."""
        return self._new(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), caller)

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        """Make a file, fifo, socket or device node. Raises PosixError."""
        return self._new(parent, name, mode if stat.S_IFMT(mode) else mode | stat.S_IFREG, caller, rdev=rdev)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        """Make a symlink. Raises PosixError."""
        return self._new(parent, name, stat.S_IFLNK | 0o777, caller, target=target)

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        """Give a node one more name. Raises PosixError."""
        self._naming.require_writable()
        with self._expecting((parent, name)):
            self._naming.link(self._node(ino), self._index.nodes.shown_as(parent), name)
        return self.getattr(ino)

    def unlink(self, parent: int, name: bytes) -> None:
        """Take a name from a node. Raises PosixError."""
        self._naming.require_writable()
        with self._expecting((parent, name)):
            self._naming.unlink(self._index.nodes.shown_as(parent), name)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory. Raises PosixError."""
        self._naming.require_writable()
        with self._expecting((parent, name)):
            self._naming.rmdir(self._index.nodes.shown_as(parent), name)

    async def rename(
        self,
        old_parent: int,
        old_name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: RenameFlags,
        more_time: MoreTime = patient,
    ) -> None:
        """Move a name; what was written to the node comes first, as with data=ordered. Raises PosixError."""
        self._naming.require_writable()
        shown_as = self._index.nodes.shown_as
        node = self._index.lookup(shown_as(old_parent), old_name)
        if node is not None and self._files.dirty_of(node.ino) is not None:
            await self._files.settle_node(node.ino, more_time)
        with self._expecting((old_parent, old_name), (new_parent, new_name)):
            self._naming.rename(shown_as(old_parent), old_name, shown_as(new_parent), new_name, flags)

    async def setattr(
        self, ino: int, change: AttributeChange, handle: int | None, more_time: MoreTime = patient
    ) -> Attributes:
        """Change attributes. Raises PosixError, UnavailableError."""
        feed = self._naming.require_writable()
        self._make_own(ino)
        node = self._node(ino)
        if change.size is not None:
            if node.is_directory:
                raise PosixError(errno.EISDIR)
            size = change.size
            if size == self._attributes(node).size and change.mtime is None:
                change = replace(change, mtime=feed.now())  # truncate(2) moves the times also where it cuts nothing
            await self._truncate(node, size, handle, more_time)
            node = self._node(ino)
        owner = None
        if change.uid is not None or change.gid is not None:
            owner = self._owners.changed(node, change.uid, change.gid)
        times = None
        if change.atime is not None or change.mtime is not None:
            shown = self._attributes(node)
            times = Times(
                shown.atime if change.atime is None else _fitting(change.atime),
                shown.mtime if change.mtime is None else _fitting(change.mtime),
            )
            dirty = self._files.dirty_of(ino)
            if dirty is not None and change.mtime is not None:
                dirty.mtime = times.mtime
        mode = None if change.mode is None else stat.S_IMODE(change.mode)
        self.generation += 1
        if mode is not None or owner is not None or times is not None or change.ctime is not None:
            with self._expecting():
                feed.touched_done(node.node, times)
                feed.record([NodeRecord(feed.tick(), feed.now(), node.node, mode=mode, owner=owner, times=times)])
        return self.getattr(ino)

    # --- extended attributes ----------------------------------------------------------------------------------------

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """The value of an extended attribute. Raises PosixError."""
        value = self._node(ino).xattrs.get(name)
        if value is None:
            raise PosixError(errno.ENODATA)
        return value

    def listxattr(self, ino: int) -> list[bytes]:
        """The names of the extended attributes."""
        return list(self._node(ino).xattrs)

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute; `flags` as in setxattr(2). Raises PosixError."""
        xattrs = self._node(ino).xattrs
        if flags & XATTR_CREATE and name in xattrs:
            raise PosixError(errno.EEXIST)
        if flags & XATTR_REPLACE and name not in xattrs:
            raise PosixError(errno.ENODATA)
        self._set_xattrs(ino, xattrs | {name: value})

    def removexattr(self, ino: int, name: bytes) -> None:
        """Remove an extended attribute. Raises PosixError."""
        xattrs = self._node(ino).xattrs
        if name not in xattrs:
            raise PosixError(errno.ENODATA)
        del xattrs[name]
        self._set_xattrs(ino, xattrs)

    def _set_xattrs(self, ino: int, xattrs: dict[bytes, bytes]) -> None:
        feed = self._naming.require_writable()
        if sum(len(key) + len(value) for key, value in xattrs.items()) > MAX_XATTR_BYTES:
            raise PosixError(errno.ENOSPC)
        with self._expecting():
            feed.record([NodeRecord(feed.tick(), feed.now(), self._node(ino).node, xattrs=xattrs)])

    # --- content ----------------------------------------------------------------------------------------------------

    async def open(self, ino: int, flags: int, pid: int) -> Opened:
        """Open a file. Raises PosixError, UnavailableError."""
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        if writing or flags & os.O_TRUNC:
            self._naming.require_writable()
            self._make_own(ino)
        handle, keep = self._files.open(self._node(ino), flags)
        if flags & os.O_TRUNC:
            try:
                if self.getattr(ino).size:
                    await self._truncate(self._node(ino), 0, handle)
                else:
                    await self.setattr(ino, AttributeChange(mtime=self._naming.require_writable().now()), handle)
            except BaseException:
                self._files.release(handle)
                raise
        return Opened(handle, keep)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> tuple[Attributes, int]:
        """Make a file and open it. Raises PosixError."""
        attributes = self._new(parent, name, stat.S_IFREG | stat.S_IMODE(mode), caller)
        handle, _ = self._files.open(self._node(attributes.ino), flags)
        return attributes, handle

    async def read(self, handle: int, offset: int, size: int) -> bytes | bytearray | memoryview:
        """Bytes of an open file. Raises UnavailableError, SetupError, PosixError."""
        return await self._files.read(handle, offset, size)

    async def write(self, handle: int, offset: int, data: bytes, more_time: MoreTime = patient) -> int:
        """Put bytes into an open file. Raises UnavailableError, SetupError, PosixError."""
        try:
            return await self._files.write(handle, offset, data, more_time)
        finally:
            self.generation += 1

    async def fsync(self, handle: int, datasync: bool, more_time: MoreTime = patient) -> None:
        """Make a file's content, attributes and names durable. Raises SetupError, UnavailableError."""
        await self._files.fsync(handle, more_time)

    async def release(self, handle: int) -> None:
        """Close a handle."""
        self._files.release(handle)

    async def sync_directory(self) -> None:
        """Make all names durable. Raises SetupError."""
        if self._feed is not None:
            await self._feed.durable()

    async def flush(self) -> None:
        """Make everything written so far durable. Raises SetupError, UnavailableError."""
        await self._files.settle_all()
        await self.sync_directory()

    def forget(self, ino: int) -> None:
        """The kernel no longer knows a node."""
        self._files.forget(ino)

    @contextmanager
    def behind_kernel(self) -> Iterator[None]:
        """While the block runs, changes of ours do not come through the mount, so the kernel is told of all of them."""
        self._behind_kernel = True
        try:
            yield
        finally:
            self._behind_kernel = False

    async def let_kernel_in(self) -> None:
        """Within `behind_kernel`: let others have their turn; changes of ours come through the mount meanwhile."""
        self._behind_kernel = False
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._behind_kernel = True

    # --- changes ----------------------------------------------------------------------------------------------------

    def applied(self, changes: Changes, *, own: bool) -> None:
        """Records were applied to the index: tell the watchers what they cannot know."""
        self.generation += 1
        for (parent, name), removed in self._stale.names(changes).items():
            if not own or (parent, name) not in self._own:
                self._tell(EntryChanged(parent, name, removed))
        for ino in self._stale.other_inodes(changes):
            self._tell(InodeChanged(ino, False))
        self._stale.note(changes)
        if own and not self._behind_kernel:
            return
        for ino in changes.contents:
            self._files.replaced(ino)
            self._tell(InodeChanged(ino, True))
        for ino in changes.nodes - changes.contents:
            self._tell(InodeChanged(ino, False))

    async def tell_rest(self) -> None:
        """Tell watchers, in the background, what is too much for one moment."""
        await self._stale.run()

    async def _truncate(self, node: Node, size: int, handle: int | None, more_time: MoreTime = patient) -> None:
        try:
            await self._files.truncate(node, size, handle, more_time)
        finally:
            self.generation += 1

    def _tell(self, invalidation: Invalidation) -> None:
        for watcher in self._watchers:
            watcher(invalidation)

    def _expecting(self, *places: tuple[int, bytes]) -> "_Expectation":
        return _Expectation(self._own, places)

    def _new(
        self, parent: int, name: bytes, mode: int, caller: Caller, *, rdev: int = 0, target: bytes = b""
    ) -> Attributes:
        self._naming.require_writable()
        directory = self._node(parent)
        owner = self._owners.new(caller.uid, caller.gid)
        if directory.mode & stat.S_ISGID:
            owner = Owner(owner.uid, directory.gid, owner.user, directory.group)
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        with self._expecting((parent, name)):
            ino = self._naming.new(directory.ino, name, mode, owner, rdev=rdev, target=target)
        return self.getattr(ino)

    def _make_own(self, ino: int) -> None:
        """A conflict copy that is written or changed becomes a file of its own first."""
        if self._node(ino).is_copy:
            self._naming.own(ino)

    def _node(self, ino: int) -> Node:
        node = self._index.nodes.get(self._index.nodes.shown_as(ino))
        if node is None or node.kind == 0:
            raise PosixError(errno.ENOENT)
        return node

    def _attributes(self, node: Node) -> Attributes:
        size, mtime, ctime = node.size, node.mtime, node.ctime
        room = size
        if node.kind == stat.S_IFREG:
            dirty = self._files.dirty_of(node.ino)
            if dirty is not None:
                size, mtime, ctime, room = dirty.size, dirty.mtime, max(dirty.ctime, ctime), dirty.stored
            else:
                room = self._room.taken(node)
        elif node.kind == stat.S_IFDIR:
            size = room = DIRECTORY_BYTES
            touched = self._feed.touched(node.node) if self._feed is not None else None
            if touched is not None:
                mtime, ctime = touched, max(touched, ctime)
        elif node.kind == stat.S_IFLNK:
            size = room = len(node.target)
        uid, gid = self._owners.shown(node)
        return Attributes(
            node.ino,
            node.kind | node.mode,
            self._index.nodes.nlink(node),
            uid,
            gid,
            node.rdev,
            size,
            (room + 511) // 512,
            node.atime,
            mtime,
            ctime,
        )


def _fitting(time: int) -> int:
    return max(TIME_LIMITS[0], min(time, TIME_LIMITS[1]))


class _Expectation:
    """Names that the kernel changes itself while a block runs."""

    def __init__(self, own: set[tuple[int, bytes]], places: Sequence[tuple[int, bytes]]) -> None:
        self._own = own
        self._places = places

    def __enter__(self) -> None:
        self._own.update(self._places)

    def __exit__(self, *_: object) -> None:
        self._own.difference_update(self._places)
