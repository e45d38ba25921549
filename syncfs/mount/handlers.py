"""The requests of the kernel, each answered by one call of the volume.

Entries and attributes never expire in the kernel, names that are not there included; `invalidation` takes back what
changed without the kernel. The writeback cache is off: with it, size and times of a file would be the kernel's, and
what another peer writes would stay invisible. All who have a file open share its pages, so while somebody has an older
content open, whoever opens the file anew reads past them (`direct_io`), and they stay as they are. The kernel has one
size for all of them, and shows zeros where a page ends before it. So it may not keep the size meanwhile: who reads
through the page cache is told how long the older content is, and everybody else the size of the newer one.

What is not in the table is answered with ENOSYS, after which the kernel asks for it no more.

- OPENDIR: the kernel then opens directories by itself, and keeps their listings until they change. So it has to be told
  of every change that it does not make itself; where the volume cannot tell, it is told after each listing.
- FLUSH (each close(2) of a descriptor): that saves one request per file. Nothing is lost by it. Writes reach us before
  write(2) returns, errors are reported there or by fsync, and a version is made at RELEASE, when the last descriptor of
  an open file is gone; FLUSH could come many times before that, as after each fork. RELEASE is not waited for by
  close(2), which is why an open that follows must be served from what is not yet a version.
- ACCESS never comes, since `default_permissions` lets the kernel check the mode bits. The dropping of setuid and setgid
  bits is left to us: see `privileges`.
- INTERRUPT: whoever is killed while waiting ends when the answer comes, which its deadline bounds.
"""

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from syncfs.engine.tree.posix import AttributeChange, Attributes, InodeChanged, RenameFlags
from syncfs.model.errors import PosixError
from syncfs.mount import protocol
from syncfs.mount.answers import Failures, at_once, in_time, to_the_end
from syncfs.mount.device import Device
from syncfs.mount.known import KernelView
from syncfs.mount.listing import Listing
from syncfs.mount.privileges import without_privileges
from syncfs.mount.protocol import Request
from syncfs.mount.volume import Buffer, Volume
from syncfs.mount.workers import Workers
from syncfs.mount.xattrs import Xattrs

WHITEOUT: Final = 4
"""A flag of rename(2): leave the device node 0:0 behind, which says to an overlay that there is nothing."""
DONE: Final = b""

HANDLERS: Final = {
    protocol.LOOKUP: "lookup",
    protocol.FORGET: "forget",
    protocol.GETATTR: "getattr",
    protocol.SETATTR: "setattr",
    protocol.READLINK: "readlink",
    protocol.SYMLINK: "symlink",
    protocol.MKNOD: "mknod",
    protocol.MKDIR: "mkdir",
    protocol.UNLINK: "unlink",
    protocol.RMDIR: "rmdir",
    protocol.RENAME: "rename",
    protocol.LINK: "link",
    protocol.OPEN: "open",
    protocol.READ: "read",
    protocol.WRITE: "write",
    protocol.STATFS: "statfs",
    protocol.RELEASE: "release",
    protocol.FSYNC: "fsync",
    protocol.SETXATTR: "setxattr",
    protocol.GETXATTR: "getxattr",
    protocol.LISTXATTR: "listxattr",
    protocol.REMOVEXATTR: "removexattr",
    protocol.INIT: "init",
    protocol.READDIR: "readdir",
    protocol.FSYNCDIR: "fsyncdir",
    protocol.CREATE: "create",
    protocol.DESTROY: "destroy",
    protocol.BATCH_FORGET: "forget",
    protocol.READDIRPLUS: "readdir",
    protocol.RENAME2: "rename",
}

log = logging.getLogger(__name__)


class Handlers:
    """Answers requests from a volume; `deadline` in seconds, `tell` lets the kernel know of a change."""

    def __init__(
        self,
        volume: Volume,
        *,
        device: Device,
        workers: Workers,
        known: KernelView,
        xattrs: Xattrs,
        deadline: float,
        tell: Callable[[InodeChanged], None],
    ) -> None:
        self.failures = Failures()
        self.device = device
        self.workers = workers
        self.deadline = deadline
        self._volume = volume
        self._known = known
        self._listing = Listing(volume, known)
        self._xattrs = xattrs
        self._tell = tell
        self._handlers = {opcode: getattr(self, name) for opcode, name in HANDLERS.items()}

    def answer(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answers a request at once, or returns what is to be awaited for it."""
        handler = self._handlers.get(request.opcode)
        if handler is None:
            self.device.refuse(request.unique, errno.ENOSYS)
            return None
        waiting: Coroutine[Any, Any, None] | None = handler(request)
        return waiting

    @at_once
    def init(self, request: Request) -> bytes:
        reply = protocol.init_reply(request.body, self._xattrs.acls)
        if reply is None:
            log.error("this kernel is too old: syncfs needs Linux 5.1 or newer")
            raise PosixError(errno.EPROTO)
        return reply

    @at_once
    def destroy(self, request: Request) -> bytes:
        return DONE

    @at_once
    def lookup(self, request: Request) -> bytes:
        name = request.name()
        try:
            if name == b".":
                return self._entry(self._volume.getattr(request.ino))
            return self._entry(self._volume.lookup(request.ino, name))
        except PosixError as error:
            if error.errno != errno.ENOENT:
                raise
            return protocol.NO_ENTRY

    @at_once
    def forget(self, request: Request) -> None:
        if request.opcode == protocol.FORGET:
            inodes = [(request.ino, protocol.NUMBER.unpack_from(request.body)[0])]
        else:
            inodes = protocol.forgotten(request.body)
        for ino, count in inodes:
            if self._known.forgotten(ino, count):
                self._volume.forget(ino)

    @at_once
    def getattr(self, request: Request) -> bytes:
        attributes = self._volume.getattr(request.ino)
        flags, handle = protocol.GETATTR_IN.unpack_from(request.body)
        if flags & protocol.OF_HANDLE and self._known.is_stale(request.ino):
            attributes = replace(attributes, size=self._volume.size_of(handle))
        return self._attributes(attributes)

    @in_time
    async def setattr(self, request: Request) -> bytes:
        ino = request.ino
        asked, handle = protocol.asked_change(request.body, time.time_ns())
        change = without_privileges(
            lambda: self._volume.getattr(ino),
            request.uid,
            asked,
            lambda: self._known.is_written(ino),
        )
        attributes = await self._volume.setattr(ino, change, handle, self.workers.current.more_time)
        if change.mode is not None and self._xattrs.acls:
            self._xattrs.follow_mode(ino, change.mode)
        return self._attributes(attributes)

    @at_once
    def readlink(self, request: Request) -> bytes:
        return bytes(self._volume.readlink(request.ino))

    @at_once
    def mknod(self, request: Request) -> bytes:
        mode, rdev, umask = protocol.MKNOD_IN.unpack_from(request.body)
        name = _checked(request.name(protocol.MKNOD_IN.size))
        mode, acls = self._xattrs.inherited(request.ino, mode, umask)
        made = self._volume.mknod(request.ino, name, mode, rdev, request.caller(umask))
        self._xattrs.adopt(made.ino, acls)
        return self._entry(made)

    @at_once
    def mkdir(self, request: Request) -> bytes:
        mode, umask = protocol.MKDIR_IN.unpack_from(request.body)
        name = _checked(request.name(protocol.MKDIR_IN.size))
        mode, acls = self._xattrs.inherited(request.ino, mode | stat.S_IFDIR, umask)
        made = self._volume.mkdir(request.ino, name, mode, request.caller(umask))
        self._xattrs.adopt(made.ino, acls)
        return self._entry(made)

    @at_once
    def symlink(self, request: Request) -> bytes:
        name, target = request.names()
        return self._entry(self._volume.symlink(request.ino, _checked(name), target, request.caller()))

    @at_once
    def link(self, request: Request) -> bytes:
        ino = protocol.NUMBER.unpack_from(request.body)[0]
        name = _checked(request.name(protocol.NUMBER.size))
        return self._entry(self._volume.link(ino, request.ino, name))

    @at_once
    def unlink(self, request: Request) -> bytes:
        self._volume.unlink(request.ino, request.name())
        return DONE

    @at_once
    def rmdir(self, request: Request) -> bytes:
        self._volume.rmdir(request.ino, request.name())
        return DONE

    @in_time
    async def rename(self, request: Request) -> bytes:
        old_parent, flags, start = request.ino, 0, protocol.NUMBER.size
        new_parent = protocol.NUMBER.unpack_from(request.body)[0]
        if request.opcode == protocol.RENAME2:
            new_parent, flags = protocol.RENAME2_IN.unpack_from(request.body)
            start = protocol.RENAME2_IN.size
        old_name, new_name = request.names(start)
        try:
            known_flags = RenameFlags(flags & ~WHITEOUT)
        except ValueError:
            raise PosixError(errno.EINVAL) from None
        more_time = self.workers.current.more_time
        await self._volume.rename(old_parent, old_name, new_parent, _checked(new_name), known_flags, more_time)
        if new_parent != old_parent:
            self._tell_of_parents((old_parent, old_name), (new_parent, new_name))
        if flags & WHITEOUT:
            # Nothing is awaited since the rename, so both become durable together.
            self._volume.mknod(old_parent, old_name, stat.S_IFCHR, 0, request.caller())
        return DONE

    def _tell_of_parents(self, *places: tuple[int, bytes]) -> None:
        """Directories are in other ones now: the `..` of a listing that the kernel keeps is wrong."""
        for parent, name in places:
            with suppress(PosixError):
                found = self._volume.lookup(parent, name)
                if stat.S_ISDIR(found.mode):
                    self._tell(InodeChanged(found.ino, content=True))

    @in_time
    async def open(self, request: Request) -> bytes:
        ino, flags = request.ino, protocol.OPEN_IN.unpack_from(request.body)[0]
        file = await self._volume.open(ino, flags, request.pid)
        stale = self._known.is_stale(ino)
        self._known.opened(file.handle, ino, flags & os.O_ACCMODE != os.O_RDONLY)
        if flags & os.O_TRUNC:
            await self._drop_privileges(ino, request.uid)
        keep = protocol.KEEP_CACHE if stale or file.keep_cache else 0
        return protocol.opened(file.handle, keep | (protocol.DIRECT_IO if stale else 0))

    @in_time
    async def create(self, request: Request) -> bytes:
        flags, mode, umask, _ = protocol.CREATE_IN.unpack_from(request.body)
        name = _checked(request.name(protocol.CREATE_IN.size))
        mode, acls = self._xattrs.inherited(request.ino, stat.S_IMODE(mode) | stat.S_IFREG, umask)
        made, handle = await self._volume.create(request.ino, name, mode, flags, request.caller(umask))
        self._known.opened(handle, made.ino, flags & os.O_ACCMODE != os.O_RDONLY)
        self._xattrs.adopt(made.ino, acls)
        return self._entry(made) + protocol.opened(handle, protocol.KEEP_CACHE)

    @in_time
    async def read(self, request: Request) -> Buffer:
        handle, offset, size = protocol.READ_IN.unpack_from(request.body)
        data = await self._volume.read(handle, offset, size)
        # The kernel takes more than it asked for as a fault.
        return data if len(data) <= size else data[:size]

    @in_time
    async def write(self, request: Request) -> bytes:
        handle, offset, size = protocol.READ_IN.unpack_from(request.body)
        data = request.body[protocol.READ_IN.size :].tobytes()
        if len(data) != size:
            raise PosixError(errno.EIO)
        return protocol.size_reply(await self._volume.write(handle, offset, data, self.workers.current.more_time))

    @in_time
    async def fsync(self, request: Request) -> bytes:
        handle, flags = protocol.HANDLE_IN.unpack_from(request.body)
        await self._volume.fsync(handle, bool(flags & protocol.DATASYNC), self.workers.current.more_time)
        return DONE

    @to_the_end
    async def release(self, request: Request) -> bytes:
        await self._release(protocol.NUMBER.unpack_from(request.body)[0])
        return DONE

    @at_once
    def readdir(self, request: Request) -> bytes:
        _, offset, size = protocol.READ_IN.unpack_from(request.body)
        reply = self._listing.reply(request.ino, offset, size, request.opcode == protocol.READDIRPLUS)
        if not self._volume.tells_of_names(request.ino):
            self._tell(InodeChanged(request.ino, content=True))
        return reply

    @in_time
    async def fsyncdir(self, request: Request) -> bytes:
        await self._volume.sync_directory()
        return DONE

    @at_once
    def statfs(self, request: Request) -> bytes:
        return protocol.statfs_reply(self._volume.statfs())

    @at_once
    def getxattr(self, request: Request) -> bytes:
        return _sized(self._xattrs.get(request.ino, request.name(protocol.GETXATTR_IN.size)), request)

    @in_time
    async def setxattr(self, request: Request) -> bytes:
        size, flags = protocol.SETXATTR_IN.unpack_from(request.body)
        name, _, value = request.body[protocol.SETXATTR_IN.size :].tobytes().partition(b"\0")
        if len(value) != size:
            raise PosixError(errno.EIO)
        await self._xattrs.set(request.ino, name, value, flags, request.caller())
        return DONE

    @at_once
    def listxattr(self, request: Request) -> bytes:
        return _sized(b"".join(name + b"\0" for name in self._xattrs.list(request.ino, request.uid)), request)

    @at_once
    def removexattr(self, request: Request) -> bytes:
        self._xattrs.remove(request.ino, request.name())
        return DONE

    async def release_all(self) -> None:
        """Releases what an unmount left open: the kernel throws away the RELEASE requests that were not yet read."""
        for handle in self._known.handles:
            try:
                await self._release(handle)
            except Exception as error:
                self.failures.answer("release", error)  # for the log

    async def _release(self, handle: int) -> None:
        try:
            await self._volume.release(handle)
        finally:
            stale = self._known.closed(handle)
            if stale is not None:
                self._tell(InodeChanged(stale, content=True))

    async def _drop_privileges(self, ino: int, uid: int) -> None:
        """After O_TRUNC, of which the kernel takes only size and times for changed."""
        change = without_privileges(lambda: self._volume.getattr(ino), uid, AttributeChange(size=0), lambda: True)
        if change.mode is not None:
            await self._volume.setattr(ino, AttributeChange(mode=change.mode), None)
            self._tell(InodeChanged(ino, content=False))

    def _entry(self, attributes: Attributes) -> bytes:
        self._known.looked_up(attributes.ino)
        return protocol.entry(attributes, not self._known.is_stale(attributes.ino))

    def _attributes(self, attributes: Attributes) -> bytes:
        return protocol.attributes_reply(attributes, not self._known.is_stale(attributes.ino))


def _checked(name: bytes) -> bytes:
    """A name for something new. Raises PosixError(ENAMETOOLONG); the kernel lets 1024 bytes pass."""
    if len(name) > protocol.MAX_NAME:
        raise PosixError(errno.ENAMETOOLONG)
    return name


def _sized(value: bytes, request: Request) -> bytes:
    """The answer to a question for an attribute: its length, or itself. Raises PosixError(ERANGE)."""
    room = protocol.GETXATTR_IN.unpack_from(request.body)[0]
    if room == 0:
        return protocol.size_reply(len(value))
    if len(value) > room:
        raise PosixError(errno.ERANGE)
    return value
