"""The life of a mount in the loop that also runs the engine: check, mount, answer, unmount, release.

pyfuse3 (that is libfuse) mounts and unmounts, with all that a user's mount needs; what the kernel then asks is read and
answered by us. One process has one mount, because pyfuse3 keeps its session in globals. A mount ends in one of three
ways: unmounted from outside, stopped (by the event or by cancellation), or cut off by the kernel. Stopping detaches the
mount first, so that nothing new comes, goes on answering those who still have files open for a moment, and then ends.
In each case the handles that are left are released, so that what was written becomes versions.
"""

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from syncfs.model.errors import PosixError, SetupError, SyncfsError
from syncfs.mount import mountpoint, table, utab
from syncfs.mount.device import PATH, Device
from syncfs.mount.handlers import Handlers
from syncfs.mount.invalidation import Invalidator, KernelNotifier
from syncfs.mount.known import KernelView
from syncfs.mount.options import MountOptions, fuse_options
from syncfs.mount.tuning import tune
from syncfs.mount.volume import Volume
from syncfs.mount.watchdog import Watchdog
from syncfs.mount.workers import Workers
from syncfs.mount.xattrs import Xattrs

OPEN_FILES_S: Final = 3.0
"""How long a stopped mount answers those who still have files open."""
IN_FLIGHT_S: Final = 5.0
"""How long requests under way may go on after that."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount that answers: its resolved directory and its device number."""

    mountpoint: str
    minor: int


async def serve_mount(
    volume: Volume,
    source: str,
    directory: str | Path,
    options: MountOptions,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[Mounted] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Mounts a volume and answers for it until it is unmounted or stopped; started once the tree can be used.

    `source` is the mount's name, exactly as in fstab. Raises UsageError, BusyError or SetupError where it cannot be
    mounted, SetupError when it is cut off.
    """
    mountpoint.check_fuse(options.allow_other)
    path = await trio.to_thread.run_sync(mountpoint.prepare, directory)
    session = _Session(volume, path, options)
    await session.run(source, trio.Event() if stop is None else stop, task_status)


class _Session:
    def __init__(self, volume: Volume, path: str, options: MountOptions) -> None:
        self._path = path
        self._options = options
        self._workers = Workers()
        self._volume = volume
        self._ended = trio.Event()
        self._serving = trio.CancelScope(shield=True)
        self._failure: Exception | None = None

    def _open(self, source: str) -> None:
        """Mounts, and readies all that answers."""
        try:
            pyfuse3.init(pyfuse3.Operations(), self._path, fuse_options(self._options, source))
        except RuntimeError as error:
            raise SetupError(f"nothing could be mounted on {self._path}: the kernel refused it, see the log") from error
        known = KernelView()
        device = Device(_descriptor())
        enabled = self._options.xattr == "on"
        self._invalidator = Invalidator(known, KernelNotifier(device), partial(_is_gone, self._volume))
        self._handlers = Handlers(
            self._volume,
            device=device,
            workers=self._workers,
            known=known,
            xattrs=Xattrs(self._volume, enabled, enabled and self._options.acl),
            deadline=self._options.timeout,
            tell=self._invalidator.submit,
        )

    async def run(
        self,
        source: str,
        stop: trio.Event,
        task_status: trio.TaskStatus[Mounted],
    ) -> None:
        self._open(source)
        mounted = table.mounted_at(self._path)
        minor = mounted.minor if mounted else -1
        try:
            with Watchdog(self._path, minor) as watchdog:
                self._invalidator.start()
                self._volume.watch(self._invalidator.submit)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._serve)
                    nursery.start_soon(watchdog.pulse)
                    try:
                        if await self._answers():
                            tune(minor, self._options.readahead)
                            await trio.to_thread.run_sync(utab.register, source, self._path)
                            log.info("mounted at %s", self._path)
                            task_status.started(Mounted(self._path, minor))
                            await self._until_over(stop)
                    finally:
                        with trio.CancelScope(shield=True):
                            await self._stop()
                        nursery.cancel_scope.cancel()
        finally:
            pyfuse3.close(unmount=not self._ended.is_set())
            with trio.CancelScope(shield=True):
                await self._handlers.release_all()
        self._complain(minor)

    async def _serve(self) -> None:
        try:
            # Shielded: requests under way end by their own deadlines, or when `_stop` gives them up.
            with self._serving:
                await self._workers.run(self._handlers.device, self._handlers.answer)
        except Exception as error:
            log.exception("the mount at %s ended by a fault", self._path)
            self._failure = error
        finally:
            self._ended.set()

    async def _answers(self) -> bool:
        try:
            await trio.to_thread.run_sync(os.stat, self._path, abandon_on_cancel=True)
        except OSError as error:
            self._failure = SetupError(f"{self._path} was mounted but cannot be read: {error.strerror}")
            return False
        return True

    async def _until_over(self, stop: trio.Event) -> None:
        async with trio.open_nursery() as nursery:

            async def first(wait: Callable[[], Awaitable[None]]) -> None:
                await wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(first, self._ended.wait)
            nursery.start_soon(first, stop.wait)

    async def _stop(self) -> None:
        # While requests are still answered, since a notification under way may wait for one.
        await trio.to_thread.run_sync(self._invalidator.close)
        if not self._ended.is_set():
            await trio.to_thread.run_sync(self._detach)
            await self._wait_ended(OPEN_FILES_S)
        if not self._ended.is_set():
            self._workers.close()
            await self._wait_ended(IN_FLIGHT_S)
        self._serving.cancel()
        await self._ended.wait()

    def _detach(self) -> None:
        if table.mounted_at(self._path) is None:
            return  # somebody has unmounted it, and we are about to hear of that
        uppermost = table.mounted_over(self._path)
        if uppermost is not None:  # and is not ours to take away
            log.warning(
                "something else is mounted over %s (%s): it stays, and the mount below it is dead now",
                self._path,
                uppermost.type,
            )
            return
        try:
            mountpoint.detach(self._path)
        except SyncfsError as error:
            log.warning("%s", error)

    async def _wait_ended(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._ended.wait()

    def _complain(self, minor: int) -> None:
        if isinstance(self._failure, SyncfsError):
            raise self._failure
        left = table.mounted_at(self._path)
        if self._failure is not None or (left is not None and left.minor == minor):
            raise SetupError(
                f"the mount at {self._path} was cut off: mount it again, its log says why"
            ) from self._failure


def _is_gone(volume: Volume, ino: int) -> bool:
    try:
        return volume.getattr(ino).nlink == 0
    except PosixError as error:
        return error.errno in (errno.ENOENT, errno.ESTALE)


def _descriptor() -> int:
    """The /dev/fuse of the mount that was just made."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(entry.readlink()) == PATH:
                return int(entry.name)
    raise SetupError(f"the mount has no {PATH}: report this")
