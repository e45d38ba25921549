"""What every network promises, whatever it is made of."""

import socket

import pytest
import trio
from trio.testing import check_half_closeable_stream

from syncfs.model.errors import PortTakenError, UnavailableError
from syncfs.transport.streams import Stream, local_port
from syncfs.transport.tcp import remote_of

from .networks import NETWORKS, listening, stream_pair


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(params=NETWORKS, ids=lambda make: make.__name__)
def sides(request):
    if request.param.__name__ == "tcp_v6" and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    return request.param()


async def test_streams_keep_the_rules_of_trio(sides):
    async def clogged() -> tuple[Stream, Stream]:
        ends = await stream_pair(*sides)
        for end in ends:
            blocked = False
            while not blocked:
                with trio.move_on_after(0.03) as scope:
                    await end.send_all(bytes(1 << 18))
                blocked = scope.cancelled_caught
        return ends

    await check_half_closeable_stream(lambda: stream_pair(*sides), clogged)


async def test_much_arrives_whole_and_in_order(sides):
    near, far = await stream_pair(*sides)
    sent = bytes(range(256)) * 20_000
    got = bytearray()

    async def receive() -> None:
        while data := await far.receive_some(70_000):
            got.extend(data)

    async with near, far:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await near.send_all(sent)
            await near.send_eof()
    assert got == sent


async def test_both_ends_know_where_the_other_is(sides):
    near, far = await stream_pair(*sides)
    async with near, far:
        assert remote_of(near)[0] == sides[2]
        assert remote_of(far)[1] > 0


async def test_nobody_listens(sides):
    opener, other, host = sides
    async with listening(other, host) as (_, port):
        pass
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await opener.open(host, port, 5.0)


async def test_a_port_is_given_once(sides):
    _, other, host = sides
    async with listening(other, host) as (_, port):
        with pytest.raises(PortTakenError, match=f"port {port} is in use"):
            await other.listen(host, port)
    (again,) = await other.listen(host, port)
    assert local_port([again]) == port
    await again.aclose()
