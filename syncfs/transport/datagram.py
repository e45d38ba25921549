"""UDP for neighbours: one group of sockets that speaks to and hears everybody on each attached network.

Two sockets per family. The *common* one is bound to the well-known port, which every process of this computer shares
(SO_REUSEADDR and SO_REUSEPORT: the kernel gives each multicast and broadcast datagram to all of them), and joins the
multicast group on each interface. The *own* one has a port of its own: everything is sent from it, so that a unicast
reply reaches this process and not whichever the kernel picks among those on the common port.

IPv4 goes by multicast and by directed broadcast on each interface (some access points drop one of them), IPv6 by
link-local multicast. Interfaces come and go: a failed join or send is logged once per interface and never raised.
Linux: the interface of a datagram is chosen and learnt through IP_PKTINFO (ip(7)); no socket per interface is needed.
"""

import contextlib
import errno
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, cast

import trio

from syncfs.transport.interfaces import Interface

LAN_PORT = 21037
"""The well-known UDP port where announcements are heard."""
GROUP_IPV4 = "239.192.82.45"
"""In the organization-local scope (RFC 2365); sent with TTL 1, so it does not leave the network."""
GROUP_IPV6 = "ff12::5259:2d21"
"""A transient group of link-local scope (RFC 4291, 2.7)."""
MAX_DATAGRAM = 1280
"""Longer datagrams are cut when they are received, which whoever reads them has to notice."""

_IP_PKTINFO = 8  # linux/in.h; not in the socket module before Python 3.14
_IN_PKTINFO = struct.Struct("=i4s4s")  # interface index, local address, destination address
_SCOPE_BYTES = struct.Struct("=I")

_SocketAddress: TypeAlias = tuple[Any, ...]
"""(host, port) in IPv4, (host, port, flow, interface index) in IPv6."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Datagram:
    """What arrived: `host` is the sender's address (with `%interface` where link-local), `index` the interface's."""

    data: bytes
    host: str
    port: int
    family: int
    index: int


class LanGroup:
    """The sockets of one participant in LAN discovery; to be used in a `with`.

    Raises nothing once made. Where a family is missing from the system, or its port is held by a program that does not
    share it, that part is left out, with a line in the log.
    """

    def __init__(self, port: int = LAN_PORT) -> None:
        self._port = port
        self._common = {family: made for family in _FAMILIES if (made := _open_common(family, port))}
        self._own = {family: made for family in _FAMILIES if (made := _open_own(family))}
        self._interfaces: tuple[Interface, ...] = ()
        self._joined: set[tuple[int, int]] = set()
        self._troubled: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for one in (*self._common.values(), *self._own.values()):
            one.close()

    def use(self, found: Iterable[Interface]) -> bool:
        """Speak and listen on these interfaces from now on; tells whether one of them was not used before.

        Of IPv6 addresses only the link-local ones are used.
        """
        usable = tuple(one for one in found if one.family == socket.AF_INET or one.link_local)
        fresh = not set(usable) <= set(self._interfaces)
        self._interfaces = usable
        places = {(one.family, one.index): one for one in usable}
        for gone in self._joined - places.keys():
            self._leave(*gone)
        for place, one in places.items():
            if place not in self._joined:
                self._join(one)
        return fresh

    async def send(self, make: Callable[[], bytes]) -> None:
        """Send to everybody on every interface, a datagram of its own from `make` on each address."""
        for one in self._interfaces:
            own = self._own.get(one.family)
            if own is None:
                continue
            data = make()
            try:
                if one.family == socket.AF_INET6:
                    await own.sendto(data, (GROUP_IPV6, self._port, 0, one.index))
                else:
                    await _send_ipv4(own, data, (GROUP_IPV4, self._port), one.index, one.address)
                    if one.broadcast:
                        await _send_ipv4(own, data, (one.broadcast, self._port), one.index, one.address)
            except OSError as error:
                self._complain((one.name, one.family), f"cannot send on {one.name} ({one.address})", error)
            else:
                self._troubled.discard((one.name, one.family))

    async def listen(self, receive: Callable[[Datagram], bytes | None]) -> None:
        """Pass on everything that arrives until cancelled; what `receive` returns goes back to the sender."""
        async with trio.open_nursery() as nursery:
            for family in _FAMILIES:
                for sockets in (self._common, self._own):
                    if family in sockets:
                        nursery.start_soon(self._listen_on, sockets[family], family, receive)
            if not self._common and not self._own:
                await trio.sleep_forever()

    async def _listen_on(
        self, ear: trio.socket.SocketType, family: int, receive: Callable[[Datagram], bytes | None]
    ) -> None:
        while True:
            try:
                data, notes, _, address = await ear.recvmsg(MAX_DATAGRAM, socket.CMSG_SPACE(_IN_PKTINFO.size))
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise
                continue  # an ICMP error of an earlier reply
            sender = cast(_SocketAddress, address)
            datagram = _datagram(data, notes, sender, family)
            answer = receive(datagram)
            if answer is not None:
                await self._reply(datagram, answer, sender)

    async def _reply(self, to: Datagram, data: bytes, sender: _SocketAddress) -> None:
        own = self._own.get(to.family)
        if own is None:
            return
        try:
            if to.family == socket.AF_INET6:
                await own.sendto(data, sender)
            else:
                await _send_ipv4(own, data, sender, to.index, "0.0.0.0")
        except OSError as error:
            self._complain((f"#{to.index}", to.family), f"cannot answer {to.host}", error)

    def _join(self, one: Interface) -> None:
        common = self._common.get(one.family)
        if common is None:
            return
        try:
            common.setsockopt(*_membership(one.family, one.index, join=True))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # it has that membership already
                self._complain((one.name, one.family), f"cannot listen for multicast on {one.name}", error)
                return
        self._joined.add((one.family, one.index))

    def _leave(self, family: int, index: int) -> None:
        self._joined.discard((family, index))
        with contextlib.suppress(OSError):  # the interface took the membership with it
            self._common[family].setsockopt(*_membership(family, index, join=False))

    def _complain(self, key: tuple[str, int], what: str, error: OSError) -> None:
        if key not in self._troubled and len(self._troubled) < 1000:
            self._troubled.add(key)
            _log.info("LAN discovery %s: %s; this is said once", what, error.strerror or error)


_FAMILIES: Sequence[int] = (socket.AF_INET, socket.AF_INET6)


def _membership(family: int, index: int, *, join: bool) -> tuple[int, int, bytes]:
    if family == socket.AF_INET6:
        option = socket.IPV6_JOIN_GROUP if join else socket.IPV6_LEAVE_GROUP
        return socket.IPPROTO_IPV6, option, socket.inet_pton(family, GROUP_IPV6) + _SCOPE_BYTES.pack(index)
    option = socket.IP_ADD_MEMBERSHIP if join else socket.IP_DROP_MEMBERSHIP
    return socket.IPPROTO_IP, option, socket.inet_aton(GROUP_IPV4) + bytes(4) + struct.pack("=i", index)


def _open_common(family: int, port: int) -> trio.socket.SocketType | None:
    with _made_or_logged(f"cannot hear others on port {port}"):
        return _open(family, ("::" if family == socket.AF_INET6 else "0.0.0.0", port), shared=True)
    return None


def _open_own(family: int) -> trio.socket.SocketType | None:
    with _made_or_logged("cannot open a socket"):
        return _open(family, ("::" if family == socket.AF_INET6 else "0.0.0.0", 0), shared=False)
    return None


def _open(family: int, address: tuple[str, int], *, shared: bool) -> trio.socket.SocketType:
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        made.bind(address)
        return trio.socket.from_stdlib_socket(made)
    except BaseException:
        made.close()
        raise


@contextlib.contextmanager
def _made_or_logged(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return  # a system without IPv6 (or IPv4) is no news
        _log.warning("LAN discovery %s: %s", what, error.strerror or error)


async def _send_ipv4(own: trio.socket.SocketType, data: bytes, to: _SocketAddress, index: int, source: str) -> None:
    via = _IN_PKTINFO.pack(index, socket.inet_aton(source), bytes(4))
    await own.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, via)], 0, to)


def _datagram(data: bytes, notes: Sequence[tuple[int, int, bytes]], sender: _SocketAddress, family: int) -> Datagram:
    host, port = sender[0], sender[1]
    if family == socket.AF_INET6:
        index = int(sender[3])
        return Datagram(data, _scoped(host, index), port, family, index)
    index = 0
    for level, kind, note in notes:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(note) >= _IN_PKTINFO.size:
            index = _IN_PKTINFO.unpack_from(note)[0]
    return Datagram(data, host, port, family, index)


def _scoped(host: str, index: int) -> str:
    """A link-local address means something only together with its interface."""
    if not index or "%" in host:
        return host
    try:
        return f"{host}%{socket.if_indextoname(index)}"
    except OSError:
        return f"{host}%{index}"
