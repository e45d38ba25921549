"""What a test run could leave on the machine, and how it is taken away: mounts, processes, network namespaces.

A run is known by the value of SYNCFS_TEST, which every process it starts inherits and which the names of its network
namespaces contain; a part of it, which is tested at the same time as the others, adds `-PART`. Only what can be traced
to the run is ever removed: somebody's own share mounted meanwhile, or another run beside this one, stays untouched. A
mount is traced by its place, below the directory of the run, or by its process. Where CI is set, nobody else is on the
machine, so a share mounted anywhere else is reported, too.

`python -m tests.leftovers --run ID --directory DIR` exits with 1 and says what is left; scripts/test calls it.
"""

import argparse
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARKER: Final = "SYNCFS_TEST"
TEST_PLACES: Final = ("/syncfs-test.", "/pytest-of-")
"""Parts of a path that show it to be of some test run, which looks after its mounts itself."""
MOUNT_TYPE: Final = "fuse.syncfs "
MNT_DETACH: Final = 2
GRACE: Final = 5.0
"""Seconds that processes get to end by themselves: a daemon is allowed to outlive its unmounting by a little."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is there now: mount points, pids with their command lines, names of network namespaces."""

    mounts: frozenset[str]
    processes: frozenset[tuple[int, str]]
    namespaces: frozenset[str]

    def beyond(self, before: "Leftovers") -> "Leftovers":
        """What is here and was not there `before`."""
        return Leftovers(
            self.mounts - before.mounts, self.processes - before.processes, self.namespaces - before.namespaces
        )

    def lines(self) -> list[str]:
        """One line for a person about each thing."""
        return [
            *(f"a mount on {mount}" for mount in sorted(self.mounts)),
            *(f"process {pid} ({command})" for pid, command in sorted(self.processes)),
            *(f"network namespace {name}" for name in sorted(self.namespaces)),
        ]


NOTHING: Final = Leftovers(frozenset(), frozenset(), frozenset())


def namespace_prefix(run: str) -> str:
    """How the names of a run's network namespaces begin."""
    return f"syncfs-{run}-"


def look(run: str, directory: Path | None, elsewhere: bool = False) -> Leftovers:
    """What run `run` has on the machine now; with `elsewhere`, also the mounts of shares outside of `directory`."""
    mounts = frozenset(_mounts(directory, elsewhere))
    return Leftovers(mounts, frozenset(_processes(run)), frozenset(_namespaces(run)))


def wait_for_end(processes: Iterable[tuple[int, str]], seconds: float) -> None:
    """Wait until all the processes have ended, at most so long."""
    deadline = time.monotonic() + seconds
    for pid, _ in processes:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(descriptor)


def remove(left: Leftovers, directory: Path) -> None:
    """Take away what is left; a mount only where it is below `directory`."""
    for pid, _ in left.processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    libc = ctypes.CDLL(None, use_errno=True)
    for mount in sorted(left.mounts, reverse=True):
        if not mount.startswith(f"{directory}/"):
            continue
        if libc.umount2(os.fsencode(mount), MNT_DETACH):
            subprocess.run(["fusermount3", "-u", "-z", mount], check=False)
    wait_for_end(left.processes, GRACE)
    for name in left.namespaces:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def _mounts(directory: Path | None, elsewhere: bool) -> Iterable[str]:
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields.split()[4])
        below = directory is not None and mount.startswith(f"{directory}/")
        if below or (elsewhere and rest.startswith(MOUNT_TYPE) and not any(place in mount for place in TEST_PLACES)):
            yield mount


def _processes(run: str) -> Iterable[tuple[int, str]]:
    marker = re.compile(rf"{MARKER}={re.escape(run)}(-\w+)?".encode())
    ours = _ancestors()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) in ours:
            continue
        try:
            if any(marker.fullmatch(variable) for variable in (entry / "environ").read_bytes().split(b"\0")):
                yield int(entry.name), _command(entry)
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else


def _command(entry: Path) -> str:
    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").strip()
    return command.decode(errors="replace")[:200] or (entry / "comm").read_text().strip()


def _ancestors() -> frozenset[int]:
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0:
        found.add(pid)
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.split("\nPPid:", 1)[1].split("\n", 1)[0])
    return frozenset(found)


def _namespaces(run: str) -> Iterable[str]:
    try:
        return [path.name for path in Path("/run/netns").iterdir() if path.name.startswith(namespace_prefix(run))]
    except FileNotFoundError:
        return []


def main() -> int:
    """The command of scripts/test: remember what was there before a run, then say, and remove, what it left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--directory", required=True, type=Path)
    parser.add_argument("--remember", action="store_true", help="note what was there before the run")
    parser.add_argument("--clean", action="store_true", help="remove what is left, besides saying it")
    options = parser.parse_args()
    alone = bool(os.environ.get("CI"))
    note = options.directory / "mounts-before"
    if options.remember:
        note.write_text("\0".join(look(options.run, None, alone).mounts))
        return 0
    known = frozenset(note.read_text().split("\0")) if note.exists() else frozenset()
    before = Leftovers(known, frozenset(), frozenset())
    wait_for_end(look(options.run, options.directory).processes, GRACE)
    left = look(options.run, options.directory, alone).beyond(before)
    for line in left.lines():
        print(f"left behind by the tests: {line}", file=sys.stderr)
    if left != NOTHING and options.clean:
        remove(left, options.directory)
        for line in look(options.run, options.directory, alone).beyond(before).lines():
            print(f"still there: {line}", file=sys.stderr)
    return 0 if left == NOTHING else 1


if __name__ == "__main__":
    sys.exit(main())
