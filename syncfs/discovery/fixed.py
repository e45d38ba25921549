"""Peers whose place the user named, `--peer HOST:PORT`: never forgotten, and a name is resolved again at each try."""

from collections.abc import Callable, Iterable, Sequence

import trio

from syncfs.discovery.beacon import share_tag
from syncfs.discovery.sighting import FIXED, Announcement, Endpoint, Sighting


class FixedPeers:
    """A source (see discovery.sighting.Source) that reports what it was given, unresolved, and announces nothing."""

    reasons: Sequence[str] = ()

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = tuple(dict.fromkeys(endpoints))

    async def run(self, announce: Callable[[], Announcement], report: Callable[[Sighting], None]) -> None:
        """Report each peer once, then stay until cancelled: a fixed peer needs no renewal."""
        tag = share_tag(announce().rendezvous_key)
        for endpoint in self._endpoints:
            report(Sighting(endpoint, FIXED, trio.current_time(), tag))
        await trio.sleep_forever()
