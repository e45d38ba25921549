"""A LAN without a network, for simulations: sources on one MemoryLan find each other by their rendezvous keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from syncfs.discovery.beacon import share_tag
from syncfs.discovery.lan import ALIVE_EVERY
from syncfs.discovery.sighting import LAN, Announcement, Endpoint, Sighting


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    host: str
    instance: bytes
    announce: Callable[[], Announcement]
    report: Callable[[Sighting], None]


class MemoryLan:
    """The medium; `reaches(a, b)` tells whether host a hears host b at this moment (partitions, loss)."""

    def __init__(self, reaches: Callable[[str, str], bool] = lambda listener, speaker: True) -> None:
        self._reaches = reaches
        self._members: list[_Member] = []
        self._started = 0

    def source(self, host: str) -> "MemoryLanSource":
        """A source whose process runs on `host`, the name under which others find it."""
        return MemoryLanSource(self, host)

    def _join(self, host: str, announce: Callable[[], Announcement], report: Callable[[Sighting], None]) -> _Member:
        self._started += 1
        member = _Member(host, self._started.to_bytes(8, "big"), announce, report)
        self._members.append(member)
        return member

    def _leave(self, member: _Member) -> None:
        self._members.remove(member)

    def _exchange(self, speaker: _Member) -> None:
        for other in tuple(self._members):
            if other is not speaker:
                self._tell(other, speaker)
                self._tell(speaker, other)

    def _tell(self, listener: _Member, speaker: _Member) -> None:
        said, own = speaker.announce(), listener.announce()
        if said.port and said.rendezvous_key == own.rendezvous_key and self._reaches(listener.host, speaker.host):
            endpoint = Endpoint(speaker.host, said.port)
            tag = share_tag(said.rendezvous_key)
            listener.report(Sighting(endpoint, LAN, trio.current_time(), tag, speaker.instance))


class MemoryLanSource:
    """One process on a MemoryLan (see discovery.sighting.Source)."""

    reasons: Sequence[str] = ()

    def __init__(self, lan: MemoryLan, host: str) -> None:
        self._lan = lan
        self._host = host

    async def run(self, announce: Callable[[], Announcement], report: Callable[[Sighting], None]) -> None:
        """Look and be seen until cancelled."""
        member = self._lan._join(self._host, announce, report)
        try:
            while True:
                self._lan._exchange(member)
                await trio.sleep(ALIVE_EVERY)
        finally:
            self._lan._leave(member)
