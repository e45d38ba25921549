"""Into the background with an honest exit status: fork early, report late.

The fork comes first, before there are threads, sockets or a mount. The parent waits on a pipe and ends with what the
child says: ready (exit status 0), or one sentence and an exit status. A child that ends without a word, or says nothing
within the limit, is a failure too; in the latter case the parent ends the child, since nobody would know of it.
"""

import errno
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from msgspec import DecodeError, Struct, json

from syncfs.model.errors import SetupError

LIMIT_S: Final = 120.0
SILENT: Final = 70
"""Exit status (EX_SOFTWARE of sysexits.h) where the child ended without saying why."""


class Outcome(Struct, frozen=True):
    """What the parent ends with; `text` goes to stderr unless empty."""

    status: int
    text: str = ""


class Report:
    """The child's end of the pipe; says one thing once. Used without a pipe it prints, for the foreground."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """All is well: the parent ends with status 0."""
        self._send(Outcome(0))

    def failed(self, text: str, status: int) -> None:
        """It did not work: the parent prints one sentence and ends with the status."""
        if self._descriptor is None:
            print(text, file=sys.stderr)
        self._send(Outcome(status, text))

    def _send(self, outcome: Outcome) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.write(descriptor, json.encode(outcome))
            except BrokenPipeError:
                pass  # whoever waited was ended; the child goes on
            finally:
                os.close(descriptor)


def detach(log: Path | None, limit: float = LIMIT_S) -> Report:
    """Goes on in the background; returns in the child only, the parent exits with what the child reports.

    The child leads a session of its own, works in `/`, and appends its stderr to the file `log` (to nothing where it is
    None). Raises SetupError, before the fork, where the log cannot be written.
    """
    errors = _opened(log)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(writing)
        _await(child, reading, limit)
    os.close(reading)
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(errors)
    return Report(writing)


def _opened(log: Path | None) -> int:
    if log is None:
        return os.open(os.devnull, os.O_WRONLY)
    try:
        return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise SetupError(f"the log {log} cannot be written ({error.strerror}): free its directory first") from error


def _await(child: int, reading: int, limit: float) -> NoReturn:
    outcome = _heard(reading, limit)
    if outcome is None:
        try:
            os.kill(child, signal.SIGKILL)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise
        outcome = Outcome(SILENT, f"the mount was not ready after {limit:g} seconds and has been ended: see its log")
    if outcome.text:
        print(outcome.text, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # No cleaning up here: everything that was open before the fork belongs to the child now.
    os._exit(outcome.status)


def _heard(reading: int, limit: float) -> Outcome | None:
    said, end = b"", time.monotonic() + limit
    while select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(reading, 65536)
        said += part
        if not part:
            try:
                return json.decode(said, type=Outcome)
            except DecodeError:
                return Outcome(SILENT, "the background process ended without saying why: see its log")
    return None
