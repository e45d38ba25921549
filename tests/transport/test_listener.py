"""The listener: strangers are bounded, and nobody's failure reaches anybody else."""

from contextlib import asynccontextmanager

import pytest
import trio

from syncfs.model.errors import ForeignError, RefusedError, SyncfsError, UnavailableError
from syncfs.transport.link import HANDSHAKE_LIMIT, Link, run_link
from syncfs.transport.listener import Door, accept_links
from syncfs.transport.memory import MemoryNetwork
from syncfs.transport.streams import local_port
from syncfs.transport.tcp import TcpNetwork, listen_tcp, open_tcp
from syncfs.wire.messages import Done, Have, Message

from ..wire.people import person


async def nothing(link: Link, message: Message) -> None:
    return None


@asynccontextmanager
async def served(network, host: str, door: Door | None = None, on_open=lambda link: None):
    """A listener that accepts links as bob; the failures it heard of."""
    failures: list[SyncfsError] = []
    listeners = await network.listen(host, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: accept_links(
                listeners,
                lambda: person("bob"),
                nothing,
                on_open,
                lambda address, error: failures.append(error),
                door=door,
            )
        )
        yield local_port(listeners), failures
        nursery.cancel_scope.cancel()


async def ask_once(stream: trio.abc.HalfCloseableStream, name: str = "ann", **who: object) -> str:
    """A link that asks one thing and says goodbye."""

    def on_open(link: Link):
        async def ask() -> None:
            assert (await link.request(Have({}))).message == Done()
            link.close("thank you")

        return ask()

    return await run_link(stream, person(name, **who), True, nothing, on_open, address="", path="")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
async def test_over_real_tcp(host):
    door = Door()
    async with served(TcpNetwork(), host, door) as (port, failures):
        for _ in range(3):
            assert await ask_once(await open_tcp(host or "127.0.0.1", port, 5)) == "thank you"
    assert failures == []
    assert door.half_open == 0


async def test_a_member_of_another_share_over_real_tcp():
    async with served(TcpNetwork(), "127.0.0.1") as (port, failures):
        with pytest.raises(RefusedError, match="another share"):
            await ask_once(await open_tcp("127.0.0.1", port, 5), share="other")
        assert await ask_once(await open_tcp("127.0.0.1", port, 5)) == "thank you"
    assert len(failures) == 1
    assert isinstance(failures[0], ForeignError)


async def test_strangers_are_bounded_and_members_still_come_in(autojump_clock):
    network = MemoryNetwork()
    door = Door(limit=8, limit_per_host=3)
    async with served(network.host("bob"), "", door) as (port, failures):
        idle = [await network.host("evil").open("bob", port, 5) for _ in range(10)]
        await trio.testing.wait_all_tasks_blocked()
        assert door.half_open == 3
        assert [await stream.receive_some() for stream in idle[3:]] == [b""] * 7
        assert await ask_once(await network.host("ann").open("bob", port, 5)) == "thank you"
        more = [await network.host(f"evil{n}").open("bob", port, 5) for n in range(10)]
        await trio.testing.wait_all_tasks_blocked()
        assert door.half_open == 8
        await trio.sleep(HANDSHAKE_LIMIT + 1)
        assert door.half_open == 0
        assert await ask_once(await network.host("ann").open("bob", port, 5)) == "thank you"
        for stream in idle + more:
            await stream.aclose()
    assert len(failures) == 8
    assert all(isinstance(error, UnavailableError) for error in failures)


async def test_a_recorded_first_message_gets_an_answer_once_only(autojump_clock):
    network = MemoryNetwork()
    recorded = bytearray()
    async with served(network.host("bob"), "") as (port, failures):
        near = await network.host("ann").open("bob", port, 5)
        send_all = near.send_all

        async def tap(data: bytes) -> None:
            recorded.extend(data)
            await send_all(data)

        near.send_all = tap
        await ask_once(near)
        again = await network.host("evil").open("bob", port, 5)
        await again.send_all(bytes(recorded))
        assert await again.receive_some() == b""
        await again.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert "repeated the first message" in str(failures[-1])


async def test_a_bug_in_one_link_leaves_the_others(autojump_clock, caplog):
    calls = 0

    def on_open(link: Link) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError

    network = MemoryNetwork()
    async with served(network.host("bob"), "", on_open=on_open) as (port, _):
        assert "internal error" in await ask_once(await network.host("ann").open("bob", port, 5), "cat")
        assert await ask_once(await network.host("ann").open("bob", port, 5)) == "thank you"
    assert "internal error" in caplog.text


async def test_all_families_get_one_port():
    listeners = await listen_tcp("", 0)
    try:
        assert len({local_port([listener]) for listener in listeners}) == 1
    finally:
        for listener in listeners:
            await listener.aclose()


async def test_an_address_of_another_computer_cannot_be_listened_on():
    with pytest.raises(SyncfsError, match=r"cannot listen on port|is no address of this computer"):
        await listen_tcp("192.0.2.1", 0)


async def test_a_name_that_cannot_be_listened_on():
    with pytest.raises(SyncfsError, match=r"is no address of this computer .*: set another with 'syncfs config"):
        await listen_tcp("no-such-host.invalid", 4000)


async def test_a_name_that_does_not_exist():
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await open_tcp("no-such-host.invalid", 1, 5)
