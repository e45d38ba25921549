"""The ground a simulation stands on: one thread, one seed, and a disk that forgets what was not flushed.

Inside `deterministic` trio runs its tasks in an order that follows from the seed, work that would go to a thread runs
in the loop after a moment of virtual time, and flushing a file only notes what of it would survive a loss of power.
Sets of bytes have one order only where PYTHONHASHSEED is set, which the command sees to.
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import trio
from trio._core import _run as scheduler

SLOWEST_WORK = 0.02
"""Seconds that a trip to a thread takes at most, there and back each."""
MOST_STEPS = 300_000
"""Steps of tasks at one moment of the virtual clock; more is a treadmill."""


class Treadmill(trio.abc.Instrument):
    """Notices tasks that run on and on while the clock stands still: `found` is told where, once."""

    def __init__(self, found: Callable[[str], None]) -> None:
        self._found = found
        self._time = -1.0
        self._steps = 0
        self._places: Counter[str] = Counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See trio.abc.Instrument."""
        now = trio.current_time()
        if now != self._time:
            self._time, self._steps = now, 0
        self._steps += 1
        if MOST_STEPS - 1000 < self._steps <= MOST_STEPS:
            ours = [(Path(frame.f_code.co_filename), line) for frame, line in task.iter_await_frames()]
            self._places[" ".join(f"{path.name}:{line}" for path, line in ours if "trio" not in path.parts)] += 1
            if self._steps == MOST_STEPS:
                self._found(", or ".join(place for place, _ in self._places.most_common(3)))


class Disk:
    """Knows of each file how many bytes have been flushed, and makes of a folder what a crash leaves of it."""

    def __init__(self) -> None:
        self._flushed: dict[tuple[int, int], int] = {}

    def flush(self, descriptor: int) -> None:
        """A file, or folder, was flushed."""
        found = os.fstat(descriptor)
        self._flushed[found.st_dev, found.st_ino] = found.st_size

    def after_kill(self, home: Path, copy: Path) -> None:
        """Copy what a killed process leaves: all that it has handed to the operating system."""
        shutil.copytree(home, copy, ignore=shutil.ignore_patterns("*-shm"), symlinks=True)
        for path in copy.rglob("*"):
            if path.is_file():
                self._note_whole(path)

    def after_power_loss(self, home: Path, copy: Path, dice: random.Random) -> list[str]:
        """Copy what a loss of power leaves: what was flushed, and a random part of the rest.

        A flushed file has its name. Files are appended to or written once, except the database itself, which SQLite
        flushes at the right moments, and the vault. Returns what was lost, for the log.
        """
        shutil.copytree(home, copy, ignore=shutil.ignore_patterns("*-shm"), symlinks=True)
        lost: list[str] = []
        for path in sorted(copy.rglob("*")):
            if not path.is_file():
                continue
            was = (home / path.relative_to(copy)).stat()
            flushed = self._flushed.get((was.st_dev, was.st_ino))
            if not path.name.endswith((".db", "vault", ".lock", ".format", ".open")):
                kept = was.st_size if flushed is None else max(min(flushed, was.st_size), 0)
                if flushed is None and was.st_size:
                    kept = dice.choice((-1, 0, dice.randrange(was.st_size), was.st_size))
                elif flushed is not None and was.st_size > flushed:
                    kept = dice.choice((flushed, dice.randrange(flushed, was.st_size), was.st_size))
                if kept < was.st_size:
                    lost.append(f"{path.name} {was.st_size}→{kept}")
                if kept < 0:
                    path.unlink()
                    continue
                os.truncate(path, kept)
            self._note_whole(path)
        return lost

    def _note_whole(self, path: Path) -> None:
        found = path.stat()
        self._flushed[found.st_dev, found.st_ino] = found.st_size


@contextmanager
def deterministic(seed: int, disk: Disk) -> Iterator[None]:
    """Let everything inside depend on the seed alone."""
    latency = random.Random(f"{seed} threads")
    old = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)

    async def in_the_loop(work: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await trio.sleep(latency.random() ** 4 * SLOWEST_WORK)
        try:
            return work(*arguments)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(latency.random() ** 4 * SLOWEST_WORK)

    try:
        with (
            patch.object(trio.to_thread, "run_sync", in_the_loop),
            patch.object(os, "fsync", disk.flush),
            patch.object(os, "fdatasync", disk.flush),
        ):
            yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = old[0]  # type: ignore[misc]
        scheduler._r.setstate(old[1])
