"""Links over the network in memory, under a virtual clock: serving, priorities, time limits, and every bad end."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from syncfs.model.errors import ForeignError, RefusedError, SyncfsError, UnavailableError
from syncfs.transport.link import DEAD_AFTER, HANDSHAKE_LIMIT, MAX_BACKLOG, SERVING_BUDGET, Link, run_link
from syncfs.transport.memory import MemoryNetwork, MemoryStream
from syncfs.wire.messages import Announce, Chunks, Done, Get, Have, Message
from syncfs.wire.session import Priority

from ..wire.people import person
from .contract.networks import stream_pair

A = bytes(32)
MIB = 1 << 20


@dataclass
class End:
    """One side of a link in a test: what it serves, its link once open, and how it ended."""

    serve: Callable[[Link, Message], Awaitable[tuple[Message, Sequence[bytes]] | None]]
    opened: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    link: Link | None = None
    result: str | SyncfsError | None = None

    async def run(self, stream: trio.abc.HalfCloseableStream, name: str, initiator: bool, **who: object) -> None:
        def on_open(link: Link) -> None:
            self.link = link
            self.opened.set()

        try:
            self.result = await run_link(
                stream, person(name, **who), initiator, self.serve, on_open, address=f"{name}:1", path="lan"
            )
        except SyncfsError as error:
            self.result = error
        finally:
            self.ended.set()
            with pytest.raises(trio.ClosedResourceError), trio.CancelScope(shield=True):
                await stream.receive_some(1)


async def nothing(link: Link, message: Message) -> None:
    return None


async def chunk_of_1_mib(link: Link, message: Message) -> tuple[Message, Sequence[bytes]]:
    assert isinstance(message, Get)
    return Chunks(message.addresses), [bytes(MIB)] * len(message.addresses)


async def streams(network: MemoryNetwork | None = None) -> tuple[MemoryStream, MemoryStream]:
    network = network or MemoryNetwork()
    return await stream_pair(network.host("left"), network.host("right"), "right")


@asynccontextmanager
async def linked(serve=nothing, network: MemoryNetwork | None = None):
    """Two open ends; both have ended when the block has."""
    near, far = await streams(network)
    left, right = End(nothing), End(serve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, near, "ann", True)
        nursery.start_soon(right.run, far, "bob", False)
        await left.opened.wait()
        await right.opened.wait()
        yield left, right
        nursery.cancel_scope.deadline = trio.current_time() + 100
        left.link.close("the test is over")


async def test_a_request_is_answered(autojump_clock):
    async with linked(chunk_of_1_mib) as (left, right):
        assert (left.link.peer.name, left.link.peer.address, left.link.peer.path) == ("bob", "ann:1", "lan")
        reply = await left.link.request(Get([A, A]))
        assert reply.attachments == [bytes(MIB)] * 2
        assert left.link.bytes_in > 2 * MIB
        assert right.link.bytes_out == left.link.bytes_in
    assert (left.result, right.result) == ("the test is over", "the test is over")


async def test_answers_of_every_kind(autojump_clock):
    async def serve(link: Link, message: Message) -> tuple[Message, Sequence[bytes]] | None:
        match message:
            case Have():
                return None
            case Announce():
                raise UnavailableError("not now")
            case _:
                raise ZeroDivisionError

    async with linked(serve) as (left, _):
        assert (await left.link.request(Have({}))).message == Done()
        with pytest.raises(RefusedError, match="bob refused: not now"):
            await left.link.request(Announce([]))
        with pytest.raises(RefusedError, match="internal error"):
            await left.link.request(Get([A]))
        assert (await left.link.request(Have({}))).message == Done()


async def test_an_answer_too_long_for_a_message_is_a_refusal(autojump_clock):
    async def serve(link: Link, message: Message) -> tuple[Message, Sequence[bytes]]:
        return Chunks([A] * 20), [bytes(MIB)] * 20

    async with linked(serve) as (left, _):
        with pytest.raises(RefusedError, match="internal error"):
            await left.link.request(Get([A] * 20))


async def test_posts_are_served_without_an_answer(autojump_clock):
    got = []

    async def serve(link: Link, message: Message) -> None:
        got.append(message)

    async with linked(serve) as (left, _right):
        for number in range(100):
            left.link.post(Have({A[:16]: number}))
        await left.link.request(Have({}))
    assert sorted(message.feeds.get(A[:16], -1) for message in got) == list(range(-1, 100))


async def test_both_sides_ask_much_at_once_and_nothing_blocks(autojump_clock):
    near, far = await streams()
    ends = End(chunk_of_1_mib), End(chunk_of_1_mib)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends[0].run, near, "ann", True)
        nursery.start_soon(ends[1].run, far, "bob", False)
        for end in ends:
            await end.opened.wait()
        async with trio.open_nursery() as askers:
            for end in ends:
                for priority in (Priority.URGENT, Priority.NORMAL, Priority.BULK):
                    for _ in range(15):
                        askers.start_soon(lambda end=end, p=priority: end.link.request(Get([A] * 2), priority=p))
        ends[0].link.close("done")


async def test_a_read_that_somebody_waits_for_overtakes_bulk(autojump_clock):
    order = []

    async with linked(chunk_of_1_mib, MemoryNetwork(delay=0.01)) as (left, _):

        async def ask(priority: Priority, count: int) -> None:
            await left.link.request(Get([A] * count), priority=priority)
            order.append(priority)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, Priority.BULK, 8)
            await trio.sleep(0.1)
            nursery.start_soon(ask, Priority.URGENT, 1)
    assert order == [Priority.URGENT] + [Priority.BULK] * 4


async def test_what_is_served_at_once_is_bounded(autojump_clock):
    now = most = 0

    async def serve(link: Link, message: Message) -> tuple[Message, Sequence[bytes]]:
        nonlocal now, most
        now += len(message.addresses)
        most = max(most, now)
        await trio.sleep(1)
        now -= len(message.addresses)
        return Chunks(message.addresses), [b"x"] * len(message.addresses)

    async with linked(serve) as (left, _):
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(lambda: left.link.request(Get([A] * 4)))
    assert SERVING_BUDGET // MIB <= most <= SERVING_BUDGET // MIB + 8


async def test_an_answer_that_takes_too_long_harms_nobody_else(autojump_clock):
    async def serve(link: Link, message: Message) -> tuple[Message, Sequence[bytes]]:
        await trio.sleep(message.addresses[0][0])
        return Chunks([]), []

    async with linked(serve) as (left, _):
        with pytest.raises(UnavailableError, match="bob did not answer within 2 seconds"):
            await left.link.request(Get([b"\x05" * 32]), timeout=2)
        await trio.sleep(10)
        await left.link.request(Get([A]), timeout=2)


async def test_latency_is_measured(autojump_clock):
    async with linked(network=MemoryNetwork(delay=0.25)) as (left, right):
        await trio.sleep(1)
        assert left.link.latency == pytest.approx(0.5)
        assert right.link.latency == pytest.approx(0.5)


async def test_an_idle_link_lives(autojump_clock):
    async with linked() as (left, _right):
        await trio.sleep(24 * 3600)
        assert not left.ended.is_set()
        assert (await left.link.request(Have({}))).message == Done()


async def test_a_half_open_connection_ends_after_some_silence(autojump_clock):
    network = MemoryNetwork()
    async with linked(network=network) as (left, right):
        await trio.sleep(100)
        network.partition(["left"], ["right"])
        started = trio.current_time()
        with pytest.raises(UnavailableError, match="nothing was heard of bob for 45 seconds"):
            await left.link.request(Have({}), timeout=1000)
        assert DEAD_AFTER - 16 <= trio.current_time() - started <= DEAD_AFTER
        await right.ended.wait()
    assert isinstance(left.result, UnavailableError)
    assert isinstance(right.result, UnavailableError)


async def test_silence_ends_a_link_also_where_the_sum_of_two_times_is_rounded(autojump_clock):
    """Otherwise it would wake up too early, see nothing to do, and sleep for no time at all."""
    start = next(time for time in (number / 10 for number in range(1000)) if (time + DEAD_AFTER) - time < DEAD_AFTER)
    network = MemoryNetwork()
    autojump_clock.jump(start - trio.current_time())
    async with linked(network=network) as (left, _right):
        network.partition(["left"], ["right"])
        with trio.move_on_after(DEAD_AFTER + 20):
            await left.ended.wait()
    assert isinstance(left.result, UnavailableError)


async def test_a_crash_tells_everybody_who_waits(autojump_clock):
    async def serve(link: Link, message: Message) -> None:
        await trio.sleep_forever()

    network = MemoryNetwork()
    failed = 0

    async with linked(serve, network) as (left, _right):

        async def ask() -> None:
            nonlocal failed
            with pytest.raises(UnavailableError, match="broke"):
                await left.link.request(Have({}), timeout=1000)
            failed += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            network.crash("right")
    assert failed == 10
    with pytest.raises(UnavailableError):
        await left.link.request(Have({}))
    left.link.post(Have({}))
    left.link.close("twice")


async def test_a_peer_that_reads_nothing_loses_the_link_before_our_memory(autojump_clock):
    async def serve(link: Link, message: Message) -> None:
        await trio.sleep_forever()

    async with linked(serve) as (left, _right):
        count = 0
        while not left.link.closed:
            left.link.post(Announce([bytes(500_000)]))
            count += 1
            await trio.testing.wait_all_tasks_blocked()
        assert count * 500_000 <= MAX_BACKLOG + 8 * MIB
    assert isinstance(left.result, UnavailableError)
    assert "too slowly" in str(left.result)


async def test_whoever_cancels_still_says_goodbye(autojump_clock):
    near, far = await streams()
    right = End(nothing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.run, far, "bob", False)
        async with trio.open_nursery() as inner:
            inner.start_soon(End(nothing).run, near, "ann", True)
            await right.opened.wait()
            await trio.sleep(1)
            inner.cancel_scope.cancel()
    assert right.result == "this peer is going away"


async def test_a_goodbye_in_the_middle_of_a_large_answer_is_read(autojump_clock):
    network = MemoryNetwork(delay=0.01)
    async with linked(chunk_of_1_mib, network) as (left, right):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(UnavailableError, match="enough"):
                    await left.link.request(Get([A] * 8), timeout=1000)

            nursery.start_soon(ask)
            await trio.sleep(0.05)
            right.link.close("enough")
    assert left.result == "enough"


async def test_what_on_open_returns_ends_with_the_link(autojump_clock):
    near, far = await streams()
    cancelled = trio.Event()

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with trio.open_nursery() as nursery:
        right = End(nothing)
        nursery.start_soon(right.run, far, "bob", False)

        async def run() -> None:
            await run_link(near, person("ann"), True, nothing, lambda link: work(), address="", path="")

        nursery.start_soon(run)
        await right.opened.wait()
        await trio.sleep(1)
        right.link.close("end")
    assert cancelled.is_set()


@pytest.mark.parametrize("error", [UnavailableError("no index"), ExceptionGroup("g", [UnavailableError("no index")])])
async def test_an_error_of_on_open_ends_the_link(error, autojump_clock):
    near, far = await streams()
    right = End(nothing)

    async def work() -> None:
        raise error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.run, far, "bob", False)
        with pytest.raises(UnavailableError, match="no index"):
            await run_link(near, person("ann"), True, nothing, lambda link: work(), address="", path="")
    assert right.result == "no index"


async def test_a_bug_in_on_open_is_not_swallowed(autojump_clock):
    near, far = await streams()
    right = End(nothing)

    def broken(link: Link) -> None:
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.run, far, "bob", False)
        with pytest.raises(ZeroDivisionError):
            await run_link(near, person("ann"), True, nothing, broken, address="", path="")
    assert right.ended.is_set()


# --- strangers -------------------------------------------------------------------------------------------------------


async def strange(talk: Callable[[MemoryStream], Awaitable[None]], initiator: bool = False) -> SyncfsError:
    """How our side ends when a stranger talks like this."""
    near, far = await streams()
    ours = End(nothing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.run, far, "bob", initiator)
        await talk(near)
        with trio.fail_after(HANDSHAKE_LIMIT + 1):
            await ours.ended.wait()
    assert ours.link is None
    assert isinstance(ours.result, SyncfsError)
    return ours.result


async def test_a_stranger_who_says_nothing(autojump_clock):
    async def talk(stream: MemoryStream) -> None:
        assert await stream.receive_some() == b""

    started = trio.current_time()
    assert "within 10 seconds" in str(await strange(talk))
    assert trio.current_time() - started == pytest.approx(HANDSHAKE_LIMIT)


async def test_a_stranger_who_speaks_garbage(autojump_clock):
    async def talk(stream: MemoryStream) -> None:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: you\r\nUser-Agent: scanner/1.0\r\n\r\n")
        assert await stream.receive_some() == b""

    assert isinstance(await strange(talk), ForeignError)


async def test_a_stranger_who_dribbles(autojump_clock):
    async def talk(stream: MemoryStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"x")
                await trio.sleep(1)

    assert isinstance(await strange(talk), UnavailableError)


async def test_a_stranger_who_hangs_up(autojump_clock):
    async def talk(stream: MemoryStream) -> None:
        await stream.aclose()

    assert isinstance(await strange(talk), UnavailableError)


async def test_whom_we_call_hangs_up_at_once(autojump_clock):
    async def talk(stream: MemoryStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    error = await strange(talk, initiator=True)
    assert isinstance(error, RefusedError)
    assert "another share" in str(error)


async def test_a_member_of_another_share(autojump_clock):
    near, far = await streams()
    left, right = End(nothing), End(nothing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: left.run(near, "ann", True, share="other"))
        nursery.start_soon(right.run, far, "bob", False)
    assert isinstance(left.result, RefusedError)
    assert isinstance(right.result, ForeignError)
    assert left.link is None
    assert right.link is None


async def test_a_member_who_breaks_the_rules_later(autojump_clock):
    async with linked() as (left, right):
        right.link._session._plain_out.append(bytes(4))
        right.link.post(Have({}))
        await left.ended.wait()
        await right.ended.wait()
    assert isinstance(left.result, ForeignError)
    assert "frame of 0 bytes" in str(left.result)
    assert right.result == str(left.result)
