"""Time stamps: in nanoseconds, before 1970 and beyond 2038, now, omitted, and which of them move."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.mounted.posix.acting import attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import coarse_now, filled, folder, tick, times_changed
from tests.mounted.posix.system_calls import AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT, utimensat

SECOND = 10**9
MOMENTS = {
    "the epoch": 0,
    "one nanosecond later": 1,
    "a day to the nanosecond": 1_234_567_890 * SECOND + 123_456_789,
    "the last nanosecond of a second": 5 * SECOND - 1,
    "the end of 31 bits": (2**31 - 1) * SECOND + 999_999_999,
    "after the end of 31 bits": 2**31 * SECOND + 1,
    "the end of 32 bits": 2**32 * SECOND + 7,
    "the year 2200": 7_258_118_400 * SECOND + 5,
    "the year 2440": 14_831_769_600 * SECOND + 5,
    "before the epoch": -SECOND + 3,
    "one nanosecond before": -1,
    "the year 1905": -2_051_222_400 * SECOND + 999_999_999,
}


def _times(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_atime_ns, found.st_mtime_ns


def moments(directory: Path) -> Iterator[Seen]:
    file, place, link = filled(directory / "file"), folder(directory / "place"), directory / "link"
    link.symlink_to("nowhere")
    os.mkfifo(directory / "fifo")
    for label, moment in MOMENTS.items():
        for path in (file, place, link, directory / "fifo"):
            set_to = attempt(os.utime, path, ns=(moment, moment + SECOND), follow_symlinks=False)
            yield f"{path.name} at {label}", (set_to, _times(path))
    descriptor = os.open(file, os.O_RDWR)
    for label, moment in MOMENTS.items():
        yield f"open file at {label}", (attempt(os.utime, descriptor, ns=(moment + 1, moment)), _times(file))
    os.close(descriptor)


def now_and_omitted(directory: Path) -> Iterator[Seen]:
    past, given = (1_000, 1), (2_000, 2)
    choices = {"now": (0, UTIME_NOW), "omitted": (0, UTIME_OMIT), "given": given}
    for access_choice, access in choices.items():
        for change_choice, change in choices.items():
            path = filled(directory / f"{access_choice} {change_choice}")
            utimensat(path, past, past)
            start = time.time_ns()
            touched = times_changed(path, partial(utimensat, path, access, change))
            seen = tuple("now" if start - SECOND < moment else moment for moment in _times(path))
            yield path.name, (*seen, "ctime" in touched)
    path = filled(directory / "both now")
    utimensat(path, (0, UTIME_NOW), (0, UTIME_NOW))
    yield "both now are one moment", len(set(_times(path)))


def impossible_times(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    utimensat(path, (5, 5), (6, 6))
    for label, nanoseconds in {"a full second": SECOND, "negative": -1, "beyond omit": UTIME_OMIT - 1}.items():
        yield (
            label,
            (attempt(utimensat, path, (1, nanoseconds), (1, 0)), attempt(utimensat, path, (1, 0), (1, nanoseconds))),
        )
    yield "nothing", attempt(utimensat, directory / "nothing", (1, 0), (1, 0))
    yield "nothing, both omitted", attempt(utimensat, directory / "nothing", (0, UTIME_OMIT), (0, UTIME_OMIT))
    yield "below a file", attempt(utimensat, path / "x", (1, 0), (1, 0))
    (directory / "link").symlink_to("nowhere")
    yield "a dangling symlink, followed", attempt(utimensat, directory / "link", (1, 0), (1, 0))
    yield "a dangling symlink itself", attempt(utimensat, directory / "link", (1, 0), (2, 0), AT_SYMLINK_NOFOLLOW)
    yield "after all that", (_times(path), _times(directory / "link"))


def kept_after_writing(directory: Path) -> Iterator[Seen]:
    """A time that was set stays, though the file was written just before and is closed just after."""
    path = directory / "file"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    os.write(descriptor, b"x" * 300_000)
    os.utime(descriptor, ns=(1, 2))
    yield "while open", _times(path)
    os.close(descriptor)
    yield "closed", _times(path)
    os.sync()
    yield "synced", _times(path)
    with path.open("ab") as file:
        os.utime(path, ns=(3, 4))
        file.write(b"more")
    yield "written after it was set", path.stat().st_mtime_ns > SECOND
    os.utime(path, ns=(5, 6))
    path.chmod(0o600)
    os.rename(path, directory / "moved")
    os.link(directory / "moved", path)
    yield "after chmod, rename and link", _times(path)


def of_a_new_file(directory: Path) -> Iterator[Seen]:
    tick()
    start = coarse_now()
    filled(directory / "file", b"x")
    folder(directory / "place")
    (directory / "link").symlink_to("x")
    end = time.time_ns()
    for name in ("file", "place", "link"):
        found = (directory / name).lstat()
        yield name, all(start <= t <= end for t in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns))


def of_directories(directory: Path) -> Iterator[Seen]:
    inner, path = folder(directory / "inner"), directory / "path"
    actions = {
        "create": lambda: filled(path),
        "write": lambda: path.write_bytes(b"more"),
        "chmod": lambda: path.chmod(0o600),
        "mkdir": lambda: (directory / "new").mkdir(),
        "create below": lambda: filled(inner / "file"),
        "rmdir": lambda: (directory / "new").rmdir(),
        "symlink": lambda: (directory / "new").symlink_to("x"),
        "unlink": lambda: (directory / "new").unlink(),
        "mkfifo": lambda: os.mkfifo(directory / "fifo"),
        "rename": lambda: os.rename(path, directory / "path2"),
        "failed mkdir": lambda: attempt(os.mkdir, inner),
        "failed unlink": lambda: attempt(os.unlink, directory / "nothing"),
        "list": lambda: os.listdir(directory),
    }
    for label, action in actions.items():
        yield label, times_changed(directory, action)


CASES = tuple(
    Case(observe)
    for observe in (moments, now_and_omitted, impossible_times, kept_after_writing, of_a_new_file, of_directories)
)
