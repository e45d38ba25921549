"""Which past states are kept: pure.

A policy names moments: every one of the last day, the full hours of the last week, midnights (UTC) of the last 30 days.
A past state (a content, a name, a permission) is kept as long as it counted at any such moment. So what
`.syncfs/history` shows at one of them is whole and exact, a state that was overwritten just now is kept however old it
is, and what one pass drops no later pass would have kept: passes at different times on different peers agree.

Two exceptions. What was deleted is kept as it last was, for a time of its own. And of versions that one device made in
quick succession only those count that were there at a full BURST seconds, unless somebody asked for them (fsync).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from syncfs.model.errors import UsageError
from syncfs.model.ids import Stamp, device_of

SECOND = 10**9
BURST = 5 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR
FOREVER = 2**62
SETTING = "retention"
DEFAULT = "all=1d hourly=7d daily=30d deleted=30d"
_UNITS = {"m": 60 * SECOND, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}


@dataclass(frozen=True, slots=True)
class Policy:
    """For how long, in ns, all states, hourly and daily ones, and the last state of what was deleted are kept."""

    all: int
    hourly: int
    daily: int
    deleted: int

    @property
    def longest(self) -> int:
        """How far back history reaches."""
        return max(self.all, self.hourly, self.daily, self.deleted)


@dataclass(frozen=True, slots=True)
class Made:
    """What matters of a version: when it was made (ns), what it replaced, and whether somebody asked for it."""

    stamp: Stamp
    time: int
    parents: Collection[Stamp]
    asked: bool = False


def parse_policy(text: str) -> Policy:
    """`all=1d hourly=7d daily=30d deleted=30d`, each in m, h, d, w, y or `forever`. Raises UsageError."""
    found = dict(part.split("=", 1) for part in DEFAULT.split())
    for part in text.split():
        key, equals, value = part.partition("=")
        if not equals or key not in found or not re.fullmatch(r"\d{1,6}[mhdwy]|forever|0", value):
            raise UsageError(f"'{part}' is no retention: write it like '{DEFAULT}'")
        found[key] = value
    spans = {key: _span(value) for key, value in found.items()}
    return Policy(spans["all"], spans["hourly"], spans["daily"], spans["deleted"])


def counted(start: int, end: int, now: int, policy: Policy) -> bool:
    """Whether a state that counted from `start` until before `end` (ns) is still kept at `now`."""
    return (
        (end > now - policy.all and end > start)
        or _has_mark(start, end, HOUR, now - policy.hourly)
        or _has_mark(start, end, DAY, now - policy.daily)
    )


def dropped_versions(
    versions: Sequence[Made], heads: Collection[Stamp], now: int, policy: Policy, deleted: int | None = None
) -> set[Stamp]:
    """The versions of one file whose content is kept no longer; all its versions have to be given.

    `deleted` tells when the file's last name was taken (ns), None where it has one. Heads of a living file stay.
    """
    children: dict[Stamp, list[Made]] = {}
    for version in versions:
        for parent in version.parents:
            if parent < version.stamp:
                children.setdefault(parent, []).append(version)
    dropped = set()
    for version in versions:
        after = children.get(version.stamp, [])
        if not after or version.stamp in heads:
            if (
                deleted is not None
                and deleted <= now - policy.deleted
                and not counted(version.time, deleted, now, policy)
            ):
                dropped.add(version.stamp)
            continue
        first = min(after, key=lambda child: (child.time, child.stamp))
        end = max(first.time, version.time + 1)
        if not counted(version.time, end, now, policy) or _is_burst(version, first, end):
            dropped.add(version.stamp)
    return dropped


def dropped_records(records: Sequence[tuple[Stamp, int, bool]], now: int, policy: Policy) -> set[Stamp]:
    """The replaced records of one thing that are kept no longer, from all its records: (stamp, time, deletes)."""
    ordered = sorted(records)
    dropped: set[Stamp] = set()
    end, by_deletion = FOREVER, False
    for number in range(len(ordered) - 1, -1, -1):
        stamp, start, deletes = ordered[number]
        if (
            number < len(ordered) - 1
            and not counted(start, end, now, policy)
            and not (by_deletion and not deletes and end > now - policy.deleted)
        ):
            dropped.add(stamp)
        if start <= end:
            end, by_deletion = start, deletes
    return dropped


def _is_burst(version: Made, after: Made, end: int) -> bool:
    return (
        not version.asked
        and device_of(version.stamp) == device_of(after.stamp)
        and not _has_mark(version.time, end, BURST, -FOREVER)
    )


def _has_mark(start: int, end: int, step: int, after: int) -> bool:
    """Whether a multiple of `step` later than `after` lies in start ≤ mark < end."""
    first = -(-max(start, after + 1) // step) * step
    return first < end


def _span(value: str) -> int:
    return FOREVER if value == "forever" else int(value.rstrip("mhdwy")) * _UNITS.get(value[-1], 1)
