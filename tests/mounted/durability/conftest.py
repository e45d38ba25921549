"""Peers whose home may lie on a disk of the test's own, and programs that write on their mounts."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import ROOT, SOON, Peer, until
from tests.mounted.durability.disk import Disk, mounted
from tests.mounted.durability.promises import Promises

PATIENCE = 100.0
"""Seconds: a disk that other tests use as well can take one for each fsync."""


class Writing:
    """A program such as `writer` at work in a new directory of a mount; `promises` tells what it may count on."""

    def __init__(self, place: Path, account: Path, seed: int, name: str) -> None:
        self.place = place
        self._account = account
        with account.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"tests.mounted.durability.{name}", str(place), str(seed)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
            )

    def until_kept(self, count: int) -> None:
        """Return once so many fsyncs were acknowledged, however slow the disk is."""
        until(lambda: self._account.read_bytes().count(b'"kept"') >= count, f"{count} promises were made", PATIENCE)

    def promises(self) -> Promises:
        """What was promised until now; the last line counts only if it is whole."""
        promises = Promises()
        promises.follow(json.loads(line) for line in self._account.read_bytes().split(b"\n")[:-1])
        return promises

    def end(self) -> None:
        """End the program, which may have ended already."""
        self.process.kill()
        self.process.wait(30)


@contextmanager
def writing(place: Path, account: Path, seed: int, name: str = "writer") -> Iterator[Writing]:
    """The program, ended with the block."""
    program = Writing(place, account, seed, name)
    try:
        yield program
    finally:
        program.end()


@contextmanager
def killing(pid: int) -> Iterator[None]:
    """After the block a process is ended by SIGKILL and gone."""
    descriptor = os.pidfd_open(pid)
    try:
        yield
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert select.select([descriptor], [], [], SOON)[0], "a killed process did not end"
    finally:
        os.close(descriptor)


def stop(pid: int) -> None:
    """Stop a process: from now on nobody hears of anything from it, whatever the kernel tells it."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(state in "TD" for state in _states(pid)), "all threads are stopped, or wait for a disk")


def _states(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return [task.read_text().rpartition(")")[2].split()[0] for task in tasks]


def found_in(place: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {path.name: path.read_bytes() for path in place.iterdir()} if place.exists() else {}


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    """An empty group of peers."""
    with ExitStack() as stack:
        yield Group(tmp_path, stack)


@pytest.fixture
def on_disk(tmp_path: Path, group: Group) -> Iterator[Callable[[str, Disk], Peer]]:
    """Adds a peer to the group whose home is a disk of the test's own, made for `home_of(tmp_path, NAME)`."""
    with ExitStack() as stack:
        disks: list[Disk] = []

        def add(name: str, disk: Disk) -> Peer:
            disks.append(stack.enter_context(mounted(disk)))
            return group.add(name)

        yield add
        group.stack.close()


def home_of(place: Path, name: str) -> Path:
    """Where the home of a peer of a group in `place` is."""
    return place / name / "home"
