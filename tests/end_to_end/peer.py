"""A peer as a person has it: a home, a mount point, and the real command `syncfs` in processes of its own.

A peer runs on this computer, or on a host of a network lab. Leaving `peer(...)` ends it whatever state it is in: first
in order, then by SIGKILL of the one pid that its own record names, then by taking its mount away.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncfs.cli.home import Home
from syncfs.cli.running import RunRecord, running_share
from syncfs.mount import mountpoint, table

ROOT = Path(__file__).parents[2]
SHARE = "photos"
SOON = 20.0
"""Seconds within which everything that a test waits for has to come true; nothing waits longer than it takes."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer of a command with --json."""
        return json.loads(self.out)


@dataclass(eq=False)
class Peer:
    """One peer; `prefix` is what brings a command onto its host, `name` what its share is called there."""

    name: str
    home: Path
    mount: Path
    prefix: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: object, timeout: float = 120, **environment: str) -> Said:
        """Run one command to its end."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "syncfs", *map(str, words)],
            env=self.surroundings(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def good(self, *words: object, **environment: str) -> str:
        """Run a command that has to succeed; what it said."""
        done = self.run(*words, timeout=120, **environment)
        assert done.code == 0, f"{self.name}: syncfs {' '.join(map(str, words))}: {done}\n{self.log()[-2000:]}"
        return done.out

    def surroundings(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a command."""
        return {**os.environ, "SYNCFS_HOME": str(self.home), "PYTHONPATH": str(ROOT), **self.environment, **more}

    def create(self, *words: object) -> dict[str, str]:
        """Make the share; its secrets by `read_write`, `read_only`, `store`."""
        secrets: dict[str, str] = json.loads(self.good("create", SHARE, *words, "--json"))["secrets"]
        return secrets

    def join(self, secret: str, *words: object) -> None:
        """Join by a secret."""
        self.good("join", secret, SHARE, *words)

    def start(self, options: str = "") -> None:
        """Mount the share."""
        if table.mounted_at(str(self.mount)) is None:
            self.mount.mkdir(exist_ok=True)
        self.good("mount", SHARE, self.mount, *(["-o", options] if options else []))

    def stop(self) -> None:
        """Unmount the share."""
        self.good("umount", self.mount)

    @property
    def record(self) -> RunRecord | None:
        """Who runs the share now."""
        return running_share(Home(self.home), SHARE)

    @property
    def pid(self) -> int:
        """The process that runs the share."""
        record = self.record
        assert record is not None, f"{self.name} does not run: {self.log()[-2000:]}"
        return record.pid

    def kill(self) -> None:
        """End the share's process by SIGKILL, as a crash would, and wait until it is gone."""
        pid = self.pid
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _wait_for_end(descriptor, SOON)
        finally:
            os.close(descriptor)

    def status(self) -> dict[str, Any]:
        """What `status --json` says of the share."""
        told: dict[str, Any] = json.loads(self.good("status", SHARE, "--json"))
        return told

    def cached(self) -> int:
        """The bytes of chunks that are kept here."""
        return int(self.status()["cached_bytes"])

    def log(self) -> str:
        """The log so far."""
        path = Home(self.home).log(SHARE)
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def data(self) -> Path:
        """The directory of the share's index and chunks."""
        (directory,) = (self.home / "shares").iterdir()
        return directory

    def __truediv__(self, path: str) -> Path:
        return self.mount / path


@contextmanager
def peer(place: Path, name: str, prefix: Sequence[str] = ()) -> Iterator[Peer]:
    """A peer in a directory of its own below `place`, ended with the block."""
    directory = place / name
    directory.mkdir(parents=True, exist_ok=True)
    made = Peer(name, directory / "home", directory / "mount", prefix)
    try:
        yield made
    finally:
        end(made)


def end(made: Peer) -> None:
    """End a peer in whatever state it is, and take its mount away."""
    if made.record is not None:
        with suppress(subprocess.TimeoutExpired):
            made.run("umount", SHARE, "--timeout", "20", timeout=40)
    if made.record is not None:
        with suppress(AssertionError, ProcessLookupError):
            made.kill()
    if table.mounted_at(str(made.mount)) is not None:
        mountpoint.detach(str(made.mount))


def until(wanted: Callable[[], object], what: str, seconds: float = SOON) -> float:
    """Ask until something comes true; the seconds it took. Fails, saying `what`, when time is over."""
    start = time.monotonic()
    problem: Exception | None = None
    while (passed := time.monotonic() - start) < seconds:
        try:
            if wanted():
                return time.monotonic() - start
            problem = None
        except OSError as error:
            problem = error
        time.sleep(min(0.02, seconds - passed))
    raise AssertionError(f"not within {seconds} s: {what}{f' ({problem})' if problem else ''}")


def same(*peers: Peer) -> Callable[[], bool]:
    """Whether the peers have told each other everything, for `until`."""
    return lambda: all(one.status()["in_sync"] for one in peers)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_end(descriptor: int, seconds: float) -> None:
    if not select.select([descriptor], [], [], seconds)[0]:
        raise AssertionError("a killed process did not end")
