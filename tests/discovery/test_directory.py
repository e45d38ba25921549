"""The directory: examples of each rule, then a random walk against what it must never do."""

from collections import Counter
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from syncfs.discovery.directory import (
    BELIEF,
    FIRST_WAIT,
    FRESH,
    KEEP,
    LONGEST_WAIT,
    MAX_ENDPOINTS,
    OURSELVES_WAIT,
    SHORT_LINK_FAILURES,
    STABLE,
    WAIT_SPREAD,
    Directory,
    Known,
    State,
)
from syncfs.discovery.sighting import FIXED, LAN, Endpoint, Sighting
from syncfs.model.ids import DeviceId

NEAR = Endpoint("10.0.0.2", 1001)
NEAR_TOO = Endpoint("fe80::2%eth0", 1001)
NAMED = Endpoint("nas.example", 1001)
TOLD = Endpoint("192.0.2.7", 1001)
ONE = DeviceId(b"1" * 16)
TWO = DeviceId(b"2" * 16)


def seen(endpoint: Endpoint, source: str = LAN, at: float = 0.0, instance: bytes = b"") -> Sighting:
    return Sighting(endpoint, source, at, b"share", instance)


def directory(*sightings: Sighting, chance: float = 0.0) -> Directory:
    made = Directory(lambda: chance)
    for sighting in sightings:
        made.saw(sighting)
    return made


def test_prefers_fresh_neighbours_then_fixed_then_told_then_stale_neighbours() -> None:
    stale = Endpoint("10.0.0.9", 1)
    made = directory(seen(TOLD, "peers", 100), seen(NAMED, FIXED), seen(stale, LAN, 100 - FRESH - 1), seen(NEAR, at=50))
    assert [made.next(100) for _ in range(5)] == [NEAR, NAMED, TOLD, stale, None]


def test_waits_longer_after_each_failure_and_again_shortly_after_a_good_link() -> None:
    made = directory(seen(NAMED, FIXED))
    now, waits = 0.0, []
    for _ in range(9):
        assert made.next(now) == NAMED
        made.failed(NAMED, now, "nobody is there")
        waits.append(made.wake_at(now) - now)
        assert made.next(now + waits[-1] - 0.01) is None
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert made.known()[0].reason == "nobody is there"
    made.next(now)
    made.linked(ONE, now, NAMED)
    made.unlinked(ONE, now + STABLE, NAMED)
    assert made.wake_at(now + STABLE) == now + STABLE + FIRST_WAIT


def test_who_hangs_up_at_once_is_not_called_in_a_loop() -> None:
    made = directory(seen(NEAR))
    now, waits = 0.0, []
    for _ in range(5):
        made.saw(seen(NEAR, at=now))
        assert made.next(now) == NEAR
        made.linked(ONE, now, NEAR)
        made.unlinked(ONE, now + 0.1, NEAR)
        waits.append(made.wake_at(now + 0.1) - now - 0.1)
        now = made.wake_at(now)
    assert [round(wait) for wait in waits] == [1, 2, 4, 4, 4]


@pytest.mark.parametrize(("linked", "most"), [(0.5, 4.0), (3.0, 2.0)])
def test_a_computer_that_restarts_again_and_again_is_found_soon_each_time(linked: float, most: float) -> None:
    made = directory(seen(NAMED, FIXED))
    now, up = 0.0, 0.0
    for _ in range(20):
        while (now := made.wake_at(now)) < up:
            made.next(now)
            made.failed(NAMED, now, "it is down")
        assert now - up <= most
        made.next(now)
        made.linked(ONE, now, NAMED)
        now += linked
        made.unlinked(ONE, now, NAMED)
        up = now + 1.5


def test_chance_shortens_waits_by_a_third_at_most() -> None:
    made = directory(seen(NAMED, FIXED), chance=0.999)
    now = 0.0
    for _ in range(9):
        made.next(now)
        made.failed(NAMED, now)
        now = made.wake_at(now)
    made.next(now)
    made.failed(NAMED, now)
    assert LONGEST_WAIT * (1 - WAIT_SPREAD) <= made.wake_at(now) - now < LONGEST_WAIT * 0.67


def test_a_peer_with_several_addresses_is_tried_at_one_of_them_at_a_time() -> None:
    made = directory(seen(NEAR, instance=b"same"), seen(NEAR_TOO, instance=b"same"), seen(NAMED, FIXED))
    assert made.next(0) == NEAR
    assert made.next(0) == NAMED
    assert made.next(0) is None
    made.failed(NEAR, 0.5)
    assert made.next(0.5) == NEAR_TOO
    made.linked(ONE, 0.6, NEAR_TOO)
    assert made.next(5) is None


def test_another_way_to_a_linked_device_is_left_alone_until_the_link_is_gone() -> None:
    made = directory(seen(NEAR), seen(NAMED, FIXED))
    assert (made.next(0), made.next(0)) == (NEAR, NAMED)
    made.linked(ONE, 0, NEAR)
    made.duplicate(NAMED, ONE, 0)
    assert made.next(1000) is None
    made.unlinked(ONE, 1000, NEAR)
    assert made.next(1000) == NAMED


def test_what_an_endpoint_led_to_is_doubted_after_an_hour() -> None:
    made = directory(seen(NAMED, FIXED))
    made.next(0)
    made.linked(ONE, 0)
    made.duplicate(NAMED, ONE, 0)
    assert made.wake_at(1) == BELIEF
    assert made.next(BELIEF - 1) is None
    assert made.next(BELIEF) == NAMED


def test_a_peer_that_called_us_is_not_called_where_it_listens() -> None:
    made = directory(seen(NEAR))
    made.linked(ONE, 0, NEAR)
    assert made.next(1) is None
    assert made.known()[0].state is State.LINKED


def test_a_call_that_crossed_the_peers_own_does_no_harm() -> None:
    made = directory(seen(NEAR))
    assert made.next(0) == NEAR
    made.linked(ONE, 0.1, NEAR)
    made.duplicate(NEAR, ONE, 0.2)
    made.failed(NEAR, 0.2)
    made.linked(ONE, 0.3, NEAR)
    made.unlinked(ONE, 0.4, NEAR)
    assert made.next(100) is None, "the other link is still there"
    made.unlinked(ONE, 100, NEAR)
    assert made.next(102) == NEAR


def test_a_new_process_is_tried_soon() -> None:
    made = directory(seen(NEAR, instance=b"old"))
    now = 0.0
    for _ in range(8):
        assert made.next(now) == NEAR
        made.failed(NEAR, now)
        now = made.wake_at(now)
    made.next(now)
    made.failed(NEAR, now)
    made.saw(seen(NEAR, at=now + 0.2, instance=b"old"))
    assert made.wake_at(now) == now + LONGEST_WAIT
    made.saw(seen(NEAR, at=now + 0.2, instance=b"new"))
    assert made.wake_at(now) == now + FIRST_WAIT


def test_our_own_address_is_left_alone() -> None:
    made = directory(seen(NAMED, FIXED))
    made.next(0)
    made.ourselves(NAMED, 0)
    assert made.wake_at(0) == OURSELVES_WAIT


def test_old_sightings_are_forgotten_fixed_ones_never() -> None:
    made = directory(seen(NEAR), seen(NAMED, FIXED), seen(NAMED, LAN))
    assert made.next(KEEP[LAN] + 1) == NAMED
    assert [known.endpoint for known in made.known()] == [NAMED]
    made.failed(NAMED, 1000)
    assert made.next(1e9) == NAMED


def test_there_is_room_for_so_many_only_and_the_stalest_goes() -> None:
    made = directory(seen(NAMED, FIXED))
    for number in range(2 * MAX_ENDPOINTS):
        made.saw(seen(Endpoint("10.0.0.1", number + 1), at=float(number)))
    endpoints = {known.endpoint for known in made.known()}
    assert len(endpoints) == MAX_ENDPOINTS
    assert {NAMED, Endpoint("10.0.0.1", 2 * MAX_ENDPOINTS)} <= endpoints
    made.saw(seen(Endpoint("10.0.0.2", 1), at=0.0))
    assert Endpoint("10.0.0.2", 1) not in {known.endpoint for known in made.known()}
    made.saw(seen(TOLD, FIXED, at=0.0))
    assert TOLD in {known.endpoint for known in made.known()}


class Walk(RuleBasedStateMachine):
    """Any history of sightings, tries and links; `floor` is a second opinion on when an endpoint may be tried."""

    endpoints = st.sampled_from([NEAR, NEAR_TOO, NAMED, TOLD, Endpoint("10.0.0.3", 7)])
    devices = st.sampled_from([ONE, TWO])

    @initialize(chance=st.floats(0, 0.999))
    def begin(self, chance: float) -> None:
        self.directory = Directory(lambda: chance)
        self.chance = chance
        self.now = 0.0
        self.trying: set[Endpoint] = set()
        self.links: list[tuple[DeviceId, float, Endpoint | None]] = []
        self.fixed: set[Endpoint] = set()
        self.failures: Counter[Endpoint] = Counter()
        self.tried: dict[Endpoint, float] = {}
        self.floor: dict[Endpoint, float] = {}

    def shortest_wait(self, failures: int) -> float:
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (failures - 1))
        return max(FIRST_WAIT, longest * (1 - WAIT_SPREAD * self.chance)) - 1e-6

    def known(self) -> dict[Endpoint, Known]:
        return {known.endpoint: known for known in self.directory.known()}

    @rule(
        endpoint=endpoints, source=st.sampled_from([LAN, FIXED, "peers"]), instance=st.sampled_from([b"", b"a", b"b"])
    )
    def saw(self, endpoint: Endpoint, source: str, instance: bytes) -> None:
        before = self.known().get(endpoint, Known(endpoint))
        self.directory.saw(seen(endpoint, source, self.now, instance))
        if source == FIXED:
            self.fixed.add(endpoint)
        if instance not in (b"", before.instance) and before.state is not State.LINKED:
            self.failures[endpoint] = 0
            soon = self.tried.get(endpoint, -inf) + FIRST_WAIT
            self.floor[endpoint] = min(self.floor.get(endpoint, -inf), soon)

    @rule(seconds=st.one_of(st.floats(0, 3), st.floats(0, 200), st.sampled_from([700.0, 4000.0, 90_000.0])))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_as_told(self) -> None:
        moment = self.directory.wake_at(self.now)
        if moment < inf:
            self.now = moment

    @rule()
    def try_next(self) -> None:
        wake = self.directory.wake_at(self.now)
        before = self.known()
        endpoint = self.directory.next(self.now)
        for forgotten in before.keys() - self.known().keys():
            self.floor.pop(forgotten, None)
            self.failures.pop(forgotten, None)
        if endpoint is None:
            assert wake > self.now or before.keys() > self.known().keys()
            return
        assert wake <= self.now
        assert before[endpoint].state is State.WAITING
        assert self.now >= self.tried.get(endpoint, -inf) + FIRST_WAIT
        assert self.now >= self.floor.get(endpoint, -inf)
        assert not self.busy(before[endpoint], before), "its peer is tried or linked elsewhere"
        if not self.fresh(before[endpoint]):
            passed_over = [
                other
                for other in before.values()
                if self.fresh(other) and other.state is State.WAITING and other.due <= self.now
            ]
            assert all(self.busy(other, before) for other in passed_over), "a fresh neighbour was passed over"
        self.tried[endpoint] = self.now
        self.trying.add(endpoint)

    def fresh(self, known: Known) -> bool:
        return self.now - known.seen.get(LAN, -inf) <= FRESH

    def busy(self, known: Known, among: dict[Endpoint, Known]) -> bool:
        linked = known.device in {device for device, _, _ in self.links} and self.now < known.device_since + BELIEF
        same = [other for other in among.values() if known.instance and other.instance == known.instance]
        return linked or any(other.state is not State.WAITING for other in same)

    @rule()
    def fail_in_a_row(self) -> None:
        for endpoint in sorted(self.trying):
            self.end_in_failure(endpoint)
            self.wait_as_told()
            self.try_next()

    @precondition(lambda self: self.trying)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.end_in_failure(data.draw(st.sampled_from(sorted(self.trying))))

    def end_in_failure(self, endpoint: Endpoint) -> None:
        self.trying.discard(endpoint)
        self.directory.failed(endpoint, self.now)
        self.failures[endpoint] += 1
        self.floor[endpoint] = self.now + self.shortest_wait(self.failures[endpoint])

    @precondition(lambda self: self.trying)
    @rule(data=st.data(), device=devices)
    def meet_again(self, data: st.DataObject, device: DeviceId) -> None:
        endpoint = self.settle(data)
        self.directory.duplicate(endpoint, device, self.now)
        self.failures[endpoint] = 0
        self.floor[endpoint] = self.now + self.shortest_wait(1)

    @precondition(lambda self: self.trying)
    @rule(data=st.data(), device=devices)
    def link(self, data: st.DataObject, device: DeviceId) -> None:
        endpoint = self.settle(data)
        self.directory.linked(device, self.now, endpoint)
        self.links.append((device, self.now, endpoint))

    @rule(device=devices)
    def be_called(self, device: DeviceId) -> None:
        self.directory.linked(device, self.now)
        self.links.append((device, self.now, None))

    @precondition(lambda self: self.links)
    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        device, since, endpoint = link = data.draw(st.sampled_from(self.links))
        self.links.remove(link)
        self.directory.unlinked(device, self.now, endpoint)
        if endpoint is not None:
            failures = min(self.failures[endpoint] + 1, SHORT_LINK_FAILURES)
            self.failures[endpoint] = 0 if self.now - since >= STABLE else failures
            self.floor[endpoint] = self.now + self.shortest_wait(max(1, self.failures[endpoint]))

    def settle(self, data: st.DataObject) -> Endpoint:
        endpoint = data.draw(st.sampled_from(sorted(self.trying)))
        self.trying.discard(endpoint)
        return endpoint

    @invariant()
    def keeps_what_is_fixed_and_what_is_in_use(self) -> None:
        if hasattr(self, "directory"):
            known = self.known()
            assert self.fixed <= known.keys()
            assert {endpoint for endpoint, one in known.items() if one.state is State.TRYING} == self.trying


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
