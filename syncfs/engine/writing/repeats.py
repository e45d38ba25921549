"""Failures that happen again and again in the background, logged as often as a person has use for.

A share whose disk is full tries hundreds of times a second to store what waits, and its log may lie on that very disk.
"""

import logging
from collections.abc import Callable

import trio

from syncfs.model.errors import SyncfsError

REPEAT_SECONDS = 60.0
"""The same line is logged once in this time."""
MAX_LINES = 100


class Repeats:
    """Logs failures for one place in the code; `now` tells the seconds of a monotonic clock."""

    def __init__(self, log: logging.Logger, now: Callable[[], float] = trio.current_time) -> None:
        self._log = log
        self._now = now
        self._said: dict[str, tuple[float, int]] = {}

    def failed(self, line: str, error: Exception) -> None:
        """Log `line` as an error, unless that was done lately.

        An error that was raised on purpose says all in its sentence, so its traceback is for SYNCFS_DEBUG only.
        """
        now = self._now()
        due, left_out = self._said.pop(line, (now, 0))
        if now < due:
            self._said[line] = due, left_out + 1
            return
        if len(self._said) >= MAX_LINES:
            del self._said[next(iter(self._said))]  # the one that failed least lately
        self._said[line] = now + REPEAT_SECONDS, 0
        times = f" ({left_out:,} times more since it was last said)" if left_out else ""
        self._log.error("%s%s", line, times, exc_info=None if isinstance(error, SyncfsError) else error)
        if isinstance(error, SyncfsError):
            self._log.debug("this was raised at:", exc_info=error)
