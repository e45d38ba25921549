"""What every source of sightings owes: one suite for the real LAN (over loopback) and the one in memory."""

import logging
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from syncfs.discovery.beacon import share_tag
from syncfs.discovery.fixed import FixedPeers
from syncfs.discovery.lan import ALIVE_EVERY, LanSource, alive_pauses
from syncfs.discovery.memory import MemoryLan
from syncfs.discovery.sighting import FIXED, Announcement, Endpoint, Sighting, Source
from syncfs.transport.interfaces import Interface, interfaces

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


@dataclass
class Seen:
    """What one source was told, and a way to wait for it."""

    sightings: list[Sighting]
    news: trio.Event

    def report(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        self.news.set()
        self.news = trio.Event()

    async def wait(self, port: int) -> Sighting:
        with trio.fail_after(10):
            while True:
                for sighting in self.sightings:
                    if sighting.endpoint.port == port:
                        return sighting
                await self.news.wait()


def start(nursery: trio.Nursery, source: Source, port: int, key: bytes = KEY) -> Seen:
    seen = Seen([], trio.Event())
    nursery.start_soon(source.run, lambda: Announcement(key, port), seen.report)
    return seen


def loopback() -> list[Interface]:
    return [one for one in interfaces() if one.loopback and one.family == socket.AF_INET]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(params=["lan", "memory"])
def make(request: pytest.FixtureRequest) -> Callable[[], Source]:
    if request.param == "memory":
        lan = MemoryLan()
        return lambda: lan.source("somewhere")
    port = free_port()
    return lambda: LanSource(time.time, os.urandom, random.random, port=port, look=loopback)


async def test_members_find_each_other_and_nobody_else(make: Callable[[], Source]) -> None:
    async with trio.open_nursery() as nursery:
        one = start(nursery, make(), 1001)
        stranger = start(nursery, make(), 1002, OTHER_KEY)
        two = start(nursery, make(), 1003)
        sighting = await one.wait(1003)
        assert sighting.share_tag == share_tag(KEY)
        assert sighting.seen <= trio.current_time()
        assert (await two.wait(1001)).instance != sighting.instance != b""
        late = start(nursery, make(), 1004, OTHER_KEY)
        await late.wait(1002)
        await stranger.wait(1004)
        for seen, own in ((one, {1003}), (two, {1001}), (stranger, {1004}), (late, {1002})):
            assert {sighting.endpoint.port for sighting in seen.sightings} == own
        nursery.cancel_scope.cancel()


async def test_who_listens_nowhere_finds_and_is_not_found(make: Callable[[], Source]) -> None:
    async with trio.open_nursery() as nursery:
        one = start(nursery, make(), 1001)
        shy = start(nursery, make(), 0)
        await shy.wait(1001)
        two = start(nursery, make(), 1002)
        await one.wait(1002)
        await two.wait(1001)
        assert not any(sighting.endpoint.port == 0 for seen in (one, two) for sighting in seen.sightings)
        nursery.cancel_scope.cancel()


async def test_a_new_process_has_a_new_instance(make: Callable[[], Source]) -> None:
    async with trio.open_nursery() as nursery:
        one = start(nursery, make(), 1001)
        async with trio.open_nursery() as first:
            start(first, make(), 1002)
            before = await one.wait(1002)
            first.cancel_scope.cancel()
        one.sightings.clear()
        start(nursery, make(), 1002)
        assert (await one.wait(1002)).instance != before.instance
        nursery.cancel_scope.cancel()


async def test_a_clock_that_keeps_members_apart_is_a_reason() -> None:
    port, warned = free_port(), trio.Event()

    class Warned(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.set()

    handler, log = Warned(logging.WARNING), logging.getLogger("syncfs.discovery.lan")
    log.addHandler(handler)
    try:
        async with trio.open_nursery() as nursery:
            one = LanSource(time.time, os.urandom, random.random, port=port, look=loopback)
            two = LanSource(lambda: time.time() + 1200, os.urandom, random.random, port=port, look=loopback)
            assert one.reasons == two.reasons == []
            seen = start(nursery, one, 1001)
            start(nursery, two, 1002)
            with trio.fail_after(10):
                await warned.wait()
            assert seen.sightings == []
            told = [*one.reasons, *two.reasons]
            assert told and all("do not find each other on the LAN" in reason for reason in told)
            nursery.cancel_scope.cancel()
    finally:
        log.removeHandler(handler)


async def test_cancelling_leaves_nothing_open(make: Callable[[], Source]) -> None:
    before = open_files()
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            seen = start(nursery, make(), 1001)
            start(nursery, make(), 1002)
            await seen.wait(1002)
            nursery.cancel_scope.cancel()
    assert open_files() == before


async def test_a_computer_without_interfaces_waits_in_peace() -> None:
    with trio.move_on_after(0.05) as waited:
        source = LanSource(time.time, os.urandom, random.random, port=free_port(), look=list)
        await source.run(lambda: Announcement(KEY, 1), lambda sighting: pytest.fail("found somebody"))
    assert waited.cancelled_caught


def test_alive_is_said_about_twice_a_minute_and_never_in_step() -> None:
    pauses = list(islice(alive_pauses(random.Random(1).random), 1000))
    assert all(0.8 * ALIVE_EVERY <= pause <= 1.2 * ALIVE_EVERY for pause in pauses)
    assert len(set(pauses)) == len(pauses)


async def test_a_lan_in_memory_can_be_parted(autojump_clock: MockClock) -> None:
    apart = {"b"}
    lan = MemoryLan(lambda listener, speaker: (listener in apart) == (speaker in apart))
    async with trio.open_nursery() as nursery:
        one = start(nursery, lan.source("a"), 1001)
        start(nursery, lan.source("b"), 1002)
        await trio.sleep(10 * ALIVE_EVERY)
        assert one.sightings == []
        apart.clear()
        await trio.sleep(2 * ALIVE_EVERY)
        assert {sighting.endpoint for sighting in one.sightings} == {Endpoint("b", 1002)}
        nursery.cancel_scope.cancel()


async def test_fixed_peers_are_reported_once_each_and_unresolved(autojump_clock: MockClock) -> None:
    places = [Endpoint("nas.example", 1), Endpoint("10.0.0.1", 2), Endpoint("nas.example", 1)]
    async with trio.open_nursery() as nursery:
        seen = start(nursery, FixedPeers(places), 1001)
        await trio.sleep(3600)
        assert [sighting.endpoint for sighting in seen.sightings] == places[:2]
        assert {sighting.source for sighting in seen.sightings} == {FIXED}
        nursery.cancel_scope.cancel()


def test_endpoints_are_written_as_people_write_them() -> None:
    assert str(Endpoint("nas.example", 1)) == "nas.example:1"
    assert str(Endpoint("fe80::1%eth0", 1)) == "[fe80::1%eth0]:1"
