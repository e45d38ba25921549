"""When a peer changes too much at once: pure; what happened comes as values, with its times.

What counts is a file that is gone or has other content than before, once for each file; what was created, moved, or is
put back does not. Changes are counted by the clock of the device that made them, so months of normal work that arrive
together after an absence are not mistaken for one blow. A small number of files never trips the brake, since in a small
tree any change is a large part of it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from syncfs.model.errors import UsageError

SETTING = "brake"
DEFAULT = "share=30% least=100 within=10m"
OFF = "off"
_UNITS = {"m": 60, "h": 3600, "d": 86_400}
MINUTE = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Limits:
    """The brake is pulled when more than this `share` (0 to 1) of all files, and at least `least`, change so fast."""

    share: float
    least: int
    within: int
    """In ns."""


@dataclass(frozen=True, slots=True)
class Harm:
    """A file lost its content at this time (ns), or is gone altogether."""

    time: int
    gone: bool


@dataclass(frozen=True, slots=True)
class Blow:
    """So many of so many files changed since a time (ns)."""

    since: int
    changed: int
    files: int


class Recent(msgspec.Struct, array_like=True):
    """What one device changed lately: by minute, how many files, and how many of them are gone."""

    minutes: dict[int, tuple[int, int]] = {}

    def add(self, harm: Harm, within: int) -> tuple[int, int]:
        """Count one more; returns how many files it is within the time before and after, and how many are gone."""
        minute, span = harm.time // MINUTE, -(-within // MINUTE)
        self.minutes = {known: row for known, row in self.minutes.items() if abs(known - minute) <= span}
        changed, gone = self.minutes.get(minute, (0, 0))
        self.minutes[minute] = (changed + 1, gone + harm.gone)
        return sum(row[0] for row in self.minutes.values()), sum(row[1] for row in self.minutes.values())


def parse_limits(text: str) -> Limits | None:
    """`share=30% least=100 within=10m`, the time in m, h or d; None for `off`. Raises UsageError."""
    found = dict(part.split("=", 1) for part in DEFAULT.split())
    if text.strip() == OFF:
        return None
    for part in text.split():
        key, _, value = part.partition("=")
        if key not in found:
            raise _not_understood(part)
        found[key] = value
    share, least, within = found["share"], found["least"], found["within"]
    if not (re.fullmatch(r"\d{1,2}%", share) and int(share[:-1])):
        raise _not_understood(f"share={share}")
    if not re.fullmatch(r"\d{1,9}", least):
        raise _not_understood(f"least={least}")
    if not (re.fullmatch(r"\d{1,4}[mhd]", within) and int(within[:-1])):
        raise _not_understood(f"within={within}")
    return Limits(int(share[:-1]) / 100, max(int(least), 1), int(within[:-1]) * _UNITS[within[-1]] * 10**9)


def weigh(recent: Recent, harms: Iterable[Harm], limits: Limits, files: Callable[[int], int]) -> Blow | None:
    """Add what a device did to what it did lately; the blow that is more than the limits allow, or None.

    `files` tells how many files there are before these harms; it gets the number that changed, and is asked only where
    that is enough.
    """
    now_gone = 0
    for harm in harms:
        changed, gone = recent.add(harm, limits.within)
        now_gone += harm.gone
        if changed >= limits.least and changed > limits.share * (before := files(changed) + max(gone - now_gone, 0)):
            return Blow(min(recent.minutes) * MINUTE, changed, before)
    return None


def _not_understood(part: str) -> UsageError:
    return UsageError(f"'{part}' is no limit of the brake: write '{DEFAULT}' with other numbers, or '{OFF}'")
