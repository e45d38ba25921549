"""Whole trees, compared by content and by everything that stat, readlink and listxattr tell of them."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """What two copies of an entry have in common; times in ns, `twins` are the other names of the same node."""

    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    rdev: int
    digest: str
    target: str
    xattrs: tuple[tuple[str, bytes], ...]
    twins: tuple[str, ...]


def scan(root: Path, contents: bool = True) -> dict[str, Entry]:
    """Every entry below `root`, which is '.' itself; without `contents` no file is read."""
    found = dict(_walk(root))
    names: dict[tuple[int, int], list[str]] = {}
    for path, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault((status.st_dev, status.st_ino), []).append(path)
    made = {}
    for path, status in found.items():
        place, mode = root / path, status.st_mode
        twins = names.get((status.st_dev, status.st_ino), [path])
        regular = stat.S_ISREG(mode)
        made[path] = Entry(
            mode=mode,
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=status.st_mtime_ns,
            size=status.st_size if regular or stat.S_ISLNK(mode) else 0,
            rdev=status.st_rdev,
            digest=digest(place) if regular and contents else "",
            target=str(place.readlink()) if stat.S_ISLNK(mode) else "",
            xattrs=tuple(sorted(_xattrs(place))),
            twins=tuple(sorted(name for name in twins if name != path)),
        )
    return made


def differences(first: dict[str, Entry], second: dict[str, Entry]) -> list[str]:
    """One line about each difference of two trees, the path first; empty where they are equal."""
    told = [f"{path}: only in the first" for path in sorted(first.keys() - second.keys())]
    told += [f"{path}: only in the second" for path in sorted(second.keys() - first.keys())]
    for path in sorted(first.keys() & second.keys()):
        for field in fields(Entry):
            one, two = getattr(first[path], field.name), getattr(second[path], field.name)
            if one != two:
                told.append(f"{path}: {field.name} is {one!r} in the first and {two!r} in the second")
    return told


def digest(path: Path) -> str:
    """A hash of the content of a file."""
    hashed = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            hashed.update(block)
    return hashed.hexdigest()


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    yield ".", root.lstat()
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(root / directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{directory}/{entry.name}" if directory else entry.name
                yield path, (root / path).lstat()
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)


def _xattrs(place: Path) -> Iterator[tuple[str, bytes]]:
    """All attributes but those that the kernel makes up by itself; none where a mount has attributes switched off."""
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return
    for name in names:
        if not name.startswith("security.selinux"):
            yield name, os.getxattr(place, name, follow_symlinks=False)
