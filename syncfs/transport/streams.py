"""What every transport offers: a network that opens byte streams and listens for them, and names for where they lead.

A stream is reliable, ordered and unauthenticated; all trust comes from the session that runs over it. The suite in
tests/transport/contract holds for each implementation.
"""

import ipaddress
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import trio

from syncfs.model.errors import UsageError

Stream = trio.abc.HalfCloseableStream
Listener = trio.abc.Listener[Stream]


class Network(Protocol):
    """Where streams come from."""

    async def open(self, host: str, port: int, timeout: float) -> Stream:
        """A stream to there. Raises UnavailableError if none is made within `timeout` seconds."""
        ...

    async def listen(self, host: str, port: int) -> Sequence[Listener]:
        """Listeners for that address, on one common port; port 0 picks a free one. Raises BusyError, SetupError."""
        ...


@runtime_checkable
class Addressed(Protocol):
    """A stream or listener that knows its addresses by itself."""

    remote: tuple[str, int]
    local: tuple[str, int]


async def receive_into(stream: Stream, room: memoryview) -> int:
    """Wait for bytes and put them at the beginning of `room`; how many, 0 at the end of the stream.

    Raises trio.BrokenResourceError, trio.ClosedResourceError.
    """
    if isinstance(stream, trio.SocketStream):
        try:
            return await stream.socket.recv_into(room)
        except OSError as error:
            raise trio.BrokenResourceError("the socket has failed") from error
    data = await stream.receive_some(len(room))
    room[: len(data)] = data
    return len(data)


def parse_endpoint(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises UsageError."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    valid = colon and bare and port.isascii() and port.isdigit() and 0 <= int(port) <= 65535
    if not valid or (":" in bare) != bracketed or not bare.isprintable() or any(char in "[]/ " for char in bare):
        raise UsageError(f"{text!r} is not an address: write HOST:PORT, or [ADDRESS]:PORT for IPv6")
    return bare, int(port)


def format_endpoint(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def path_of(host: str) -> str:
    """`lan` for an address that is reached without a router of the internet, else `direct`."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "direct"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return "lan" if address.is_private or address.is_link_local or address.is_loopback else "direct"


def local_port(listeners: Sequence[Listener]) -> int:
    """The port that listeners made by `Network.listen` share; 0 if there is none."""
    for listener in listeners:
        if isinstance(listener, trio.SocketListener):
            return int(listener.socket.getsockname()[1])
        if isinstance(listener, Addressed):
            return listener.local[1]
    return 0
