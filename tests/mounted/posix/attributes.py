"""Extended attributes, in all namespaces that a user or root may use."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.mounted.posix.acting import OWNER, STRANGER, attempt, call_as
from tests.mounted.posix.case import Case, Seen
from tests.mounted.posix.seeing import filled, folder

CREATE, REPLACE = os.XATTR_CREATE, os.XATTR_REPLACE


def values(directory: Path) -> Iterator[Seen]:
    for path in (filled(directory / "file"), folder(directory / "place")):
        for label, value in {
            "text": b"value",
            "empty": b"",
            "zeros": bytes(10),
            "all": bytes(range(256)),
            "long": b"x" * 2000,
        }.items():
            yield f"{path.name} set {label}", attempt(os.setxattr, path, f"user.{label}", value)
            yield f"{path.name} get {label}", attempt(os.getxattr, path, f"user.{label}")
        yield f"{path.name} listed", sorted(os.listxattr(path))
        os.setxattr(path, "user.text", b"changed")
        yield f"{path.name} changed", os.getxattr(path, "user.text")
        os.removexattr(path, "user.empty")
        yield f"{path.name} removed", (attempt(os.getxattr, path, "user.empty"), sorted(os.listxattr(path)))


def flags(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    for flag, number in (
        ("replace", REPLACE),
        ("create", CREATE),
        ("create again", CREATE),
        ("replace again", REPLACE),
        ("both", 3),
        ("unknown", 8),
    ):
        value = flag.encode()
        yield flag, (attempt(os.setxattr, path, "user.note", value, number), attempt(os.getxattr, path, "user.note"))


def impossible(directory: Path) -> Iterator[Seen]:
    path = filled(directory / "file")
    yield (
        "none",
        (attempt(os.getxattr, path, "user.note"), attempt(os.removexattr, path, "user.note"), os.listxattr(path)),
    )
    yield "of nothing", attempt(os.getxattr, directory / "nothing", "user.note")
    for label, name in {
        "no namespace": "note",
        "unknown namespace": "other.note",
        "only a namespace": "user.",
        "empty": "",
    }.items():
        yield f"set {label}", attempt(os.setxattr, path, name, b"x")
        yield f"get {label}", attempt(os.getxattr, path, name)
    yield "the longest name", attempt(os.setxattr, path, "user." + "n" * 250, b"x")
    yield "a longer name", attempt(os.setxattr, path, "user." + "n" * 251, b"x")
    yield "too large", attempt(os.setxattr, path, "user.large", bytes(65537))
    (directory / "link").symlink_to("file")
    yield "on a symlink", attempt(os.setxattr, directory / "link", "user.note", b"x", follow_symlinks=False)
    yield (
        "through a symlink",
        (attempt(os.setxattr, directory / "link", "user.note", b"x"), os.getxattr(path, "user.note")),
    )
    yield (
        "odd bytes in the name",
        (attempt(os.setxattr, path, b"user.\xff\xfe", b"x"), attempt(os.getxattr, path, b"user.\xff\xfe")),
    )


def kept(directory: Path) -> Iterator[Seen]:
    """Attributes belong to the file: they stay with it through links and renames, not through copies of its name."""
    path = filled(directory / "file", b"x")
    os.setxattr(path, "user.note", b"kept")
    os.link(path, directory / "link")
    os.rename(path, directory / "moved")
    filled(path, b"another")
    yield "link", os.getxattr(directory / "link", "user.note")
    yield "moved", os.getxattr(directory / "moved", "user.note")
    yield "a new file of that name", attempt(os.getxattr, path, "user.note")
    os.rename(path, directory / "moved")
    yield "replaced", attempt(os.getxattr, directory / "moved", "user.note")
    with (directory / "link").open("wb") as file:
        file.write(b"changed")
        os.setxattr(file.fileno(), "user.open", b"set while open")
    yield "written", sorted(os.listxattr(directory / "link"))


def whose(directory: Path) -> Iterator[Seen]:
    for bits in (0o644, 0o600, 0o666):
        path = filled(directory / f"{bits:o}", b"x", bits, (OWNER.uid, OWNER.gid))
        os.setxattr(path, "user.note", b"x")
        for who, user in (("owner", OWNER), ("stranger", STRANGER)):
            label = f"{bits:o} {who}"
            yield f"{label} reads", call_as(user, os.getxattr, path, "user.note")
            yield f"{label} sets", call_as(user, os.setxattr, path, "user.note", b"y")
            yield f"{label} lists", call_as(user, os.listxattr, path)
            yield f"{label} sets trusted", call_as(user, os.setxattr, path, "trusted.note", b"y")
            yield f"{label} reads trusted", call_as(user, os.getxattr, path, "trusted.note")
            yield f"{label} sets security", call_as(user, os.setxattr, path, "security.note", b"y")
    path = filled(directory / "root's", b"x")
    for name in ("trusted.note", "security.note"):
        yield f"root sets {name}", (attempt(os.setxattr, path, name, b"y"), attempt(os.getxattr, path, name))
    place = folder(directory / "sticky", 0o1777)
    yield "a stranger in a sticky directory", call_as(STRANGER, os.setxattr, place, "user.note", b"x")


CASES = (Case(values), Case(flags), Case(impossible), Case(kept), Case(whose, root=True))
