"""Names are bytes: up to 255 of them, any but zero and slash; paths up to PATH_MAX."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import attempt
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, names, open_and_close

PATH_MAX = 4096


def any_bytes(directory: Path) -> Iterator[Seen]:
    place = os.fsencode(directory)
    for byte in range(256):
        for name in (bytes([byte]), bytes([byte, 0x41, byte])):
            yield f"{name!r}", attempt(_create, place + b"/" + name) if byte else _refused_zero(place + b"/" + name)
    yield "listed", names(directory)


def _create(path: bytes) -> str:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return "created"


def _refused_zero(path: bytes) -> str:
    try:
        return _create(path)
    except ValueError:
        return "no name holds a zero"


def longest(directory: Path) -> Iterator[Seen]:
    """255 bytes that are not UTF-8; one more is too long, for every call."""
    place = os.fsencode(directory) + b"/"
    walk = random.Random(5)
    odd = bytes(walk.randrange(128, 256) for _ in range(255))
    for label, name in {
        "odd": odd,
        "multi-byte": "ü".encode() * 127 + b"!",
        "spaces": b" " * 255,
        "dots": b"." * 255,
    }.items():
        yield f"{label} file", attempt(_create, place + name)
        yield f"{label} listed", name in names(directory)
        os.rename(place + name, place + name[::-1])
        yield f"{label} reversed", name[::-1] in names(directory)
        os.unlink(place + name[::-1])
        os.mkdir(place + name)
        yield f"{label} directory", attempt(_create, place + name + b"/" + name)
        yield f"{label} found", os.path.exists(place + name + b"/" + name)
    filled(directory / "file")
    path = directory / "file"
    long = directory / ("n" * 256)
    calls: dict[str, tuple[object, ...]] = {
        "open": (os.open, long, os.O_RDONLY),
        "create": (os.open, long, os.O_CREAT | os.O_WRONLY),
        "stat": (os.stat, long),
        "mkdir": (os.mkdir, long),
        "rmdir": (os.rmdir, long),
        "unlink": (os.unlink, long),
        "symlink": (os.symlink, "x", long),
        "link": (os.link, path, long),
        "rename": (os.rename, path, long),
        "rename of it": (os.rename, long, path),
        "mkfifo": (os.mkfifo, long),
        "readlink": (os.readlink, long),
        "chmod": (os.chmod, long, 0o600),
        "truncate": (os.truncate, long, 0),
        "listxattr": (os.listxattr, long),
        "statvfs": (os.statvfs, long),
        "below it": (os.stat, long / "x"),
    }
    for label, (function, *arguments) in calls.items():
        assert callable(function)
        yield f"256 bytes: {label}", attempt(function, *arguments)
    yield "the limit is told", os.statvfs(directory).f_namemax


def longest_path(directory: Path) -> Iterator[Seen]:
    """A path of 4095 bytes is taken, one of 4096 is not; deeper places are reached step by step."""
    os.chdir(directory)
    step = "d" * 200
    deep = "/".join([step] * 20)
    os.makedirs(deep)
    room = PATH_MAX - 1 - len(deep) - 1
    path = f"{deep}/{'f' * room}"
    yield "4095 bytes", (len(path), attempt(open_and_close, Path(path), os.O_CREAT | os.O_WRONLY))
    yield "4096 bytes", attempt(open_and_close, Path(path + "f"), os.O_CREAT | os.O_WRONLY)
    yield "4096 bytes, stat", attempt(os.stat, path + "f")
    yield "slashes count", attempt(os.stat, f"{deep}//{'f' * room}")
    for _ in range(25):
        if not os.path.isdir(step):
            os.mkdir(step)
        os.chdir(step)
    Path("at the bottom").write_bytes(b"deep")
    yield "below all paths", (Path("at the bottom").read_bytes(), os.listdir("."))
    yield "its path is too long to be told", len(os.getcwd()) > PATH_MAX
    os.unlink("at the bottom")
    for _ in range(25):
        os.chdir("..")
    yield "back again", os.listdir(".") == [step]


def meaning(directory: Path) -> Iterator[Seen]:
    """Names are compared as bytes: by case, by form of the letters, by every space."""
    for name in (
        b"name",
        b"Name",
        b"NAME",
        b"name ",
        b" name",
        b"name.",
        b"na\nme",
        b"-rf",
        b"~",
        b"CON",
        b"a:b",
        b"*?",
    ):
        _create(os.fsencode(directory) + b"/" + name)
    for text in ("é", "e\u0301", "ﬁ", "fi", "\u2028", "K", "\u212a"):
        _create(os.fsencode(directory) + b"/" + text.encode())
    yield "all are different", names(directory)


def ways(directory: Path) -> Iterator[Seen]:
    """Dots, slashes, and paths that lead nowhere."""
    os.chdir(directory)
    filled(Path("file"))
    os.mkdir("place")
    for path in (
        "",
        "/",
        ".",
        "..",
        "place/",
        "place//",
        "place/.",
        "place/..",
        "./place/../place",
        "file/",
        "file/.",
        "file/..",
        "no/",
        "no/..",
    ):
        yield f"stat {path!r}", attempt(lambda path=path: bool(os.stat(path)))
        yield f"mkdir {path!r}", attempt(os.mkdir, path)
        yield (
            f"rmdir {path!r}",
            attempt(os.rmdir, path) if path not in ("place/", "place//", "./place/../place") else None,
        )
        yield f"unlink {path!r}", attempt(os.unlink, path)
    yield "mkdir with a slash", attempt(os.mkdir, "new/")
    yield "create with a slash", attempt(os.open, "newer/", os.O_CREAT | os.O_WRONLY)
    yield "left", names(directory)


CASES = tuple(Case(observe) for observe in (any_bytes, longest, longest_path, meaning, ways))
