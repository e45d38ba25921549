"""The networks that the contract holds for, each with the address its listener has."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from syncfs.transport.memory import MemoryNetwork
from syncfs.transport.streams import Listener, Network, Stream, local_port
from syncfs.transport.tcp import TcpNetwork

Opened = tuple[Stream, Stream]


@asynccontextmanager
async def listening(network: Network, host: str) -> AsyncIterator[tuple[Listener, int]]:
    """The one listener of `host` on a free port, closed at the end."""
    (listener,) = await network.listen(host, 0)
    async with listener:
        yield listener, local_port([listener])


async def stream_pair(opener: Network, listener_side: Network, host: str) -> Opened:
    """Both ends of one stream: the opener's and the acceptor's."""
    async with listening(listener_side, host) as (listener, port):
        near = await opener.open(host, port, 5.0)
        return near, await listener.accept()


def tcp_v4() -> tuple[Network, Network, str]:
    """TCP over IPv4."""
    return TcpNetwork(), TcpNetwork(), "127.0.0.1"


def tcp_v6() -> tuple[Network, Network, str]:
    """TCP over IPv6."""
    return TcpNetwork(), TcpNetwork(), "::1"


def memory() -> tuple[Network, Network, str]:
    """The network in memory."""
    network = MemoryNetwork()
    return network.host("left"), network.host("right"), "right"


NETWORKS: tuple[Callable[[], tuple[Network, Network, str]], ...] = (tcp_v4, tcp_v6, memory)
PairMaker = Callable[[], AbstractAsyncContextManager[Opened]]
