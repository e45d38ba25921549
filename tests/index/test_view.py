"""The index shows exactly what the model says, whatever records come in whatever order, and tells all that changed."""

import random
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncfs.index.index import Index
from syncfs.model.tree import State
from tests.index.lively import STIRS, Stir, lively_entries
from tests.index.picture import Entry, Shadow, apply_all, check, know_devices
from tests.model.replica import Replica
from tests.model.test_tree import ENTRIES, STEPS, Step, take

PARTING: list[Stir] = [
    (0, 0, 4, 0, 1), (0, 1, 0, 0, 0), (0, 2, 0, 0, 0), (0, 3, 0, 0, 0), (0, 1, 3, 0, 1), (0, 0, 0, 0, 0),
]  # fmt: skip
"""In one batch a name goes that one directory kept for two that were shown as one, and the two part."""


@cache
def empty_index() -> bytes:
    """A new index that knows the devices, as a file, so that not every example has to make all tables."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "index.db"
        with Index(path) as index:
            know_devices(index)
        return path.read_bytes()


def deliver(entries: list[Entry], order: random.Random) -> None:
    """Give records, some of them twice, to an index in batches; after each it shows what the model does."""
    entries = entries + order.sample(entries, len(entries) // 4)
    batches = []
    while entries:
        size = order.choice((1, 1, 1, 2, 4, 12))
        batches.append(entries[:size])
        entries = entries[size:]
    deliver_batches(batches)


def deliver_batches(batches: list[list[Entry]]) -> None:
    """Give these batches of records to an index."""
    state = State()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "index.db"
        path.write_bytes(empty_index())
        with Index(path) as index:
            shadow = Shadow()
            for batch in batches:
                apply_all(index, batch)
                for device, record in batch:
                    state.apply(record, device)
                check(index, state)
                shadow.take(index)
                shadow.check(index)
        with Index(path) as again:
            check(again, state)
            shadow.check(again)


def history(steps: list[Step]) -> list[Replica]:
    """Devices that took these steps."""
    numbers = count(1)
    replicas = [Replica(number, clock) for number, clock in ((1, 1_700_000_000), (2, 5), (3, 1_700_000_000))]
    for directory in "fgh":
        replicas[0].mkdir(directory)
    for replica in replicas[1:]:
        replica.receive(replicas[0].entries())
    for step in steps:
        take(step, replicas, lambda: b"%d" % next(numbers))
    return replicas


def mixed(replicas: list[Replica], order: random.Random, shuffled: bool) -> list[Entry]:
    """All their records: each feed in its order, or all in disorder."""
    if shuffled:
        everything = [entry for replica in replicas for entry in replica.entries()]
        return order.sample(everything, len(everything))
    turns = [number for number, replica in enumerate(replicas) for _ in replica.feed]
    order.shuffle(turns)
    feeds = [iter(replica.entries()) for replica in replicas]
    return [next(feeds[number]) for number in turns]


@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.booleans(), st.integers(0, 2**32))
def test_the_index_shows_what_the_model_says(steps: list[Step], shuffled: bool, seed: int) -> None:
    order = random.Random(seed)
    deliver(mixed(history(steps), order, shuffled), order)


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(ENTRIES, st.integers(0, 2**32))
def test_records_that_nobody_honest_writes(entries: list[Entry], seed: int) -> None:
    deliver(entries, random.Random(seed))


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(STIRS, st.booleans(), st.integers(0, 2**32))
@example(PARTING, False, 0)
def test_a_few_nodes_in_all_states(stirs: list[Stir], shuffled: bool, seed: int) -> None:
    stir_and_deliver(stirs, shuffled, seed)


def stir_and_deliver(stirs: list[Stir], shuffled: bool, seed: int) -> None:
    """Deliver lively records."""
    order = random.Random(seed)
    entries = lively_entries(stirs, liars=True)
    deliver(order.sample(entries, len(entries)) if shuffled else entries, order)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(STIRS, st.booleans(), st.integers(0, 2**32))
def test_a_few_nodes_in_all_states_soak(stirs: list[Stir], shuffled: bool, seed: int) -> None:
    stir_and_deliver(stirs, shuffled, seed)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.booleans(), st.integers(0, 2**32))
def test_the_index_shows_what_the_model_says_soak(steps: list[Step], shuffled: bool, seed: int) -> None:
    order = random.Random(seed)
    deliver(mixed(history(steps), order, shuffled), order)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(ENTRIES, st.integers(0, 2**32))
def test_records_that_nobody_honest_writes_soak(entries: list[Entry], seed: int) -> None:
    deliver(entries, random.Random(seed))
