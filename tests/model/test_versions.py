"""Heads: incremental equals complete, repeats give way, hostile ancestry does no harm."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.ids import DeviceId, Stamp, make_stamp
from syncfs.model.versions import Version, contents, heads, heads_after, own_node, replaced, unseen


def stamp(lamport: int, device: int = 1) -> Stamp:
    return make_stamp(lamport, DeviceId(bytes([device]) * 16))


ONE, TWO, THREE, FOUR, FIVE = (stamp(number) for number in range(1, 6))
STAMPS = st.integers(1, 12).map(stamp)
ANCESTRY = st.dictionaries(STAMPS, st.lists(STAMPS, max_size=4), max_size=10)
"""Parents at random: unknown ones, later ones and cycles included."""


def test_what_is_replaced_is_no_head() -> None:
    assert heads({ONE: [], TWO: [ONE], THREE: [ONE]}) == (THREE, TWO)
    assert heads({ONE: [], TWO: [ONE], THREE: [ONE], FOUR: [THREE, TWO]}) == (FOUR,)
    assert heads({}) == ()


def test_parents_that_have_not_arrived_do_no_harm() -> None:
    assert heads({THREE: [TWO], ONE: []}) == (THREE, ONE)


@given(ANCESTRY)
def test_whatever_the_ancestry_there_is_a_head(ancestry: dict[Stamp, list[Stamp]]) -> None:
    found = heads(ancestry)
    assert bool(found) == bool(ancestry)
    assert found[:1] == tuple(sorted(ancestry, reverse=True)[:1])


@given(ANCESTRY, st.randoms(use_true_random=False), st.data())
def test_heads_one_by_one_in_any_order(ancestry: dict[Stamp, list[Stamp]], random, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    arrivals = [*ancestry, *(data.draw(st.lists(st.sampled_from(sorted(ancestry)))) if ancestry else [])]
    random.shuffle(arrivals)
    known: set[Stamp] = set()
    found: tuple[Stamp, ...] = ()
    for arrived in arrivals:
        superseded = any(arrived in replaced(other, ancestry[other]) for other in known)
        found = heads_after(found, arrived, ancestry[arrived], superseded)
        known.add(arrived)
        assert found == heads({one: ancestry[one] for one in known})


@given(ANCESTRY, st.data())
def test_something_of_every_file_is_shown(ancestry: dict[Stamp, list[Stamp]], data: st.DataObject) -> None:
    versions = {one: Version(parents, data.draw(st.sampled_from([b"x", b"y"]))) for one, parents in ancestry.items()}
    found = heads(ancestry)
    shown = contents(found, versions.get)
    assert bool(shown) == bool(found)
    assert set(shown) <= set(found)
    assert list(shown) == sorted(shown, reverse=True)
    assert len({versions[one].content for one in shown}) == len(shown)
    assert unseen(found, shown, versions.get) == ()


def test_a_repeat_gives_way_to_an_edit_of_what_it_repeats() -> None:
    """Here one device edits `b` of the conflict (1, 2), while another drops 1 and keeps 2."""
    versions = {
        ONE: Version((), b"a"),
        TWO: Version((), b"b"),
        THREE: Version((TWO,), b"edited"),
        FOUR: Version((ONE, TWO), b"b"),
    }
    assert contents((FOUR, THREE), versions.get) == (THREE,)


def test_repeats_that_contradict_each_other_are_both_shown() -> None:
    versions = {
        ONE: Version((), b"a"),
        TWO: Version((), b"b"),
        THREE: Version((ONE, TWO), b"a"),
        FOUR: Version((ONE, TWO), b"b"),
    }
    assert contents((FOUR, THREE), versions.get) == (FOUR, THREE)


def test_putting_an_old_content_back_is_an_edit() -> None:
    versions = {
        ONE: Version((), b"first"),
        TWO: Version((ONE,), b"second"),
        THREE: Version((TWO,), b"first"),
        FOUR: Version((TWO,), b"other"),
    }
    assert contents((FOUR, THREE), versions.get) == (FOUR, THREE)


def test_equal_contents_are_shown_once() -> None:
    versions = {ONE: Version((), b"a"), TWO: Version((), b"a"), THREE: Version((), b"b")}
    assert contents((ONE, TWO, THREE), versions.get) == (THREE, TWO)


def test_content_that_was_seen_is_known_whoever_repeats_it() -> None:
    versions = {ONE: Version((), b"a"), TWO: Version((ONE,), b"a"), THREE: Version((ONE,), b"b")}
    assert unseen((TWO,), (ONE,), versions.get) == ()
    assert unseen((THREE, TWO), (ONE,), versions.get) == (THREE,)
    assert unseen((TWO,), (FIVE,), versions.get) == (TWO,)


def test_a_copy_made_a_file_of_its_own_is_the_same_file_everywhere() -> None:
    assert own_node(ONE).hex() == "d64b9437f07d0fa68850924d41d1e43c"
    assert own_node(ONE) != own_node(TWO)


def test_an_open_conflict_costs_nothing_more_with_each_save() -> None:
    """Looking at the whole history for each save took ever longer."""
    saves = [ONE, *(stamp(number) for number in range(3, 5000))]
    versions = {one: Version((before,), one) for before, one in itertools.pairwise(saves)}
    versions |= {ONE: Version((), b"old"), TWO: Version((ONE,), b"theirs")}
    looked: list[Stamp] = []

    def version_of(one: Stamp) -> Version | None:
        looked.append(one)
        return versions.get(one)

    assert contents((saves[-1], TWO), version_of) == (saves[-1], TWO)
    assert len(looked) < 10


def test_what_was_repeated_long_ago_is_found() -> None:
    saves = [stamp(number) for number in range(1, 300)]
    versions = {one: Version((before,), one) for before, one in itertools.pairwise(saves)}
    versions |= {saves[0]: Version((), b"old")}
    repeat = stamp(300, 2)
    for number in (0, 100):
        versions[repeat] = Version((saves[number],), versions[saves[number]].content)
        assert contents((repeat, saves[-1]), versions.get) == (saves[-1],)
