"""What a case is, how it is run, and how two records are compared."""

import os
import shutil
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
    What the case leaves open is closed, and what it leaves in its directory is removed, which is an observation too.
    """
    place = directory / case.name
    umask = os.umask(0o022)
    here = os.open(".", os.O_RDONLY)
    before = _descriptors()
    seen: Record = []
    try:
        place.mkdir(mode=0o755)
        seen.extend(case.observe(place))
    except OSError as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        seen.append((ENDED_EARLY, f"{type(error).__name__} {error.strerror} at {line.name}:{line.lineno}: {line.line}"))
    finally:
        for descriptor in _descriptors() - before:
            os.close(descriptor)
        os.fchdir(here)
        os.close(here)
        os.umask(umask)
    failed: list[str] = []
    shutil.rmtree(
        place, onerror=lambda call, path, _: failed.append(f"{call.__name__} {Path(path).relative_to(place)}")
    )
    seen.append(("removed at the end, but for", failed))
    return seen


def _descriptors() -> frozenset[int]:
    # The listing shows its own descriptor too, which is closed when the second look is taken.
    return frozenset(int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}"))


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
