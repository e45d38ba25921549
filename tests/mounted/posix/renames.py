"""rename(2) and renameat2(2): everything over everything, with every flag."""

import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

from tests.mounted.posix.acting import OWNER, STRANGER, attempt, call_as
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder, names, shape, times_changed
from tests.mounted.posix.system_calls import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, renameat2


def _full(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"inside " + path.name.encode())


def _hard_link(path: Path) -> None:
    twin = path.parent / "twin"
    if not twin.exists():
        twin.write_bytes(b"twin")
    os.link(twin, path)


KINDS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "file": lambda path: path.write_bytes(b"of " + path.name.encode()),
    "directory": lambda path: path.mkdir(),
    "full directory": _full,
    "symlink": lambda path: path.symlink_to(f"target of {path.name}"),
    "symlink to directory": lambda path: path.symlink_to("/"),
    "fifo": lambda path: os.mkfifo(path),
    "hard link": _hard_link,
}
FLAGS = {
    "plain": 0,
    "noreplace": RENAME_NOREPLACE,
    "exchange": RENAME_EXCHANGE,
    "both": RENAME_NOREPLACE | RENAME_EXCHANGE,
    "unknown": 1 << 10,
}


def everything_over_everything(directory: Path) -> Iterator[Seen]:
    for (flag, bits), (source_kind, make_source), (target_kind, make_target) in product(
        FLAGS.items(), KINDS.items(), KINDS.items()
    ):
        place = folder(directory / f"{source_kind} over {target_kind} {flag}")
        source, target = place / "source", place / "target"
        make_source(source)
        make_target(target)
        yield place.name, (attempt(renameat2, source, target, bits), _content(place))


def _content(place: Path) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for path in sorted(place.rglob("*")):
        extra: object = None
        if path.is_symlink():
            extra = os.readlink(path)
        elif path.is_file():
            extra = path.read_bytes()
        found.append((str(path.relative_to(place)), (shape(path), extra)))
    return found


def between_directories(directory: Path) -> Iterator[Seen]:
    for flag, bits in FLAGS.items():
        for kind in ("file", "full directory", "symlink"):
            place = folder(directory / f"{flag} {kind}")
            KINDS[kind](folder(place / "a") / "one")
            KINDS[kind](folder(place / "b") / "two")
            yield (
                f"{place.name} to a new name",
                (attempt(renameat2, place / "a/one", place / "b/new", bits), _content(place)),
            )
            yield (
                f"{place.name} to a taken name",
                (attempt(renameat2, place / "b/two", place / "a/one", bits), _content(place)),
            )


def impossible(directory: Path) -> Iterator[Seen]:
    os.chdir(directory)
    _full(Path("d"))
    filled(Path("f"))
    Path("d/sub").mkdir()
    attempts = {
        "into itself": ("d", "d/sub/d"),
        "into its child": ("d", "d/d"),
        "over its parent": ("d/sub", "d"),
        "dot": ("d/.", "e"),
        "dot dot": ("d/..", "e"),
        "to dot": ("f", "d/."),
        "to dot dot": ("d/sub", "d/.."),
        "from an empty path": ("", "e"),
        "to an empty path": ("f", ""),
        "file with a slash": ("f/", "e"),
        "file to a name with a slash": ("f", "e/"),
        "through a file": ("f/x", "e"),
        "to below a file": ("d", "f/x"),
        "to below nothing": ("f", "nothing/x"),
        "from a name too long": ("n" * 256, "e"),
        "to a name too long": ("f", "n" * 256),
        "onto itself": ("f", "f"),
        "directory onto itself": ("d", "d"),
    }
    for flag, bits in FLAGS.items():
        for label, (source, target) in attempts.items():
            yield f"{label} {flag}", attempt(renameat2, source, target, bits)
    yield "a directory with slashes", attempt(os.rename, "d/sub/", "d/moved/")
    yield "what is left", (names(directory), names(directory / "d"))


def times(directory: Path) -> Iterator[Seen]:
    a, b = folder(directory / "a"), folder(directory / "b")
    filled(a / "f")
    folder(a / "d")
    yield "source directory", times_changed(a, lambda: os.rename(a / "f", b / "f"))
    yield "target directory", times_changed(b, lambda: os.rename(b / "f", b / "g"))
    yield "exchanged", times_changed(a, lambda: renameat2(b / "g", a / "d", RENAME_EXCHANGE))
    yield "refused", times_changed(b, lambda: attempt(renameat2, b / "g", a / "d", RENAME_NOREPLACE))


def parent_of_a_moved_directory(directory: Path) -> Iterator[Seen]:
    a, b = folder(directory / "a"), folder(directory / "b")
    moved = folder(a / "moved")
    filled(moved / "inside", b"x")
    descriptor = os.open(moved, os.O_RDONLY)
    os.rename(moved, b / "moved")
    yield "dot dot leads to the new parent", os.path.samefile(b / "moved" / "..", b)
    yield "an open directory moves along", sorted(os.listdir(descriptor))
    yield "and its dot dot", os.path.samestat(os.stat("..", dir_fd=descriptor), b.stat())
    os.close(descriptor)


def permission(directory: Path) -> Iterator[Seen]:
    """A directory that goes to another parent changes itself, so it has to be writable by whoever moves it."""
    place = folder(directory / "place", 0o777)
    for bits in (0o755, 0o555):
        a, b = folder(place / f"a{bits:o}", 0o777), folder(place / f"b{bits:o}", 0o777)
        folder(a / "d", bits, (OWNER.uid, OWNER.gid))
        folder(a / "e", bits, (STRANGER.uid, STRANGER.gid))
        yield f"own {bits:o} within", call_as(OWNER, os.rename, a / "d", a / "d2")
        yield f"own {bits:o} elsewhere", call_as(OWNER, os.rename, a / "d2", b / "d")
        yield f"foreign {bits:o} within", call_as(OWNER, os.rename, a / "e", a / "e2")
        yield f"foreign {bits:o} elsewhere", call_as(OWNER, os.rename, a / "e2", b / "e")


def whiteout(directory: Path) -> Iterator[Seen]:
    """What overlayfs asks of the file system below it."""
    filled(directory / "source", b"x")
    yield "done", attempt(renameat2, directory / "source", directory / "target", RENAME_WHITEOUT)
    yield "left", _content(directory)


CASES = (
    Case(everything_over_everything),
    Case(between_directories),
    Case(impossible),
    Case(times),
    Case(parent_of_a_moved_directory),
    Case(permission, root=True),
    Case(whiteout, root=True),
)
