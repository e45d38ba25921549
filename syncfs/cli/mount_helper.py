"""The programs that mount(8) and umount(8) call: mount.syncfs, mount.fuse.syncfs, umount.fuse.syncfs.

`mount.syncfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]` mounts the share SPEC; `umount.syncfs DIR
[-flnrv] [-N NAMESPACE] [-t TYPE]` returns when everything is flushed. Both end with the codes of mount(8), in the table
below, not with those of `syncfs`.

The source in the mount table is the share's name as in fstab, by which `mount -a` knows what is mounted already. Where
the current directory has a file of that name, mount(8) makes a path of it: then SPEC is that path, and it is for us to
know what is mounted already.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from getopt import GetoptError, gnu_getopt
from pathlib import Path
from typing import Final

from syncfs.cli.engine import MountPlan, known_share, require_mountable
from syncfs.cli.failures import sentence, understood
from syncfs.cli.home import Home, named_home, this_home
from syncfs.cli.mount_options import GivenOptions, read_options, require_unchanged
from syncfs.cli.mounting import READY_SECONDS, end_target, start_in_background
from syncfs.cli.running import behind_mount
from syncfs.cli.unmounting import FLUSH_SECONDS, Manner
from syncfs.model.errors import SyncfsError, UsageError
from syncfs.mount import mountpoint, table
from syncfs.mount.options import parse_options

OK: Final = 0
WRONG_CALL: Final = 1
SYSTEM_ERROR: Final = 2
OWN_ERROR: Final = 4
INTERRUPTED: Final = 8
MOUNT_FAILED: Final = 32
_NEW_MOUNTS: Final = 0x00020000
"""CLONE_NEWNS of setns(2)."""


class _CallError(UsageError):
    """The helper was called in a way that it does not know."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What a helper was asked for."""

    operands: tuple[str, ...]
    options: GivenOptions
    f: bool
    """Fake when mounting, force when unmounting."""
    verbose: bool
    lazy: bool


def mount_main() -> None:
    """The entry point of mount.syncfs."""
    sys.exit(run_mount(sys.argv[1:]))


def umount_main() -> None:
    """The entry point of umount.syncfs."""
    sys.exit(run_umount(sys.argv[1:]))


def run_mount(arguments: Sequence[str]) -> int:
    """Mount as mount(8) asks; returns an exit code of mount(8)."""

    def mount() -> None:
        call = _read(arguments, "sfnvwrN:o:t:", 2, "mount.syncfs SPEC DIR [-sfnv] [-o OPTIONS]")
        spec, directory = call.operands
        name = spec.rpartition("/")[
            2
        ]  # mount(8) makes a path of a name that a file in the current directory bears, too
        home = named_home(call.options.home) if call.options.home else this_home()
        if call.options.remount:
            _remount(home, call, name, directory)
            return
        require_mountable(known_share(home, name))
        if mountpoint.mounted_by_access(directory, name) or (spec != name and mountpoint.has_share(directory, name)):
            return
        plan = MountPlan(mountpoint.prepare(directory), name, call.options.mount)
        if call.f:
            return
        pid = start_in_background(home, name, plan, READY_SECONDS)
        if call.verbose:
            print(f"mount.syncfs: '{name}' is mounted at {plan.directory} by process {pid}")

    return _guarded("mount.syncfs", mount)


def run_umount(arguments: Sequence[str]) -> int:
    """Unmount as umount(8) asks; returns an exit code of mount(8)."""

    def umount() -> None:
        call = _read(arguments, "flnrvN:t:", 1, "umount.syncfs DIR [-flv]")
        directory = os.path.join(call.operands[0], "")  # noqa: PTH118 - a name with a slash is a place, never a share

        def tell(said: str) -> None:
            print(f"umount.syncfs: {said}", file=sys.stderr)

        manner = Manner.LAZY if call.lazy else Manner.FORCED if call.f else Manner.ORDERLY
        end_target(this_home(), directory, FLUSH_SECONDS, tell, manner)

    return _guarded("umount.syncfs", umount)


def _remount(home: Home, call: _Call, name: str, directory: str) -> None:
    """Have the kernel change what it can; the share may be one of any home."""
    mounted = table.mounted_at(table.resolved(directory))
    if mounted is not None and mounted.type == table.TYPE:
        record = behind_mount(home, mounted)
        require_unchanged(call.options, (record and record.options) or parse_options(""), name)
    if not call.f:
        mountpoint.remount(directory, name, call.options.mount)


def _read(arguments: Sequence[str], letters: str, count: int, usage: str) -> _Call:
    try:
        flags, operands = gnu_getopt(list(arguments), letters)
    except GetoptError as error:
        raise _CallError(f"{error}: call it as {usage}") from error
    if len(operands) != count:
        raise _CallError(f"call it as {usage}")
    if not operands[-1]:
        raise _CallError(f"'' names no directory: call it as {usage}")
    given = [letter for letter, _ in flags]
    texts = [value for letter, value in flags if letter == "-o"]
    for namespace in (value for letter, value in flags if letter == "-N"):
        _enter(namespace)
    try:
        options = read_options([*texts, "ro"] if "-r" in given else texts, sloppy="-s" in given)
    except UsageError as error:
        raise _CallError(str(error)) from error
    return _Call(tuple(operands), options, "-f" in given, "-v" in given, "-l" in given)


def _enter(namespace: str) -> None:
    """Go on in another mount namespace, which mount(8) leaves to its helpers; home and share are those seen there."""
    try:
        with Path(namespace).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NEW_MOUNTS):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError as error:
        raise _CallError(f"the namespace {namespace} cannot be entered: {error.strerror}") from error
    if not Path(__file__).exists():
        raise _CallError(f"syncfs is not to be seen in the namespace {namespace}: install it there, and mount inside")


def _guarded(program: str, action: Callable[[], None]) -> int:
    """Run one action; say what went wrong in one sentence and choose the code for it."""
    try:
        action()
    except BaseException as caught:
        error = understood(caught)
        print(f"{program}: {sentence(error)}", file=sys.stderr)
        match error:
            case KeyboardInterrupt():
                return INTERRUPTED
            case _CallError():
                return WRONG_CALL
            case SyncfsError():
                return MOUNT_FAILED
            case OSError() | MemoryError():
                return SYSTEM_ERROR
            case _:
                return OWN_ERROR
    return OK


if __name__ == "__main__":
    program = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    sys.exit({"mount": run_mount, "umount": run_umount}[program](sys.argv[1:]))
