"""The history on real mounts: versions, restoring, undoing, old trees, and giving back space whatever happens."""

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, same, until
from tests.end_to_end.trees import differences, scan

pytestmark = [pytest.mark.fuse, pytest.mark.root]

KIB = 1024


def asked(one: Peer, *words: object) -> Any:
    done = one.run(*words, "--json")
    assert done.code == 0, done
    return done.json


def settled(one: Peer, path: str, versions: int) -> list[dict[str, Any]]:
    """The versions of a file, once there are so many."""
    until(lambda: len(asked(one, "versions", one / path)) == versions, f"{versions} versions of {path}")
    found: list[dict[str, Any]] = asked(one, "versions", one / path)
    return found


def a_moment(*peers: Peer) -> str:
    """A full second that lies between what was done before and what is done after."""
    until(same(*peers), "peers are level") if len(peers) > 1 else time.sleep(0.5)
    time.sleep(1.1)
    now = datetime.now(UTC).replace(microsecond=0)
    time.sleep(1.1)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def grow(root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "y").write_text("old")
    (root / "d" / "x").write_bytes(b"x" * 5000)
    (root / "d" / "x").chmod(0o640)
    (root / "d" / "hard").hardlink_to(root / "d" / "x")
    (root / "d" / "link").symlink_to("x")
    (root / "big").write_bytes(random.Random(1).randbytes(3 * KIB * KIB))


def test_versions_of_a_file_come_back(group: Group) -> None:
    one = group.add("first")
    for number, text in enumerate(("one", "two" * 2000, "three"), 1):
        (one / "f").write_text(text)
        settled(one, "f", number)
    listed = settled(one, "f", 3)
    assert [version["size"] for version in listed] == [5, 6000, 3] and listed[0]["current"]
    assert asked(one, "restore", one / "f")["size"] == 6000
    assert (one / "f").read_text() == "two" * 2000
    asked(one, "restore", f"{one / 'f'}@{listed[2]['id'][:24]}")
    assert (one / "f").read_text() == "one"
    asked(one, "restore", f"{one / 'f'}@{listed[0]['id']}", "--to", one / "g")
    assert (one / "g").read_text() == "three"
    (one / "f").unlink()
    assert len(asked(one, "versions", one / "f")) == 5
    asked(one, "restore", one / "f")
    assert (one / "f").read_text() == "one"
    told = [(entry["action"], entry["path"]) for entry in asked(one, "log", one / "f")]
    assert told[0] == ("restore", "f") and told[1] == ("delete", "f") and told[-1] == ("create", "f")
    assert one.run("restore", one / "never").code != 0


def test_folders_and_the_share_come_back_as_they_were(group: Group, tmp_path: Path) -> None:
    one, two = group.add("first"), group.add("second")
    grow(one.mount)
    then = a_moment(one, two)
    before = scan(one.mount)
    (one / "d" / "x").rename(one / "d" / "e" / "z")
    (one / "d" / "e" / "y").write_text("changed")
    (one / "d" / "new").mkdir()
    (one / "d" / "e" / "z").chmod(0o600)
    os.utime(one / "d" / "link", ns=(1, 1), follow_symlinks=False)
    (one / "big").unlink()
    asked(one, "restore", f"{SHARE}:/@{then}")
    assert differences(before, scan(one.mount)) == []
    shutil.rmtree(one / "d")
    asked(one, "restore", one / "d")
    assert (one / "d" / "e" / "y").read_text() == "old" and (one / "d" / "x").stat().st_nlink == 2
    asked(one, "restore", f"{one / 'd'}@{then}", "--to", one / "copy")
    assert (one / "copy" / "e" / "y").read_text() == "old"
    until(lambda: (two / "copy" / "e" / "y").read_text() == "old", "the other peer sees it")


def test_old_trees_are_read_with_ordinary_tools(group: Group, tmp_path: Path) -> None:
    one, two = group.add("first"), group.add("second")
    grow(one.mount)
    then = a_moment(one, two)
    shutil.copytree(one.mount, tmp_path / "then", symlinks=True)
    shutil.rmtree(one / "d")
    (one / "big").write_bytes(b"new")
    a_moment(one, two)
    for peer in (one, two):
        assert ".syncfs" not in os.listdir(peer.mount)  # noqa: PTH208
        old = peer.mount / ".syncfs" / "history" / then
        subprocess.run(["diff", "-r", "--no-dereference", old, tmp_path / "then"], check=True)
        subprocess.run(["cp", "-a", old, tmp_path / peer.name], check=True)
        assert (old / "d" / "x").stat().st_mode & 0o7777 == 0o640 and (old / "d" / "hard").stat().st_nlink == 2
        for change in (  # what a program might try
            (old / "new").touch,
            (old / "big").unlink,
            lambda: (old / "big").chmod(0),  # noqa: B023
            lambda: (old / "big").rename(peer / "stolen"),  # noqa: B023
            lambda: (old / "big").open("r+"),  # noqa: B023
            (old / "d" / "k").mkdir,
        ):
            with pytest.raises(OSError) as refused:
                change()
            assert refused.value.errno == errno.EROFS
        with pytest.raises(FileExistsError):
            (peer / ".syncfs").mkdir()
        assert not (peer.mount / ".syncfs" / "history" / "nonsense").exists()


def test_old_trees_cost_only_what_is_read(group: Group) -> None:
    one, two = group.add("first"), group.add("second")
    size = 3 * KIB * KIB
    old = {name: random.Random(name).randbytes(size) for name in ("a", "b", "c")}
    (one / "d").mkdir()
    for name, content in old.items():
        (one / "d" / name).write_bytes(content)
    then = a_moment(one, two)
    for name in old:
        (one / "d" / name).write_bytes(b"new")
    (one / "d" / "c").unlink()
    a_moment(one, two)
    past = two.mount / ".syncfs" / "history" / then
    before = two.cached()
    listed = {path: status for path, status in scan(past, contents=False).items() if path.startswith("d/")}
    assert {path: status.size for path, status in listed.items()} == {f"d/{name}": size for name in old}
    subprocess.run(["ls", "-lR", past], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["du", "-a", "--apparent-size", past], check=True, stdout=subprocess.DEVNULL)
    assert two.cached() == before

    # Its chunks are on the other computer only, as are those of the file that is deleted now.
    assert (past / "d" / "c").read_bytes() == old["c"]
    until(lambda: two.cached() > before, "what was read is kept")
    assert size <= two.cached() - before < 1.1 * size
    one.stop()
    assert (past / "d" / "c").read_bytes() == old["c"]
    with pytest.raises(OSError) as refused:
        (past / "d" / "a").read_bytes()
    assert refused.value.errno == errno.EIO, "told, rather than waited for until the deadline"
    assert scan(past, contents=False)["d/a"].size == size
    one.start()
    until(lambda: (past / "d" / "a").read_bytes() == old["a"], "it is read when the other one is back")


def test_what_one_device_did_is_undone(group: Group) -> None:
    one, two = group.add("first"), group.add("second")
    grow(one.mount)
    since = a_moment(one, two)
    before = scan(one.mount)
    (two / "d" / "e" / "y").write_text("ruined")
    (two / "big").unlink()
    (two / "d").rename(two / "moved")
    (two / "moved" / "x").chmod(0o777)
    for path in ("moved/link", "moved/hard", "moved/e"):
        os.utime(two / path, ns=(1, 1), follow_symlinks=False)
    (two / "junk").mkdir()
    (two / "junk" / "q").write_text("q")
    until(
        lambda: (one / "junk" / "q").read_text() == "q" and (one / "moved" / "e" / "y").read_text() == "ruined", "seen"
    )
    theirs = next(peer["device"] for peer in asked(one, "peers", SHARE) if peer["connected"])
    assert asked(one, "undo", SHARE, "--device", theirs, "--since", since)["changed"] > 0
    assert differences(before, scan(one.mount)) == []
    until(lambda: differences(before, scan(two.mount)) == [], "undone there as well")


def test_space_is_given_back_and_nothing_else_whatever_is_killed(group: Group) -> None:
    one = group.add("first")
    dice = random.Random(7)
    contents: dict[str, bytes] = {}
    for round_ in range(6):
        for number in range(12):
            contents[f"f{number}"] = dice.randbytes(dice.choice((2_000, 90_000, 300_000)))
            (one / f"f{number}").write_bytes(contents[f"f{number}"])
        (one / "kept").write_bytes(contents["f0"])
        until(lambda: one.status()["in_sync"] is not None and len(asked(one, "versions", one / "f11")) > 0, "versions")
        one.good("umount", one.mount)
        one.start()
        if round_ == 0:
            one.good("config", SHARE, "retention", "all=0 hourly=0 daily=0 deleted=0")
        collecting = subprocess.Popen(
            [*one.prefix, sys.executable, "-m", "syncfs", "gc", SHARE],
            env=one.surroundings({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(0.25 + dice.random() * 0.3)
        one.kill()
        collecting.wait()
        one.start()
        assert {name: (one / name).read_bytes() for name in contents} == contents
        assert (one / "kept").read_bytes() == contents["f0"]
        one.good("check", SHARE)
    one.good("gc", SHARE)
    assert one.cached() < 1.2 * sum(map(len, contents.values())) + 2**20
    assert {name: (one / name).read_bytes() for name in contents} == contents
    one.good("check", SHARE)
