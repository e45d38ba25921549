"""The flags of open(2) and the calls on an open file."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, open_and_close, shape, times_changed

BLOCK = 4096


def append(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"start.")
    first, second = (os.open(path, os.O_RDWR | os.O_APPEND) for _ in range(2))
    plain = os.open(path, os.O_RDWR)
    for number in range(5):
        os.write(first, b"first%d." % number)
        os.write(second, b"second%d." % number)
    yield "interleaved", path.read_bytes()
    os.lseek(first, 0, os.SEEK_SET)
    os.write(first, b"sought.")
    yield "after seeking", (path.read_bytes(), os.lseek(first, 0, os.SEEK_CUR) == path.stat().st_size)
    os.pwrite(second, b"placed.", 0)
    yield "placed at 0", path.read_bytes()
    os.ftruncate(plain, 3)
    os.write(first, b"short.")
    yield "after truncation by another", path.read_bytes()
    os.pwrite(plain, b"far", 1000)
    os.write(second, b"end")
    yield "after growing by another", (path.stat().st_size, path.read_bytes()[-10:])
    for descriptor in (first, second, plain):
        os.close(descriptor)


def truncation_at_open(directory: Path) -> Iterator[Seen]:
    for label, flags in {
        "write": os.O_WRONLY,
        "both": os.O_RDWR,
        "read": os.O_RDONLY,
        "append": os.O_WRONLY | os.O_APPEND,
    }.items():
        path = filled(directory / label, b"x" * 300_000)
        other = os.open(path, os.O_RDONLY)
        yield label, attempt(open_and_close, path, flags | os.O_TRUNC)
        yield f"{label}: size", (path.stat().st_size, os.read(other, 10))
        os.close(other)
    path = filled(directory / "empty")
    yield "of an empty file", times_changed(path, lambda: open_and_close(path, os.O_WRONLY | os.O_TRUNC))


def exclusive(directory: Path) -> Iterator[Seen]:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    yield "new", attempt(open_and_close, directory / "new", flags)
    yield "again", attempt(open_and_close, directory / "new", flags)
    yield "directory", attempt(open_and_close, folder(directory / "place"), flags)
    os.symlink("nowhere", directory / "dangling")
    yield "dangling symlink", attempt(open_and_close, directory / "dangling", flags)
    os.unlink(directory / "new")
    yield "after unlink", attempt(open_and_close, directory / "new", flags)
    yield "not exclusive", attempt(open_and_close, directory / "new", os.O_CREAT | os.O_WRONLY)
    os.mkfifo(directory / "fifo")
    yield "fifo", attempt(open_and_close, directory / "fifo", flags)


def other_flags(directory: Path) -> Iterator[Seen]:
    path, place = filled(directory / "file", b"content"), folder(directory / "place")
    yield "O_DIRECTORY on a file", attempt(open_and_close, path, os.O_RDONLY | os.O_DIRECTORY)
    yield "O_DIRECTORY on nothing", attempt(open_and_close, directory / "no", os.O_RDONLY | os.O_DIRECTORY)
    yield "a directory for writing", attempt(open_and_close, place, os.O_WRONLY)
    yield "a directory for both", attempt(open_and_close, place, os.O_RDWR)
    yield "a directory with O_CREAT", attempt(open_and_close, place, os.O_RDONLY | os.O_CREAT)
    yield "a directory with O_TRUNC", attempt(open_and_close, place, os.O_RDONLY | os.O_TRUNC)
    yield "a file with a slash", attempt(open_and_close, Path(f"{path}/."), os.O_RDONLY)
    yield "below a file", attempt(open_and_close, path / "x", os.O_CREAT | os.O_WRONLY)
    yield "below nothing", attempt(open_and_close, directory / "no" / "x", os.O_CREAT | os.O_WRONLY)
    descriptor = os.open(path, os.O_PATH)
    yield "O_PATH", (shape(descriptor), attempt(os.read, descriptor, 1), attempt(os.fchmod, descriptor, 0o600))
    os.close(descriptor)
    for label, flags in {
        "O_SYNC": os.O_SYNC,
        "O_DSYNC": os.O_DSYNC,
        "O_NOATIME": os.O_NOATIME,
        "O_NONBLOCK": os.O_NONBLOCK,
    }.items():
        descriptor = os.open(path, os.O_RDWR | flags)
        yield label, (os.pwrite(descriptor, b"C", 0), os.pread(descriptor, 20, 0))
        os.close(descriptor)


def reading_and_writing(directory: Path) -> Iterator[Seen]:
    path, place = filled(directory / "file", b"0123456789"), folder(directory / "place")
    reader, writer, listing = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY), os.open(place, os.O_RDONLY)
    yield "write to a reader", attempt(os.write, reader, b"x")
    yield "read from a writer", attempt(os.read, writer, 1)
    yield "read a directory", attempt(os.read, listing, 10)
    yield "write a directory", attempt(os.write, listing, b"x")
    yield "read at the end", (os.pread(reader, 10, 10), os.pread(reader, 10, 10_000_000_000))
    yield "read across the end", os.pread(reader, 10, 7)
    yield "read before the start", attempt(os.pread, reader, 1, -1)
    yield "write before the start", attempt(os.pwrite, writer, b"x", -1)
    yield "write nothing far away", (os.pwrite(writer, b"", 100), path.stat().st_size)
    yield "seek before the start", attempt(os.lseek, reader, -1, os.SEEK_SET)
    yield "seek from the end", (os.lseek(reader, -3, os.SEEK_END), os.read(reader, 10))
    yield "seek beyond", (os.lseek(reader, 5, os.SEEK_END), os.read(reader, 10))
    yield "gathered", (os.pwritev(writer, [b"a", b"", b"bc"], 2), os.pread(reader, 20, 0))
    first, second = bytearray(4), bytearray(20)
    yield "scattered", (os.preadv(reader, [first, second], 1), bytes(first), bytes(second).rstrip(b"\0"))
    yield "truncate a reader", attempt(os.ftruncate, reader, 1)
    yield "truncate below zero", (attempt(os.ftruncate, writer, -1), attempt(os.truncate, path, -1))
    yield "truncate a directory", attempt(os.truncate, place, 0)
    yield "truncate nothing", attempt(os.truncate, directory / "no", 0)
    for call in (os.fsync, os.fdatasync):
        yield call.__name__, [attempt(call, descriptor) for descriptor in (reader, writer, listing)]
    for descriptor in (reader, writer, listing):
        os.close(descriptor)
    yield "read after close", attempt(os.read, reader, 1)


def copying(directory: Path) -> Iterator[Seen]:
    content = bytes(range(256)) * 2000
    source, target = (
        os.open(filled(directory / "from", content), os.O_RDONLY),
        os.open(directory / "to", os.O_CREAT | os.O_RDWR),
    )
    copied = 0
    while step := os.copy_file_range(source, target, len(content), copied, copied):
        copied += step
    yield "copy_file_range", (copied, (directory / "to").read_bytes() == content)
    os.ftruncate(target, 0)
    os.lseek(target, 0, os.SEEK_SET)
    sent = 0
    while step := os.sendfile(target, source, sent, 100_000):
        sent += step
    yield "sendfile", (sent, (directory / "to").read_bytes() == content)
    os.close(source)
    os.close(target)


def direct(directory: Path) -> Iterator[Seen]:
    """O_DIRECT with aligned memory, offsets and sizes, mixed with the page cache."""
    path = directory / "file"
    memory = mmap.mmap(-1, 64 * BLOCK)
    memory.write(bytes(range(256)) * (64 * BLOCK // 256))
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o644)
    yield "written", (os.pwritev(descriptor, [memory], 0), path.stat().st_size)
    yield "seen by the cache", path.read_bytes() == memory[:]
    buffered = os.open(path, os.O_RDWR)
    os.pwrite(buffered, b"cached", 5 * BLOCK)
    answer = mmap.mmap(-1, BLOCK)
    yield "cached write seen directly", (os.preadv(descriptor, [answer], 5 * BLOCK), answer[:8])
    memory[:6] = b"direct"
    os.pwritev(descriptor, [memoryview(memory)[:BLOCK]], 7 * BLOCK)
    yield "direct write seen by the cache", os.pread(buffered, 8, 7 * BLOCK)
    yield "beyond the end", (os.pwritev(descriptor, [memoryview(memory)[:BLOCK]], 100 * BLOCK), path.stat().st_size)
    yield "the hole", (os.preadv(descriptor, [answer], 80 * BLOCK), not any(answer[:]))
    yield "read at the end", os.preadv(descriptor, [answer], 101 * BLOCK)
    os.ftruncate(descriptor, BLOCK + 100)
    yield "a short last block", (os.preadv(descriptor, [answer], BLOCK), answer[:100] == bytes(range(100)))
    os.close(buffered)
    os.close(descriptor)


def running_programs(directory: Path) -> Iterator[Seen]:
    """A running program cannot be written, and a file open for writing cannot be run."""
    path = filled(directory / "program", Path("/bin/sleep").read_bytes(), 0o755)
    writer = os.open(path, os.O_WRONLY)
    yield "run while it is written", attempt(os.posix_spawn, path, ["program", "0"], {})
    os.close(writer)
    pid = os.posix_spawn(path, ["program", "60"], {})
    yield "write while it runs", attempt(open_and_close, path, os.O_WRONLY)
    yield "truncate while it runs", attempt(os.truncate, path, 0)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    yield "write when it ended", attempt(open_and_close, path, os.O_WRONLY)


CASES = tuple(
    Case(observe)
    for observe in (
        append,
        truncation_at_open,
        exclusive,
        other_flags,
        reading_and_writing,
        copying,
        direct,
        running_programs,
    )
)
