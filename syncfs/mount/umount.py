"""Unmounting so that it means something: it returns when the process behind the mount has written everything and ended.

umount(2) itself returns while the process still works. The process is waited for through a pidfd (pidfd_open(2)), which
cannot mistake another process for it and works for processes that are not our children.
"""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from syncfs.model.errors import BusyError, UnavailableError, UsageError
from syncfs.mount import mountpoint, table

TELL_S: Final = 2.0


def unmount(
    directory: str | Path,
    *,
    pid: int | None,
    lazy: bool = False,
    timeout: float = 60.0,
    waiting: Callable[[float], None] = lambda _seconds: None,
) -> None:
    """Unmounts a share and returns when process `pid` has ended (at once where it is None).

    `waiting` is told every two seconds how many seconds have passed. Raises UsageError (no share is mounted there),
    BusyError (in use), SetupError, UnavailableError (the process still works after `timeout` seconds).
    """
    path = table.resolved(directory)
    mounted = table.mounted_at(path)
    if mounted is None or mounted.type != table.TYPE:
        raise UsageError(f"no share is mounted at {path}: 'syncfs list' shows what is mounted where")
    process = None if pid is None else _process(pid)
    try:
        mountpoint.unmount(path, lazy=lazy or mountpoint.is_dead(path))
        if process is not None and not _ended(process, timeout, waiting):
            raise UnavailableError(
                f"{path} is unmounted, but process {pid} still writes after {timeout:g} seconds: let it finish"
            )
    except BusyError as error:
        below = [mount.directory for mount in table.mounts() if mount.directory.startswith(f"{path}/")]
        if below:
            raise BusyError(f"{path} is in use: {below[-1]} is mounted below it, unmount that first") from error
        users = users_of(path)
        raise BusyError(f"{error} [{', '.join(users)}]" if users else str(error)) from error
    finally:
        if process is not None:
            os.close(process)


def users_of(directory: str, limit: int = 3) -> list[str]:
    """Some programs that hold a directory or something below it, as `name (pid)`; looks at /proc, not at the mount."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if len(found) == limit:
            break
        if entry.name.isdecimal() and _holds(entry, directory):
            try:
                found.append(f"{(entry / 'comm').read_text().strip()} ({entry.name})")
            except OSError:
                continue
    return found


def _holds(process: Path, directory: str) -> bool:
    try:
        links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
    except OSError:
        return False
    for link in links:
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target == directory or target.startswith(f"{directory}/"):
            return True
    return False


def _process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _ended(process: int, timeout: float, waiting: Callable[[float], None]) -> bool:
    start = time.monotonic()
    while (passed := time.monotonic() - start) < timeout:
        if select.select([process], [], [], min(TELL_S, timeout - passed))[0]:
            return True
        waiting(time.monotonic() - start)
    return False
