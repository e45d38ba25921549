"""What the system says of its interfaces, read as we need it."""

import socket

import netifaces
import pytest
import trio
from trio.testing import MockClock

from syncfs.transport import interfaces as module
from syncfs.transport.interfaces import POLL, Interface, InterfaceWatch, interfaces


def test_loopback_is_there() -> None:
    found = [one for one in interfaces() if one.address == "127.0.0.1"]
    assert len(found) == 1
    assert (found[0].family, found[0].prefix, found[0].loopback) == (socket.AF_INET, 8, True)
    assert found[0].index == socket.if_nametoindex(found[0].name)


@pytest.mark.parametrize(
    ("family", "entry", "expected"),
    [
        (
            socket.AF_INET,
            {"addr": "10.1.2.3", "netmask": "255.255.255.0", "broadcast": "10.1.2.255"},
            [Interface("lo", "10.1.2.3", "10.1.2.255", socket.AF_INET, 1, 24)],
        ),
        (
            socket.AF_INET,
            {"addr": "10.1.2.3", "netmask": "255.255.255.0"},
            [Interface("lo", "10.1.2.3", "10.1.2.255", socket.AF_INET, 1, 24)],
        ),
        (
            socket.AF_INET,
            {"addr": "10.1.2.3", "netmask": "255.255.255.255", "peer": "10.1.2.4"},
            [Interface("lo", "10.1.2.3", "", socket.AF_INET, 1, 32)],
        ),
        (
            socket.AF_INET6,
            {"addr": "fe80::1%lo", "netmask": "ffff:ffff:ffff:ffff::/64"},
            [Interface("lo", "fe80::1", "", socket.AF_INET6, 1, 64)],
        ),
        (
            socket.AF_INET6,
            {"addr": "fd00::1", "netmask": "ffff:ffff:ffff:ffff::"},
            [Interface("lo", "fd00::1", "", socket.AF_INET6, 1, 64)],
        ),
        (socket.AF_INET6, {"addr": "what is this"}, []),
        (socket.AF_INET, {"peer": "10.1.2.4"}, []),
    ],
)
def test_reads_what_systems_write(
    monkeypatch: pytest.MonkeyPatch, family: int, entry: dict[str, str], expected: list[Interface]
) -> None:
    monkeypatch.setattr(netifaces, "interfaces", lambda: ["lo", "vanished0"])
    monkeypatch.setattr(netifaces, "ifaddresses", lambda name: {family: [entry]})
    assert interfaces() == expected


async def test_looks_again_by_itself_where_nothing_is_announced(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(module, "_subscribe", lambda: None)
    with InterfaceWatch() as watch:
        start = trio.current_time()
        await watch.changed()
        assert trio.current_time() - start == POLL
