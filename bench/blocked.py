"""How long the loop of a mounted peer is held at most by one step, where very many files change at once.

`python -m bench.blocked [--files N] [--undone N] [--place DIR]` runs two or three mounted peers that each note how long
every turn of their loop takes, and prints for each of these the longest turn (by the clock, and of that the processor's
time of the loop's thread), how many turns took longer than 100 ms, and after how long all was done: a peer takes in a
directory of N new files; all of them are deleted; they are restored; two peers have each made a directory of one name
with N files, and meet; one of these was given another name meanwhile; what a peer did to some files is undone.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from bench.command import syncfs

NAME = "bench"
PORT = 47571
PATIENCE = 3600.0
NOTED_S = 0.005
LONG_S = 0.1
WATCH = "--watch"


class Turn(NamedTuple):
    """A turn of the loop: when it ended (time.monotonic), its time, its processor time, and whose it was most."""

    ended: float
    took: float
    used: float
    task: str


class Turns(trio.abc.Instrument):
    """Notes each turn of the loop that is not short, and which task took most of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._began: tuple[float, float] | None = None
        self._step_began = 0.0
        self._longest = (0.0, "")

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        self._began = time.monotonic(), time.thread_time()
        self._longest = (0.0, "")

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self._step_began = time.monotonic()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits again, or is over."""
        self._longest = max(self._longest, (time.monotonic() - self._step_began, task.name))

    def before_io_wait(self, timeout: float) -> None:
        """The turn is over."""
        if self._began is not None:
            now = time.monotonic()
            if now - self._began[0] > NOTED_S:
                turn = Turn(now, now - self._began[0], time.thread_time() - self._began[1], self._longest[1])
                self._file.write(json.dumps(turn) + "\n")


class Peer:
    """A device with a mount, whose turns are noted while it runs."""

    def __init__(self, place: Path, number: int) -> None:
        self.home, self.mount, self._turns = (place / f"{what}{number}" for what in ("home", "mount", "turns"))
        self.listen = f"127.0.0.1:{PORT + number}"
        self.mount.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def syncfs(self, *words: str) -> str:
        """One command; what it printed."""
        return syncfs(self.home, *words)

    def join(self, secret: str, *peers: "Peer") -> None:
        """Take part, knowing where these are; nothing is held back."""
        where = [word for peer in peers for word in ("--peer", peer.listen)]
        self.syncfs("join", secret, NAME, "--listen", self.listen, "--discovery", "none", *where)
        self.syncfs("config", NAME, "brake", "off")

    def start(self) -> None:
        """Mount."""
        words = [WATCH, str(self._turns), "mount", NAME, str(self.mount), "-f"]
        self._process = subprocess.Popen([sys.executable, "-m", "bench.blocked", *words], env=self._environment)
        until(lambda: os.path.ismount(self.mount))

    def stop(self) -> None:
        """Unmount, if it is mounted."""
        if self._process is not None:
            self.syncfs("umount", NAME)
            self._process.wait()
            self._process = None

    def turns(self, since: float) -> list[Turn]:
        """The turns that ended since a time of time.monotonic."""
        turns = [Turn(*json.loads(line)) for line in self._turns.read_text().splitlines()]
        return [turn for turn in turns if turn.ended >= since]

    def device(self) -> str:
        """Its id."""
        (share,) = (self.home / "shares").iterdir()
        with closing(sqlite3.connect(f"file:{share}/index.db?mode=ro", uri=True)) as index:
            (name,) = index.execute("SELECT hex(substr(stamp, 9)) FROM links WHERE name = ?", (b"undone",)).fetchone()
        return str(name).lower()

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"SYNCFS_HOME": str(self.home)}


def main() -> None:
    """Runs and prints."""
    if sys.argv[1:2] == [WATCH]:
        return watched(Path(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--undone", type=int, default=10_000)
    parser.add_argument("--place", default="/var/tmp")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place, prefix="syncfs-blocked.") as directory:
        place = Path(directory)
        peers = [Peer(place, number) for number in range(3)]
        try:
            measure(place, peers, arguments.files, arguments.undone)
        finally:
            for peer in peers:
                peer.stop()


def watched(turns: Path, words: list[str]) -> None:
    """The command `syncfs`, its loop watched."""
    from syncfs.cli.main import main as syncfs

    trio.run = partial(trio.run, instruments=[Turns(turns)])
    sys.argv = ["syncfs", *words]
    syncfs()


def measure(place: Path, peers: list[Peer], files: int, undone: int) -> None:
    """All of it."""
    first, second, third = peers
    source = place / "source" / "new"
    source.mkdir(parents=True)
    for number in range(files):
        (source / f"file {number}").write_bytes(b"%d" % number)
    made = first.syncfs(
        "create", NAME, "--from", str(source.parent), "--listen", first.listen, "--discovery", "none", "--json"
    )
    first.syncfs("config", NAME, "brake", "off")
    secret = json.loads(made)["secrets"]["read_write"]
    second.join(secret, first)
    third.join(secret, first, second)

    second.start()
    began = time.monotonic()
    first.start()
    until(lambda: shows(second, "new", files))
    report(f"take in {files} new files", began, second)

    there = datetime.now(UTC)
    time.sleep(1)
    began = time.monotonic()
    for number in range(files):
        (first.mount / "new" / f"file {number}").unlink()
    (first.mount / "new").rmdir()
    report(f"delete {files} files", began, first)
    until(lambda: not (second.mount / "new").exists())
    report(f"take in the deletion of {files} files", began, second)

    began = time.monotonic()
    first.syncfs("restore", f"{first.mount / 'new'}@{there.isoformat()}")
    report(f"restore a directory of {files} files", began, first)
    until(lambda: shows(second, "new", files))
    report("take in what was restored", began, second)

    first.stop()
    fill(second, "work", "theirs", files)
    third.start()
    until(lambda: shows(third, "new", files) and shows(third, "work", files))
    third.stop()
    (second.mount / "work").rename(second.mount / "play")
    second.stop()
    first.start()
    fill(first, "work", "ours", files)
    began = time.monotonic()
    third.start()
    until(lambda: shows(first, "work", 2 * files) and shows(third, "work", 2 * files))
    report(f"two directories of {files} files become one", began, first)
    began = time.monotonic()
    second.start()
    until(lambda: all(shows(peer, name, files) for peer in peers for name in ("work", "play")))
    report("the two part", began, first)

    since = datetime.now(UTC)
    time.sleep(1)
    fill(second, "undone", "new", undone // 2)
    for number in range(undone - undone // 2):
        (second.mount / "new" / f"file {number}").unlink()
    until(lambda: shows(first, "undone", undone // 2) and shows(first, "new", files - undone + undone // 2))
    began = time.monotonic()
    first.syncfs("undo", NAME, "--device", second.device(), "--since", since.isoformat())
    report(f"undo what was done to {undone} files", began, first)


def fill(peer: Peer, name: str, begin: str, files: int) -> None:
    """Make a directory with files."""
    (peer.mount / name).mkdir()
    for number in range(files):
        os.mknod(peer.mount / name / f"{begin} {number}", 0o100644)


def shows(peer: Peer, name: str, files: int) -> bool:
    """Whether a directory has so many entries."""
    try:
        return sum(1 for _ in os.scandir(peer.mount / name)) == files
    except FileNotFoundError:
        return False


def until(done: Callable[[], bool]) -> None:
    """Return when that is so."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise AssertionError("it never came to that")
        time.sleep(0.2)


def report(what: str, began: float, *peers: Peer) -> None:
    """One line."""
    total = time.monotonic() - began
    turns = [turn for peer in peers for turn in peer.turns(began)]
    longest = max(turns, key=lambda turn: turn.took, default=Turn(0, 0, 0, ""))
    busiest = max(turns, key=lambda turn: turn.used, default=longest)
    print(
        f"{what}: longest turn {longest.took * 1000:.0f} ms, most processor time of any {busiest.used * 1000:.0f} ms "
        f"({busiest.task}), {sum(turn.took > LONG_S for turn in turns)} over {LONG_S * 1000:.0f} ms, "
        f"all done after {total:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
