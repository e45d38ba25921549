"""What a file holds: holes, truncation both ways, sizes beyond 4 GiB, and what a change does to its times."""

import os
import random
import resource
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tests.mounted.posix.acting import attempt, in_child
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, times_changed

KIB, MIB, GIB = 1024, 1024**2, 1024**3
EDGES = (1, 511, 4095, 4096, 4097, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17)
"""Sizes around pages and chunks, where things go wrong."""


def sparse(directory: Path) -> Iterator[Seen]:
    path = directory / "file"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    for place in (0, 5 * MIB + 3, GIB, 5 * GIB, 40 * GIB + 1):
        os.pwrite(descriptor, b"island", place)
        yield f"island at {place}", (os.fstat(descriptor).st_size, os.pread(descriptor, 8, place))
    os.fsync(descriptor)
    yield "zeros before an island", os.pread(descriptor, 10, 5 * GIB - 5)
    yield "zeros in a hole", not any(os.pread(descriptor, MIB, 2 * GIB + 11))
    yield "holes take no room", path.stat().st_blocks * 512 < 64 * MIB
    for place in (5 * MIB, 3 * GIB):
        data = attempt(os.lseek, descriptor, place, os.SEEK_DATA)
        yield f"data after {place} is not missed", isinstance(data, int) and data <= place + 3 * GIB
    yield "no data beyond the end", attempt(os.lseek, descriptor, 41 * GIB, os.SEEK_DATA)
    yield "no hole beyond the end", attempt(os.lseek, descriptor, 41 * GIB, os.SEEK_HOLE)
    os.close(descriptor)
    yield "read again", (path.stat().st_size, _piece(path, 5 * GIB, 8), _piece(path, 40 * GIB, 7))
    path.unlink()


def _piece(path: Path, place: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(size)


def only_a_hole(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    os.truncate(path, 3 * MIB + 5)
    yield "size", (path.stat().st_size, path.stat().st_blocks * 512 < MIB)
    yield "content", path.read_bytes() == bytes(3 * MIB + 5)
    with path.open("r+b") as file:
        file.seek(2 * MIB - 3)
        file.write(b"across")
    yield "written across a boundary", [place for place, byte in enumerate(path.read_bytes()) if byte]


def truncation(directory: Path) -> Iterator[Seen]:
    """Shortened and lengthened again, a file has zeros where it was cut, whatever stood there."""
    for size in EDGES:
        for cut in sorted({0, 1, size // 2, size - 1, size}):
            path = filled(directory / f"{size} to {cut}", b"\xaa" * size)
            os.truncate(path, cut)
            yield f"{size} cut to {cut}", (path.stat().st_size, path.read_bytes() == b"\xaa" * cut)
            os.truncate(path, size + 3)
            yield f"{size} cut to {cut} and longer", path.read_bytes() == b"\xaa" * cut + bytes(size + 3 - cut)
            path.unlink()


def truncation_while_open(directory: Path) -> Iterator[Seen]:
    for size in EDGES:
        path = filled(directory / f"{size}", b"\xaa" * size)
        descriptor = os.open(path, os.O_RDWR)
        os.pwrite(descriptor, b"\xbb" * 10, size)
        os.ftruncate(descriptor, size // 2)
        os.pwrite(descriptor, b"\xcc", size + 20)
        yield (
            f"{size}: while open",
            (os.fstat(descriptor).st_size, sha256(os.pread(descriptor, size + 50, 0)).hexdigest()),
        )
        os.truncate(path, size + 5)
        yield f"{size}: by its name", (os.fstat(descriptor).st_size, os.pread(descriptor, 10, size))
        os.close(descriptor)
        yield f"{size}: closed", sha256(path.read_bytes()).hexdigest()
        path.unlink()


def random_changes(directory: Path) -> Iterator[Seen]:
    """A random walk of writes, cuts and reopenings; each file system walks the same way."""
    walk = random.Random(20)
    path = filled(directory / "file")
    descriptor = os.open(path, os.O_RDWR)
    for step in range(400):
        place, size = walk.randrange(2 * MIB), walk.choice((1, 100, 4096, 70_000, 300_000))
        match walk.randrange(8):
            case 0:
                os.ftruncate(descriptor, place)
            case 1:
                os.close(descriptor)
                descriptor = os.open(path, os.O_RDWR)
            case 2:
                os.fsync(descriptor)
            case 3:
                yield f"step {step}: read", sha256(os.pread(descriptor, size, place)).hexdigest()
            case _:
                os.pwrite(descriptor, walk.randbytes(size), place)
        if step % 50 == 49:
            yield f"step {step}", (path.stat().st_size, sha256(path.read_bytes()).hexdigest())
    os.close(descriptor)
    yield "at the end", sha256(path.read_bytes()).hexdigest()


def small_writes(directory: Path) -> Iterator[Seen]:
    """Byte after byte, forwards and backwards, as careless programs do."""
    path = directory / "file"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    for number in range(2000):
        os.write(descriptor, bytes([number % 256]))
    for number in range(2000, 0, -1):
        os.pwrite(descriptor, bytes([number % 251]), 2000 + number)
    os.close(descriptor)
    yield "content", path.read_bytes()


def preallocation(directory: Path) -> Iterator[Seen]:
    """posix_fallocate(3), which the C library emulates where a file system cannot do it."""
    path = filled(directory / "file", b"content")
    descriptor = os.open(path, os.O_RDWR)
    os.posix_fallocate(descriptor, 100, 100_000)
    yield "longer", (os.fstat(descriptor).st_size, path.read_bytes() == b"content" + bytes(100_093))
    os.posix_fallocate(descriptor, 0, 10)
    yield "not shorter", os.fstat(descriptor).st_size
    os.close(descriptor)


def size_limit(directory: Path) -> Iterator[Seen]:
    """RLIMIT_FSIZE: writes are cut at the limit, then refused."""
    path = filled(directory / "file")

    def write_to_the_limit() -> list[object]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        descriptor = os.open(path, os.O_WRONLY)
        written = [attempt(os.write, descriptor, bytes(70_000)) for _ in range(3)]
        return [*written, attempt(os.ftruncate, descriptor, 100_001), attempt(os.ftruncate, descriptor, 99_999)]

    yield "writes", in_child(write_to_the_limit)
    yield "size", path.stat().st_size


def times_of_changes(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"content")
    descriptor = os.open(path, os.O_RDWR)
    yield "write", times_changed(path, lambda: os.pwrite(descriptor, b"x", 0))
    yield "write nothing", times_changed(path, lambda: os.pwrite(descriptor, b"", 0))
    yield "read", times_changed(path, lambda: os.pread(descriptor, 3, 0))
    yield "ftruncate to the same size", times_changed(path, lambda: os.ftruncate(descriptor, 7))
    yield "ftruncate", times_changed(path, lambda: os.ftruncate(descriptor, 3))
    yield "truncate to the same size", times_changed(path, lambda: os.truncate(path, 3))
    yield "fsync", times_changed(path, lambda: os.fsync(descriptor))
    yield "close", times_changed(path, lambda: os.close(descriptor))
    yield "chmod", times_changed(path, lambda: path.chmod(0o600))
    yield "chmod to the same", times_changed(path, lambda: path.chmod(0o600))
    yield "chown to nothing new", times_changed(path, lambda: os.chown(path, os.getuid(), -1))
    yield "setxattr", times_changed(path, lambda: attempt(os.setxattr, path, "user.note", b"x"))
    yield "removexattr", times_changed(path, lambda: attempt(os.removexattr, path, "user.note"))
    yield "rename", times_changed(directory, lambda: os.rename(path, directory / "moved"))


CASES = tuple(
    Case(observe)
    for observe in (
        sparse,
        only_a_hole,
        truncation,
        truncation_while_open,
        random_changes,
        small_writes,
        preallocation,
        size_limit,
        times_of_changes,
    )
)
