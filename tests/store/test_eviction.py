"""Eviction: pure, minimal, in order, and never what has to be kept."""

from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.ids import Address
from syncfs.model.places import Held
from syncfs.store.eviction import choose

ENTRIES = st.lists(st.integers(0, 1000), max_size=30).map(
    lambda sizes: [Held(Address(bytes([number]) * 32), size, number) for number, size in enumerate(sizes)]
)


@given(ENTRIES, st.integers(0, 30_000), st.integers(0, 30_000), st.integers(0, 40_000), st.sets(st.integers(0, 29)))
def test_chooses_just_enough_of_the_oldest_that_may_go(
    entries: list[Held], extra: int, limit: int, low: int, kept: set[int]
) -> None:
    used = sum(entry.size for entry in entries) + extra
    chosen = choose(iter(entries), used, limit, low, lambda address: address[0] in kept)
    free_to_go = [entry for entry in entries if entry.used not in kept]
    assert chosen == [entry.address for entry in free_to_go[: len(chosen)]]
    if used <= limit:
        assert not chosen
        return
    target = min(low, limit)
    left = used - sum(entry.size for entry in free_to_go[: len(chosen)])
    assert left <= target or len(chosen) == len(free_to_go)
    if chosen:
        assert left + free_to_go[len(chosen) - 1].size > target


def test_takes_no_more_entries_than_it_needs() -> None:
    def entries() -> object:
        yield Held(Address(bytes(32)), 10, 0)
        raise AssertionError("asked for more")

    assert choose(entries(), 15, 10, 5, lambda address: False) == [Address(bytes(32))]  # type: ignore[arg-type]
