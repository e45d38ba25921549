"""Calls to endpoints that do not answer."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from syncfs.discovery.directory import Directory
from syncfs.discovery.sighting import LAN, Announcement, Endpoint, Sighting
from syncfs.engine.replication.peers import Peers
from syncfs.model.ids import DeviceId
from syncfs.transport.link import Link
from syncfs.wire.messages import Message
from tests.wire.people import person

ANNA = Endpoint("anna", 4000)


class Deaf:
    """A network on which every call waits."""

    def __init__(self) -> None:
        self.calls = 0

    async def open(self, host: str, port: int, timeout: float) -> trio.SocketStream:
        self.calls += 1
        await trio.sleep_forever()
        raise AssertionError

    async def listen(self, host: str, port: int) -> list[trio.SocketListener]:
        return []


class Sighted:
    """Says again and again that somebody is there."""

    reasons: Sequence[str] = ()

    async def run(self, announce: Callable[[], Announcement], report: Callable[[Sighting], None]) -> None:
        while True:
            report(Sighting(ANNA, LAN, trio.current_time(), b""))
            await trio.sleep(1)


async def test_an_endpoint_is_called_again_while_an_earlier_call_still_waits(autojump_clock: object) -> None:
    """As when the peer has called us meanwhile and that link ended."""

    async def serve(link: Link, message: Message) -> None:
        return None

    answer: Callable[[Link, Message], Awaitable[None]] = serve
    network, directory, device = Deaf(), Directory(lambda: 0.5), DeviceId(bytes(16))
    peers = Peers(network, lambda: person("ben"), directory, answer, [])  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        announce = Announcement(bytes(32), 4000)
        nursery.start_soon(peers.run, [Sighted()], [], lambda: announce)
        await trio.sleep(3)
        assert network.calls == 1
        directory.linked(device, trio.current_time(), ANNA)
        directory.unlinked(device, trio.current_time(), ANNA)
        await trio.sleep(30)
        assert network.calls == 2
        nursery.cancel_scope.cancel()
