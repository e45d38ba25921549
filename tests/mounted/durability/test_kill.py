"""SIGKILL of the daemon at random moments: every byte that an fsync acknowledged is there after the next mount."""

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import ROOT, SHARE, Peer, same, until
from tests.end_to_end.trees import scan
from tests.mounted.durability.conftest import PATIENCE, found_in, home_of, writing
from tests.mounted.durability.promises import Promises

pytestmark = [pytest.mark.fuse, pytest.mark.root]

SEED = 41
PLACE = 1221 * 4096
SPILLED_BYTES = 8_000_000
WATCHED_ROUNDS = 3
"""What an earlier round left is looked at so many times more, and at the end."""


def kill_often(group: Group, place: Path, rounds: int) -> None:
    """Kill one peer's daemon so many times; another peer must agree with it in the end."""
    chance = random.Random(SEED)
    one, other = group.add("killed"), group.add("other")
    promised: dict[str, Promises] = {}
    for number in range(rounds):
        name = f"round-{number}"
        with writing(one / name, place / f"{name}.steps", SEED * 1000 + number) as program:
            program.until_kept(chance.randint(1, 40))
            time.sleep(chance.uniform(0.0, 0.1))
            one.kill()
        promised[name] = program.promises()
        if chance.random() < 0.3:
            kill_while_starting(one, chance.uniform(0.05, 0.8))
        one.start("xattr=on")
        for name in list(promised)[-WATCHED_ROUNDS:]:
            faults = promised[name].broken_by(found_in(one / name))
            assert faults == [], f"{name} after the kill of round {number}: {faults}\n{one.log()[-3000:]}"
        told = one.run("check", SHARE, "--json")
        assert told.code == 0, f"round {number}: {told}"
    until(same(one, other), "both peers are in sync", 60)
    assert scan(one.mount) == scan(other.mount)
    for peer in (one, other):
        for name, promises in promised.items():
            assert promises.broken_by(found_in(peer / name)) == [], f"{name} on {peer.name}"
    assert sum(promises.kept for promises in promised.values()) > 10 * rounds


def kill_while_starting(one: Peer, seconds: float) -> None:
    """Start the daemon and kill it so soon, perhaps while it takes in what the last one left."""
    command = [sys.executable, "-m", "syncfs", "mount", "-f", SHARE, str(one.mount), "-o", "xattr=on"]
    starting = subprocess.Popen(
        command, cwd=ROOT, env=one.surroundings({}), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with suppress(subprocess.TimeoutExpired):
        starting.wait(seconds)
    starting.kill()
    starting.wait(30)


def kill_while_spilling(group: Group, place: Path, rounds: int) -> None:
    """Kill a daemon while more is written to a file than its memory takes."""
    chance = random.Random(SEED)
    one = group.add("killed")
    for number in range(rounds):
        name = f"round-{number}"
        until(lambda: not is_spilled(place), "what was written before is stored", PATIENCE)
        with writing(one / name, place / f"{name}.steps", SEED + number, "scatterer") as program:
            program.until_kept(1)
            until(lambda: is_spilled(place), "memory is short", PATIENCE)
            time.sleep(chance.choice((0.0, chance.uniform(0.0, 3.0))))
            one.kill()
        if chance.random() < 0.3:
            kill_while_starting(one, chance.uniform(0.05, 0.8))
        one.start("xattr=on")
        faults = program.promises().broken_by(found_in(one / name))
        assert faults == [], f"{name}: {faults}\n{one.log()[-3000:]}"
        told = one.run("check", SHARE, "--json")
        assert told.code == 0, f"round {number}: {told}"
        (one / name / "large").unlink()


def is_spilled(place: Path) -> bool:
    """Whether much of what was written lies in a journal."""
    journals = home_of(place, "killed").glob("**/journal/*.journal")
    return any(path.stat().st_size > SPILLED_BYTES for path in journals)


@pytest.mark.timeout(600)
def test_a_daemon_killed_while_memory_is_short_keeps_what_was_fsynced(group: Group, tmp_path: Path) -> None:
    kill_while_spilling(group, tmp_path, 5)


@pytest.mark.soak
def test_a_daemon_killed_fifty_times_while_memory_is_short_keeps_what_was_fsynced(group: Group, tmp_path: Path) -> None:
    kill_while_spilling(group, tmp_path, 50)


@pytest.mark.timeout(600)
def test_a_killed_daemon_keeps_what_was_fsynced(group: Group, tmp_path: Path) -> None:
    kill_often(group, tmp_path, 20)


@pytest.mark.soak
def test_a_daemon_killed_two_hundred_times_keeps_what_was_fsynced(group: Group, tmp_path: Path) -> None:
    kill_often(group, tmp_path, 200)


def test_what_was_fsynced_into_a_cold_file_is_shown_before_its_surroundings_can_be_had(group: Group) -> None:
    other, one = group.add("other"), group.add("killed")
    whole = bytearray(random.Random(SEED).randbytes(8_000_000))
    (other / "cold").write_bytes(whole)
    until(same(one, other), "both peers are in sync")
    whole[PLACE : PLACE + 4096] = b"x" * 4096
    with (one / "cold").open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"x" * 4096, PLACE)
        os.fsync(file.fileno())
        other.stop()
        one.kill()
    one.start("xattr=on")
    with (one / "cold").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, PLACE) == b"x" * 4096
    one.kill()
    other.start("xattr=on")
    one.start("xattr=on")
    until(same(one, other), "both peers are in sync", 60)
    assert (one / "cold").read_bytes() == whole
    assert (other / "cold").read_bytes() == whole
