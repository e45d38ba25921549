"""Listings that the kernel keeps show what other computers changed."""

import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import same, until

pytestmark = [pytest.mark.fuse, pytest.mark.root]

LISTER = "import os, sys\nwhile True: os.listdir(sys.argv[1])"


def shows(directory: Path, there: set[str]) -> bool:
    return names(directory) == there


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_directory_that_is_listed_all_the_time_shows_what_a_peer_does(group: Group) -> None:
    one, other = group.add("one"), group.add("other")
    (one / "dir").mkdir()
    until((other / "dir").exists, "the directory is there")
    chance = random.Random(4)
    there: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", LISTER, str(other / "dir")]) as lister:
        try:
            for number in range(150):
                if there and chance.random() < 0.4:
                    name = chance.choice(sorted(there))
                    there.remove(name)
                    (one / "dir" / name).unlink()
                elif there and chance.random() < 0.3:
                    name = chance.choice(sorted(there))
                    there ^= {name, f"moved {number}"}
                    (one / "dir" / name).rename(one / "dir" / f"moved {number}")
                else:
                    there.add(f"new {number}")
                    (one / "dir" / f"new {number}").touch()
                assert names(one / "dir") == there
                if number % 10 == 0:
                    until(partial(shows, other / "dir", there), "the peer's listing is right")
        finally:
            lister.kill()
    until(partial(shows, other / "dir", there), "the peer's listing is right")
    until(same(one, other), "all is in sync")
    (other / "dir" / "mine").touch()
    assert names(other / "dir") == there | {"mine"}
    until(partial(shows, one / "dir", there | {"mine"}), "the other way round")


def test_the_parent_of_a_moved_directory_is_listed_as_it_is_now(group: Group) -> None:
    one, other = group.add("one"), group.add("other")
    for path in ("a", "a/inner", "b"):
        (one / path).mkdir()
    until(lambda: (other / "b").exists() and (other / "a/inner").exists(), "the directories are there")
    assert parent_in(one / "a/inner") == (one / "a").stat().st_ino
    assert parent_in(other / "a/inner") == (other / "a").stat().st_ino
    (one / "a/inner").rename(one / "b/inner")
    until(lambda: parent_in(one / "b/inner") == (one / "b").stat().st_ino, "the mover sees it")
    until(lambda: parent_in(other / "b/inner") == (other / "b").stat().st_ino, "the peer sees it")


def parent_in(directory: Path) -> int:
    """The inode that a listing gives `..`, which os.scandir leaves out."""
    told = subprocess.run(["ls", "-fia", directory], check=False, capture_output=True, text=True).stdout
    return next((int(line.split()[0]) for line in told.splitlines() if line.split()[1] == ".."), 0)
