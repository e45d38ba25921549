"""Does the same random things to a file on a mount and to a plain file, and compares after each, as fsx does.

Both files are open several times at once, one of the descriptors for appending, and a mapping comes and goes. An
operation is a value, so a failure tells all that led to it and can be replayed: the same seed does the same.
"""

import mmap
import os
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_SIZE = 3 * 1024 * 1024
COMPARE_ALL = 500
"""All bytes are compared after so many operations; in between what an operation returns, and the size."""
REMEMBERED = 200
EDGES = (4096, 65536, 128 * 1024, 384 * 1024, 1024 * 1024)


class DifferenceError(AssertionError):
    """The two files do not agree."""


@dataclass
class Side:
    """One file: its path and how it is open now."""

    path: Path
    descriptor: int = -1
    appender: int = -1
    mapping: mmap.mmap | None = None

    def open(self) -> None:
        """Open the file, which may be there."""
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self.appender = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def close(self) -> None:
        """Close it in all its ways."""
        self.unmap()
        for descriptor in (self.descriptor, self.appender):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor = self.appender = -1

    def map(self) -> mmap.mmap | None:
        """The mapping of the whole file; None where it is empty."""
        size = os.fstat(self.descriptor).st_size
        if self.mapping is not None and len(self.mapping) != size:
            self.unmap()
        if self.mapping is None and size:
            self.mapping = mmap.mmap(self.descriptor, size)
        return self.mapping

    def unmap(self) -> None:
        """Take the mapping away."""
        if self.mapping is not None:
            self.mapping.close()
            self.mapping = None

    # Operations: each returns what both sides have to agree in.

    def write(self, at: int, data: bytes) -> object:
        """pwrite(2)"""
        return os.pwrite(self.descriptor, data, at)

    def append(self, data: bytes) -> object:
        """write(2) with O_APPEND"""
        return os.write(self.appender, data), os.fstat(self.appender).st_size

    def read(self, at: int, size: int) -> object:
        """pread(2)"""
        return os.pread(self.descriptor, size, at)

    def truncate(self, size: int) -> object:
        """ftruncate(2), by a descriptor"""
        self.unmap()
        return os.ftruncate(self.descriptor, size)

    def truncate_path(self, size: int) -> object:
        """truncate(2), by the name"""
        self.unmap()
        return os.truncate(self.path, size)

    def map_read(self, at: int, size: int) -> object:
        """Bytes from a shared mapping."""
        mapping = self.map()
        return b"" if mapping is None else mapping[at : at + size]

    def map_write(self, at: int, data: bytes, flush: bool) -> object:
        """Bytes into a shared mapping, as far as the file reaches; msync(2) where `flush` is set."""
        mapping = self.map()
        if mapping is None:
            return 0
        data = data[: max(len(mapping) - at, 0)]
        mapping[at : at + len(data)] = data
        if flush:
            mapping.flush()
        return len(data)

    def fsync(self, only_data: bool) -> object:
        """fsync(2) or fdatasync(2)"""
        (os.fdatasync if only_data else os.fsync)(self.descriptor)
        return None

    def reopen(self) -> object:
        """Close and open."""
        self.close()
        self.open()
        return os.fstat(self.descriptor).st_size

    def truncate_open(self) -> object:
        """Empty the file by opening it with O_TRUNC."""
        self.close()
        os.close(os.open(self.path, os.O_WRONLY | os.O_TRUNC))
        self.open()
        return None

    def replace(self, data: bytes) -> object:
        """Put a new file in its place, as editors do."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_bytes(data)
        self.close()
        new.rename(self.path)
        self.open()
        return None

    def drop_pages(self) -> object:
        """Let the kernel forget its pages, so that the file system is asked."""
        self.unmap()
        os.fsync(self.descriptor)
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return None

    def copy_range(self, source: int, size: int, target: int) -> object:
        """copy_file_range(2) within the file, without overlap"""
        copied = 0
        while copied < size:
            step = os.copy_file_range(self.descriptor, self.descriptor, size - copied, source + copied, target + copied)
            if not step:
                break
            copied += step
        return copied


Operation = tuple[str, tuple[Any, ...]]


class Differ:
    """Chooses operations and compares their outcomes."""

    def __init__(self, tried: Path, plain: Path, seed: int) -> None:
        self._sides = (Side(tried), Side(plain))
        self._chance = random.Random(seed)
        self._size = 0
        self._done: deque[Operation] = deque(maxlen=REMEMBERED)
        kinds: dict[str, tuple[int, Callable[[], tuple[Any, ...]]]] = {
            "write": (28, lambda: (self._place(beyond=True), self._bytes())),
            "append": (6, lambda: (self._bytes(),)),
            "read": (28, lambda: (self._place(beyond=True), self._length())),
            "truncate": (5, lambda: (self._place(beyond=True),)),
            "truncate_path": (3, lambda: (self._place(beyond=True),)),
            "map_read": (10, lambda: (self._place(), self._length())),
            "map_write": (10, lambda: (self._place(), self._bytes(), self._chance.random() < 0.3)),
            "fsync": (5, lambda: (self._chance.random() < 0.5,)),
            "reopen": (2, tuple),
            "truncate_open": (0.1, tuple),
            "replace": (0.4, lambda: (self._bytes(),)),
            "drop_pages": (1, tuple),
            "copy_range": (1, self._range),
        }  # type: ignore[dict-item]
        self._kinds = kinds

    def run(self, operations: int) -> None:
        """Do so many operations. Raises DifferenceError, with the last operations."""
        try:
            for side in self._sides:
                side.open()
            for number in range(1, operations + 1):
                self._step(whole=number % COMPARE_ALL == 0)
            self._step(whole=True)
        finally:
            for side in self._sides:
                side.close()

    def _step(self, whole: bool) -> None:
        names = list(self._kinds)
        name = self._chance.choices(names, [self._kinds[one][0] for one in names])[0]
        operation = name, self._kinds[name][1]()
        self._done.append(operation)
        tried, plain = (getattr(side, name)(*operation[1]) for side in self._sides)
        if tried != plain:
            self._fail(f"{name} gave {_short(tried)} instead of {_short(plain)}")
        sizes = [os.fstat(side.descriptor).st_size for side in self._sides]
        if sizes[0] != sizes[1]:
            self._fail(f"after {name} the size is {sizes[0]} instead of {sizes[1]}")
        self._size = sizes[1]
        if whole:
            contents = [side.path.read_bytes() for side in self._sides]
            if contents[0] != contents[1]:
                at = next(place for place, (one, two) in enumerate(zip(*contents, strict=True)) if one != two)
                self._fail(f"byte {at} of {self._size} differs")

    def _fail(self, what: str) -> None:
        lines = [f"{name}({', '.join(map(_short, words))})" for name, words in self._done]
        raise DifferenceError("\n".join([what, "the last operations:", *lines]))

    def _place(self, beyond: bool = False) -> int:
        chance = self._chance
        end = min(self._size + (200_000 if beyond and chance.random() < 0.1 else 0), MAX_SIZE)
        if chance.random() < 0.3:
            return min(max(chance.choice(EDGES) * chance.randrange(1, 5) + chance.randrange(-3, 4), 0), end)
        return chance.randrange(end + 1)

    def _length(self) -> int:
        chance = self._chance
        return chance.choice((chance.randrange(1, 100), chance.randrange(1, 10_000), chance.randrange(1, 300_000)))

    def _bytes(self) -> bytes:
        size = min(self._length(), MAX_SIZE)
        return bytes(size) if self._chance.random() < 0.05 else self._chance.randbytes(size)

    def _range(self) -> tuple[int, int, int]:
        half = self._size // 2
        size = min(self._length(), half)
        return self._chance.randrange(half - size + 1), size, half


def _short(value: object) -> str:
    if isinstance(value, bytes) and len(value) > 8:
        return f"{value[:8]!r}… ({len(value)} bytes)"
    return repr(value)
