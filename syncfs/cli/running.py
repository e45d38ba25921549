"""Who runs which share of a home: one process at a time, told apart from one that ended by a lock, never by a pid.

Whoever runs a share holds a lock on run/<share id>.json for its life, and the record in that file says who it is. The
lock is an open file description lock (fcntl(2)): the kernel drops it with the process, however that ends, and one can
ask for it without taking it. So that `umount DIR` finds the process behind a mount whatever its home is, the runtime
directory of the user holds a link from the mount's device number to the record.
"""

import errno
import fcntl
import os
import pwd
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from syncfs.cli.home import Home
from syncfs.model.errors import BusyError, MountedError, SetupError
from syncfs.mount import table
from syncfs.mount.options import MountOptions

_FLOCK: Final = "hhqqi0q"
"""struct flock of Linux on 64 bits: type, whence, start, length, pid."""
_TO_BE_FOUND: Final = ("mount", "serve")
"""Without its record nobody finds such a process; for a command that comes and goes, as one that frees space, the lock
will do."""
_OF_UNFINISHED: Final = ("create", "leave")
_MAX_RECORD: Final = 64 * 1024


class RunRecord(Struct, frozen=True):
    """Who runs a share: `purpose` is mount, serve or the command that needs the share to itself.

    `options` are those it was mounted with.
    """

    share: str
    name: str
    pid: int
    purpose: str
    home: str
    mountpoint: str | None
    since: datetime
    options: MountOptions | None = None

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return Home(Path(self.home)).socket(self.share)

    @property
    def place(self) -> str | None:
        """Where it is mounted now; None where it is not, or no longer, though programs may go on using it."""
        if self.mountpoint is None or not any(
            (mount.directory, mount.type) == (self.mountpoint, table.TYPE) for mount in table.mounts()
        ):
            return None
        return self.mountpoint

    @property
    def log(self) -> Path:
        """Where it says what happens, if it is in the background."""
        return Home(Path(self.home)).log(self.name)

    @property
    def sentence(self) -> str:
        """Who has the share, as a part of a sentence."""
        match self.purpose:
            case "mount" if self.mountpoint is not None and self.place is None:
                return f"'{self.name}' is no longer mounted, but programs still use it through process {self.pid}"
            case "mount":
                return f"'{self.name}' is already mounted at {self.mountpoint} by process {self.pid}"
            case "serve":
                return f"'{self.name}' is already served by process {self.pid}"
            case _:
                return f"'{self.name}' is in use by 'syncfs {self.purpose}', process {self.pid}"


@contextmanager
def claim(home: Home, record: RunRecord) -> Iterator[None]:
    """Run a share, alone, until the block ends.

    Raises MountedError or BusyError where another process has it, SetupError.
    """
    path = home.record(record.share)
    descriptor = _locked(path, record.name)
    try:
        if record.purpose not in _OF_UNFINISHED and (lack := home.lack_of(record.share, record.name)):
            raise SetupError(lack)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(record), 0)
        except OSError as error:
            if record.purpose in _TO_BE_FOUND:
                raise SetupError(
                    f"{path} cannot be written ({error.strerror}): free some space, or check the disk"
                ) from error
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


@contextmanager
def pointer_from_mount(home: Home, record: RunRecord) -> Iterator[None]:
    """Let the process behind a mount be found from the mount itself until the block ends; where that cannot be, not."""
    mount = table.mounted_at(record.mountpoint) if record.mountpoint else None
    pointer = _pointers()[0] / _device(mount) if mount else None
    if pointer is not None:
        with suppress(OSError):
            pointer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            pointer.unlink(missing_ok=True)
            pointer.symlink_to(home.record(record.share))
    try:
        yield
    finally:
        if pointer is not None:
            with suppress(OSError):
                pointer.unlink()


def running_shares(home: Home) -> list[RunRecord]:
    """The records of everything that runs in a home now, by name."""
    try:
        found = sorted(home.run.glob("*.json"))
    except OSError:
        return []
    records = [record for path in found if (record := read_record(path)) is not None]
    return sorted(records, key=lambda record: record.name)


def running_share(home: Home, name: str) -> RunRecord | None:
    """The record of who runs the share of that name now."""
    return next((record for record in running_shares(home) if record.name == name), None)


def behind_mount(home: Home, mount: table.Mount) -> RunRecord | None:
    """The record of the process behind a mount, of this home or of another one that we may look into."""
    candidates = [*running_shares(home)]
    for directory in _pointers():
        record = read_record(directory / _device(mount))
        candidates += [record] if record else []
    return next((record for record in candidates if record.mountpoint == mount.directory), None)


def require_own(mount: table.Mount, what: str) -> None:
    """Raise SetupError where a mount is another user's, so that we may not do `what` (only … may …)."""
    if mount.owner is None or os.geteuid() in (0, mount.owner):
        return
    who = _user(mount.owner)
    allowed = who if mount.owner == 0 else f"{who} and root"
    raise SetupError(f"the mount at {mount.directory} belongs to {who}: only {allowed} may {what}")


def read_record(path: Path) -> RunRecord | None:
    """The record at `path` if the process that wrote it still runs."""
    try:
        # Not blocking, because what another user has put there may be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not _is_locked(descriptor):
            return None
        return msgspec.json.decode(os.pread(descriptor, _MAX_RECORD, 0), type=RunRecord)
    except (OSError, msgspec.MsgspecError):
        return None
    finally:
        os.close(descriptor)


def _locked(path: Path, name: str) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(f"{path} cannot be written ({error.strerror}): allow it, or free some space") from error
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise SetupError(f"{path} cannot be locked ({error.strerror}): move the home elsewhere") from error
            holder = read_record(path)
            if holder is not None and holder.purpose in _TO_BE_FOUND:
                raise MountedError(f"{holder.sentence}: 'syncfs umount {name}' ends it") from error
            taken = holder.sentence if holder else f"'{name}' is already in use"
            raise BusyError(f"{taken}: wait, or end it first") from error
        # Whoever held it before may have taken the file away between our two calls.
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer: int = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
    return answer != fcntl.F_UNLCK


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _device(mount: table.Mount) -> str:
    return f"{mount.major}-{mount.minor}"


def _pointers() -> list[Path]:
    """The directories of pointers: first the one of our own, then, for root, those of the users."""
    if os.geteuid() == 0:
        return [Path("/run/syncfs"), *sorted(Path("/run/user").glob("*/syncfs"))]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return [Path(runtime) / "syncfs"]
