"""What retention keeps: every state that counted at a kept moment, the same on every peer whenever it looks."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.engine.keeping.retention import (
    BURST,
    DAY,
    DEFAULT,
    HOUR,
    SECOND,
    Made,
    counted,
    dropped_records,
    dropped_versions,
    parse_policy,
)
from syncfs.model.errors import UsageError
from syncfs.model.ids import DeviceId, Stamp, make_stamp

POLICY = parse_policy(DEFAULT)
DEVICES = [DeviceId(bytes([number]) * 16) for number in (1, 2)]
STEPS = st.lists(
    st.tuples(st.sampled_from([1, 3, 20, 1800, 7200, 90_000, 400_000]), st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=40,
)


def chain(steps: list[tuple[int, int, bool]]) -> list[Made]:
    """Versions that follow each other after so many seconds."""
    made: list[Made] = []
    time = 1_000 * DAY
    for number, (seconds, device, asked) in enumerate(steps, 1):
        time += seconds * SECOND
        parents = (made[-1].stamp,) if made else ()
        made.append(Made(make_stamp(number, DEVICES[device]), time, parents, asked))
    return made


@settings(max_examples=300, derandomize=True)
@given(STEPS, st.integers(0, 40 * DAY), st.integers(0, 40 * DAY))
def test_what_is_dropped_once_would_always_be_dropped_later(
    steps: list[tuple[int, int, bool]], sooner: int, more: int
) -> None:
    made = chain(steps)
    heads, now = [made[-1].stamp], made[-1].time + sooner
    early = dropped_versions(made, heads, now, POLICY)
    late = dropped_versions(made, heads, now + more, POLICY)
    assert early <= late
    assert made[-1].stamp not in late
    ended = made[-1].time + 1
    assert dropped_versions(made, heads, now, POLICY, ended) <= dropped_versions(made, heads, now + more, POLICY, ended)


@settings(max_examples=300, derandomize=True)
@given(STEPS, st.integers(0, 40 * DAY))
def test_every_kept_moment_shows_its_own_version(steps: list[tuple[int, int, bool]], later: int) -> None:
    made = chain(steps)
    now = made[-1].time + later
    dropped = dropped_versions(made, [made[-1].stamp], now, POLICY)
    moments = [mark * HOUR for mark in range((now - POLICY.hourly) // HOUR + 1, now // HOUR + 1)]
    moments += [mark * DAY for mark in range((now - POLICY.daily) // DAY + 1, now // DAY + 1)]
    for time in moments:
        shown = [version for version in made if version.time <= time]
        if shown:
            assert shown[-1].stamp not in dropped
    for version, after in pairwise(made):
        if after.time > now - POLICY.all and (after.time - version.time >= BURST or version.asked):
            assert version.stamp not in dropped


def test_quick_saves_of_one_device_are_one_version() -> None:
    made = chain([(1, 0, False)] * 4 + [(1, 0, True), (1, 0, False), (1, 1, False), (1, 1, False)])
    kept = {version.stamp for version in made} - dropped_versions(made, [made[-1].stamp], made[-1].time, POLICY)
    full = [version for version in made if -(-version.time // BURST) * BURST < version.time + SECOND]
    assert kept == {made[4].stamp, made[5].stamp, made[7].stamp, *(version.stamp for version in full)}


def test_an_old_state_that_was_replaced_just_now_is_kept() -> None:
    made = chain([(1, 0, False), (40_000_000, 0, False)])
    now = made[-1].time + HOUR
    assert dropped_versions(made, [made[-1].stamp], now, POLICY) == set()
    assert dropped_versions(made, [made[-1].stamp], now + 31 * DAY, POLICY) == {made[0].stamp}


def test_what_was_deleted_stays_as_it_last_was_for_a_time() -> None:
    made = chain([(1, 0, False), (60, 0, False)])
    gone = made[-1].time + 60 * SECOND
    heads = [made[-1].stamp]
    assert dropped_versions(made, heads, gone + 29 * DAY, POLICY, gone) == {made[0].stamp}
    assert dropped_versions(made, heads, gone + 30 * DAY, POLICY, gone) == {made[0].stamp, made[1].stamp}
    records = [(made[0].stamp, made[0].time, False), (made[1].stamp, gone, True)]
    assert dropped_records(records, gone + 29 * DAY, POLICY) == set()
    assert dropped_records(records, gone + 30 * DAY, POLICY) == {made[0].stamp}


@settings(max_examples=200, derandomize=True)
@given(STEPS, st.integers(0, 40 * DAY), st.integers(0, 40 * DAY))
def test_records_are_dropped_alike_before_and_after_an_earlier_pass(
    steps: list[tuple[int, int, bool]], sooner: int, more: int
) -> None:
    records: list[tuple[Stamp, int, bool]] = [(made.stamp, made.time, made.asked) for made in chain(steps)]
    now = records[-1][1] + sooner
    early = dropped_records(records, now, POLICY)
    left = [record for record in records if record[0] not in early]
    assert early <= dropped_records(records, now + more, POLICY)
    assert records[-1] in left
    for time in range(now // HOUR * HOUR, now - POLICY.hourly, -HOUR):
        shown = [record for record in records if record[1] <= time]
        assert not shown or shown[-1] in left


def test_policies_as_people_write_them() -> None:
    policy = parse_policy("all=2h daily=forever deleted=0")
    assert (policy.all, policy.hourly, policy.deleted) == (2 * HOUR, 7 * DAY, 0)
    assert counted(0, DAY + 1, 5000 * DAY, policy)
    for wrong in ("all", "all=2", "some=1d", "all=-1d"):
        with pytest.raises(UsageError):
            parse_policy(wrong)
