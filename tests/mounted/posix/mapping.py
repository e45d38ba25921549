"""Files in memory: shared and private maps, what they see of writes, and what happens beyond the end."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import Other, attempt, in_child
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, tick

PAGE = mmap.PAGESIZE


def shared(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"a" * (3 * PAGE + 10))
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, 3 * PAGE + 10) as memory:
        yield "read", memory[2 * PAGE : 2 * PAGE + 4]
        memory[:5] = b"first"
        memory[3 * PAGE : 3 * PAGE + 4] = b"last"
        yield "seen by read at once", (os.pread(descriptor, 6, 0), os.pread(descriptor, 20, 3 * PAGE))
        os.pwrite(descriptor, b"written", PAGE)
        yield "sees a write at once", memory[PAGE : PAGE + 8]
        other = os.open(path, os.O_RDONLY)
        with mmap.mmap(other, 0, access=mmap.ACCESS_READ) as twin:
            memory[PAGE : PAGE + 4] = b"TWIN"
            yield "seen by another map", twin[PAGE : PAGE + 8]
        os.close(other)
        memory.flush()
        yield "seen by another process", in_child(path.read_bytes)
        memory[10:16] = b"unsync"
    os.close(descriptor)
    yield "kept without msync", path.read_bytes()


def kept_after_close(directory: Path) -> Iterator[Seen]:
    """A map outlives its descriptor, and its name."""
    path = filled(directory / "file", b"a" * PAGE)
    descriptor = os.open(path, os.O_RDWR)
    memory = mmap.mmap(descriptor, PAGE)
    os.close(descriptor)
    memory[:4] = b"late"
    memory.flush()
    yield "written after close", path.read_bytes()[:6]
    reader = os.open(path, os.O_RDONLY)
    path.unlink()
    memory[:4] = b"gone"
    yield "written after unlink", (memory[:4], os.read(reader, 6))
    memory.close()
    os.close(reader)


def private(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"a" * (2 * PAGE))
    descriptor = os.open(path, os.O_RDONLY)
    with mmap.mmap(descriptor, 2 * PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        memory[:4] = b"mine"
        yield "own change", (memory[:5], path.read_bytes()[:5])
        filled(directory / "other")
        with path.open("r+b") as file:
            file.seek(PAGE)
            file.write(b"theirs")
        yield "a page not changed sees writes", memory[PAGE : PAGE + 6]
        yield "a page changed stays", memory[:5]
    os.close(descriptor)
    yield "nothing reached the file", path.read_bytes()[:5]


def tail(directory: Path) -> Iterator[Seen]:
    """Beyond the end the last page has zeros, and what is put there does not become content."""
    path = filled(directory / "file", b"a" * 10)
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, 10) as memory:
        memory[9:10] = b"z"
        os.ftruncate(descriptor, 5)
        os.ftruncate(descriptor, PAGE)
        yield "cut and longer", (os.pread(descriptor, 12, 0), memory[:10])
    with mmap.mmap(descriptor, PAGE) as memory:
        os.ftruncate(descriptor, 2 * PAGE)
        os.pwrite(descriptor, b"grown", PAGE)
        memory[PAGE - 1 :] = b"e"
        memory.resize(2 * PAGE)
        yield "grown under the map", (memory[PAGE - 1 : PAGE + 6], os.fstat(descriptor).st_size)
    os.close(descriptor)
    yield "content", path.read_bytes().strip(b"\0")


def beyond_the_end(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"a" * (2 * PAGE))

    def touch(write: bool) -> int:
        descriptor = os.open(path, os.O_RDWR)
        os.ftruncate(descriptor, 2 * PAGE)
        memory = mmap.mmap(descriptor, 2 * PAGE)
        os.ftruncate(descriptor, 10)
        if write:
            memory[PAGE] = 1
        return memory[PAGE]

    yield "read", in_child(lambda: touch(False))
    yield "written", in_child(lambda: touch(True))
    yield "size", path.stat().st_size


def rights(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"a" * PAGE)
    for name, flags in (
        ("reader", os.O_RDONLY),
        ("writer", os.O_WRONLY),
        ("both", os.O_RDWR),
        ("appender", os.O_RDWR | os.O_APPEND),
    ):
        descriptor = os.open(path, flags)
        for kind, sharing in (("shared", mmap.MAP_SHARED), ("private", mmap.MAP_PRIVATE)):
            for wish, protection in (("read", mmap.PROT_READ), ("write", mmap.PROT_WRITE), ("execute", mmap.PROT_EXEC)):
                seen = attempt(lambda d=descriptor, s=sharing, p=protection: bool(mmap.mmap(d, PAGE, flags=s, prot=p)))
                yield f"{name} {kind} {wish}", seen
        os.close(descriptor)
    place = os.open(directory, os.O_RDONLY)
    yield "a directory", attempt(lambda: bool(mmap.mmap(place, PAGE, prot=mmap.PROT_READ)))
    os.close(place)


def into_a_hole(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    os.truncate(path, 300 * PAGE)
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, 0) as memory:
        yield "zeros", not any(memory[:])
        for page in range(0, 300, 37):
            memory[page * PAGE + 5] = page % 256 or 1
        memory.flush()
    os.close(descriptor)
    yield "content", [(place, byte) for place, byte in enumerate(path.read_bytes()) if byte]


def times(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"a" * PAGE)
    os.utime(path, ns=(1, 1))
    tick()
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, PAGE) as memory:
        memory[0] = 1
        memory.flush()
    os.close(descriptor)
    yield "mtime moves with msync", path.stat().st_mtime_ns > 1


def between_processes(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", bytes(PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as memory:

        def raise_to(number: int) -> int:
            with path.open("r+b") as own, mmap.mmap(own.fileno(), PAGE) as theirs:
                found = theirs[0]
                theirs[0] = number
                return found

        with Other(lambda: raise_to(1), lambda: raise_to(3)) as other:
            yield "they find", other.next()
            yield "we find", memory[0]
            memory[0] = 2
            yield "they find then", other.next()
            yield "we find then", memory[0]


CASES = tuple(
    Case(observe)
    for observe in (
        shared,
        kept_after_close,
        private,
        tail,
        beyond_the_end,
        rights,
        into_a_hole,
        times,
        between_processes,
    )
)
