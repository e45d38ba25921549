"""Bringing a tree of the local disk into a share: every entry with its owner, permissions, times, links and attributes.

The source is only read. Hard links stay hard links, holes stay holes, symlinks are copied as they are; what is on other
file systems below the source comes along. An entry that cannot be read ends the import, since a copy that silently
lacks something is worse than none.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

import trio

from syncfs.engine.tree.posix import AttributeChange, Attributes, Caller
from syncfs.model.errors import PosixError, SetupError, UsageError

T = TypeVar("T")

ROOT: Final = 1
_BLOCK: Final = 2**20
_IN_LOOP: Final = 64 * 1024
"""Files of at most so many bytes are read without a thread, which costs more than the reading."""
_UNSUPPORTED: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.E2BIG, errno.ENOSPC, errno.EINVAL})


class TreeWriter(Protocol):
    """The part of the engine's volume that an import needs; errors are PosixError."""

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attributes:
        """Make a directory."""
        ...

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attributes:
        """Make a special file."""
        ...

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attributes:
        """Make a symlink."""
        ...

    def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        """Give a node another name."""
        ...

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute."""
        ...

    async def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> tuple[Attributes, int]:
        """Make a file and open it."""
        ...

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        """Write all of the data."""
        ...

    async def setattr(self, ino: int, change: AttributeChange, handle: int | None) -> Attributes:
        """Change attributes."""
        ...

    async def release(self, handle: int) -> None:
        """Close a file."""
        ...


@dataclass(slots=True)
class Progress:
    """How far an import is; totals are counted before it begins."""

    total_entries: int = 0
    total_bytes: int = 0
    entries: int = 0
    bytes: int = 0
    lost_attributes: int = 0
    """Extended attributes that a share cannot hold."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the source: its path, its name, what lstat says and the directories above it that end with it."""

    path: bytes
    name: bytes
    found: os.stat_result


def count_tree(source: Path, leave_out: Path) -> Progress:
    """What there is to import. Raises UsageError where the source is no directory, SetupError where it is unreadable.

    `leave_out` is a directory that is skipped, such as the home itself.
    """
    if not source.is_dir():
        raise UsageError(f"there is no directory {source}: name the one to import with --from DIR")
    progress = Progress()
    pending = [os.fsencode(source)]
    while pending:
        for entry in _children(pending.pop(), leave_out):
            progress.total_entries += 1
            if stat.S_ISREG(entry.found.st_mode):
                progress.total_bytes += entry.found.st_size
            elif stat.S_ISDIR(entry.found.st_mode):
                pending.append(entry.path)
    return progress


async def import_tree(
    volume: TreeWriter, source: Path, leave_out: Path, progress: Progress, report: Callable[[Progress], None]
) -> None:
    """Copy everything below `source` into the root of the share, which is empty.

    `leave_out` is skipped, as in counting. Raises SetupError where an entry cannot be read.
    """
    await _Import(volume, leave_out, progress, report).tree(source)


@dataclass(slots=True)
class _Import:
    volume: TreeWriter
    leave_out: Path
    progress: Progress
    report: Callable[[Progress], None]
    linked: dict[tuple[int, int], int] = field(default_factory=dict)
    """The nodes of files with several names, by device and inode of the source."""
    caller: Caller = field(default_factory=lambda: Caller(os.geteuid(), os.getegid()))

    async def tree(self, source: Path) -> None:
        """Walk without recursion, for a tree may be deeper than Python's stack."""
        path = os.fsencode(source)
        walk = [(_Entry(path, b"", _reading(path, lambda: os.stat(path))), ROOT, _children(path, self.leave_out))]  # noqa: PTH116
        while walk:
            directory, ino, children = walk[-1]
            entry = next(children, None)
            if entry is None:
                walk.pop()
                await self._attributes(directory, ino)  # now that nothing below changes its times any more
                continue
            if stat.S_ISDIR(entry.found.st_mode):
                made = self.volume.mkdir(ino, entry.name, 0o700, self.caller)
                walk.append((entry, made.ino, _children(entry.path, self.leave_out)))
            else:
                await self._leaf(entry, ino)
            self.progress.entries += 1
            self.report(self.progress)

    async def _leaf(self, entry: _Entry, parent: int) -> None:
        mode, key = entry.found.st_mode, (entry.found.st_dev, entry.found.st_ino)
        if key in self.linked:
            self.volume.link(self.linked[key], parent, entry.name)
            self.progress.bytes += entry.found.st_size if stat.S_ISREG(mode) else 0
            return
        if stat.S_ISREG(mode):
            made = await self._file(entry, parent)
        elif stat.S_ISLNK(mode):
            target = _reading(entry.path, lambda: os.readlink(entry.path))  # noqa: PTH115 - bytes
            made = self.volume.symlink(parent, entry.name, target, self.caller)
        else:
            made = self.volume.mknod(parent, entry.name, mode, entry.found.st_rdev, self.caller)
        if entry.found.st_nlink > 1:
            self.linked[key] = made.ino
        await self._attributes(entry, made.ino)

    async def _file(self, entry: _Entry, parent: int) -> Attributes:
        made, handle = await self.volume.create(parent, entry.name, 0o600, os.O_WRONLY, self.caller)
        try:
            descriptor = _reading(entry.path, lambda: os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            try:
                end = await self._content(entry, descriptor, handle)
            finally:
                os.close(descriptor)
            if end < entry.found.st_size:
                await self.volume.setattr(made.ino, AttributeChange(size=entry.found.st_size), handle)
                self.progress.bytes += entry.found.st_size - end
        finally:
            await self.volume.release(handle)
        return made

    async def _content(self, entry: _Entry, descriptor: int, handle: int) -> int:
        """Copy the data of a file, leaving its holes; returns where the last data ended."""
        position = 0
        while position < entry.found.st_size:
            try:
                start = os.lseek(descriptor, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                start = position  # a file system that knows no holes
            self.progress.bytes += start - position
            wanted = min(_BLOCK, entry.found.st_size - start)
            data = await _read(entry.path, descriptor, wanted, start)
            if not data:
                break
            await self.volume.write(handle, start, data)
            position = start + len(data)
            self.progress.bytes += len(data)
            self.report(self.progress)
        return position

    async def _attributes(self, entry: _Entry, ino: int) -> None:
        for name in _reading(entry.path, lambda: _xattr_names(entry.path)):
            try:
                value = os.getxattr(entry.path, name, follow_symlinks=False)
                self.volume.setxattr(ino, name, value, 0)
            except (PosixError, OSError) as error:
                if isinstance(error, PosixError) and error.errno not in _UNSUPPORTED:
                    raise
                self.progress.lost_attributes += 1
        found = entry.found
        # Owner first, since a change of owner clears the setuid bits; times last, since every change moves them.
        await self.volume.setattr(ino, AttributeChange(uid=found.st_uid, gid=found.st_gid), None)
        mode = None if stat.S_ISLNK(found.st_mode) else stat.S_IMODE(found.st_mode)
        change = AttributeChange(mode=mode, atime=found.st_atime_ns, mtime=found.st_mtime_ns)
        await self.volume.setattr(ino, change, None)


async def _read(path: bytes, descriptor: int, count: int, offset: int) -> bytes:
    def read() -> bytes:
        return os.pread(descriptor, count, offset)

    try:
        return read() if count <= _IN_LOOP else await trio.to_thread.run_sync(read)
    except OSError as error:
        raise _unreadable(path, error) from error


def _children(path: bytes, leave_out: Path) -> Iterator[_Entry]:
    """The entries of a directory in order of their names."""

    def listed() -> Sequence[bytes]:
        return sorted(os.listdir(path))  # noqa: PTH208 - bytes

    for name in _reading(path, listed):
        inner = path + b"/" + name
        if os.fsdecode(inner) != str(leave_out):
            with suppress(FileNotFoundError):  # gone since the listing: then it is not part of the tree
                yield _Entry(inner, name, os.lstat(inner))


def _xattr_names(path: bytes) -> list[bytes]:
    try:
        return [os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)]
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ELOOP):
            return []
        raise


def _reading(path: bytes, action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: bytes, error: OSError) -> SetupError:
    shown = path.decode("utf-8", "backslashreplace")
    return SetupError(f"{shown} cannot be read ({error.strerror}): allow it, or import without it")
