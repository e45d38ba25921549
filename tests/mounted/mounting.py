"""A memory mount as a test sees it: a process, a directory, and commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncfs.mount import table

ROOT = Path(__file__).parents[2]
END_S = 30.0


@dataclass(frozen=True)
class MemoryMount:
    """A running mount."""

    directory: Path
    process: "subprocess.Popen[str]"
    log: Path

    def __truediv__(self, name: str | bytes) -> Path:
        return self.directory / os.fsdecode(name)

    def ask(self, name: str, *arguments: object) -> Any:
        """Runs a command in the process; its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        """The next line that the process says."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the mount ended: {self.log.read_text()}"
        return json.loads(line)

    def remote_write(self, path: str, content: str, keep_times: bool = False) -> None:
        """Another peer writes a file; returns when the kernel has been told."""
        self.ask("remote_write", path, content, keep_times)
        assert self.ask("told") is True

    def remote(self, name: str, *arguments: object) -> None:
        """Another peer changes something; returns when the kernel has been told."""
        self.ask(name, *arguments)
        assert self.ask("told") is True


@contextmanager
def memory_mount(place: Path, *arguments: str, source: str = "memory", options: str = "") -> Iterator[MemoryMount]:
    """Mounts at `place/mnt` until the block ends, however that is."""
    directory, log = place / "mnt", place / "log"
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.mounted.memory_mount", str(directory), source, "--options", options]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    mount = MemoryMount(directory, process, log)
    try:
        assert mount.hear() == "mounted"
        yield mount
    finally:
        end(mount)


def end(mount: MemoryMount) -> None:
    """Ends the mount and its process, politely first."""
    process = mount.process
    if process.poll() is None:
        process.terminate()
    try:
        process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        detach(mount.directory)
        process.kill()
        process.communicate()
    if table.mounted_at(str(mount.directory)):
        detach(mount.directory)


def detach(directory: Path) -> None:
    """The last resort."""
    subprocess.run(["fusermount3", "-u", "-z", str(directory)], check=False)
