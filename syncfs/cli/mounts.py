"""What is mounted where, from the kernel's own table (/proc/self/mountinfo, proc(5)); no mount is touched to tell."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TYPE: Final = "fuse.syncfs"
_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table: device `major:minor`, directory, file system type and source."""

    device: str
    directory: str
    type: str
    source: str


def current_mounts() -> list[Mount]:
    """All mounts of this process's namespace, oldest first."""
    return parse_mounts(_TABLE.read_bytes().splitlines())


def parse_mounts(lines: Iterable[bytes]) -> list[Mount]:
    """Read lines of mountinfo; lines that cannot be read are left out."""
    mounts = []
    for line in lines:
        before, dash, after = line.partition(b" - ")
        front, back = before.split(b" "), after.split(b" ")
        if dash and len(front) >= 5 and len(back) >= 2:
            mounts.append(Mount(_text(front[2]), _text(front[4]), _text(back[0]), _text(back[1])))
    return mounts


def mounted_at(mounts: Sequence[Mount], directory: str) -> Mount | None:
    """The topmost mount on exactly this directory."""
    return next((mount for mount in reversed(mounts) if mount.directory == directory), None)


def covering(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The syncfs mount in which an absolute path lies, unless another mount lies between."""
    above = [mount for mount in mounts if path == mount.directory or path.startswith(mount.directory.rstrip("/") + "/")]
    nearest = max(above, key=lambda mount: len(mount.directory), default=None)
    topmost = nearest and mounted_at(mounts, nearest.directory)
    return topmost if topmost and topmost.type == TYPE else None


def absolute(path: str) -> str:
    """The path from the root, with links resolved in all but its last part, which need not exist."""
    written = Path(path)
    if written.name in ("", ".."):
        return str(written.resolve())
    return str(written.parent.resolve() / written.name)


def _text(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))
