"""The command line in real processes, above an engine in memory, each test with a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from syncfs.cli.home import Home
from syncfs.cli.running import running_shares

ROOT = Path(__file__).parents[2]


@dataclass
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs commands in one home."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: object, input: str | None = None, program: str = "syncfs", **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.memory_syncfs", *map(str, words)],
            env=self.surroundings(MEMORY_SYNCFS_AS=program, **environment),
            cwd=ROOT,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def started(self, *words: object, ignoring: str = "", **environment: str) -> "subprocess.Popen[str]":
        """A command that runs and ignores these signals, as those in the background of a script do INT.

        What we ourselves were told to ignore, as by nohup(1), it does not.
        """
        return subprocess.Popen(
            ["env", "--default-signal", "sh", "-c", f"trap '' {ignoring}; exec \"$@\"" if ignoring else 'exec "$@"',
             "sh", sys.executable, "-m", "tests.cli.memory_syncfs", *map(str, words)],
            env=self.surroundings(**environment), cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def good(self, *words: object, **environment: str) -> str:
        done = self.run(*words, **environment)
        assert (done.code, done.err) == (0, ""), done
        return done.out

    def surroundings(self, **environment: str) -> dict[str, str]:
        return {**os.environ, "SYNCFS_HOME": str(self.home), "PYTHONPATH": str(ROOT), **self.environment, **environment}


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for nothing but its parent to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell whose shares are all ended with the test."""
    shell = Shell(tmp_path / "home")
    yield shell
    shell.environment.pop("MEMORY_SYNCFS", None)
    for record in running_shares(Home(shell.home)):
        shell.run("umount", record.name)
