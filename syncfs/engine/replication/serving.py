"""Answering peers: chunks and segments by address, and what they tell us of their feeds."""

from collections.abc import Callable, Sequence

from syncfs.crypto.hashing import BytesLike
from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.replication.replicator import Replicator
from syncfs.index.feeds import Feeds
from syncfs.model.errors import RefusedError
from syncfs.model.ids import Address
from syncfs.transport.link import Link
from syncfs.wire.messages import Announce, Chunks, Get, Have, Message
from syncfs.wire.pieces import MAX_ATTACHED

Answer = tuple[Message, Sequence[BytesLike]]


class Server:
    """Serves one share's peers."""

    def __init__(
        self,
        feeds: Feeds,
        feed: Feed | None,
        chunks: ChunkCache,
        replicator: Replicator,
        elsewhere: Callable[[Address], None],
    ) -> None:
        self._feeds = feeds
        self._feed = feed
        self._chunks = chunks
        self._replicator = replicator
        self._elsewhere = elsewhere
        self.served_bytes = 0
        """What peers have fetched from us since the start."""

    async def serve(self, link: Link, message: Message) -> Answer | None:
        """The answer to a message of a peer; None where there is none to give. Raises ForeignError, RefusedError."""
        match message:
            case Get(addresses):
                return await self._get([Address(address) for address in addresses])
            case Have():
                await self._replicator.have(link, message)
            case Announce():
                await self._replicator.announced(link, message)
            case _:
                raise RefusedError("this peer does not know that request")
        return None

    async def _get(self, addresses: Sequence[Address]) -> Answer:
        found: list[bytes] = []
        missing: list[bytes] = []
        attached: list[BytesLike] = []
        room = MAX_ATTACHED
        for address in addresses:
            data = await self._chunks.sealed(address)
            if data is not None:
                self._elsewhere(address)
            else:
                data = self._feeds.segment(address) or (self._feed.merged(address) if self._feed is not None else None)
            if data is None:
                missing.append(address)
            elif len(data) <= room:
                room -= len(data)
                found.append(address)
                attached.append(data)
        self.served_bytes += MAX_ATTACHED - room
        return Chunks(found, missing), attached
