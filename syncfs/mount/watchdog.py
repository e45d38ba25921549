"""The second line against a frozen process: somebody else who sends it a request when it falls silent.

`loop` keeps the process from sleeping in a read of /dev/fuse. Should it sleep there all the same, any request wakes
it. So a small process of its own hears a heartbeat from the loop through a pipe, and when it is late calls statvfs(3)
on the mount, which the kernel never answers from a cache. The pipe ends with the mounting process, and the watchdog
with it.
"""

import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Final

import trio

BEAT_S: Final = 1.0
LATE_S: Final = 3.0

# Runs without the site module and without syncfs: about 7 MiB, and a start of some 10 ms.
_PROGRAM: Final = """
import os, select, sys
mountpoint, late = sys.argv[1], float(sys.argv[2]) * 1000
os.chdir("/")
pulse = select.poll()
pulse.register(0, select.POLLIN)
while True:
    if pulse.poll(late):
        if not os.read(0, 4096):
            break
    else:
        try:
            os.statvfs(mountpoint)
        except OSError:
            pass
"""


class Watchdog:
    """A running watchdog; ends with the block. `pulse` has to run in the loop."""

    def __init__(self, mountpoint: str, late: float = LATE_S) -> None:
        self._mountpoint = mountpoint
        self._late = late

    def __enter__(self) -> "Watchdog":
        reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writing, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, self._mountpoint, str(self._late)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(reading)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._writing)
        # It may hang in the mount it watches, which ends right after us; nobody has to wait for that.
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()

    @property
    def pid(self) -> int:
        """The process id of the watchdog."""
        return self._process.pid

    async def pulse(self) -> None:
        """Beats until cancelled."""
        while True:
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._writing, b".")
            await trio.sleep(BEAT_S)
