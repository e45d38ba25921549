"""The group of sockets of LAN discovery, on this computer's loopback and on interfaces that fail."""

import logging
import socket
from dataclasses import replace
from itertools import count

import pytest
import trio

from syncfs.transport.datagram import MAX_DATAGRAM, Datagram, LanGroup
from syncfs.transport.interfaces import Interface, interfaces


def loopback() -> Interface:
    return next(one for one in interfaces() if one.loopback and one.family == socket.AF_INET)


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


async def hear(group: LanGroup, wanted: int, heard: list[Datagram]) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            def receive(datagram: Datagram) -> None:
                heard.append(datagram)
                if len(heard) >= wanted:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(group.listen, receive)


async def test_everybody_hears_a_datagram_by_multicast_and_by_broadcast(port: int) -> None:
    with LanGroup(port) as speaker, LanGroup(port) as one, LanGroup(port) as two:
        for group in (speaker, one, two):
            group.use([loopback()])
        numbers = count()
        await speaker.send(lambda: b"said %d" % next(numbers))
        for group in (one, two, speaker):
            heard: list[Datagram] = []
            await hear(group, 2, heard)
            assert {(each.data, each.host, each.index) for each in heard} == {(b"said 0", "127.0.0.1", 1)}


async def test_a_reply_reaches_the_one_who_asked(port: int) -> None:
    with LanGroup(port) as asker, LanGroup(port) as neighbour, LanGroup(port) as answerer:
        for group in (asker, neighbour, answerer):
            group.use([replace(loopback(), broadcast="")])
        overheard: list[Datagram] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.listen, lambda heard: b"answer" if heard.data == b"question" else None)
            nursery.start_soon(neighbour.listen, overheard.append)
            await asker.send(lambda: b"question")
            heard: list[Datagram] = []
            await hear(asker, 2, heard)
            assert sorted(each.data for each in heard) == [b"answer", b"question"]
            nursery.cancel_scope.cancel()
        assert b"answer" not in {each.data for each in overheard}


async def test_tells_which_interfaces_are_new(port: int) -> None:
    one = loopback()
    with LanGroup(port) as group:
        assert group.use([one])
        assert not group.use([one])
        assert not group.use([])
        assert group.use([one])
        assert group.use([one, replace(one, address="127.0.0.2")])
        assert not group.use([one, replace(one, family=socket.AF_INET6, address="fd00::1", broadcast="")])


async def test_an_interface_that_fails_is_told_once_and_harms_nobody(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Interface("gone0", "192.0.2.99", "192.0.2.255", socket.AF_INET, 4_000_000, 24)
    gone_too = Interface("gone0", "fe80::9", "", socket.AF_INET6, 4_000_000, 64)
    with caplog.at_level(logging.INFO), LanGroup(port) as group:
        for _ in range(3):
            group.use([gone, gone_too, loopback()])
            await group.send(lambda: b"still here")
        heard: list[Datagram] = []
        await hear(group, 2, heard)
        assert {each.data for each in heard} == {b"still here"}
    assert 1 <= len([record for record in caplog.records if "gone0" in record.message]) <= 2


async def test_a_port_that_is_not_shared_silences_only_the_hearing(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as greedy:
        greedy.bind(("0.0.0.0", port))
        greedy.setblocking(False)
        with LanGroup(port) as group:
            group.use([loopback()])
            await group.send(lambda: b"to the greedy one")
            await trio.lowlevel.wait_readable(greedy)
            assert greedy.recv(100) == b"to the greedy one"
        assert f"cannot hear others on port {port}" in caplog.text


async def test_an_unreachable_asker_and_long_datagrams_do_no_harm(port: int) -> None:
    with LanGroup(port) as group:
        group.use([loopback()])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.bind(("127.0.0.1", 0))
            for size in (0, MAX_DATAGRAM, 9000):
                asker.sendto(bytes(size), ("127.0.0.1", port))
        heard: list[Datagram] = []
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:

                def receive(datagram: Datagram) -> bytes:
                    heard.append(datagram)
                    if len(heard) == 3:
                        nursery.cancel_scope.cancel()
                    return b"answer to nobody"

                nursery.start_soon(group.listen, receive)
        assert [len(each.data) for each in heard] == [0, MAX_DATAGRAM, MAX_DATAGRAM]
