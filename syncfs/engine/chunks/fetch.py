"""Getting sealed chunks from peers: whom to ask, and whom to ask next.

`choose` is the whole policy, and pure. A chunk is asked of one peer; a peer that has it not or answers with bytes that
do not fit is left out for this chunk, and the next one is asked. Where an answer takes much longer than it should the
next best peer is asked beside it: the first that has something wins. Until it answers something again, whoever let us
wait is chosen last. Two are asked at most, unless nothing at all is heard from them: on a slow line every answer that
comes twice costs the others.

A link that ended says nothing of what its peer has, so the peer is asked again over its next link. Where no peer is
connected that may have the chunk we wait a little for one, since links come back; where all connected ones have said no
we give up at once and say why.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TypeVar

import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import BadChunkError, RefusedError, SyncfsError, UnavailableError
from syncfs.model.ids import Address
from syncfs.transport.link import Asked, Link
from syncfs.wire.messages import KIB, MAX_GET, Chunks, Get
from syncfs.wire.pieces import MAX_ATTACHED, MIB
from syncfs.wire.session import Priority

T = TypeVar("T")

GRACE_SECONDS = 5.0
"""How long a read waits for a peer to connect while none is."""
ANSWER_SECONDS = 20.0
"""How long one peer may take to answer."""
FIRST_PATIENCE = 1.0
"""How long a peer has for an answer, at least, before another one is asked as well."""
PATIENCE = 4.0
"""So many times what an answer should take is waited before another peer is asked as well."""
FIRST_PACE = FIRST_PATIENCE / PATIENCE / MIB
"""Seconds per byte of an answer that a peer is taken to need, until it has answered something."""
LEAST_TIMED = 256 * KIB
"""A smaller answer counts as one of so many bytes for the pace: what takes the time of it is the way."""
SMALL_CHUNK = 128 * KIB
TOLD_SECONDS = 300.0
"""How long `status` tells why a read failed; nobody may ask for what failed again, so it cannot end by a success."""
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
    """What the choice of a peer rests on: requests it owes us, seconds of a round trip, whether it is silent."""

    name: bytes
    outstanding: int
    latency: float
    silent: bool


def choose(candidates: Iterable[Candidate]) -> Candidate | None:
    """The peer to ask: the one whose answer is to be expected first, and one that let us wait last of all."""
    return min(
        candidates,
        key=lambda one: (one.silent, (one.outstanding + 1) * (one.latency + 0.001), one.name),
        default=None,
    )


@dataclass(eq=False, slots=True)
class _Peer:
    """A peer that can be asked, by the link that stands: what it owes us goes with the link."""

    link: Link
    owed: int = 0
    pace: float = FIRST_PACE
    """Seconds per byte of its answers, as they were lately."""
    silent_since: int = -1
    """How many answers had come when it let us wait last."""

    @property
    def silent(self) -> bool:
        """Whether it has let us wait and not answered anything since."""
        return self.silent_since == self.link.answers

    def answered(self, size: int, seconds: float) -> None:
        """Note how long an answer took."""
        self.pace = (self.pace + seconds / max(size, LEAST_TIMED)) / 2

    def patience(self, size: int) -> float:
        """Seconds after which an answer of this size is late."""
        return max(FIRST_PATIENCE, PATIENCE * self.pace * size)


class _Search:
    """One fetch: what is wanted, and what the peers asked so far have made of it."""

    def __init__(self, addresses: Sequence[Address], urgency: Urgency, size: int = MIB) -> None:
        """`size` is what a chunk has at most."""
        self.addresses = addresses
        self.urgency = urgency
        self.size = min(len(addresses) * size, MAX_ATTACHED)
        self.asking: dict[Link, int] = {}
        """The links that owe the answer now, and what had come over them before."""
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
        return not link.closed and link not in self.asking and link not in self._failed and self._may_answer(link)

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
        self._failure = ""
        self._failed_at = -inf

    @property
    def last_failure(self) -> str:
        """Why a read could not be served lately, for `status`."""
        return self._failure if trio.current_time() < self._failed_at + TOLD_SECONDS else ""

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
                self._failure = ""
                return result

    async def get_many(self, addresses: Sequence[Address], urgency: Urgency = Urgency.AHEAD) -> Found:
        """Fetch small chunks in few requests; what the first peer does not have that has any is left out."""
        found: Found = []
        for start in range(0, len(addresses), MAX_GET):
            found += (await self._search(_Search(addresses[start : start + MAX_GET], urgency, SMALL_CHUNK)))[1]
        return found

    async def get_any(self, addresses: Sequence[Address], urgency: Urgency) -> Found:
        """Fetch what the first peer has that has any of these chunks, not verified yet. Raises UnavailableError."""
        return (await self._search(_Search(addresses, urgency)))[1]

    async def _search(self, search: _Search) -> tuple[Link, Found]:
        """Ask one peer after the other until one has something. Raises UnavailableError."""
        while True:
            peer = await self._next(search)
            if (answer := await self._ask_beside(peer, search)) is not None:
                return answer

    async def _ask_beside(self, first: _Peer, search: _Search) -> tuple[Link, Found] | None:
        """Ask a peer, and others beside it where it is late; the first that has something, None where nobody has."""
        answers: list[tuple[Link, Found]] = []

        async def hear(peer: _Peer, asked: Asked) -> None:
            link = peer.link
            try:
                if found := await self._answer(peer, asked):
                    answers.append((link, found))
                else:
                    search.refused(link)
            except RefusedError:
                search.refused(link)
            except SyncfsError:
                search.failed(link)
            del search.asking[link]

        async def ask(peer: _Peer) -> None:
            with self._asking(peer, search) as asked:
                await hear(peer, asked)
            end()

        def end() -> None:
            if answers or not search.asking:
                nursery.cancel_scope.cancel()

        try:
            with self._asking(first, search) as asked:
                # Only what is late has tasks, for which every chunk would pay.
                if await asked.came(min(first.patience(search.size), ANSWER_SECONDS)):
                    await hear(first, asked)
                else:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._spread, nursery, ask, first, search)
                        await hear(first, asked)
                        end()
        finally:
            search.asking.clear()
        return answers[0] if answers else None

    async def _spread(
        self, nursery: trio.Nursery, ask: Callable[[_Peer], Awaitable[None]], late: _Peer, search: _Search
    ) -> None:
        """Ask one more peer now that one is late, and each time that the last is; cancelled when there is an answer."""
        late.silent_since = late.link.answers
        while True:
            while (peer := self._choose(search)) is None:
                await self._changed.wait()
            search.asking[peer.link] = peer.link.bytes_in  # at once, for the others may all end before it begins
            nursery.start_soon(ask, peer)
            await trio.sleep(peer.patience(search.size))
            if peer.link in search.asking:
                peer.silent_since = peer.link.answers
            if any(link.bytes_in != before for link, before in search.asking.items()):
                return

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
            failure = search.failure(linked.values())
        else:
            if now >= self._alone_until:
                self._alone_until = trio.current_time() + GRACE_SECONDS
            failure = "no peer is connected that could have the data: start one, or check the network"
        # Who copies says so as long as it lasts, and of what is fetched ahead whoever really reads it will be told.
        if search.urgency is Urgency.READ:
            self._failure, self._failed_at = failure, trio.current_time()
        raise UnavailableError(failure)

    def _choose(self, search: _Search) -> _Peer | None:
        chosen = choose(
            Candidate(name, peer.owed, peer.link.latency or 0.0, peer.silent)
            for name, peer in self._peers.items()
            if search.may_ask(peer.link)
        )
        return self._peers[chosen.name] if chosen is not None else None

    def _linked(self) -> dict[bytes, Link]:
        """The links that stand; one that has ended is there a little longer, until all its tasks have."""
        return {name: peer.link for name, peer in self._peers.items() if not peer.link.closed}

    @contextmanager
    def _asking(self, peer: _Peer, search: _Search) -> Iterator[Asked]:
        search.asking[peer.link] = peer.link.bytes_in
        peer.owed += 1
        try:
            with peer.link.ask(Get(list(search.addresses)), search.urgency.value) as asked:
                yield asked
        finally:
            peer.owed -= 1

    async def _answer(self, peer: _Peer, asked: Asked) -> Found:
        reply = await asked.answer(ANSWER_SECONDS)
        if not isinstance(reply.message, Chunks):
            raise RefusedError(f"{peer.link.peer.name} did not answer with chunks")
        peer.answered(sum(map(len, reply.attachments)), trio.current_time() - asked.began)
        return [(Address(address), data) for address, data in zip(reply.message.found, reply.attachments, strict=True)]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
