"""What people and disks do wrong: each has its own sentence, its own exit code where it has one, and harms nothing."""

import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import ROOT, SHARE, Peer, Said, peer, until

pytestmark = [pytest.mark.fuse, pytest.mark.root]

Case = Callable[[Group, Path], Said]


def _joined(group: Group, secret: str) -> Said:
    one = group.stack.enter_context(peer(group.place, "other"))
    return one.run("join", secret, SHARE, "--discovery", "none")


def wrong_checksum(group: Group, place: Path) -> Said:
    group.add("first", options="")
    secret = group.secrets["read_write"]
    return _joined(group, secret[:9] + ("A" if secret[9] != "A" else "B") + secret[10:])


def unknown_kind(group: Group, place: Path) -> Said:
    group.add("first", options="")
    return _joined(group, "X" + group.secrets["read_write"][1:])


def wrong_length(group: Group, place: Path) -> Said:
    group.add("first", options="")
    return _joined(group, group.secrets["read_write"][:-3])


def store_mounted(group: Group, place: Path) -> Said:
    group.add("first")
    return group.add("store", "store", options="").run("mount", SHARE, place)


def name_taken(group: Group, place: Path) -> Said:
    return group.add("first", options="").run("create", SHARE)


def unknown_share(group: Group, place: Path) -> Said:
    return group.add("first", options="").run("mount", "nothing", place)


def mountpoint_missing(group: Group, place: Path) -> Said:
    return group.add("first", options="").run("mount", SHARE, place / "missing")


def mountpoint_not_empty(group: Group, place: Path) -> Said:
    (place / "file").touch()
    return group.add("first", options="").run("mount", SHARE, place)


def already_mounted(group: Group, place: Path) -> Said:
    return group.add("first").run("mount", SHARE, place)


def mountpoint_taken(group: Group, place: Path) -> Said:
    first = group.add("first")
    return group.add("second", options="").run("mount", SHARE, first.mount)


def port_in_use(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    with closing(socket.create_server(("127.0.0.1", group.ports[0]))):
        return first.run("mount", SHARE, place)


def no_fuse(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    hidden = 'mount -t tmpfs none /dev && exec "$@"'
    isolated = Peer(first.name, first.home, first.mount, ["unshare", "--mount", "sh", "-c", hidden, "sh"])
    return isolated.run("mount", SHARE, place)


def newer_index(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    with closing(sqlite3.connect(first.data / "index.db")) as index:
        index.execute("PRAGMA user_version = 9999")
    return first.run("mount", SHARE, place)


def damaged_index(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    index = first.data / "index.db"
    index.write_bytes(os.urandom(index.stat().st_size))
    return first.run("mount", SHARE, place)


def damaged_inside(group: Group, place: Path) -> Said:
    first = group.add("first", "read_write", "--from", ROOT / "tests" / "model", options="")
    index = first.data / "index.db"
    content = index.read_bytes()
    index.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    return first.run("mount", SHARE, place)


def truncated_chunk(group: Group, place: Path) -> Said:
    (place / "file").write_bytes(os.urandom(300_000))
    first = group.add("first", "read_write", "--from", place, options="")
    assert _damage_chunks(first, lambda data: data[:-10])
    return first.run("check", SHARE)


def damaged_vault(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    vault = first.home / "vault"
    vault.write_bytes(vault.read_bytes()[:-5])
    return first.run("mount", SHARE, place)


def newer_vault(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    vault = first.home / "vault"
    content = bytearray(vault.read_bytes())
    magic_end = content.index(b"\x01", 1)
    content[magic_end] = 99
    vault.write_bytes(content)
    return first.run("mount", SHARE, place)


def unreadable_home(group: Group, place: Path) -> Said:
    first = group.add("first", options="")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return Peer(first.name, first.home, first.mount, nobody).run("list")


def home_is_a_file(group: Group, place: Path) -> Said:
    (place / "home").write_text("")
    return Peer("odd", place / "home", place).run("create", SHARE)


CASES: list[tuple[Case, int, str]] = [
    (wrong_checksum, 11, "checksum"),
    (unknown_kind, 12, "unknown kind"),
    (store_mounted, 13, "store's secret"),
    (name_taken, 14, "choose another name"),
    (mountpoint_missing, 15, "does not exist"),
    (mountpoint_not_empty, 16, "not empty"),
    (already_mounted, 17, "already mounted at"),
    (port_in_use, 18, "in use"),
    (no_fuse, 19, "/dev/fuse"),
    (newer_index, 8, "update syncfs"),
    (damaged_index, 21, "--rebuild"),
    (truncated_chunk, 7, "--repair"),
    (unreadable_home, 20, "home"),
]
"""What a script has to tell apart: each has its own exit code, too."""

NEIGHBOURS: list[tuple[Case, int, str]] = [
    (wrong_length, 3, "characters"),
    (unknown_share, 4, "no share 'nothing'"),
    (mountpoint_taken, 17, "already has the share"),
    (damaged_inside, 21, "--rebuild"),
    (damaged_vault, 7, "vault"),
    (newer_vault, 8, "newer syncfs"),
    (home_is_a_file, 20, "not a directory"),
]


@pytest.mark.parametrize(
    ("case", "code", "words"), CASES + NEIGHBOURS, ids=lambda value: getattr(value, "__name__", None)
)
def test_bad_input_has_its_own_sentence_and_exit_code(
    group: Group, tmp_path: Path, case: Case, code: int, words: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    said = case(group, place)
    assert said.code == code and ("Traceback" not in said.out), said
    assert words in said.err and said.err.count("\n") == 1 and said.err.startswith("syncfs: "), said
    assert "Traceback" not in said.err


def test_every_case_has_its_own_sentence_and_code() -> None:
    assert len({words for _, _, words in CASES}) == len({code for _, code, _ in CASES}) == len(CASES)


def _damage_chunks(one: Peer, damage: Callable[[bytes], bytes]) -> int:
    """Change every chunk and pack file of a stopped peer; how many there were."""
    found = [path for path in one.data.rglob("*") if path.is_file() and {"chunks", "packs"} & set(path.parts)]
    for path in found:
        path.write_bytes(damage(path.read_bytes()))
    return len(found)


def _flip(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize("how", ["truncated", "flipped", "gone"])
def test_a_bad_chunk_is_put_aside_and_fetched_again(group: Group, tmp_path: Path, how: str) -> None:
    first, second = group.add("first"), group.add("second")
    contents = {"large": os.urandom(3_000_000), "middle": os.urandom(200_000), "small": os.urandom(20_000)}
    for name, data in contents.items():
        (first / name).write_bytes(data)
    for name, data in contents.items():
        until(lambda: (second / name).read_bytes() == data, f"{name} arrives")  # noqa: B023
    second.stop()
    if how == "gone":
        for path in second.data.rglob("*"):
            if path.is_file() and {"chunks", "packs"} & set(path.parts):
                path.unlink()
    else:
        assert _damage_chunks(second, _flip if how == "flipped" else lambda data: data[:-10])
    told = second.run("check", SHARE, "--json")
    assert (told.code, bool(told.json["problems"])) == (7, True), told
    second.start("xattr=on")
    until(lambda: second.status()["peers"] == 1, "they are linked")
    for name, data in contents.items():
        assert (second / name).read_bytes() == data, name
    assert "a chunk kept here is damaged or gone" in second.log()
    second.stop()
    told = second.run("check", SHARE, "--json")
    assert (told.code, told.json["problems"]) == (0, []), told


_OTHER_CLOCK = """
import time
_now, _now_ns = time.time, time.time_ns
time.time = lambda: _now() + {seconds}
time.time_ns = lambda: _now_ns() + {seconds} * 10**9
"""
YEAR = 365 * 24 * 3600


@pytest.mark.parametrize("seconds", [-YEAR, YEAR], ids=["a year behind", "a year ahead"])
def test_a_clock_that_is_off_by_a_year_loses_nothing_and_is_told(group: Group, tmp_path: Path, seconds: int) -> None:
    first, second = group.add("first"), group.add("second", options="")
    (first / "shared").write_text("1")
    (tmp_path / "sitecustomize.py").write_text(_OTHER_CLOCK.format(seconds=seconds))
    second.environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    second.start()
    until(lambda: (second / "shared").read_text() == "1", "the file arrives")
    (second / "by the wrong clock").write_text("2")
    until(lambda: (first / "by the wrong clock").read_text() == "2", "what the wrong clock wrote arrives")
    for number, (one, other) in enumerate([(second, first), (first, second)] * 2):
        (one / "shared").write_text(f"change {number}")
        wanted = f"change {number}"
        until(lambda: (other / "shared").read_text() == wanted, "order follows stamps, not clocks")  # noqa: B023
    for one in (first, second):
        assert any("clock" in reason for reason in one.status()["reasons"]), one.status()["reasons"]
