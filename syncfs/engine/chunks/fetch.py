"""Getting sealed chunks from peers: whom to ask, and whom to ask next.

`choose` is the whole policy, and pure. A chunk is asked of one peer at a time; a peer that has it not, fails or answers
with bytes that do not fit is left out for this chunk, and the next one is asked. Where no peer is connected we wait
a little for one, since links come back; where all connected ones have said no we give up at once and say why.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
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
BATCH_BYTES = 4 * 1024 * 1024


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


def choose(candidates: Iterable[Candidate], refused: set[bytes]) -> Candidate | None:
    """The peer to ask: the one whose answer is to be expected first, among those that have not refused."""
    open_ones = [one for one in candidates if one.name not in refused]
    return min(open_ones, key=lambda one: ((one.outstanding + 1) * (one.latency + 0.001), one.name), default=None)


class Fetcher:
    """Asks the connected peers for chunks."""

    def __init__(self) -> None:
        self._links: dict[bytes, Link] = {}
        self._owed: dict[bytes, int] = {}
        self._changed = trio.Event()
        self._alone_until = -inf
        self.last_failure = ""
        """Why the last chunk could not be had, for `status`."""

    @property
    def under_way(self) -> int:
        """Requests that peers owe us an answer to."""
        return sum(self._owed.values())

    def owed_by(self, link: Link) -> int:
        """Requests that this peer owes us an answer to."""
        return self._owed.get(link.peer.device, 0)

    def connected(self, link: Link) -> None:
        """A peer can be asked from now on."""
        self._links[link.peer.device] = link
        self._owed[link.peer.device] = 0
        self._alone_until = -inf
        self._wake()

    def gone(self, link: Link) -> None:
        """A peer can be asked no longer."""
        if self._links.get(link.peer.device) is link:
            del self._links[link.peer.device]
            del self._owed[link.peer.device]
            self._wake()

    async def get(self, address: Address, urgency: Urgency, arrived: Callable[[BytesLike], Awaitable[T]]) -> T:
        """Fetch one chunk and hand it to `arrived`, which verifies it. Raises UnavailableError with the reason."""
        refused: set[bytes] = set()
        while True:
            link = await self._next(refused)
            try:
                found = await self._ask(link, [address], urgency)
                if found:
                    result = await arrived(found[0][1])
                    self.last_failure = ""
                    return result
            except (UnavailableError, RefusedError):
                pass
            except BadChunkError as error:
                link.close(f"a chunk did not fit its address: {error}")
            refused.add(link.peer.device)

    async def get_many(
        self, addresses: Sequence[Address], urgency: Urgency = Urgency.AHEAD
    ) -> list[tuple[Address, BytesLike]]:
        """Fetch small chunks in few requests; what the first peer asked does not have is left out, not verified yet."""
        found: list[tuple[Address, BytesLike]] = []
        for start in range(0, len(addresses), MAX_GET):
            link = await self._next(set())
            found += await self._ask(link, addresses[start : start + MAX_GET], urgency)
        return found

    async def get_any(self, addresses: Sequence[Address], urgency: Urgency) -> list[tuple[Address, BytesLike]]:
        """Fetch what the first peer has that has any of these chunks, not verified yet. Raises UnavailableError."""
        refused: set[bytes] = set()
        while True:
            link = await self._next(refused)
            try:
                if found := await self._ask(link, addresses, urgency):
                    return found
            except (UnavailableError, RefusedError):
                pass
            refused.add(link.peer.device)

    async def _next(self, refused: set[bytes]) -> Link:
        # One read makes the kernel ask several times: only the first may wait for a peer to come.
        now = trio.current_time()
        with trio.move_on_at(now if now < self._alone_until else now + GRACE_SECONDS):
            while True:
                candidates = [
                    Candidate(name, self._owed[name], link.latency or 0.0) for name, link in self._links.items()
                ]
                chosen = choose(candidates, refused)
                if chosen is not None:
                    return self._links[chosen.name]
                if candidates:
                    break
                await self._changed.wait()
        if self._links:
            names = ", ".join(sorted(link.peer.name for link in self._links.values()))
            self.last_failure = f"none of the connected peers ({names}) has the data: wait for a peer that has"
        else:
            if now >= self._alone_until:
                self._alone_until = trio.current_time() + GRACE_SECONDS
            self.last_failure = "no peer is connected that could have the data: start one, or check the network"
        raise UnavailableError(self.last_failure)

    async def _ask(self, link: Link, addresses: Sequence[Address], urgency: Urgency) -> list[tuple[Address, BytesLike]]:
        name = link.peer.device
        self._owed[name] = self._owed.get(name, 0) + 1
        try:
            reply = await link.request(Get(list(addresses)), priority=urgency.value, timeout=ANSWER_SECONDS)
        finally:
            if name in self._owed:
                self._owed[name] -= 1
        if not isinstance(reply.message, Chunks):
            raise RefusedError(f"{link.peer.name} did not answer with chunks")
        return [(Address(address), data) for address, data in zip(reply.message.found, reply.attachments, strict=True)]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
