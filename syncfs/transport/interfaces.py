"""The network interfaces of this computer, and the news that they changed.

`interfaces()` is a picture of one moment, taken through netifaces: one entry per usable address. `InterfaceWatch` says
when to take another: at once where rtnetlink tells (Linux), else every POLL seconds. Nothing here keeps state between
calls, and an interface that vanishes while it is looked at is simply not in the picture.
"""

import contextlib
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Any, Self

import netifaces
import trio

POLL = 10.0
"""Seconds between two looks where no change is announced to us."""
SAFETY_POLL = 60.0
"""Seconds between two looks where rtnetlink announces changes, in case one was missed."""
_SETTLE = 0.1
"""Changes come in bursts (link up, address, route): seconds that are given to the rest of one."""
_RTMGRP = 0x1 | 0x10 | 0x100
"""rtnetlink groups (linux/rtnetlink.h): LINK, IPV4_IFADDR, IPV6_IFADDR."""

_SIOCGIFFLAGS = 0x8913
_UP_AND_RUNNING = 0x1 | 0x40
_IFREQ = struct.Struct("16sH22x")  # name, flags, padding to sizeof(struct ifreq)


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one interface; an interface with several addresses appears several times.

    `address` has no scope; `prefix` is the length of its network in bits; `broadcast` is the directed broadcast
    address, empty where there is none (IPv6, point to point); `family` is AF_INET or AF_INET6; `index` is the kernel's
    number.
    """

    name: str
    address: str
    broadcast: str
    family: int
    index: int
    prefix: int

    @property
    def loopback(self) -> bool:
        """Whether packets to this address stay on this computer."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def link_local(self) -> bool:
        """Whether the address is an fe80::/10 or a 169.254/16."""
        return ipaddress.ip_address(self.address).is_link_local


def interfaces() -> list[Interface]:
    """Every address of every interface that is up and connected (a cable in it, a radio network joined)."""
    found: list[Interface] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for name in netifaces.interfaces():
            try:
                if _is_running(asking, name):
                    found.extend(_addresses(name))
            except (OSError, ValueError):
                continue  # gone since the list was made
    return found


def _is_running(asking: socket.socket, name: str) -> bool:
    """Whether the flags of an interface (netdevice(7), SIOCGIFFLAGS) hold both UP and RUNNING."""
    answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
    flags: int = _IFREQ.unpack(answer)[1]
    return flags & _UP_AND_RUNNING == _UP_AND_RUNNING


def _addresses(name: str) -> list[Interface]:
    found: list[Interface] = []
    index = socket.if_nametoindex(name)
    addresses: dict[int, list[dict[str, str]]] = netifaces.ifaddresses(name)
    for family in (socket.AF_INET, socket.AF_INET6):
        for entry in addresses.get(family, ()):
            with contextlib.suppress(KeyError, ValueError):
                found.append(_interface(name, index, entry))
    return found


def _interface(name: str, index: int, entry: dict[str, str]) -> Interface:
    address = ipaddress.ip_address(entry["addr"].partition("%")[0])
    if address.version == 6:
        prefix = _prefix_of_ipv6(entry.get("netmask", ""))
        return Interface(name, str(address), "", socket.AF_INET6, index, prefix)
    network = ipaddress.IPv4Network((entry["addr"], entry.get("netmask", "255.255.255.255")), strict=False)
    broadcast = entry.get("broadcast", "")
    if not broadcast and network.prefixlen < 31:
        broadcast = str(network.broadcast_address)
    return Interface(name, str(address), broadcast, socket.AF_INET, index, network.prefixlen)


def _prefix_of_ipv6(netmask: str) -> int:
    """netifaces writes `ffff:ffff::/32` on some systems and `ffff:ffff::` on others."""
    mask, _, length = netmask.partition("/")
    return int(length) if length else int(ipaddress.IPv6Address(mask)).bit_count()


class InterfaceWatch:
    """Waits for the addresses of this computer to change; to be used in a `with`.

    A context of its own, because the subscription has to exist before the first picture is taken: what changes between
    the two is then announced.
    """

    def __init__(self) -> None:
        self._news = _subscribe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._news is not None:
            self._news.close()

    async def changed(self) -> None:
        """Return when something may have changed; at the latest after POLL (SAFETY_POLL with rtnetlink) seconds."""
        if self._news is None:
            await trio.sleep(POLL)
            return
        with trio.move_on_after(SAFETY_POLL):
            await self._one_notice(self._news)
            with trio.move_on_after(_SETTLE):
                while True:
                    await self._one_notice(self._news)

    async def _one_notice(self, news: "trio.socket.SocketType") -> None:
        with contextlib.suppress(OSError):  # ENOBUFS: notices were lost, which is a notice too
            await news.recv(65536)


def _subscribe() -> "trio.socket.SocketType | None":
    family: Any = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        news = socket.socket(family, socket.SOCK_RAW, 0)
    except OSError:
        return None
    try:
        news.bind((0, _RTMGRP))
        return trio.socket.from_stdlib_socket(news)
    except OSError:
        news.close()
        return None
