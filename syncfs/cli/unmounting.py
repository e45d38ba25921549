"""Ending a share in order: flush, unmount, wait for its process.

Data that was acknowledged is on the disk at any moment, so what is waited for here is that nothing half-done is left,
not that anything is saved at the last second. A mount that is in use stays, and so does the share. What cannot be
stored, because its disk is full or gone, is given up only by force.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from syncfs.cli.running import RunRecord
from syncfs.control.client import LIFE_SECONDS, connect
from syncfs.control.commands import CONFIG, FLUSH, STOP, ConfigArguments, Nothing
from syncfs.model.errors import BusyError, SilentError, SyncfsError, UnavailableError
from syncfs.mount import mountpoint, table, umount

FLUSH_SECONDS: Final = 60.0
"""How long an unmount waits by default."""
LAZY_SECONDS: Final = 5.0
"""How long a lazy unmount waits: it is for what does not answer, too."""
_LEAST_SECONDS: Final = 1.0

Tell = Callable[[str], None]


class Manner(Enum):
    """How to unmount: in order; taken out of the tree at once; with an end even to a process that does not answer."""

    ORDERLY = "orderly"
    LAZY = "lazy"
    FORCED = "forced"


def stop_share(record: RunRecord, seconds: float, tell: Tell, manner: Manner = Manner.ORDERLY) -> None:
    """End the process that runs a share, its mount included, and return when it is gone.

    LAZY: the mount is taken out of the tree at once, and the process ends with its last user. FORCED: a process that
    does not answer is killed, and a dead mount is left to nobody; what cannot be flushed is given up, and a process
    that cannot end because of that is killed. Raises BusyError where the mount is in use, hidden by another one, or
    cannot be flushed in time, so that it stays, what keeps it from being flushed, UnavailableError where the process is
    ending and needs longer.
    """
    require_uncovered(record.mountpoint or "")
    if manner is Manner.LAZY and record.place is not None:
        _detach_lazily(record, record.place, tell)
        return
    if manner is Manner.FORCED and not _answers(record):
        _kill(record, seconds, tell)
        return
    deadline = time.monotonic() + seconds
    try:
        process = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    unkept: BaseException | None = None
    killed = ""
    try:
        try:
            _flush(record, seconds)
        except SyncfsError as error:
            if manner is not Manner.FORCED:
                raise
            unkept = error.__cause__ or error
        try:
            _end(record, process, seconds, deadline, tell)
        except UnavailableError:
            if unkept is None:
                raise
            _kill_process(record, process, seconds)
            killed = f"; process {record.pid} did not end by itself and was killed"
    finally:
        os.close(process)
    if unkept is not None:
        tell(f"'{record.name}' is ended, and what programs wrote without an fsync may be lost, for {unkept}{killed}")


def _end(record: RunRecord, process: int, seconds: float, deadline: float, tell: Tell) -> None:
    """Unmount, and wait for the process. Raises BusyError, SetupError, UnavailableError where it needs longer."""
    mounted = table.mounted_at(record.mountpoint) if record.mountpoint else None
    left = max(deadline - time.monotonic(), _LEAST_SECONDS)
    if mounted is not None and mounted.type == table.TYPE:
        umount.unmount(
            mounted.directory,
            pid=record.pid,
            timeout=left,
            waiting=lambda passed: _insist(record, passed, tell),
        )
        return
    _ask_to_stop(record)
    if not select.select([process], [], [], left)[0]:
        raise UnavailableError(
            f"'{record.name}' is still ending after {seconds:.0f} s and goes on in the background: "
            "run the command again to wait for it"
        )


def require_uncovered(directory: str) -> None:
    """Raises BusyError where another mount hides the share that is mounted on a directory."""
    above = table.mounted_over(directory)
    if above is not None:
        raise BusyError(
            f"{directory} has {above.source} ({above.type}) mounted over the share: "
            f"unmount that first (umount '{directory}'), then try again"
        )


def _detach_lazily(record: RunRecord, directory: str, tell: Tell) -> None:
    """Take a mount out of the tree whoever uses it, after what was written has been flushed, if that is quick."""
    try:
        _flush(record, LAZY_SECONDS)
    except BusyError:
        tell(f"'{record.name}' could not be flushed within {LAZY_SECONDS:.0f} s: process {record.pid} goes on with it")
    mountpoint.detach(directory)


def _answers(record: RunRecord) -> bool:
    try:
        with connect(record.socket, record.name) as client:
            client.call(CONFIG, ConfigArguments(), LIFE_SECONDS)
    except SilentError:
        return False
    except UnavailableError:
        pass  # it is ending already
    return True


def _kill(record: RunRecord, seconds: float, tell: Tell) -> None:
    place = record.place
    try:
        process = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        _kill_process(record, process, seconds)
    finally:
        os.close(process)
    if place is not None:
        mountpoint.detach(place)
    tell(
        f"'{record.name}' did not answer: process {record.pid} was killed. What programs had fsynced is kept, "
        "what they wrote in the last seconds may be lost"
    )


def _kill_process(record: RunRecord, process: int, seconds: float) -> None:
    signal.pidfd_send_signal(process, signal.SIGKILL)
    if not select.select([process], [], [], seconds)[0]:
        raise UnavailableError(
            f"process {record.pid} of '{record.name}' does not end, for the kernel waits for its disk: "
            "look at the disk (dmesg)"
        )


def _flush(record: RunRecord, seconds: float) -> None:
    """Have all stored that was written. Raises BusyError where it takes too long, and what the share itself raises."""
    started = time.monotonic()
    try:
        with connect(record.socket, record.name) as client:
            client.call(FLUSH, Nothing(), seconds)
    except UnavailableError as error:
        if time.monotonic() - started < seconds:
            return  # it is ending already, and flushes by itself then
        where = f" and stays mounted at {record.mountpoint}" if record.mountpoint else ""
        raise BusyError(
            f"'{record.name}' could not be flushed within {seconds:.0f} s{where}: "
            f"see 'syncfs status {record.name}' and try again"
        ) from error
    except SyncfsError as error:
        raise type(error)(
            f"{error}; 'syncfs umount --force {record.name}' ends it without what could not be stored"
        ) from error


def _insist(record: RunRecord, passed: float, tell: Tell) -> None:
    """The process goes on though its mount is gone here: a container may have a copy, and nobody tells it to end."""
    tell(f"'{record.name}' is ending since {passed:.0f} s")
    _ask_to_stop(record)


def _ask_to_stop(record: RunRecord) -> None:
    try:
        with connect(record.socket, record.name) as client:
            client.call(STOP, Nothing())
    except UnavailableError:
        return  # it is ending already
