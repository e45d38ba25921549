"""Going to the background: a child does the work, the parent returns once the child says that it can be used.

The parent does nothing but wait, for at most a stated time, so that an error of the child still reaches the terminal
and the exit code. The child reports over a pipe, once: ready, or why not. After that its words go to its log.
"""

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from syncfs.cli.exits import exit_code
from syncfs.cli.failures import sentence, understood
from syncfs.control.protocol import Failure, error_of
from syncfs.model.errors import SetupError, SyncfsError, UnavailableError

_READY: Final = b"ready"
_GRACE_SECONDS: Final = 10.0
"""How long a child that did not get ready has to end itself cleanly."""
_MAX_REPORT: Final = 64 * 1024

Work = Callable[[Callable[[], None]], None]
"""What the child does; it calls what it is given when it can be used, and returns at its end."""


def run_in_background(work: Work, log: Path, wait_seconds: float) -> int:
    """Start `work` in a child process and return its pid once it is ready.

    Raises what the child raised before it was ready, SetupError where it ended without a word, UnavailableError where
    it was not ready in time; a child that is not ready is ended.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
    except OSError as error:
        raise SetupError(f"no process can be started ({error.strerror}): end others, or free memory") from error
    if child == 0:
        os.close(reading)
        _be_child(work, log, writing)
    os.close(writing)
    try:
        report = _receive(reading, wait_seconds)
    except BaseException:
        _end(child)
        raise
    finally:
        os.close(reading)
    if report == _READY:
        return child
    os.waitpid(child, 0)
    if report:
        raise error_of(msgspec.json.decode(report, type=Failure))
    raise SetupError(f"the share ended before it could be used: its log {log} may say why")


def _receive(reading: int, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    report = bytearray()
    while len(report) < _MAX_REPORT:
        readable, _, _ = select.select([reading], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            raise UnavailableError(f"the share could not be used within {seconds:.0f} s and was ended: try again later")
        data = os.read(reading, _MAX_REPORT)
        if not data:
            break
        report += data
    return bytes(report)


def _end(child: int) -> None:
    """Ask the child to end, wait for it, insist."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.05)


def _be_child(work: Work, log: Path, writing: int) -> None:
    """The life of the child; never returns."""
    code = 1
    try:
        os.umask(0o077)
        _let_go(log, keep=writing)
        os.chdir("/")
        reporting = [writing]

        def ready() -> None:
            # Not earlier: where an automount waits for this mount, it lets nobody pass but systemd's process group.
            os.setsid()
            os.write(reporting[0], _READY)
            os.close(reporting.pop())

        try:
            work(ready)
            code = 0
        except BaseException as error:
            code = _tell(error, reporting)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _tell(error: BaseException, reporting: list[int]) -> int:
    """Report an error to the parent while it listens, otherwise to the log; return the exit code."""
    meant = understood(error)
    if not isinstance(meant, SyncfsError):
        traceback.print_exception(error)
    if reporting:
        kind = type(meant).__name__ if isinstance(meant, SyncfsError) else "SyncfsError"
        os.write(reporting[0], msgspec.json.encode(Failure(kind, sentence(meant)))[:_MAX_REPORT])
    else:
        print(f"syncfs: {sentence(meant)}", file=sys.stderr)
    return exit_code(meant)


def _let_go(log: Path, keep: int) -> None:
    """Hold on to nothing of the terminal and of whoever started us: a pipe that we kept would never end for them."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
    for standard, instead in ((0, nothing), (1, output), (2, output)):
        os.dup2(instead, standard)
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        if int(entry) > 2 and int(entry) != keep:
            with suppress(OSError):
                os.close(int(entry))
