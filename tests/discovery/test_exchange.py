"""The conversation with neighbours: who is answered, who is reported, and what is not believed."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.discovery.beacon import share_tag
from syncfs.discovery.exchange import FRESHNESS, MAX_NONCES, NOTHING, SHOWN_REASONS, UNHEARD_SECONDS, Exchange
from syncfs.discovery.sighting import LAN, Announcement, Endpoint, Sighting

KEY = bytes(range(32))
OURS = Announcement(KEY, 1001)
THEIRS = Announcement(KEY, 1002)
WALL = 1_700_000_000.5


def randomness(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def test_a_hello_is_reported_and_answered_and_the_answer_only_reported() -> None:
    we, they = Exchange(randomness(1)), Exchange(randomness(2))
    heard = we.received(OURS, they.hello(THEIRS, WALL), "10.0.0.2", 5.0, WALL)
    assert heard.sighting is not None
    assert heard.answer is not None
    assert heard.sighting == Sighting(Endpoint("10.0.0.2", 1002), LAN, 5.0, share_tag(KEY), heard.sighting.instance)
    answered = they.received(THEIRS, heard.answer, "10.0.0.1", 6.0, WALL)
    assert answered.sighting is not None
    assert answered.sighting.endpoint == Endpoint("10.0.0.1", 1001)
    assert answered.sighting.instance not in (b"", heard.sighting.instance)
    assert answered.answer is None


def test_alive_is_not_answered() -> None:
    reaction = Exchange(randomness(1)).received(
        OURS, Exchange(randomness(2)).alive(THEIRS, WALL), "10.0.0.2", 5.0, WALL
    )
    assert reaction.sighting is not None
    assert reaction.answer is None


def test_ourselves_strangers_and_repetitions_are_nothing() -> None:
    we, they = Exchange(randomness(1)), Exchange(randomness(2))
    assert we.received(OURS, we.hello(OURS, WALL), "10.0.0.1", 0, WALL) == NOTHING
    assert we.received(OURS, they.hello(Announcement(bytes(32), 1002), WALL), "10.0.0.2", 0, WALL) == NOTHING
    hello = they.hello(THEIRS, WALL)
    assert we.received(OURS, hello, "10.0.0.2", 0, WALL) != NOTHING
    assert we.received(OURS, hello, "10.0.0.66", 0, WALL) == NOTHING


def test_who_listens_nowhere_is_answered_and_not_reported() -> None:
    hello = Exchange(randomness(2)).hello(Announcement(KEY, 0), WALL)
    reaction = Exchange(randomness(1)).received(OURS, hello, "10.0.0.2", 0, WALL)
    assert reaction.sighting is None
    assert reaction.answer is not None


@pytest.mark.parametrize(
    ("ahead", "said"), [(365 * 86400, "365 days ahead of"), (-7200, "2 hours behind"), (1000, "17 minutes ahead of")]
)
def test_a_wrong_clock_is_said_once_and_not_used(ahead: int, said: str) -> None:
    we, they = Exchange(randomness(1)), Exchange(randomness(2))
    reaction = we.received(OURS, they.hello(THEIRS, WALL + ahead), "10.0.0.2", 0, WALL)
    assert (reaction.sighting, reaction.answer) == (None, None)
    assert f"the clock of the computer at 10.0.0.2 is {said} ours" in reaction.warning
    assert we.received(OURS, they.hello(THEIRS, WALL + ahead), "10.0.0.2", 0, WALL) == NOTHING


SENTENCE = (
    "the clock of the computer at {} is 20 minutes ahead of ours, so the two do not find each other on the LAN: "
    "set the one that is wrong"
)


def test_a_wrong_clock_is_a_reason_until_it_is_right_again() -> None:
    we, they = Exchange(randomness(1)), Exchange(randomness(2))
    assert we.reasons(0, WALL) == []
    for host in ("10.0.0.2", "fe80::2%eth0"):
        we.received(OURS, they.alive(THEIRS, WALL + 1200), host, 5.0, WALL)
    assert we.reasons(30.0, WALL + 25) == [SENTENCE.format("10.0.0.2")]
    we.received(OURS, they.alive(THEIRS, WALL + 30), "10.0.0.2", 35.0, WALL + 30)
    assert we.reasons(35.0, WALL + 30) == []


def test_a_wrong_clock_is_no_reason_once_ours_is_set_or_nobody_is_there() -> None:
    we, they = Exchange(randomness(1)), Exchange(randomness(2))
    we.received(OURS, they.alive(THEIRS, WALL + 1200), "10.0.0.2", 0.0, WALL)
    assert we.reasons(UNHEARD_SECONDS, WALL + UNHEARD_SECONDS) == [SENTENCE.format("10.0.0.2")]
    assert we.reasons(10.0, WALL + 1210) == []
    assert we.reasons(UNHEARD_SECONDS + 1, WALL + UNHEARD_SECONDS + 1) == []


def test_many_wrong_clocks_are_counted() -> None:
    we = Exchange(randomness(1))
    for number in range(SHOWN_REASONS + 3):
        they = Exchange(randomness(2 + number))
        we.received(OURS, they.alive(THEIRS, WALL + 1200), f"10.0.0.{number}", 0.0, WALL)
    reasons = we.reasons(0.0, WALL)
    assert reasons[0] == SENTENCE.format("10.0.0.0")
    assert reasons[-1] == "the clocks of 3 more computers are as far from ours"
    assert len(reasons) == SHOWN_REASONS + 1


@given(st.integers(-3 * FRESHNESS, 3 * FRESHNESS))
def test_time_decides_what_is_fresh(ahead: int) -> None:
    hello = Exchange(randomness(2)).hello(THEIRS, 1_700_000_000 + ahead)
    reaction = Exchange(randomness(1)).received(OURS, hello, "10.0.0.2", 0, 1_700_000_000)
    assert (reaction.sighting is not None) == (abs(ahead) <= FRESHNESS)


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_noise_causes_nothing(noise: list[bytes]) -> None:
    exchange = Exchange(randomness(1))
    assert all(exchange.received(OURS, data, "10.0.0.2", 0, WALL) == NOTHING for data in noise)


def test_memory_is_bounded() -> None:
    we, they = Exchange(randomness(1)), Exchange(randomness(2))
    for number in range(MAX_NONCES + 50):
        wall = WALL if number % 2 else WALL + 10 * FRESHNESS
        we.received(OURS, they.hello(THEIRS, wall), f"10.0.{number // 256}.{number % 256}", 0, WALL)
    for number in range(150):
        we.received(OURS, Exchange(randomness(9 + number)).hello(THEIRS, WALL + 10 * FRESHNESS), "10.0.0.2", 0, WALL)
    assert len(we._nonces) == MAX_NONCES
    assert len(we._complained) <= 100
    assert len(we._astray) <= 100
