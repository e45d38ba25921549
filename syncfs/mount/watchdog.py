"""The second line against a frozen process: somebody else who notices when it falls silent.

`device` never sleeps in a read of /dev/fuse. Should the loop fall silent all the same, a request may wake it. So a
small process of its own hears a heartbeat from the loop through a pipe, and when it is late calls statvfs(3) on the
mount, which the kernel never answers from a cache.

A process that is killed while a notification of it waits in the kernel, for a program whose request nobody will answer
any more, cannot end: its thread waits for the program and the program for it. The watchdog sees that and aborts the
connection, which is what the end of the process would have done. Root does so by a forced umount in a copy of the
mount table, so that the dead mount stays where it is and nobody writes below it; others need the fusectl file system,
which systemd mounts everywhere.

The pipe ends with the mounting process, and the watchdog with it.
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
import os, select, signal, sys
mountpoint, minor, late = sys.argv[1], sys.argv[2], float(sys.argv[3]) * 1000
daemon = os.getppid()
os.chdir("/")
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
pulse = select.poll()
pulse.register(0, select.POLLIN)

def is_dying():
    try:
        with open(f"/proc/{daemon}/status") as file:
            told = dict(line.split(":", 1) for line in file)
    except OSError:
        return False
    pending = int(told["SigPnd"], 16) | int(told["ShdPnd"], 16)
    return told["State"].split()[0] in "ZX" or pending >> (signal.SIGKILL - 1) & 1

def abort():
    try:
        with open(f"/sys/fs/fuse/connections/{minor}/abort", "w") as file:
            file.write("1")
        return
    except OSError:
        pass
    import ctypes
    libc = ctypes.CDLL(None)
    newns, private, force = 0x20000, 0x44000, 1
    if libc.unshare(newns) == 0 and libc.mount(None, b"/", None, private, None) == 0:
        libc.umount2(os.fsencode(mountpoint), force)

while True:
    if pulse.poll(late):
        if not os.read(0, 4096):
            break
    elif is_dying():
        abort()
        break
    elif os.fork() == 0:
        try:
            os.statvfs(mountpoint)
        finally:
            os._exit(0)
"""


class Watchdog:
    """A running watchdog; ends with the block. `pulse` has to run in the loop."""

    def __init__(self, mountpoint: str, minor: int, late: float = LATE_S) -> None:
        """`minor` is the number of the mounted device, which is that of its connection as well."""
        self._mountpoint = mountpoint
        self._minor = minor
        self._late = late

    def __enter__(self) -> "Watchdog":
        reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writing, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, self._mountpoint, str(self._minor), str(self._late)],
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
