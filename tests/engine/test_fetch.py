"""How long a read waits for peers that may come, that do not answer, and whose links end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

import pytest
import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.engine.chunks.fetch import (
    ANSWER_SECONDS,
    FIRST_PATIENCE,
    GRACE_SECONDS,
    MOST_LINKS,
    TOLD_SECONDS,
    Fetcher,
    Urgency,
)
from syncfs.model.errors import SyncfsError, UnavailableError
from syncfs.model.ids import Address
from syncfs.transport.link import Link, run_link
from syncfs.transport.memory import MemoryNetwork
from syncfs.wire.messages import Chunks, Get, Have, Message
from tests.transport.contract.networks import stream_pair
from tests.wire.people import person

DATA = b"what the chunk holds"
CHUNK = Address(bytes(32))
Answer = tuple[Message, Sequence[bytes]]
Serve = Callable[[Link, Get], Awaitable[Answer]]
Reader = Callable[[Fetcher], Awaitable[bytes]]


async def has_all(link: Link, message: Get) -> Answer:
    return Chunks(message.addresses), [DATA] * len(message.addresses)


async def has_nothing(link: Link, message: Get) -> Answer:
    return Chunks([], message.addresses), []


async def silent(link: Link, message: Get) -> Answer:
    await trio.sleep_forever()
    raise AssertionError


async def breaks(link: Link, message: Get) -> Answer:
    link.close("the peer ends")
    return await silent(link, message)


class SomePeers:
    """A fetcher, and peers that it is linked with: whom it has asked, and the last link with each."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.network = MemoryNetwork(1, delay=0.001)
        self.fetcher = Fetcher()
        self.asked: list[str] = []
        self.links: dict[str, Link] = {}
        self.ended: dict[str, trio.Event] = {}

    async def link(self, name: str, serve: Serve) -> Link:
        """One more link with a peer, which answers so."""
        near, far = await stream_pair(self.network.host("ann"), self.network.host(name), name)
        opened, self.ended[name] = trio.Event(), trio.Event()

        async def serve_get(link: Link, message: Message) -> Answer:
            assert isinstance(message, Get)
            self.asked.append(name)
            return await serve(link, message)

        async def asks_nothing(link: Link, message: Message) -> None:
            return None

        async def attend(link: Link, ended: trio.Event) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.fetcher.gone(link)
                ended.set()

        def on_open(link: Link) -> Awaitable[None]:
            self.links[name] = link
            self.fetcher.connected(link)
            opened.set()
            return attend(link, self.ended[name])

        async def run(work: Callable[[], Awaitable[object]]) -> None:
            try:
                await work()
            except SyncfsError:
                return  # this end is what is tested

        here = partial(run_link, near, person("ann"), True, asks_nothing, on_open, address=name, path="lan")
        there = partial(run_link, far, person(name), False, serve_get, lambda link: None, address="ann", path="lan")
        self.nursery.start_soon(run, here)
        self.nursery.start_soon(run, there)
        await opened.wait()
        return self.links[name]


@asynccontextmanager
async def some_peers() -> AsyncIterator[SomePeers]:
    async with trio.open_nursery() as nursery:
        yield SomePeers(nursery)
        nursery.cancel_scope.cancel()


async def read(fetcher: Fetcher) -> bytes:
    async def arrived(data: BytesLike) -> bytes:
        return bytes(data)

    return await fetcher.get(CHUNK, Urgency.READ, arrived)


async def read_any(fetcher: Fetcher) -> bytes:
    ((_, data),) = await fetcher.get_any([CHUNK], Urgency.COPY)
    return bytes(data)


async def arrived(data: BytesLike) -> NoReturn:
    raise AssertionError("nobody could send anything")


async def seconds_of_a_read(fetcher: Fetcher) -> float:
    began = trio.current_time()
    with pytest.raises(UnavailableError, match="no peer is connected"):
        await fetcher.get(CHUNK, Urgency.READ, arrived)
    return trio.current_time() - began


async def test_only_the_first_of_many_requests_waits_for_a_peer(autojump_clock: object) -> None:
    fetcher = Fetcher()
    waited = [await seconds_of_a_read(fetcher) for _ in range(3)]
    assert waited == pytest.approx([GRACE_SECONDS, 0, 0])
    await trio.sleep(2 * GRACE_SECONDS)
    assert await seconds_of_a_read(fetcher) == pytest.approx(GRACE_SECONDS)


async def test_a_read_whose_link_is_replaced_asks_over_the_new_one(autojump_clock: object) -> None:
    async with some_peers() as peers:
        old = await peers.link("bob", silent)
        peers.nursery.start_soon(replace, peers, old)
        assert await read(peers.fetcher) == DATA
        assert peers.asked == ["bob", "bob"]
        assert not peers.fetcher.owed_by(peers.links["bob"]), "what the old link owed is none of the new one's"


async def replace(peers: "SomePeers", old: Link) -> None:
    await trio.sleep(1)
    await peers.link("bob", has_all)
    old.close("replaced by another link")


@pytest.mark.parametrize("reader", [read, read_any])
async def test_a_read_whose_only_source_restarts_waits_for_it(autojump_clock: object, reader: Reader) -> None:
    async with some_peers() as peers:
        await peers.link("bob", silent)
        await peers.link("cid", has_nothing)

        async def restart() -> None:
            await trio.sleep(1)
            peers.network.crash("bob")
            await trio.sleep(GRACE_SECONDS - 1)
            await peers.link("bob", has_all)

        peers.nursery.start_soon(restart)
        assert await reader(peers.fetcher) == DATA
        assert peers.fetcher.last_failure == ""


async def test_a_read_whose_only_source_stays_away_fails_after_the_grace_time(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", breaks)
        began = trio.current_time()
        with pytest.raises(UnavailableError, match="no peer is connected"):
            await read(peers.fetcher)
        assert trio.current_time() - began == pytest.approx(GRACE_SECONDS, abs=0.1)


@pytest.mark.parametrize("reader", [read, read_any])
async def test_a_peer_whose_links_break_each_time_ends_a_read(autojump_clock: object, reader: Reader) -> None:
    async with some_peers() as peers:

        async def come_again() -> None:
            while True:
                await peers.link("bob", breaks)
                await peers.ended["bob"].wait()

        peers.nursery.start_soon(come_again)
        with pytest.raises(UnavailableError, match="bob did not answer"):
            await reader(peers.fetcher)
        assert peers.asked == ["bob"] * MOST_LINKS


async def test_who_did_not_answer_is_not_said_to_lack_the_data(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", silent)
        with pytest.raises(UnavailableError) as alone:
            await read(peers.fetcher)
        assert "has the data" not in str(alone.value) and "bob did not answer" in str(alone.value)
        await peers.link("cid", has_nothing)
        with pytest.raises(UnavailableError) as both:
            await read(peers.fetcher)
        assert "cid does not have" in str(both.value) and "bob did not answer" in str(both.value)


async def test_peers_that_say_no_end_a_read_at_once(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", has_nothing)
        await peers.link("cid", has_nothing)
        began = trio.current_time()
        with pytest.raises(UnavailableError, match=r"none of the connected peers \(bob, cid\) has the data"):
            await read(peers.fetcher)
        assert trio.current_time() - began < 0.1
        assert sorted(peers.asked) == ["bob", "cid"]


def slowly(seconds: float) -> Serve:
    """Answers after so long, and is heard of all the time."""

    async def serve(link: Link, message: Get) -> Answer:
        for _ in range(10):
            await trio.sleep(seconds / 10)
            link.post(Have({}))
        return await has_all(link, message)

    return serve


async def seconds_of(reader: Reader, peers: SomePeers) -> float:
    began = trio.current_time()
    assert await reader(peers.fetcher) == DATA
    return trio.current_time() - began


async def seconds_of_reads(peers: SomePeers, count: int) -> list[float]:
    return [await seconds_of(read, peers) for _ in range(count)]


async def prefer(peers: SomePeers, name: str) -> None:
    """Let a peer be the one that is asked first."""
    await trio.sleep(0.1)  # until the first round trip has been measured
    for other, link in peers.links.items():
        link.latency = 0.0 if other == name else 1.0


@pytest.mark.parametrize("reader", [read, read_any])
async def test_a_frozen_peer_holds_up_one_read_and_only_shortly(autojump_clock: object, reader: Reader) -> None:
    async with some_peers() as peers:
        await peers.link("bob", has_all)
        await peers.link("cid", has_all)
        await prefer(peers, "bob")
        peers.network.partition(["bob"])
        first, *others = [await seconds_of(reader, peers) for _ in range(5)]
        assert first == pytest.approx(FIRST_PATIENCE, abs=0.1)
        assert max(others) < 0.1
        assert not peers.fetcher.under_way


async def test_several_frozen_peers_are_passed_over_one_by_one(autojump_clock: object) -> None:
    async with some_peers() as peers:
        for name in ("bob", "cid", "dan"):
            await peers.link(name, has_all)
        await prefer(peers, "bob")
        peers.links["cid"].latency = 0.5
        peers.network.partition(["bob", "cid"])
        assert await seconds_of_reads(peers, 2) == pytest.approx([2 * FIRST_PATIENCE, 0], abs=0.1)


async def test_a_peer_that_answers_again_is_asked_first_again(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", has_all)
        await peers.link("cid", has_all)
        await prefer(peers, "bob")
        peers.network.partition(["bob"])
        assert len(await seconds_of_reads(peers, 2)) == 2
        assert peers.asked == ["cid", "cid"]
        peers.network.heal()
        await trio.sleep(1)  # the answer that nobody waits for any more comes
        peers.asked.clear()
        await prefer(peers, "bob")
        assert await seconds_of_reads(peers, 1) == pytest.approx([0], abs=0.1)
        assert peers.asked == ["bob"]


async def test_a_slow_peer_is_helped_by_one_other_and_its_answer_counts(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", slowly(18))
        await peers.link("cid", silent)
        await peers.link("dan", silent)
        await prefer(peers, "bob")
        peers.links["cid"].latency = 0.5
        assert await seconds_of_reads(peers, 1) == pytest.approx([18], abs=0.1)
        assert sorted(peers.asked) == ["bob", "cid"]


async def test_a_peer_known_to_be_slow_is_given_its_time(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", slowly(18))
        assert await seconds_of_reads(peers, 2) == pytest.approx([18, 18], abs=0.1)
        await peers.link("cid", has_all)
        await prefer(peers, "bob")
        assert await seconds_of_reads(peers, 1) == pytest.approx([18], abs=0.1)
        assert peers.asked == ["bob"] * 3


async def test_who_lacks_it_leaves_the_others_their_time(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", slowly(3))
        await peers.link("cid", has_nothing)
        await prefer(peers, "bob")
        assert await seconds_of_reads(peers, 1) == pytest.approx([3], abs=0.1)
        assert peers.asked == ["bob", "cid"]


async def test_a_peer_that_comes_meanwhile_is_asked_beside_the_silent_one(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", silent)

        async def come() -> None:
            await trio.sleep(4)
            await peers.link("cid", has_all)

        peers.nursery.start_soon(come)
        assert await seconds_of_reads(peers, 1) == pytest.approx([4], abs=0.1)


async def test_one_silent_peer_alone_is_waited_for_as_long_as_ever(autojump_clock: object) -> None:
    async with some_peers() as peers:
        await peers.link("bob", silent)
        began = trio.current_time()
        with pytest.raises(UnavailableError, match="bob did not answer"):
            await read(peers.fetcher)
        assert trio.current_time() - began == pytest.approx(ANSWER_SECONDS, abs=0.1)
        assert peers.asked == ["bob"]


async def test_why_a_read_failed_is_told_for_a_while(autojump_clock: object) -> None:
    fetcher = Fetcher()
    await seconds_of_a_read(fetcher)
    await trio.sleep(TOLD_SECONDS - 1)
    assert "no peer is connected" in fetcher.last_failure
    await trio.sleep(2)
    assert fetcher.last_failure == ""


async def test_what_nobody_waits_for_fails_without_a_word(autojump_clock: object) -> None:
    fetcher = Fetcher()
    with pytest.raises(UnavailableError):
        await fetcher.get(CHUNK, Urgency.AHEAD, arrived)
    assert fetcher.last_failure == ""
