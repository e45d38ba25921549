"""flock(2), fcntl(2) record locks of processes and of open files, between processes on one mount."""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.mounted.posix.acting import Other, attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled

EXCLUSIVE, SHARED, FREE, NOW = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
F_OFD_GETLK, F_OFD_SETLK = 36, 37
_FORMAT = "hhqqi4x"


def _record(kind: int, start: int, length: int) -> bytes:
    return struct.pack(_FORMAT, kind, os.SEEK_SET, start, length, 0)


def _kind_and_range(answer: bytes) -> tuple[str, int, int]:
    kind, _, start, length, _ = struct.unpack(_FORMAT, answer)
    return {fcntl.F_RDLCK: "read", fcntl.F_WRLCK: "write", fcntl.F_UNLCK: "free"}[kind], start, length


def whole_files(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    ours = os.open(path, os.O_RDWR)

    def theirs(kind: int) -> str:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, kind | NOW)
        finally:
            os.close(descriptor)
        return "locked"

    wishes = {"shared": SHARED, "exclusive": EXCLUSIVE}
    for held, kind in {**wishes, "free": FREE}.items():
        fcntl.flock(ours, kind)
        for wish, wished in wishes.items():
            with Other(partial(theirs, wished)) as other:
                yield f"{wish} while {held}", other.next()
            yield f"{wish} while {held}, same process", attempt(theirs, wished)
    fcntl.flock(ours, EXCLUSIVE)
    twin = os.dup(ours)
    os.close(ours)
    yield "held by a duplicate", attempt(theirs, SHARED)
    os.close(twin)
    yield "gone with the last one", attempt(theirs, EXCLUSIVE)


def _lock_file(descriptor: int, kind: int) -> str:
    fcntl.flock(descriptor, kind)
    return "locked"


def _lock_record(descriptor: int, kind: int) -> str:
    fcntl.lockf(descriptor, kind)
    return "locked"


def handed_over(directory: Path) -> Iterator[Seen]:
    """A waiting process gets the lock when it becomes free, and leaves it by dying."""
    for kind, lock in (("flock", _lock_file), ("fcntl", _lock_record)):
        path = filled(directory / kind)
        ours = os.open(path, os.O_RDWR)
        lock(ours, EXCLUSIVE)

        def wait(path: Path = path, lock: Callable[[int, int], str] = lock) -> str:
            descriptor = os.open(path, os.O_RDWR)
            lock(descriptor, EXCLUSIVE)
            os.write(descriptor, b"mine")
            return "got it"

        with Other(wait, lambda: "alive") as other:
            other.start()
            _until_it_waits(other)
            yield f"{kind}: before", path.read_bytes()
            lock(ours, FREE)
            yield f"{kind}: handed over", (other.finish(), path.read_bytes())
            yield f"{kind}: held by the other", attempt(lock, ours, EXCLUSIVE | NOW)
        yield f"{kind}: when it is dead", attempt(lock, ours, EXCLUSIVE | NOW)
        os.close(ours)


def _until_it_waits(other: Other) -> None:
    """Return when that process waits for a lock, as the kernel tells with an arrow; or after some seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = Path("/proc/locks").read_text().splitlines()
        if any("->" in line and str(other.pid) in line.split() for line in lines):
            return
        os.sched_yield()


def ranges(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", bytes(1000))
    ours = os.open(path, os.O_RDWR)
    fcntl.lockf(ours, EXCLUSIVE, 100, 100)
    fcntl.lockf(ours, SHARED, 50, 300)

    def probe(kind: int, start: int, length: int) -> tuple[str, int, int]:
        descriptor = os.open(path, os.O_RDWR)
        return _kind_and_range(fcntl.fcntl(descriptor, fcntl.F_GETLK, _record(kind, start, length)))

    def take(kind: int, start: int, length: int) -> str:
        fcntl.lockf(os.open(path, os.O_RDWR), kind | NOW, length, start)
        return "locked"

    for kind, number in (("read", fcntl.F_RDLCK), ("write", fcntl.F_WRLCK)):
        for start, length in ((0, 100), (99, 1), (99, 2), (150, 10), (199, 1), (200, 1), (300, 10), (350, 0), (0, 0)):
            with Other(partial(probe, number, start, length)) as other:
                yield f"{kind} at {start} for {length} is stopped by", other.next()
    with Other(
        lambda: take(SHARED, 310, 10), lambda: take(EXCLUSIVE, 0, 100), lambda: take(EXCLUSIVE, 90, 20)
    ) as other:
        yield "shared with shared", other.next()
        yield "exclusive beside", other.next()
        yield "exclusive across", other.next()
        yield "ours against theirs", attempt(fcntl.lockf, ours, EXCLUSIVE | NOW, 10, 0)
    yield "ours when they ended", attempt(fcntl.lockf, ours, EXCLUSIVE | NOW, 10, 0)
    fcntl.lockf(ours, FREE, 50, 125)
    with Other(lambda: probe(fcntl.F_WRLCK, 130, 10), lambda: probe(fcntl.F_WRLCK, 170, 100)) as other:
        yield "a gap in the middle", other.next()
        yield "and the rest", other.next()
    os.close(os.open(path, os.O_RDONLY))
    with Other(lambda: take(EXCLUSIVE, 0, 0)) as other:
        yield "any close of the file ends all", other.next()


def wrong_ranges(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    reader, writer = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    yield "exclusive on a reader", attempt(fcntl.lockf, reader, EXCLUSIVE | NOW)
    yield "shared on a writer", attempt(fcntl.lockf, writer, SHARED | NOW)
    yield "before the start", attempt(fcntl.lockf, writer, EXCLUSIVE | NOW, 1, -1)
    yield "far away", attempt(fcntl.lockf, writer, EXCLUSIVE | NOW, 0, 2**62)
    place = os.open(directory, os.O_RDONLY)
    yield "flock on a directory", attempt(fcntl.flock, place, EXCLUSIVE | NOW)
    for descriptor in (reader, writer, place):
        os.close(descriptor)


def deadlock(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file", b"12")
    ours = os.open(path, os.O_RDWR)
    fcntl.lockf(ours, EXCLUSIVE, 1, 0)
    opened: list[int] = []

    def first() -> None:
        opened.append(os.open(path, os.O_RDWR))
        fcntl.lockf(opened[0], EXCLUSIVE, 1, 1)

    def second() -> str:
        fcntl.lockf(opened[0], EXCLUSIVE, 1, 0)
        return "got it"

    with Other(first, second) as other:
        yield "theirs", other.next()
        other.start()
        _until_it_waits(other)
        outcome = attempt(fcntl.lockf, ours, EXCLUSIVE, 1, 1)
        yield "the second to wait is told", outcome
        fcntl.lockf(ours, FREE)
        yield "the first gets it", other.finish()


def of_open_files(directory: Path) -> Iterator[Seen]:
    """Open file description locks: they conflict within one process, and belong to no process."""
    path = filled(directory / "file", bytes(100))
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    lock = fcntl.fcntl
    yield "first", bool(attempt(lock, first, F_OFD_SETLK, _record(fcntl.F_WRLCK, 0, 10)))
    yield "second against it", attempt(lock, second, F_OFD_SETLK, _record(fcntl.F_WRLCK, 5, 10))
    answer = lock(second, F_OFD_GETLK, _record(fcntl.F_WRLCK, 5, 10))
    yield "told who", (*_kind_and_range(answer), struct.unpack(_FORMAT, answer)[4])
    yield "beside it", bool(attempt(lock, second, F_OFD_SETLK, _record(fcntl.F_WRLCK, 10, 10)))
    with Other(lambda: lock(first, F_OFD_SETLK, _record(fcntl.F_UNLCK, 0, 10))) as other:
        yield "a child frees it", bool(other.next())
    yield "then", bool(attempt(lock, second, F_OFD_SETLK, _record(fcntl.F_WRLCK, 0, 10)))
    os.close(first)
    os.close(second)


CASES = tuple(Case(observe) for observe in (whole_files, handed_over, ranges, wrong_ranges, deadlock, of_open_files))
