"""Finds members on the same networks by multicast and broadcast: the thin shell around discovery.exchange.

Says HELLO three times within three seconds (radio networks lose multicast) at the start and whenever an interface is
new, then ALIVE every half minute with jitter, so that computers that woke together do not speak together. Waits for
events otherwise: an idle share costs one small datagram per interface and half minute.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

import trio

from syncfs.discovery.exchange import Exchange
from syncfs.discovery.sighting import Announcement, Sighting
from syncfs.transport.datagram import LAN_PORT, Datagram, LanGroup
from syncfs.transport.interfaces import Interface, InterfaceWatch, interfaces

HELLO_PAUSES = (0.0, 1.0, 2.0)
"""Seconds before each HELLO, counted from the one before."""
ALIVE_EVERY = 30.0
ALIVE_JITTER = 5.0

_log = logging.getLogger(__name__)


def alive_pauses(random: Callable[[], float]) -> Iterator[float]:
    """The seconds between one ALIVE and the next, without end; `random` gives numbers 0 ≤ x < 1."""
    while True:
        yield ALIVE_EVERY + (2 * random() - 1) * ALIVE_JITTER


class LanSource:
    """The LAN as a source of sightings (see discovery.sighting.Source).

    `wall` gives the seconds since 1970, `random_bytes(n)` n random bytes that nobody can predict, `random` numbers
    0 ≤ x < 1. `look` lists the interfaces to use; all of this computer's by default, its loopback included, where other
    processes of this computer are found.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        random: Callable[[], float],
        *,
        port: int = LAN_PORT,
        look: Callable[[], Sequence[Interface]] = interfaces,
    ) -> None:
        self._wall = wall
        self._random = random
        self._random_bytes = random_bytes
        self._port = port
        self._look = look
        self._exchange: Exchange | None = None

    @property
    def reasons(self) -> list[str]:
        """See Source."""
        return [] if self._exchange is None else self._exchange.reasons(trio.current_time(), self._wall())

    async def run(self, announce: Callable[[], Announcement], report: Callable[[Sighting], None]) -> None:
        """Look and be seen until cancelled."""
        exchange = self._exchange = Exchange(self._random_bytes)

        def receive(datagram: Datagram) -> bytes | None:
            now, wall = trio.current_time(), self._wall()
            reaction = exchange.received(announce(), datagram.data, datagram.host, now, wall)
            if reaction.warning:
                _log.warning("%s", reaction.warning)
            if reaction.sighting is not None:
                report(reaction.sighting)
            return reaction.answer

        with InterfaceWatch() as watch, LanGroup(self._port) as group:
            group.use(self._look())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(group.listen, receive)
                while True:
                    with trio.CancelScope() as speaking:
                        nursery.start_soon(self._follow, watch, group, speaking)
                        await self._speak(exchange, group, announce)

    async def _speak(self, exchange: Exchange, group: LanGroup, announce: Callable[[], Announcement]) -> None:
        for pause in HELLO_PAUSES:
            await trio.sleep(pause)
            await group.send(lambda: exchange.hello(announce(), self._wall()))
        for pause in alive_pauses(self._random):
            await trio.sleep(pause)
            await group.send(lambda: exchange.alive(announce(), self._wall()))

    async def _follow(self, watch: InterfaceWatch, group: LanGroup, speaking: trio.CancelScope) -> None:
        """End the present round of speaking as soon as there is an interface that has not heard us."""
        while True:
            await watch.changed()
            if group.use(self._look()):
                speaking.cancel()
                return
