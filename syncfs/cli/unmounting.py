"""Ending a share in order: flush, unmount, wait for its process; and taking away what a dead one left.

The kernel's mount is taken away by `umount -i` or `fusermount3 -u`, which keep the tables of mount(8) right; a mount
that is in use stays, and so does the share. Data that was acknowledged is on the disk at any moment, so what is waited
for here is that nothing half-done is left, not that anything is saved at the last second.
"""

import errno
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from syncfs.cli.mounts import TYPE, Mount, current_mounts, mounted_at
from syncfs.cli.running import RunRecord
from syncfs.control.client import connect
from syncfs.control.commands import FLUSH, STOP, Nothing
from syncfs.model.errors import BusyError, SetupError, UnavailableError, UsageError

FLUSH_SECONDS: Final = 60.0
"""How long an unmount waits by default."""
_UNMOUNT_SECONDS: Final = 30.0


def stop_share(record: RunRecord, seconds: float, tell: Callable[[str], None]) -> None:
    """End the process that runs a share, its mount included, and return when it is gone.

    Raises BusyError where the mount is in use, or where the time was too short: then what was begun goes on.
    """
    deadline = time.monotonic() + seconds
    try:
        process = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        mount = mounted_at(current_mounts(), record.mountpoint) if record.mountpoint else None
        _flush(record, deadline, tell)
        if mount is not None and mount.type == TYPE:
            unmount(mount)
        _ask_to_stop(record)
        if not _ends(process, deadline):
            tell(f"waiting for '{record.name}' to end")
            if not _ends(process, deadline, wait=True):
                raise BusyError(
                    f"'{record.name}' is still ending after {seconds:.0f} s and goes on in the background: "
                    "run the command again to wait for it"
                )
    finally:
        os.close(process)


def unmount(mount: Mount) -> None:
    """Have the kernel take a mount away. Raises BusyError where it is in use, SetupError where we may not."""
    own = ["umount", "-i"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    complaint = _run([*own, "--", mount.directory])
    if complaint is None:
        return
    if "busy" in complaint:
        raise BusyError(f"{mount.directory} is in use: end what uses it ('fuser -vm {mount.directory}' names it)")
    raise SetupError(f"{mount.directory} cannot be unmounted: {complaint}")


def detach(mount: Mount) -> None:
    """Take away a mount whose process is gone, whoever still looks at it. Raises SetupError."""
    own = ["umount", "-i", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
    if complaint := _run([*own, "--", mount.directory]):
        raise SetupError(f"the dead mount at {mount.directory} cannot be taken away: {complaint}")


def prepare_mountpoint(directory: str, allow_content: bool) -> None:
    """Make sure that `directory` can be mounted on; a dead mount of ours there is detached first.

    Raises UsageError where it is missing, no directory or not empty, BusyError where something is mounted there.
    """
    mount = mounted_at(current_mounts(), directory)
    if mount is not None and mount.type == TYPE:
        if not is_dead(directory):
            raise BusyError(f"'{mount.source}' is already mounted at {directory}: choose another directory")
        detach(mount)
    try:
        occupied = next(iter(os.scandir(directory)), None) is not None
    except FileNotFoundError:
        raise UsageError(f"the directory {directory} does not exist: make it with 'mkdir -p {directory}'") from None
    except NotADirectoryError:
        raise UsageError(f"{directory} is not a directory: name one to mount at") from None
    except OSError as error:
        raise SetupError(f"{directory} cannot be mounted on ({error.strerror}): choose another directory") from error
    if occupied and not allow_content:
        raise UsageError(
            f"{directory} is not empty: mount at an empty directory, or add '-o nonempty' to hide its files"
        )


def is_dead(directory: str) -> bool:
    """Whether the process behind the mount at `directory` is gone."""
    try:
        os.statvfs(directory)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _flush(record: RunRecord, deadline: float, tell: Callable[[str], None]) -> None:
    remaining = max(deadline - time.monotonic(), 0.1)
    started = time.monotonic()
    try:
        with connect(record.socket, record.name) as client:
            client.call(FLUSH, Nothing(), remaining)
    except UnavailableError as error:
        if time.monotonic() - started < remaining:
            return  # it is ending already: then it flushes by itself
        where = f" and stays mounted at {record.mountpoint}" if record.mountpoint else ""
        raise BusyError(
            f"'{record.name}' could not be flushed within {remaining:.0f} s{where}: "
            f"see 'syncfs status {record.name}' and try again"
        ) from error
    if time.monotonic() - started > 1:
        tell(f"'{record.name}' is flushed")


def _ask_to_stop(record: RunRecord) -> None:
    try:
        with connect(record.socket, record.name) as client:
            client.call(STOP, Nothing())
    except UnavailableError:
        return  # a share whose mount is gone ends by itself


def _ends(process: int, deadline: float, wait: bool = False) -> bool:
    """Whether a process ends within a second, or within all of the time that is left."""
    left = max(deadline - time.monotonic(), 0.0)
    readable, _, _ = select.select([process], [], [], left if wait else min(left, 1.0))
    return bool(readable)


def _run(command: list[str]) -> str | None:
    """Run a program; None where it went well, otherwise the last line of what it said."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_UNMOUNT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise SetupError(f"the program {Path(command[0]).name} is missing: install it (Debian: fuse3, mount)") from None
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {_UNMOUNT_SECONDS:.0f} s"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return None if done.returncode == 0 else (said[-1] if said else f"{command[0]} failed")
