"""One process serving one share: claims it, runs the engine, answers on the control socket, ends on a signal.

SIGTERM and SIGINT end the share in order: flush, unmount, close. A second one ends it at once; what was acknowledged is
on the disk by then anyway. SIGHUP is no reason to end.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from syncfs.cli import engine
from syncfs.cli.engine import MountPlan
from syncfs.cli.home import Home
from syncfs.cli.running import RunRecord, claim, pointer_from_mount
from syncfs.cli.signals import end_at_once
from syncfs.cli.tuning import keep_memory
from syncfs.control.server import serve_control
from syncfs.control.service import ShareService
from syncfs.transport.local import notify_supervisor

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve_share(home: Home, name: str, plan: MountPlan | None, ready: Callable[[], None]) -> None:
    """Run a share until it is told to stop; `ready` is called once it can be used.

    Raises UnknownShareError, SecretError, BusyError, SetupError, DamageError and what else the engine raises.
    """
    end_at_once()
    _log_to_stderr()
    keep_memory()
    known = engine.known_share(home, name)
    if plan is not None:
        engine.require_mountable(known)
    home.prepare()
    directory = plan.directory if plan else None
    purpose = "mount" if plan else "serve"
    options = plan.options if plan else None
    record = RunRecord(known.share, name, os.getpid(), purpose, str(home.path), directory, datetime.now(UTC), options)
    with claim(home, record):
        trio.run(_Server(home, record, plan, ready).run, strict_exception_groups=True)


class _Server:
    """The share and what goes on around it in the loop."""

    def __init__(self, home: Home, record: RunRecord, plan: MountPlan | None, ready: Callable[[], None]) -> None:
        self._home = home
        self._record = record
        self._plan = plan
        self._ready = ready
        self._service: ShareService | None = None
        self._links = ExitStack()

    async def run(self) -> None:
        with self._links:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._end_on_signals)
                await engine.run_share(self._home.path, self._record.name, self._usable, self._plan)
                nursery.cancel_scope.cancel()
        _notify("STOPPING=1")

    async def _usable(self, service: ShareService) -> None:
        """The engine's share can be used: let others ask it, and say so."""
        self._service = service
        await self._nursery.start(serve_control, self._home.socket(self._record.share), service)
        self._links.enter_context(pointer_from_mount(self._home, self._record))
        _notify(f"READY=1\nSTATUS={self._record.purpose} {self._record.name}")
        self._ready()

    async def _end_on_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            asked = False
            async for number in received:
                if number == signal.SIGHUP:
                    continue
                _notify("STOPPING=1")
                if self._service is None and number == signal.SIGINT:
                    raise KeyboardInterrupt
                if asked or self._service is None:
                    self._nursery.cancel_scope.cancel()
                else:
                    self._service.stop()
                asked = True


def _log_to_stderr() -> None:
    """What happens goes to stderr, which is the log file of a process in the background."""
    debugging = os.environ.get("SYNCFS_DEBUG", "") not in ("", "0")
    logging.raiseExceptions = False  # a line for which the disk of the log has no room is no fault to tell there
    logging.basicConfig(
        stream=sys.stderr, format=_LOG_FORMAT, level=logging.DEBUG if debugging else logging.INFO, force=True
    )


def _notify(state: str) -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):
        notify_supervisor(address, state)


def log_path(home: Home, name: str) -> Path:
    """The log of a share in the background, put aside once when it has grown large."""
    path = home.log(name)
    if path.exists() and path.stat().st_size > 8 * 2**20:
        path.replace(path.with_suffix(".log.1"))
    return path
