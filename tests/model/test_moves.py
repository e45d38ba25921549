"""Moves: no directory is ever inside itself, whatever comes, and the little walk finds what the complete one does."""

from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.ids import ROOT_NODE, NodeId
from syncfs.model.moves import Placement, Seat, closes_cycle, resolve_moves
from tests.model.test_versions import stamp

NODES = [NodeId(bytes([number]) * 16) for number in range(1, 8)]
A, B, C, *_ = NODES
SEATS = st.builds(Seat, st.sampled_from([ROOT_NODE, *NODES, *NODES]), st.sampled_from([b"p", b"q"]))
PLACEMENTS = st.dictionaries(
    st.sampled_from(NODES),
    st.builds(Placement, st.integers(1, 10**6).map(stamp), SEATS, st.none() | SEATS),
    max_size=len(NODES),
).filter(lambda placements: len({one.stamp for one in placements.values()}) == len(placements))


def test_the_latest_move_of_a_cycle_is_undone() -> None:
    home = Seat(ROOT_NODE, b"was")
    placements = {A: Placement(stamp(5), Seat(B, b"a"), home), B: Placement(stamp(6), Seat(A, b"b"), home)}
    assert resolve_moves([A], placements.get) == {B: home}


def test_a_former_place_inside_itself_or_unknown_means_the_root() -> None:
    placements = {
        A: Placement(stamp(5), Seat(B, b"a"), Seat(ROOT_NODE, b"a")),
        B: Placement(stamp(6), Seat(A, b"b"), Seat(A, b"was")),
    }
    assert resolve_moves([A], placements.get) == {B: Seat(ROOT_NODE, b"b")}
    placements[B] = Placement(stamp(6), Seat(A, b"b"), Seat(C, b"was"))
    assert resolve_moves([B], placements.get) == {B: Seat(ROOT_NODE, b"b")}
    placements[B] = Placement(stamp(6), Seat(A, b"b"))
    assert resolve_moves([B], placements.get) == {B: Seat(ROOT_NODE, b"b")}


def test_a_directory_in_itself_goes_to_the_root() -> None:
    assert resolve_moves([A], {A: Placement(stamp(5), Seat(A, b"a"))}.get) == {A: Seat(ROOT_NODE, b"a")}


def test_a_missing_parent_is_no_cycle() -> None:
    assert resolve_moves([A], {A: Placement(stamp(5), Seat(B, b"a"))}.get) == {}


def test_closing_a_cycle_is_seen_before() -> None:
    parents = {A: ROOT_NODE, B: A, C: B}
    assert closes_cycle(A, C, parents.get) and closes_cycle(A, A, parents.get)
    assert not closes_cycle(C, A, parents.get) and not closes_cycle(A, ROOT_NODE, parents.get)


@given(PLACEMENTS, st.randoms(use_true_random=False))
def test_nothing_is_inside_itself_wherever_one_starts(placements: dict[NodeId, Placement], random) -> None:  # type: ignore[no-untyped-def]
    undone = resolve_moves(placements, placements.get)
    shuffled = list(placements)
    random.shuffle(shuffled)
    assert resolve_moves(shuffled, placements.get) == undone
    for node in placements:
        above, steps = node, 0
        while above in placements:
            above = undone.get(above, placements[above].seat).parent
            steps += 1
            assert steps <= len(placements)
    if not undone:
        assert not any(
            closes_cycle(
                node, one.seat.parent, lambda above: placements[above].seat.parent if above in placements else None
            )
            for node, one in placements.items()
        )


@given(PLACEMENTS, PLACEMENTS)
def test_one_change_needs_no_complete_walk(before: dict[NodeId, Placement], changes: dict[NodeId, Placement]) -> None:
    current = dict(before)
    undone = resolve_moves(current, current.get)
    for node, placement in changes.items():
        if node in current and placement.stamp == current[node].stamp:
            del current[node]
        elif placement.stamp not in {one.stamp for one in current.values()}:
            current[node] = placement
        undone = resolve_moves({node, *undone}, current.get)
        assert undone == resolve_moves(current, current.get)
