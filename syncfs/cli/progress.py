"""A progress bar on stderr, for a person at a terminal and nobody else."""

import shutil
import sys
import time
from dataclasses import dataclass
from types import TracebackType

from syncfs.cli import show

_INTERVAL = 0.1
"""Seconds between two pictures."""


@dataclass(slots=True)
class ProgressBar:
    """`importing  [#####.....]  52 %  1.2 GiB of 2.3 GiB  210 MiB/s`; leaving the block takes it away."""

    label: str
    shown: bool
    _started: float = 0.0
    _drawn: float = 0.0

    def __enter__(self) -> "ProgressBar":
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` bytes are through."""
        now = time.monotonic()
        if not self.shown or now - self._drawn < _INTERVAL:
            return
        self._drawn = now
        speed = int(done / max(now - self._started, _INTERVAL))
        portion = min(done / total, 1.0) if total else 1.0
        figures = f"{portion:4.0%}  {show.size(done)} of {show.size(total)}  {show.rate(speed)}"
        width = max(min(shutil.get_terminal_size().columns - len(self.label) - len(figures) - 8, 40), 0)
        bar = f"[{('#' * round(width * portion)).ljust(width, '.')}]  " if width >= 10 else ""
        sys.stderr.write(f"\r\x1b[K{self.label}  {bar}{figures}")
        sys.stderr.flush()


def bar(label: str, quiet: bool) -> ProgressBar:
    """A bar that is shown only at a terminal, and not where the answer is for a program."""
    return ProgressBar(label, shown=not quiet and sys.stderr.isatty())
