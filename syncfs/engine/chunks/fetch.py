"""Getting sealed chunks from peers: whom to ask, and whom to ask next.

`choose` is the whole policy, and pure. A chunk is asked of one peer at a time; a peer that has it not or answers with
bytes that do not fit is left out for this chunk, and the next one is asked. A link that ended says nothing of what its
peer has, so the peer is asked again over its next link. Where no peer is connected that may have the chunk we wait a
little for one, since links come back; where all connected ones have said no we give up at once and say why.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TypeVar

import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import BadChunkError, RefusedError, UnavailableError
from syncfs.model.ids import Address
from syncfs.transport.link import Link
from syncfs.wire.messages import MAX_GET, Chunks, Get
from syncfs.wire.session import Priority

T = TypeVar("T")

GRACE_SECONDS = 5.0
"""How long a read waits for a peer to connect while none is."""
ANSWER_SECONDS = 20.0
"""How long one peer may take to answer."""
MOST_LINKS = 3
"""Over so many links of one peer a fetch asks, so that it ends also where each of them breaks."""

Found = list[tuple[Address, BytesLike]]
"""Chunks as a peer sent them, not verified yet."""


class Urgency(Enum):
    """Who waits for a chunk."""

    READ = Priority.URGENT
    AHEAD = Priority.NORMAL
    COPY = Priority.BULK


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the choice of a peer rests on: the requests it owes us, and the seconds of a round trip."""

    name: bytes
    outstanding: int
    latency: float


def choose(candidates: Iterable[Candidate]) -> Candidate | None:
    """The peer to ask: the one whose answer is to be expected first."""
    return min(candidates, key=lambda one: ((one.outstanding + 1) * (one.latency + 0.001), one.name), default=None)


@dataclass(eq=False, slots=True)
class _Peer:
    """A peer that can be asked, by the link that stands: what it owes us goes with the link."""

    link: Link
    owed: int = 0


class _Search:
    """One fetch: what is wanted, and what the peers asked so far have made of it."""

    def __init__(self, addresses: Sequence[Address], urgency: Urgency) -> None:
        self.addresses = addresses
        self.urgency = urgency
        self._refused: set[bytes] = set()
        self._failed: list[Link] = []

    def refused(self, link: Link) -> None:
        """A peer has answered, and has nothing of use."""
        self._refused.add(link.peer.device)

    def failed(self, link: Link) -> None:
        """A link has ended, or its peer has let us wait in vain."""
        self._failed.append(link)

    def may_ask(self, link: Link) -> bool:
        """Whether the answer could be there."""
        return not link.closed and link not in self._failed and self._may_answer(link)

    def awaits(self, linked: Container[bytes]) -> bool:
        """Whether a peer that could have the answer was linked, and is no longer."""
        return any(self._may_answer(link) and link.peer.device not in linked for link in self._failed)

    def failure(self, linked: Iterable[Link]) -> str:
        """Why nobody has given what was wanted."""
        lack = {link.peer.name for link in linked if link.peer.device in self._refused}
        mute = {link.peer.name for link in self._failed if link.peer.device not in self._refused}
        if not mute:
            return f"none of the connected peers ({_list(lack)}) has the data: wait for a peer that has"
        reason = f"{_list(mute)} did not answer: wait, or check the network"
        return f"{_list(lack)} does not have the data, and {reason}" if lack else reason

    def _may_answer(self, link: Link) -> bool:
        device = link.peer.device
        return device not in self._refused and sum(one.peer.device == device for one in self._failed) < MOST_LINKS


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


class Fetcher:
    """Asks the connected peers for chunks."""

    def __init__(self) -> None:
        self._peers: dict[bytes, _Peer] = {}
        self._changed = trio.Event()
        self._alone_until = -inf
        self.last_failure = ""
        """Why the last chunk could not be had, for `status`."""

    @property
    def under_way(self) -> int:
        """Requests that peers owe us an answer to."""
        return sum(peer.owed for peer in self._peers.values())

    def owed_by(self, link: Link) -> int:
        """Requests that this peer owes us an answer to."""
        peer = self._peers.get(link.peer.device)
        return peer.owed if peer is not None else 0

    def connected(self, link: Link) -> None:
        """A peer can be asked from now on."""
        self._peers[link.peer.device] = _Peer(link)
        self._alone_until = -inf
        self._wake()

    def gone(self, link: Link) -> None:
        """A peer can be asked no longer."""
        peer = self._peers.get(link.peer.device)
        if peer is not None and peer.link is link:
            del self._peers[link.peer.device]
            self._wake()

    async def get(self, address: Address, urgency: Urgency, arrived: Callable[[BytesLike], Awaitable[T]]) -> T:
        """Fetch one chunk and hand it to `arrived`, which verifies it. Raises UnavailableError with the reason."""
        search = _Search([address], urgency)
        while True:
            link, found = await self._search(search)
            try:
                result = await arrived(found[0][1])
            except BadChunkError as error:
                link.close(f"a chunk did not fit its address: {error}")
                search.refused(link)
            else:
                self.last_failure = ""
                return result

    async def get_many(self, addresses: Sequence[Address], urgency: Urgency = Urgency.AHEAD) -> Found:
        """Fetch small chunks in few requests; what the first peer does not have that has any is left out."""
        found: Found = []
        for start in range(0, len(addresses), MAX_GET):
            found += await self.get_any(addresses[start : start + MAX_GET], urgency)
        return found

    async def get_any(self, addresses: Sequence[Address], urgency: Urgency) -> Found:
        """Fetch what the first peer has that has any of these chunks, not verified yet. Raises UnavailableError."""
        return (await self._search(_Search(addresses, urgency)))[1]

    async def _search(self, search: _Search) -> tuple[Link, Found]:
        """Ask one peer after the other until one has something. Raises UnavailableError."""
        while True:
            peer = await self._next(search)
            try:
                if found := await self._ask(peer, search):
                    return peer.link, found
                search.refused(peer.link)
            except RefusedError:
                search.refused(peer.link)
            except UnavailableError:
                search.failed(peer.link)

    async def _next(self, search: _Search) -> _Peer:
        # One read makes the kernel ask several times: only the first may wait for a peer to come.
        now = trio.current_time()
        with trio.move_on_at(now if now < self._alone_until else now + GRACE_SECONDS):
            while True:
                peer = self._choose(search)
                if peer is not None:
                    return peer
                linked = self._linked()
                if linked and not search.awaits(linked):
                    break
                await self._changed.wait()
        if linked := self._linked():
            self.last_failure = search.failure(linked.values())
        else:
            if now >= self._alone_until:
                self._alone_until = trio.current_time() + GRACE_SECONDS
            self.last_failure = "no peer is connected that could have the data: start one, or check the network"
        raise UnavailableError(self.last_failure)

    def _choose(self, search: _Search) -> _Peer | None:
        chosen = choose(
            Candidate(name, peer.owed, peer.link.latency or 0.0)
            for name, peer in self._peers.items()
            if search.may_ask(peer.link)
        )
        return self._peers[chosen.name] if chosen is not None else None

    def _linked(self) -> dict[bytes, Link]:
        """The links that stand; one that has ended is there a little longer, until all its tasks have."""
        return {name: peer.link for name, peer in self._peers.items() if not peer.link.closed}

    async def _ask(self, peer: _Peer, search: _Search) -> Found:
        name = peer.link.peer.name
        peer.owed += 1
        try:
            wanted = Get(list(search.addresses))
            reply = await peer.link.request(wanted, priority=search.urgency.value, timeout=ANSWER_SECONDS)
        finally:
            peer.owed -= 1
        if not isinstance(reply.message, Chunks):
            raise RefusedError(f"{name} did not answer with chunks")
        return [(Address(address), data) for address, data in zip(reply.message.found, reply.attachments, strict=True)]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
