"""What a case is, how it is run, and how two records are compared."""

import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Seen = tuple[str, object]
Record = list[Seen]
ENDED_EARLY = "the case ended early"


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of a table: the generator that observes, and what it asks of the machine."""

    observe: Callable[[Path], Iterator[Seen]]
    root: bool = False
    soak: bool = False

    @property
    def name(self) -> str:
        """The name under which the case is reported: its module's theme and its own."""
        return f"{self.observe.__module__.rpartition('.')[2]}-{self.observe.__name__}"


def record(case: Case, directory: Path) -> Record:
    """Run a case in a new directory below `directory` and note what it saw, with the umask 022.

    An error that the case does not expect is noted as its last observation, so that it is compared like all others.
    """
    place = directory / case.name
    umask = os.umask(0o022)
    here = Path.cwd()
    seen: Record = []
    try:
        place.mkdir(mode=0o755)
        seen.extend(case.observe(place))
    except OSError as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        seen.append((ENDED_EARLY, f"{type(error).__name__} {error.strerror} at {line.name}:{line.lineno}: {line.line}"))
    finally:
        os.chdir(here)
        os.umask(umask)
    return seen


def differences(expected: Record, found: Record) -> list[str]:
    """One line about each observation that is not the same in both records, with what each of them holds."""
    wanted, got = dict(expected), dict(found)
    labels = [label for label, _ in expected] + [label for label in got if label not in wanted]
    missing = "(nothing)"
    return [
        f"{label}: plain {wanted.get(label, missing)!r}, here {got.get(label, missing)!r}"
        for label in labels
        if wanted.get(label, missing) != got.get(label, missing)
    ]
