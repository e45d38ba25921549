"""Asking a running share: finding it by its name or by a path in its mount, and calling its command list."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from syncfs.cli import engine
from syncfs.cli.home import Home
from syncfs.cli.running import RunRecord, behind_mount, require_own, running_share
from syncfs.control.client import ANSWER_SECONDS, Client, connect
from syncfs.control.commands import Command
from syncfs.model.errors import SilentError, UnavailableError, UsageError
from syncfs.mount import table

A = TypeVar("A", bound=Struct)
R = TypeVar("R")


def require_running(home: Home, name: str) -> RunRecord:
    """The record of a share that runs. Raises UnknownShareError, UnavailableError where it does not run."""
    record = running_share(home, name)
    if record is None:
        engine.known_share(home, name)
        raise UnavailableError(
            f"'{name}' is not running: start it with 'syncfs mount {name} DIR' or 'syncfs serve {name}'"
        )
    return record


def ask(home: Home, name: str, command: Command[A, R], arguments: A, timeout: float | None = ANSWER_SECONDS) -> R:
    """What the share `name` answers. Raises what it raises, UnknownShareError, UnavailableError."""
    return ask_record(require_running(home, name), command, arguments, timeout)


def ask_record(record: RunRecord, command: Command[A, R], arguments: A, timeout: float | None = ANSWER_SECONDS) -> R:
    """What the share behind a record answers. Raises what it raises, UnavailableError, SilentError."""
    with calling(record) as client:
        return client.call(command, arguments, timeout)


@contextmanager
def calling(record: RunRecord) -> Iterator[Client]:
    """Call the share behind a record. Raises UnavailableError, SilentError, which names the process."""
    try:
        with connect(record.socket, record.name) as client:
            yield client
    except SilentError as error:
        pid = record.pid
        raise SilentError(
            f"process {pid}, which runs '{record.name}', does not answer: look into {record.log}, let it go on "
            f"with 'kill -CONT {pid}' if it was stopped, or end it with 'syncfs umount --force {record.name}' "
            "and start it again"
        ) from error


def locate(home: Home, text: str) -> tuple[RunRecord, bytes]:
    """The running share and the path in it that a person means by a path in a mount, or by `NAME:PATH`.

    The path need not exist (any more). Raises UsageError where it lies in no share, SetupError
    where the mount is another user's, UnavailableError.
    """
    path = table.resolved(text)
    mount = covering(table.mounts(), path)
    if mount is not None:
        record = behind_mount(home, mount)
        if record is None:
            require_own(mount, "ask what it knows")
            raise UnavailableError(f"nobody answers for the mount at {mount.directory}: mount it again")
        return record, path_in_share(path, mount.directory)
    name, colon, inner = text.partition(":")
    if colon and "/" not in name:
        return require_running(home, name), path_in_share("/" + inner.lstrip("/"), "/")
    raise UsageError(f"{text} is in no mounted share: give a path below a mount, or NAME:PATH")


def covering(mounts: Sequence[table.Mount], path: str) -> table.Mount | None:
    """The syncfs mount in which an absolute path lies, unless another mount lies between."""
    above = [mount for mount in mounts if path == mount.directory or path.startswith(mount.directory.rstrip("/") + "/")]
    longest = max((len(mount.directory) for mount in above), default=0)
    nearest = next((mount for mount in reversed(above) if len(mount.directory) == longest), None)
    return nearest if nearest is not None and nearest.type == table.TYPE else None


def path_in_share(path: str, top: str) -> bytes:
    """An absolute path relative to the directory above it, as the bytes it is made of; the top itself is empty."""
    relative = Path(path).relative_to(top)
    return b"" if relative == Path() else bytes(relative)
