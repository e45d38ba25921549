"""TCP over trio, IPv4 and IPv6.

trio's SocketStream sets TCP_NODELAY, and TCP_NOTSENT_LOWAT so low that nearly all that waits to be sent waits in the
session, where urgent messages overtake. Kernel buffers are left to its autotuning: a fixed size would switch that off
and be too small for a long fat path.
"""

import errno
import os
from collections.abc import Sequence

import trio
from trio import socket

from syncfs.model.errors import PortTakenError, SetupError, UnavailableError
from syncfs.transport.streams import Addressed, format_endpoint

BACKLOG = 128
_PORT_TRIES = 16
_IGNORED = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
"""What a computer without IPv6, or without IPv4, answers."""


async def open_tcp(host: str, port: int, timeout: float) -> trio.SocketStream:
    """A stream to there, all addresses of a name being tried. Raises UnavailableError after `timeout` seconds."""
    where = format_endpoint(host, port)
    try:
        with trio.fail_after(timeout):
            return await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        raise UnavailableError(f"{where} did not answer within {timeout:g} seconds") from None
    except (OSError, UnicodeError) as error:
        raise UnavailableError(f"{where} cannot be reached: {_cause(error)}") from error


async def listen_tcp(host: str, port: int) -> list[trio.SocketListener]:
    """Listeners on all addresses of `host` (empty for all of this computer), on one port; 0 picks a free one.

    Raises BusyError if the port is taken, SetupError if the address is not of this computer or not allowed.
    """
    try:
        found = await socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SetupError(
            f"{host!r} is no address of this computer ({_cause(error)}): "
            "set another with 'syncfs config NAME listen HOST:PORT'"
        ) from error
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for last_try in (*[False] * (_PORT_TRIES - 1), True):
        try:
            return await _listen_on_all(addresses, port)
        except PortTakenError:
            # A port that was free for one family may be taken for the other: any other free one will do.
            if port or last_try:
                raise
    raise AssertionError("unreachable")


async def _listen_on_all(
    addresses: Sequence[tuple[int, tuple[str | bytes | int, ...]]], port: int
) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    problem: OSError | None = None
    try:
        for family, address in addresses:
            try:
                listener = await _listen_on(family, (address[0], port, *address[2:]))
            except OSError as error:
                if error.errno not in _IGNORED:
                    raise
                problem = error
                continue
            listeners.append(listener)
            port = listener.socket.getsockname()[1]
        if not listeners and problem is not None:
            raise problem
    except OSError as error:
        for listener in listeners:
            listener.socket.close()
        raise _listen_error(error, port) from error
    return listeners


async def _listen_on(family: int, address: tuple[str | bytes | int, ...]) -> trio.SocketListener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await sock.bind(address)
        sock.listen(BACKLOG)
        return trio.SocketListener(sock)
    except BaseException:
        sock.close()
        raise


def _listen_error(error: OSError, port: int) -> PortTakenError | SetupError:
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(
            f"port {port} is in use: end the other program, or set another with 'syncfs config NAME listen HOST:PORT'"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return SetupError(
            f"port {port} may not be used by this user: set one above 1023 with 'syncfs config NAME listen HOST:PORT'"
        )
    return SetupError(f"cannot listen on port {port}: {_cause(error)}")


def _cause(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError):
        if error.strerror:
            return error.strerror
        # trio tells only "all attempts failed"; the reasons are in the group it raised from.
        if isinstance(error.__cause__, BaseExceptionGroup):
            inner = error.__cause__.exceptions
            # By number where there is one, since trio's own words tell the address once more.
            reasons = {os.strerror(code) if (code := getattr(one, "errno", None)) else str(one) for one in inner}
            return ", ".join(sorted(reasons))
    return str(error)


class TcpNetwork:
    """The real network."""

    async def open(self, host: str, port: int, timeout: float) -> trio.SocketStream:
        """See open_tcp."""
        return await open_tcp(host, port, timeout)

    async def listen(self, host: str, port: int) -> list[trio.SocketListener]:
        """See listen_tcp."""
        return await listen_tcp(host, port)


def remote_of(stream: trio.abc.Stream) -> tuple[str, int]:
    """Where the other end of a stream is, as far as it can be told: host and port."""
    if isinstance(stream, trio.SocketStream):
        try:
            host, port, *_ = stream.socket.getpeername()
        except OSError:
            return "unknown", 0
        return str(host), int(port)
    return stream.remote if isinstance(stream, Addressed) else ("unknown", 0)
