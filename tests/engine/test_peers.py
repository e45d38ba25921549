"""Links of a share over the network in memory."""

from collections.abc import Sequence
from functools import partial

import pytest
import trio

from syncfs.discovery.directory import Directory
from syncfs.discovery.fixed import FixedPeers
from syncfs.discovery.sighting import Announcement, Endpoint
from syncfs.engine.replication.peers import Peers
from syncfs.transport.link import Link
from syncfs.transport.memory import MemoryNetwork, MemoryStream
from syncfs.wire.messages import Have, Message
from tests.wire.people import person


class Attentive:
    """Greets every peer at once, as replication does, and notes who spoke before it was attended."""

    def __init__(self) -> None:
        self.links: set[Link] = set()
        self.heard = trio.Event()
        self.strangers = 0

    def opened(self, link: Link) -> None:
        self.links.add(link)
        link.post(Have({}))

    async def attend(self, link: Link) -> None:
        await trio.sleep_forever()

    def closed(self, link: Link) -> None:
        self.links.discard(link)

    async def serve(self, link: Link, message: Message) -> tuple[Message, Sequence[bytes]] | None:
        self.strangers += link not in self.links
        self.heard.set()
        return None


@pytest.mark.parametrize("seed", range(12))
async def test_a_link_is_attended_before_its_first_message_is_served(
    seed: int, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive_some = MemoryStream.receive_some

    async def receive_late(stream: MemoryStream, max_bytes: int | None = None) -> bytes:
        await trio.sleep(1)  # so that the end of the handshake and the first message come together
        return await receive_some(stream, max_bytes)

    monkeypatch.setattr(MemoryStream, "receive_some", receive_late)
    network = MemoryNetwork(seed)
    sides = {name: Attentive() for name in ("anna", "ben")}
    async with trio.open_nursery() as nursery:
        for name, side in sides.items():
            who = person(name)
            host = network.host(name)
            listeners = await host.listen(name, 4000)
            peers = Peers(host, lambda who=who: who, Directory(lambda: 0.5), side.serve, [side])
            sources = [FixedPeers([Endpoint("anna", 4000)])] if name == "ben" else []
            announce = partial(Announcement, who.keys.rendezvous_key, 4000)
            nursery.start_soon(peers.run, sources, listeners, announce)
        with trio.fail_after(60):
            for side in sides.values():
                await side.heard.wait()
        nursery.cancel_scope.cancel()
    assert [side.strangers for side in sides.values()] == [0, 0]
