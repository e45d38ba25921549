"""What the mount asks of whoever holds the tree; `syncfs.engine` provides it.

Plain functions answer at once from memory or the index. Coroutines may wait for the network or the disk; each is
cancelled when its request's deadline comes, and leaves nothing half done. All of them raise PosixError with the errno
for the program, or another SyncfsError, which `errnos` translates. State is published before `watch` callbacks run.
Those that get a `more_time` may have to store what was written before, which has no bound: they call it while that goes
on, and the deadline begins anew.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

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
from syncfs.engine.writing.patience import MoreTime, patient

Buffer = bytes | bytearray | memoryview


class Volume(Protocol):
    """A tree of nodes by inode number; the root is 1, numbers are never used again."""

    @property
    def generation(self) -> int:
        """A number that is another one after anything in the tree has changed, by whomever."""

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """The node that a directory shows under a name, `..` included."""

    def getattr(self, ino: int) -> Attributes:
        """What stat(2) shows."""

    def size_of(self, handle: int) -> int:
        """How long the content is that an open file shows."""

    def readdir(self, ino: int, after: int, limit: int) -> Sequence[Listed]:
        """Entries with cookies above `after`, ascending; empty only at the end. Cookies are above 2 and lasting.

        More than `limit` of them are not needed.
        """

    def tells_of_names(self, ino: int) -> bool:
        """Whether `watch` tells of every change of this directory's names that the kernel does not make itself."""

    def readlink(self, ino: int) -> bytes:
        """The target of a symlink."""

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        """Makes a directory."""

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        """Makes a file, fifo, socket or device node."""

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        """Makes a symlink."""

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        """Gives a node one more name."""

    def unlink(self, parent: int, name: bytes) -> None:
        """Takes a name away from what is not a directory."""

    def rmdir(self, parent: int, name: bytes) -> None:
        """Takes away an empty directory."""

    def statfs(self) -> StatFs:
        """The sizes that df(1) shows."""

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """One extended attribute; ENODATA where there is none."""

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Sets an extended attribute; `flags` as in setxattr(2)."""

    def listxattr(self, ino: int) -> list[bytes]:
        """The names of the extended attributes."""

    def removexattr(self, ino: int, name: bytes) -> None:
        """Removes an extended attribute; ENODATA where there is none."""

    def forget(self, ino: int) -> None:
        """The kernel knows the inode no longer; what was only kept for it can go."""

    def watch(self, callback: Callable[[Invalidation], None]) -> None:
        """Calls back, in the loop, for every change that did not come through the mount."""

    async def rename(
        self,
        old_parent: int,
        old_name: bytes,
        new_parent: int,
        new_name: bytes,
        flags: RenameFlags,
        more_time: MoreTime = patient,
    ) -> None:
        """Moves a name, over another one where there is one; see renameat2(2)."""

    async def open(self, ino: int, flags: int, pid: int) -> Opened:
        """Opens a file; O_TRUNC may be among the flags."""

    async def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> tuple[Attributes, int]:
        """Makes a file and opens it."""

    async def read(self, handle: int, offset: int, size: int) -> Buffer:
        """At most `size` bytes; fewer only at the end of the file."""

    async def write(self, handle: int, offset: int, data: bytes, more_time: MoreTime = patient) -> int:
        """Writes; the number of bytes taken."""

    async def fsync(self, handle: int, datasync: bool, more_time: MoreTime = patient) -> None:
        """Returns when what was written survives a loss of power."""

    async def release(self, handle: int) -> None:
        """Ends a handle and makes what was written through it a version; never cancelled."""

    async def setattr(
        self, ino: int, change: AttributeChange, handle: int | None, more_time: MoreTime = patient
    ) -> Attributes:
        """Changes attributes, the size among them."""

    async def sync_directory(self) -> None:
        """Returns when names survive a loss of power."""
