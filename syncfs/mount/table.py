"""What is mounted where, by the kernel's table (/proc/self/mountinfo, see proc(5)).

Reading it touches no mount, so it answers where a stat(2) would hang.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TYPE: Final = "fuse.syncfs"
AUTOMOUNT: Final = "autofs"
"""Nothing to be seen: whoever comes by has a share mounted over it (systemd.automount(5))."""
TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")
_OWNER: Final = re.compile(rb"(?:^|,)user_id=(\d+)(?:,|$)")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line: the device as major and minor number, the directory, the type, the source, and for FUSE whose it is."""

    major: int
    minor: int
    directory: str
    type: str
    source: str
    owner: int | None = None


def mounts(lines: Iterable[bytes] | None = None) -> list[Mount]:
    """All mounts, oldest first; lines that cannot be read are left out."""
    found = []
    for line in TABLE.read_bytes().splitlines() if lines is None else lines:
        ahead, _, behind = line.partition(b" - ")
        front, back = ahead.split(b" "), behind.split(b" ")
        if len(front) >= 6 and len(back) >= 2:
            major, _, minor = front[2].partition(b":")
            owner = _OWNER.search(back[-1])
            uid = int(owner[1]) if owner else None
            found.append(Mount(int(major), int(minor), plain(front[4]), plain(back[0]), plain(back[1]), uid))
    return found


def mounted_at(directory: str) -> Mount | None:
    """What is mounted on a directory now; the uppermost where several are."""
    return next((mount for mount in reversed(mounts()) if mount.directory == directory), None)


def mounted_over(directory: str) -> Mount | None:
    """What hides a share that is mounted on a directory; None where nothing does, or there is no share."""
    here = [mount for mount in mounts() if mount.directory == directory]
    return here[-1] if here and here[-1].type != TYPE and any(mount.type == TYPE for mount in here) else None


def resolved(directory: str | Path) -> str:
    """The directory's path as the table has it, found without touching the directory itself."""
    path = Path(directory).absolute()
    return str(path.parent.resolve() / path.name) if path.name not in ("", "..") else str(path.resolve())


def plain(field: bytes) -> str:
    """A field of the table without its escapes."""
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field))
