"""The requests of the kernel, each answered by one call of the volume.

Entries and attributes never expire in the kernel, names that are not there included; `invalidation` takes back what
changed without the kernel. The writeback cache is off: with it, size and times of a file would be the kernel's, and
what another peer writes would stay invisible. All who have a file open share its pages, so while somebody has an older
content open, whoever opens the file anew reads past them (`direct_io`), and they stay as they are.

FLUSH (each close(2) of a descriptor) is answered with ENOSYS once, after which the kernel sends it no more: that saves
one request per file. Nothing is lost by it. Writes reach us before write(2) returns, errors are reported there or by
fsync, and a version is made at RELEASE, when the last descriptor of an open file is gone; FLUSH could come many times
before that, as after each fork. RELEASE is not waited for by close(2), which is why an open that follows must be served
from what is not yet a version.

ACCESS never comes, since `default_permissions` lets the kernel check the mode bits. The dropping of setuid and setgid
bits is left to us: see `privileges`.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import pyfuse3

from syncfs.engine.posix import AttributeChange, Attributes, InodeChanged, RenameFlags
from syncfs.model.errors import PosixError
from syncfs.mount.answers import Failures, at_once, in_time, to_the_end
from syncfs.mount.entries import Entries, asked_change, caller_of, checked_name, sizes_reply
from syncfs.mount.known import KernelView
from syncfs.mount.listing import Listing
from syncfs.mount.loop import RequestLoop
from syncfs.mount.privileges import without_privileges
from syncfs.mount.volume import Buffer, Volume
from syncfs.mount.xattrs import Xattrs

WHITEOUT: Final = 4
"""A flag of rename(2): leave the device node 0:0 behind, which says to an overlay that there is nothing."""

Reply = pyfuse3.EntryAttributes
Asker = pyfuse3.RequestContext


class Handlers(pyfuse3.Operations):
    """Answers requests from a volume; `deadline` in seconds, `tell` lets the kernel know of a change."""

    supports_dot_lookup = True
    enable_writeback_cache = False

    def __init__(
        self,
        volume: Volume,
        *,
        loop: RequestLoop,
        known: KernelView,
        entries: Entries,
        xattrs: Xattrs,
        deadline: float,
        tell: Callable[[InodeChanged], None],
    ) -> None:
        super().__init__()
        self.failures = Failures()
        self.loop = loop
        self.deadline = deadline
        self.enable_acl = xattrs.acls
        self._volume = volume
        self._known = known
        self._entries = entries
        self._listing = Listing(volume, known, entries)
        self._xattrs = xattrs
        self._tell = tell

    @at_once
    def lookup(self, parent: int, name: bytes, ctx: Asker) -> Reply:
        try:
            if name == b".":
                return self._entry(self._volume.getattr(parent))
            return self._entry(self._volume.lookup(parent, name))
        except PosixError as error:
            if error.errno != errno.ENOENT:
                raise
            return self._entries.absent

    @at_once
    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        for ino, count in inodes:
            if self._known.forgotten(ino, count):
                self._volume.forget(ino)

    @at_once
    def getattr(self, ino: int, ctx: Asker) -> Reply:
        return self._entries.of(self._volume.getattr(ino))

    @in_time
    async def setattr(
        self,
        ino: int,
        attr: Reply,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: Asker,
    ) -> Reply:
        change = without_privileges(
            lambda: self._volume.getattr(ino),
            ctx.uid,
            asked_change(attr, fields),
            lambda: self._known.is_written(ino),
        )
        attributes = await self._volume.setattr(ino, change, fh)
        if change.mode is not None and self._xattrs.acls:
            self._xattrs.follow_mode(ino, change.mode)
        return self._entries.of(attributes)

    @at_once
    def readlink(self, ino: int, ctx: Asker) -> bytes:
        return bytes(self._volume.readlink(ino))

    @at_once
    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, ctx: Asker) -> Reply:
        mode, acls = self._xattrs.inherited(parent, mode, ctx.umask)
        made = self._volume.mknod(parent, checked_name(name), mode, rdev, caller_of(ctx))
        self._xattrs.adopt(made.ino, acls)
        return self._entry(made)

    @at_once
    def mkdir(self, parent: int, name: bytes, mode: int, ctx: Asker) -> Reply:
        mode, acls = self._xattrs.inherited(parent, mode, ctx.umask)
        made = self._volume.mkdir(parent, checked_name(name), mode, caller_of(ctx))
        self._xattrs.adopt(made.ino, acls)
        return self._entry(made)

    @at_once
    def symlink(self, parent: int, name: bytes, target: bytes, ctx: Asker) -> Reply:
        return self._entry(self._volume.symlink(parent, checked_name(name), target, caller_of(ctx)))

    @at_once
    def link(self, ino: int, new_parent: int, new_name: bytes, ctx: Asker) -> Reply:
        return self._entry(self._volume.link(ino, new_parent, checked_name(new_name)))

    @at_once
    def unlink(self, parent: int, name: bytes, ctx: Asker) -> None:
        self._volume.unlink(parent, name)

    @at_once
    def rmdir(self, parent: int, name: bytes, ctx: Asker) -> None:
        self._volume.rmdir(parent, name)

    @in_time
    async def rename(
        self,
        old_parent: int,
        old_name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: int,
        ctx: Asker,
    ) -> None:
        try:
            known_flags = RenameFlags(flags & ~WHITEOUT)
        except ValueError:
            raise PosixError(errno.EINVAL) from None
        await self._volume.rename(old_parent, old_name, new_parent, checked_name(new_name), known_flags)
        if new_parent != old_parent:
            self._tell_of_parents((old_parent, old_name), (new_parent, new_name))
        if flags & WHITEOUT:
            # Nothing is awaited since the rename, so both become durable together.
            self._volume.mknod(old_parent, old_name, stat.S_IFCHR, 0, caller_of(ctx))

    def _tell_of_parents(self, *places: tuple[int, bytes]) -> None:
        """Directories are in other ones now: the `..` of a listing that the kernel keeps is wrong."""
        for parent, name in places:
            with suppress(PosixError):
                found = self._volume.lookup(parent, name)
                if stat.S_ISDIR(found.mode):
                    self._tell(InodeChanged(found.ino, content=True))

    @in_time
    async def open(self, ino: int, flags: int, ctx: Asker) -> pyfuse3.FileInfo:
        opened = await self._volume.open(ino, flags, ctx.pid)
        stale = self._known.is_stale(ino)
        self._known.opened(opened.handle, ino, flags & os.O_ACCMODE != os.O_RDONLY)
        if flags & os.O_TRUNC:
            await self._drop_privileges(ino, ctx.uid)
        return pyfuse3.FileInfo(fh=opened.handle, direct_io=stale, keep_cache=stale or opened.keep_cache)

    @in_time
    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: Asker
    ) -> tuple[pyfuse3.FileInfo, Reply]:
        mode, acls = self._xattrs.inherited(parent, mode, ctx.umask)
        made, handle = await self._volume.create(parent, checked_name(name), mode, flags, caller_of(ctx))
        self._known.opened(handle, made.ino, flags & os.O_ACCMODE != os.O_RDONLY)
        self._xattrs.adopt(made.ino, acls)
        return pyfuse3.FileInfo(fh=handle, keep_cache=True), self._entry(made)

    @in_time
    async def read(self, fh: int, off: int, size: int) -> Buffer:  # type: ignore[override]
        data = await self._volume.read(fh, off, size)
        # pyfuse3 takes anything else for the end of the mount, and the kernel more than it asked for as a fault.
        if type(data) is not bytes and not (isinstance(data, bytearray | memoryview) and memoryview(data).c_contiguous):
            raise TypeError(f"a read gave {type(data).__name__}")
        if len(data) < size:
            self._note_end(fh)
        return data if len(data) <= size else data[:size]

    @in_time
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return int(await self._volume.write(fh, off, buf))

    @at_once
    def flush(self, fh: int) -> None:
        raise PosixError(errno.ENOSYS)

    @in_time
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._volume.fsync(fh, datasync)

    @to_the_end
    async def release(self, fh: int) -> None:
        try:
            await self._volume.release(fh)
        finally:
            stale = self._known.closed(fh)
            if stale is not None:
                self._tell(InodeChanged(stale, content=True))

    @at_once
    def opendir(self, ino: int, ctx: Asker) -> int:
        if self._volume.tells_of_names(ino):
            self.loop.listings.begin()
        return ino

    @at_once
    def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        self._listing.reply(fh, start_id, token)

    @at_once
    def releasedir(self, fh: int) -> None:
        pass

    @in_time
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._volume.sync_directory()

    @at_once
    def statfs(self, ctx: Asker) -> pyfuse3.StatvfsData:
        return sizes_reply(self._volume.statfs())

    @at_once
    def access(self, ino: int, mode: int, ctx: Asker) -> bool:
        raise PosixError(errno.ENOSYS)

    @at_once
    def getxattr(self, ino: int, name: bytes, ctx: Asker) -> bytes:
        return self._xattrs.get(ino, name)

    @in_time
    async def setxattr(self, ino: int, name: bytes, value: bytes, ctx: Asker) -> None:
        await self._xattrs.set(ino, name, value, ctx)

    @at_once
    def listxattr(self, ino: int, ctx: Asker) -> Sequence[bytes]:
        return self._xattrs.list(ino, ctx.uid)

    @at_once
    def removexattr(self, ino: int, name: bytes, ctx: Asker) -> None:
        self._xattrs.remove(ino, name)

    async def release_all(self) -> None:
        """Releases what an unmount left open: the kernel throws away the RELEASE requests that were not yet read."""
        for handle in self._known.handles:
            try:
                await self.release(handle)
            except pyfuse3.FUSEError:
                continue  # it has been logged

    def _note_end(self, fh: int) -> None:
        """A read met the end of a file, which the kernel takes for its size; of an old version it is not."""
        ino = self._known.inode_of(fh)
        if ino is not None and self._known.is_stale(ino):
            self._tell(InodeChanged(ino, content=False))

    async def _drop_privileges(self, ino: int, uid: int) -> None:
        """After O_TRUNC, of which the kernel takes only size and times for changed."""
        change = without_privileges(lambda: self._volume.getattr(ino), uid, AttributeChange(size=0), lambda: True)
        if change.mode is not None:
            await self._volume.setattr(ino, AttributeChange(mode=change.mode), None)
            self._tell(InodeChanged(ino, content=False))

    def _entry(self, attributes: Attributes) -> Reply:
        self._known.looked_up(attributes.ino)
        return self._entries.of(attributes)
