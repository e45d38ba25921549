"""Loss of power: what was not on the disk is gone, what an fsync acknowledged is there.

The home of a peer lies on an ext4 of the test's own, whose power is cut at a random moment while a program writes: all
pages that were not yet on the disk are lost. In every other round the kernel has been made to write some pages in an
order of its own before. One half of the disks has `data=writeback`, where a file may have its new size without its new
bytes, which is the worst that a file system in use does.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, same, until
from tests.end_to_end.trees import scan
from tests.mounted.durability.conftest import found_in, home_of, killing, stop, writing
from tests.mounted.durability.disk import Disk
from tests.mounted.durability.promises import Promises

pytestmark = [pytest.mark.fuse, pytest.mark.root]

SEED = 77
DISK_MEBIBYTES = 1024
ROUND_MEBIBYTES = 40
"""What a round may take of the disk, old versions included."""
AddOnDisk = Callable[[str, Disk], Peer]


def cut_often(group: Group, on_disk: AddOnDisk, place: Path, rounds: int, options: str) -> None:
    """Cut the power of one peer so many times; another peer must agree with it in the end."""
    chance = random.Random(SEED)
    mebibytes = max(DISK_MEBIBYTES, rounds * ROUND_MEBIBYTES)
    disk = Disk(place / "image", home_of(place, "cut"), mebibytes, options=options)
    one, other = on_disk("cut", disk), group.add("other")
    promised: dict[str, Promises] = {}
    for number in range(rounds):
        name = f"round-{number}"
        with writing(one / name, place / f"{name}.steps", SEED * 1000 + number) as program:
            program.until_kept(chance.randint(1, 30))
            time.sleep(chance.uniform(0.0, 0.1))
            if number % 2:
                disk.stir(chance)
                time.sleep(chance.uniform(0.0, 0.2))
            cut(one, disk)
        promised[name] = program.promises()
        disk.unmount()
        disk.mount()
        one.start("xattr=on")
        for earlier, promises in promised.items():
            faults = promises.broken_by(found_in(one / earlier))
            assert faults == [], f"{earlier} after the cut of round {number}: {faults}\n{one.log()[-3000:]}"
        told = one.run("check", SHARE, "--json")
        assert told.code == 0, f"round {number}: {told}"
        until(same(one, other), "both peers are in sync", 60)
    assert scan(one.mount) == scan(other.mount)
    for name, promises in promised.items():
        assert promises.broken_by(found_in(other / name)) == [], name
    assert sum(promises.kept for promises in promised.values()) > 5 * rounds


def cut(one: Peer, disk: Disk) -> None:
    """Cut the power of a disk, and end the process that used it.

    It is stopped before: an fsync that the cut hits returns with success now and then, and nobody would hear of it
    where the power is gone.
    """
    with killing(one.pid):
        stop(one.pid)
        disk.cut()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", ["", ",data=writeback,noauto_da_alloc"], ids=["ordered", "writeback"])
def test_a_power_cut_loses_nothing_that_was_fsynced(
    group: Group, on_disk: AddOnDisk, tmp_path: Path, options: str
) -> None:
    cut_often(group, on_disk, tmp_path, 6, options)


@pytest.mark.soak
@pytest.mark.parametrize("options", ["", ",data=writeback,noauto_da_alloc"], ids=["ordered", "writeback"])
def test_a_hundred_power_cuts_lose_nothing_that_was_fsynced(
    group: Group, on_disk: AddOnDisk, tmp_path: Path, options: str
) -> None:
    cut_often(group, on_disk, tmp_path, 100, options)
