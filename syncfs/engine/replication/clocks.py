"""Clocks of peers that are far from ours: nothing depends on them but the times that people read, so they are told.

Order never follows a clock; stamps decide it. A wrong clock still shows wrong times, and misjudges certificates that
end.
"""

import logging
from collections.abc import Callable

from syncfs.transport.link import Link

TELL_SECONDS = 300
"""From this difference on; less is the drift of computers without a time service."""

_log = logging.getLogger(__name__)


def difference(name: str, seconds: float) -> str:
    """What to tell of a peer whose clock is `seconds` ahead of ours; empty where there is nothing to tell."""
    if abs(seconds) < TELL_SECONDS:
        return ""
    units = ((86_400, "days"), (3600, "hours"), (60, "minutes"))
    size, unit = next(row for row in units if abs(seconds) >= 2 * row[0])
    direction = "ahead of" if seconds > 0 else "behind"
    return f"the clock of {name} is {abs(seconds) / size:.0f} {unit} {direction} ours: set the one that is wrong"


class Clocks:
    """Notes the clocks of linked peers (an engine.peers.Attendant); `now` tells ours in s since 1970."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: dict[Link, str] = {}

    @property
    def reasons(self) -> list[str]:
        """One sentence for each linked peer whose clock is far from ours."""
        return sorted(self._told.values())

    def opened(self, link: Link) -> None:
        """A link stands, so the peer has just told its time."""
        text = difference(link.peer.name, link.peer.clock - self._now())
        if text:
            self._told[link] = text
            _log.warning("%s", text)

    async def attend(self, link: Link) -> None:
        """Nothing beside the link."""

    def closed(self, link: Link) -> None:
        """The link is over."""
        self._told.pop(link, None)
