"""System calls that Python does not offer, by ctypes; each raises OSError as those in `os` do."""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
RENAME_WHITEOUT: Final = 4
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
_GETDENTS64: Final = {"x86_64": 217, "aarch64": 61}
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as getdents64(2) gives it; reading goes on after it when the directory is set to `offset`."""

    name: bytes
    inode: int
    offset: int
    kind: int


def renameat2(source: Path | str, target: Path | str, flags: int) -> None:
    """renameat2(2), both paths relative to the working directory."""
    _check(_LIBC.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), ctypes.c_uint(flags)))


def utimensat(path: Path, access: tuple[int, int], change: tuple[int, int], flags: int = 0) -> None:
    """utimensat(2) with (seconds, nanoseconds) as they are, the special values UTIME_NOW and UTIME_OMIT included."""
    times = (ctypes.c_long * 4)(*access, *change)
    _check(_LIBC.utimensat(AT_FDCWD, os.fsencode(path), times, flags))


def getdents64(descriptor: int, size: int) -> list[Entry]:
    """One call of getdents64(2) with a buffer of `size` bytes; empty at the end of the directory."""
    buffer = ctypes.create_string_buffer(size)
    number = _GETDENTS64[platform.machine()]
    count = _check(_LIBC.syscall(ctypes.c_long(number), ctypes.c_int(descriptor), buffer, ctypes.c_uint(size)))
    return list(_entries(buffer.raw[:count]))


def list_directory(descriptor: int, size: int = 32768) -> Iterator[Entry]:
    """Every entry from the present place of an open directory to its end."""
    while entries := getdents64(descriptor, size):
        yield from entries


def _entries(data: bytes) -> Iterator[Entry]:
    place = 0
    while place < len(data):
        inode, offset, length, kind = struct.unpack_from("<QqHB", data, place)
        yield Entry(data[place + 19 : place + length].split(b"\0", 1)[0], inode, offset, kind)
        place += length


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
