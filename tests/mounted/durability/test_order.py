"""Without any fsync: names appear in the order in which they were made, and what is renamed into place is whole."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import ROOT, SHARE, Peer, until
from tests.mounted.durability.conftest import PATIENCE, home_of, killing, stop
from tests.mounted.durability.disk import Disk
from tests.mounted.durability.promises import data_of

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.timeout(300)]

SEED = 8
ROUNDS = 4
PROGRAM = """
import os, sys
from pathlib import Path
from tests.mounted.durability.promises import data_of
place, number = Path(sys.argv[1]), 0
place.mkdir()
(place / "replaced").write_bytes(data_of(0, 200_000))
while True:
    number += 1
    for new, name in (("new", f"done-{number}"), ("again", "replaced")):
        (place / new).write_bytes(data_of(number, number * 7919 % 300_000))
        (place / new).rename(place / name)
"""


def check_order(place: Path) -> int:
    """How many steps are there; none may lack an earlier one, and each must be whole."""
    names = {path.name for path in place.iterdir()} - {"new", "again"}
    if not names:
        return 0
    last = len(names) - 1
    assert names == {"replaced", *(f"done-{number}" for number in range(1, last + 1))}
    for number in range(1, last + 1):
        assert (place / f"done-{number}").read_bytes() == data_of(number, number * 7919 % 300_000), f"done-{number}"
    replaced = (place / "replaced").read_bytes()
    # It was made before the first step, replaced after each, and its very first content was not renamed into place.
    steps = [number for number in (last, last - 1) if number > 0]
    assert any(replaced == data_of(number, number * 7919 % 300_000) for number in steps) or last <= 1
    return last


def crash_in_order(one: Peer, cut: Callable[[], None], back: Callable[[], None]) -> None:
    """Let a program make files, crash, look; several times."""
    chance = random.Random(SEED)
    found = 0
    for number in range(ROUNDS):
        place = one / f"round-{number}"
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(place)], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            until((place / f"done-{chance.randint(3, 40)}").exists, "files are made", PATIENCE)
            time.sleep(chance.uniform(0.0, 0.1))
            with killing(one.pid):
                cut()
        finally:
            program.kill()
            program.wait()
        back()
        one.start("xattr=on")
        if place.exists():
            found += check_order(place)
        told = one.run("check", SHARE, "--json")
        assert told.code == 0, told
    assert found > 0


def test_a_killed_daemon_leaves_names_in_order_and_whole(group: Group) -> None:
    crash_in_order(group.add("killed"), lambda: None, lambda: None)


def test_a_power_cut_leaves_names_in_order_and_whole(
    group: Group, on_disk: Callable[[str, Disk], Peer], tmp_path: Path
) -> None:
    disk = Disk(tmp_path / "image", home_of(tmp_path, "cut"), 512, options=",data=writeback,noauto_da_alloc")

    def back() -> None:
        disk.unmount()
        disk.mount()

    def cut() -> None:
        disk.stir(random.Random(SEED))
        stop(one.pid)  # see test_power_cut
        disk.cut()

    one = on_disk("cut", disk)
    crash_in_order(one, cut, back)
