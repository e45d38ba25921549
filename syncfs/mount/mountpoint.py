"""Whether a share can be mounted on a directory, and what to do about it: one sentence for each case.

A directory with a dead mount of ours (its process ended without unmounting: ENOTCONN) is freed. Dead mounts are left
standing until then on purpose: a program that mirrors the directory meanwhile must meet an error, not an empty tree.
"""

import ctypes
import errno
import os
import shutil
import stat
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from syncfs.model.errors import (
    BusyError,
    MountedError,
    NoFuseError,
    NoPlaceError,
    NotEmptyError,
    SetupError,
    UsageError,
)
from syncfs.mount import table, utab
from syncfs.mount.options import MountOptions

DEVICE: Final = "/dev/fuse"
FUSE_CONF: Final = Path("/etc/fuse.conf")
ANSWER_S: Final = 5.0
"""How long a mount may take to answer before it counts as alive but stuck."""
MNT_DETACH: Final = 2


def prepare(directory: str | Path) -> str:
    """Makes sure that a share can be mounted on a directory; its resolved path.

    Raises NoPlaceError, NotEmptyError, MountedError (something is mounted there), UsageError, SetupError.
    """
    if not str(directory):
        raise UsageError("'' names no directory: say where to mount")
    path = table.resolved(directory)
    mounted = _after_automount(path)
    if mounted is not None and mounted.type == table.TYPE and is_dead(path):
        detach(path)
        mounted = _after_automount(path)  # which may have waited below
    if mounted is not None and mounted.type != table.AUTOMOUNT:
        what = f"the share '{mounted.source}'" if mounted.type == table.TYPE else f"{mounted.source} ({mounted.type})"
        raise MountedError(f"{path} already has {what} mounted: unmount it first, or choose another directory")
    try:
        kind = Path(path).stat().st_mode
        is_empty = not stat.S_ISDIR(kind) or next(Path(path).iterdir(), None) is None
    except FileNotFoundError:
        raise NoPlaceError(f"{path} does not exist: make the directory first (mkdir {path})") from None
    except PermissionError:
        raise UsageError(f"{path} may not be read by you: choose a directory of your own") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be used to mount on: {error.strerror}") from error
    if not stat.S_ISDIR(kind):
        raise UsageError(f"{path} is not a directory: choose an empty directory")
    if not is_empty:
        raise NotEmptyError(f"{path} is not empty: choose an empty directory, since a mount would hide its content")
    if os.geteuid() != 0 and not os.access(path, os.W_OK):
        raise UsageError(f"{path} is not yours to mount on: choose a directory that you may write to")
    return path


def has_share(directory: str | Path, source: str) -> bool:
    """Whether that share is mounted at a directory."""
    mounted = table.mounted_at(table.resolved(directory))
    return mounted is not None and (mounted.type, mounted.source) == (table.TYPE, source)


def mounted_by_access(directory: str | Path, source: str) -> bool:
    """Whether an automount was waiting at a directory, and has mounted that share there because we came by.

    It may have been waiting below a dead mount, which is taken away then. Raises BusyError, SetupError.
    """
    path = table.resolved(directory)
    here = [mount.type for mount in table.mounts() if mount.directory == path]
    if table.AUTOMOUNT not in here:
        return False
    if here[-1] == table.TYPE and is_dead(path):
        detach(path)
    elif here[-1] != table.AUTOMOUNT:
        return False
    _after_automount(path)
    return has_share(path, source)


def _after_automount(path: str) -> table.Mount | None:
    """What is mounted at a path when an automount that may wait there has done what it does for whoever comes by.

    Where it is us whom it has called, we come by in vain, and still find it alone.
    """
    mounted = table.mounted_at(path)
    if mounted is not None and mounted.type == table.AUTOMOUNT:
        with suppress(OSError):
            os.statvfs(path)  # stat(2) would not do
        mounted = table.mounted_at(path)
    return mounted


def remount(directory: str | Path, source: str, options: MountOptions) -> None:
    """Changes how a share is mounted, in what the kernel itself decides: ro, noexec and the like.

    Raises UsageError where that share is not mounted there, SetupError where the kernel refuses.
    """
    path = table.resolved(directory)
    if not has_share(path, source):
        raise UsageError(f"'{source}' is not mounted at {path}: leave the option remount out to mount it")
    command = ["mount", "-i", "-c", "-t", table.TYPE, "-o", ",".join(["remount", *options.kernel]), "--", source, path]
    done = subprocess.run(command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{path} cannot be mounted in another way: {done.stderr.strip()}")


def check_fuse(allow_other: bool) -> None:
    """Makes sure that this computer lets us mount at all. Raises SetupError."""
    if not Path(DEVICE).exists():
        raise NoFuseError(f"there is no {DEVICE}: load the kernel module with 'modprobe fuse', or allow it here")
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        raise NoFuseError(
            f"{DEVICE} cannot be opened ({error.strerror}): allow it for you, or in this container"
        ) from error
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise SetupError("there is no fusermount3, without which only root can mount: install the package fuse3")
    if allow_other and not _others_allowed():
        raise SetupError(f"allow_other is refused here: add the line 'user_allow_other' to {FUSE_CONF}")


def is_dead(path: str) -> bool:
    """Whether the process behind a mount has ended. Raises BusyError where the mount does not answer at all."""
    outcome: list[int] = []

    def look() -> None:
        try:
            os.statvfs(path)
        except OSError as error:
            outcome.append(error.errno or 0)
        else:
            outcome.append(0)

    # Attributes come from the kernel's cache even where nobody answers any more; statvfs(3) always asks. In the mount
    # of a stuck process it cannot be interrupted; a thread that hangs there is left behind.
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(ANSWER_S)
    if not outcome:
        raise BusyError(f"{path} is mounted but does not answer: 'syncfs umount --force {path}' ends it")
    return outcome[0] in (errno.ENOTCONN, errno.ECONNABORTED)


def detach(path: str) -> None:
    """Takes a mount out of the tree at once, also while it is in use. Raises SetupError."""
    unmount(path, lazy=True)


def unmount(path: str, *, lazy: bool) -> None:
    """Unmounts without asking the umount helpers. Raises BusyError while in use (unless lazy), SetupError."""
    root = os.geteuid() == 0
    if root and not utab.is_registered(path):
        libc = ctypes.CDLL(None, use_errno=True)
        code = 0 if libc.umount2(os.fsencode(path), MNT_DETACH if lazy else 0) == 0 else ctypes.get_errno()
        reason = os.strerror(code)
    else:
        # For root by umount(8), which takes the line out of its table.
        command = ["umount", "-i", "-c"] if root else ["fusermount3", "-u"]
        if lazy:
            command.append("-l" if root else "-z")
        surroundings = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run([*command, "--", path], env=surroundings, capture_output=True, text=True, check=False)
        reason = done.stderr.strip()
        code = 0 if done.returncode == 0 else errno.EBUSY if "busy" in reason.lower() else errno.EPERM
    if code == errno.EBUSY:
        raise BusyError(
            f"{path} is in use: leave it with every program and shell (fuser -vm shows them), then try again"
        )
    if code:
        raise SetupError(f"{path} cannot be unmounted: {reason}")


def _others_allowed() -> bool:
    try:
        lines = FUSE_CONF.read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
