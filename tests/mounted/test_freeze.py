"""Callers that are killed while they wait must not put the process to sleep (see syncfs.mount.device).

With a blocking read of /dev/fuse 6 to 7 of the 40 callers froze it where this was written. A freeze stops every thread,
so a plain thread's heartbeat shows it; the watchdog would end it after three seconds, which is later than we look.
"""

import mmap
import os
import random
import select
import signal
import time
from pathlib import Path

import pytest

from tests.mounted.mounting import MemoryMount, memory_mount

pytestmark = pytest.mark.fuse

CALLERS = 40
BUSY_S = 0.02
SILENT_S = 0.5


def test_killed_callers_freeze_nothing(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    beats.write_bytes(bytes(8))
    with memory_mount(tmp_path, "--busy", str(BUSY_S), "--beats", str(beats)) as mount:
        assert killed_callers(mount, beats) == 0


def killed_callers(mount: MemoryMount, beats: Path) -> int:
    """How many of CALLERS killed callers froze the mounting process."""
    chance = random.Random(7)
    freezes = 0
    with beats.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        for number in range(CALLERS):
            caller = os.fork()
            if not caller:
                try:
                    (mount / f"missing-{number}").stat()
                finally:
                    os._exit(0)
            time.sleep(chance.uniform(0, 4 * BUSY_S))
            os.kill(caller, signal.SIGKILL)
            if _falls_silent(memory):
                freezes += 1
                os.statvfs(mount.directory)
            _reap(caller)
    return freezes


def _falls_silent(memory: mmap.mmap) -> bool:
    watched_until = time.monotonic() + SILENT_S + 0.2
    while time.monotonic() < watched_until:
        age = time.monotonic() - int.from_bytes(memory[:8], "little") / 1e9
        if age > SILENT_S:
            return True
        if age < 0.05 and time.monotonic() > watched_until - SILENT_S:
            return False
        time.sleep(0.01)
    return False


def _reap(caller: int) -> None:
    descriptor = os.pidfd_open(caller)
    try:
        assert select.select([descriptor], [], [], 10)[0], "a killed caller does not end"
    finally:
        os.close(descriptor)
    os.waitpid(caller, 0)
