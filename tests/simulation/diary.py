"""What happened in a simulation, line by line: what a person reads when a seed fails."""

import hashlib
import logging
import traceback
from collections import Counter, deque
from pathlib import Path
from typing import IO

import trio

from syncfs.model.errors import SyncfsError

KEPT = 40
"""Lines shown with a failure."""


class Diary:
    """Lines with virtual time and node, the last ones kept; a digest of all tells whether two runs were the same."""

    def __init__(self, path: Path | None = None) -> None:
        self.last: deque[str] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._digest = hashlib.blake2b(digest_size=8)
        self._file: IO[str] | None = path.open("w") if path else None

    @property
    def digest(self) -> str:
        """Equal for equal runs."""
        return self._digest.hexdigest()

    def note(self, node: str, what: str) -> None:
        """Something happened."""
        line = f"{trio.current_time():10.4f} {node:4} {what}"
        self._digest.update(line.encode(errors="surrogateescape"))
        self.last.append(line)
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def count(self, what: str) -> None:
        """Count for the summary."""
        self.counts[what] += 1

    def problem(self, what: str) -> None:
        """What must not be."""
        if what not in self.problems:
            self.problems.append(what)
            self.note("", f"PROBLEM {what}")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def described(error: BaseException) -> str:
    """An error, the first one where it is several, and where it was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    steps = traceback.extract_tb(error.__traceback__)
    ours = [step for step in steps if "site-packages" not in step.filename] or steps
    where = " ← ".join(f"{Path(step.filename).name}:{step.lineno}" for step in reversed(ours[-4:]))
    return f"{error!r:.300} at {where}"


class InternalErrors(logging.Handler):
    """Makes a problem of every error that the engine logs and did not raise on purpose."""

    def __init__(self, diary: Diary) -> None:
        super().__init__(logging.WARNING)
        self._diary = diary

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        if error is None or isinstance(error, SyncfsError | trio.Cancelled):
            self._diary.note("log", text if error is None else described(error))
            return
        self._diary.problem(f"{text}: {described(error)}")
