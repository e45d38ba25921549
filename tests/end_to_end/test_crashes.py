"""SIGKILL of either peer at random moments while both write: what fsync promised is there, and all goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import ROOT, SHARE, Peer, same, until
from tests.end_to_end.trees import digest, scan

pytestmark = [pytest.mark.fuse, pytest.mark.root]

SEED = 20


class Writing:
    """A program that writes on a peer's mount, and what it was promised."""

    def __init__(self, one: Peer, log: Path, seed: int) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.end_to_end.fsyncer", str(one.mount / "work"), one.name, str(seed)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
            )

    def promised(self) -> dict[str, tuple[int, str]]:
        """The last promise about each file; none about one that was being changed."""
        promised: dict[str, tuple[int, str]] = {}
        for line in self._log.read_text().split("\n")[:-1]:
            name, *rest = line.split("\t")
            if len(rest) == 2:
                promised[name] = (int(rest[0]), rest[1])
            else:
                promised.pop(name, None)
        return promised

    def end(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait(30)


def kept(one: Peer, promised: dict[str, tuple[int, str]]) -> list[str]:
    """What of the promises does not hold on a peer."""
    broken = []
    for name, (size, wanted) in promised.items():
        path = one / "work" / name
        try:
            found = (path.stat().st_size, digest(path))
        except OSError as error:
            broken.append(f"{name}: {error}")
            continue
        if found != (size, wanted):
            broken.append(f"{name}: {found[0]} bytes with {found[1]} instead of {size} with {wanted}")
    return broken


def crash_often(group: Group, place: Path, times: int) -> None:
    """Kill one of two writing peers so many times, and check everything that was promised after each."""
    chance = random.Random(SEED)
    both = [group.add("first"), group.add("second")]
    (both[0] / "work").mkdir()
    until((both[1] / "work").is_dir, "the directory arrives")
    promises: dict[str, dict[str, tuple[int, str]]] = {one.name: {} for one in both}
    for number in range(times):
        victim = both[chance.randrange(2)]
        writings = [
            Writing(one, place / f"{one.name}.log", SEED * 1000 + 2 * number + which) for which, one in enumerate(both)
        ]
        try:
            until(lambda: all(writing.promised() for writing in writings), "both write")  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.8))
            victim.kill()
        finally:
            for writing in writings:
                writing.end()
        for one, writing in zip(both, writings, strict=True):
            touched = {line.split("\t")[0] for line in (place / f"{one.name}.log").read_text().splitlines()}
            for name in touched:
                promises[one.name].pop(name, None)
            promises[one.name].update(writing.promised())
        victim.start("xattr=on")
        for one in both:
            assert kept(one, promises[one.name]) == [], f"round {number}, {victim.name} was killed: {one.log()[-3000:]}"
        told = victim.run("check", SHARE, "--json")
        assert told.code == 0, f"round {number}: {told}"
    first, second = both
    until(same(first, second), "they are in sync", 60)
    for one in both:
        for path in (one / "work").iterdir():
            digest(path)
    assert set(scan(first.mount)) == set(scan(second.mount))
    for one, other in (both, both[::-1]):
        assert kept(other, promises[one.name]) == []
    for one in both:
        one.stop()
        told = one.run("check", SHARE, "--json")
        assert told.code == 0, told


def crash_and_tell(group: Group, place: Path, times: int) -> None:
    """The same; where it fails, with what all had to say."""
    try:
        crash_often(group, place, times)
    except BaseException as error:
        for path in sorted(place.glob("*/home/log/*")) + sorted(place.glob("*.log")):
            error.add_note(f"--- {path}\n{path.read_text()[-2000:]}")
        raise


def test_killed_peers_keep_what_was_fsynced(group: Group, tmp_path: Path) -> None:
    crash_and_tell(group, tmp_path, 8)


def waits_in(place: str, pid: int) -> bool:
    """Whether a thread of a process sleeps in a function of the kernel."""
    return any(place in (task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


def test_a_peer_that_is_killed_while_it_tells_the_kernel_of_a_change_ends(group: Group) -> None:
    holder, victim, other = (group.add(name) for name in ("holder", "victim", "other"))
    (holder / "cold").write_bytes(random.Random(SEED).randbytes(8_000_000))
    until(same(holder, victim, other), "all peers are in sync")
    until(lambda: victim.status()["peers"] == other.status()["peers"] == 2, "all peers are linked")
    with (victim / "cold").open("r+b", buffering=0) as file:
        file.seek(5_000_001)
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            file.write(b"x")
            # The rename waits for a chunk of the holder, and holds the lock of the directory meanwhile.
            renaming = [sys.executable, "-c", "import os, sys; os.rename(sys.argv[1], sys.argv[2])"]
            with subprocess.Popen(
                [*renaming, victim / "cold", victim / "moved"], stderr=subprocess.PIPE, text=True
            ) as program:
                until(lambda: waits_in("request_wait_answer", program.pid), "the rename is under way")
                (other / "new").touch()
                until(lambda: waits_in("fuse_reverse_inval", victim.pid), "a notification waits for the directory")
                victim.kill()
                assert "ConnectionAbortedError" in program.communicate(timeout=20)[1]
        finally:
            os.kill(holder.pid, signal.SIGCONT)
    victim.start("xattr=on")
    assert (victim / "cold").exists() and (victim / "new").exists()


@pytest.mark.soak
def test_peers_killed_fifty_times_keep_what_was_fsynced(group: Group, tmp_path: Path) -> None:
    crash_and_tell(group, tmp_path, 50)
