"""Looking at files in a way that can be compared between file systems."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CLOCK_REALTIME_COARSE: Final = 5
_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def shape(path: Path | int) -> tuple[object, ...]:
    """Kind, mode, owner, group, and where it means something: links and size, device number."""
    found = os.fstat(path) if isinstance(path, int) else path.lstat()
    kind = _KINDS[stat.S_IFMT(found.st_mode)]
    seen: tuple[object, ...] = (kind, f"{stat.S_IMODE(found.st_mode):04o}", found.st_uid, found.st_gid)
    if kind != "directory":
        seen += (f"{found.st_nlink} links", found.st_size)
    if kind.endswith("device"):
        seen += ((os.major(found.st_rdev), os.minor(found.st_rdev)),)
    return seen


def mode(path: Path) -> str:
    """The permission bits, with set-id and sticky bits, as chmod(1) takes them."""
    return f"{stat.S_IMODE(path.lstat().st_mode):04o}"


def names(directory: Path) -> list[bytes]:
    """The names in a directory, sorted, since the order is the file system's own."""
    return sorted(os.listdir(os.fsencode(directory)))


def coarse_now() -> int:
    """The clock of a file system that stamps by the kernel's tick, in ns since 1970: never later than any other."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def tick() -> None:
    """Return when a time stamp given now is later than any given before, whatever clock the file system takes."""
    start = coarse_now()
    while coarse_now() - start < 8_000_000:
        time.sleep(0.002)  # only the passing of the machine's clock can be waited for here


def times_changed(path: Path, action: Callable[[], object]) -> tuple[str, ...]:
    """Which of mtime and ctime an action makes later; atime is left to the mount options."""
    before = path.lstat()
    tick()
    action()
    after = path.lstat()
    return tuple(
        name
        for name, old, new in (
            ("mtime", before.st_mtime_ns, after.st_mtime_ns),
            ("ctime", before.st_ctime_ns, after.st_ctime_ns),
        )
        if new > old
    )


def filled(path: Path, content: bytes = b"", permissions: int = 0o644, owner: tuple[int, int] | None = None) -> Path:
    """A new file with this content, these bits and this owner; the path, for use in one line."""
    path.write_bytes(content)
    if owner is not None:
        os.chown(path, *owner)
    path.chmod(permissions)
    return path


def folder(path: Path, permissions: int = 0o755, owner: tuple[int, int] | None = None) -> Path:
    """A new directory with these bits and this owner; the path, for use in one line."""
    path.mkdir()
    if owner is not None:
        os.chown(path, *owner)
    path.chmod(permissions)
    return path


def open_and_close(path: Path, flags: int, permissions: int = 0o666) -> str:
    """Open as asked and close again; raises OSError."""
    os.close(os.open(path, flags, permissions))
    return "opened"
