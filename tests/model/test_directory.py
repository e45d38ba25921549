"""One directory: whatever wants to be in it, every name is there once and every node is there."""

import stat

from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.directory import Candidate, Head, directory_view, name_view
from syncfs.model.ids import LinkId, NodeId
from syncfs.model.names import conflict_name
from syncfs.model.records import check_name
from tests.model.test_versions import stamp

SECOND = 10**9


def node(number: int) -> NodeId:
    return NodeId(bytes([number]) * 16)


def link(number: int) -> LinkId:
    return LinkId(node(number))


def candidate(number: int, name: bytes = b"n", kind: int = stat.S_IFREG, lamport: int = 1, **more: object) -> Candidate:
    return Candidate(link(number), node(number), name, kind, stamp(lamport, number), "pc", SECOND, **more)  # type: ignore[arg-type]


def test_directories_of_one_name_are_one() -> None:
    (shown,) = directory_view([candidate(2, kind=stat.S_IFDIR), candidate(1, kind=stat.S_IFDIR, revived=True)])
    assert (shown.name, shown.node, shown.merged) == (b"n", node(1), ((link(2), node(2)),))
    assert not shown.revived


def test_a_directory_keeps_the_name() -> None:
    file, directory = directory_view([candidate(1, lamport=9), candidate(2, kind=stat.S_IFDIR)])[::-1]
    assert (directory.name, directory.node) == (b"n", node(2))
    assert (file.name, file.base, file.node) == (conflict_name(b"n", "pc", SECOND), b"n", node(1))


def test_the_later_link_keeps_the_name() -> None:
    shown = directory_view([candidate(1, lamport=5), candidate(2, lamport=6)])
    assert [one.node for one in shown] == [node(2), node(1)]


def test_a_link_that_is_only_back_comes_last_and_is_named_after_the_editor() -> None:
    edited = Head(stamp(3), "editor", 7 * SECOND)
    shown = directory_view([candidate(1, lamport=9, revived=True, heads=[edited]), candidate(2, lamport=6)])
    assert [(one.name, one.node) for one in shown] == [
        (b"n", node(2)),
        (conflict_name(b"n", "editor", 7 * SECOND), node(1)),
    ]


def test_several_links_of_one_node_are_one_entry() -> None:
    again = Candidate(LinkId(b"x" * 16), node(1), b"n", stat.S_IFREG, stamp(7), "pc", SECOND)
    (shown,) = directory_view([candidate(1), again])
    assert (shown.link, shown.merged) == (LinkId(b"x" * 16), ((link(1), node(1)),))


def test_a_conflict_name_makes_room_for_a_real_one() -> None:
    copies = [Head(stamp(number), "pc", SECOND) for number in (3, 2, 1)]
    taken = conflict_name(b"n", "pc", SECOND)
    shown = directory_view([candidate(1, heads=copies), candidate(2, name=taken)])
    assert {one.name: one.head for one in shown} == {
        b"n": None,
        taken: None,
        conflict_name(b"n", "pc", SECOND, 2): stamp(1),
        conflict_name(b"n", "pc", SECOND, 3): stamp(2),
    }


NAMES = st.sampled_from(
    [b"n", b"m.txt", b"l" * 255, conflict_name(b"n", "pc", SECOND), conflict_name(b"n", "pc", SECOND, 2)]
)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.integers(1, 200).map(link),
        st.integers(1, 9).map(node),
        NAMES,
        st.just(stat.S_IFREG),
        st.integers(1, 10**9).map(stamp),
        st.sampled_from(["pc", "nas"]),
        st.just(SECOND),
        st.lists(st.builds(Head, st.integers(1, 10**9).map(stamp), st.just("pc"), st.just(SECOND)), max_size=3),
        st.booleans(),
    ),
    unique_by=lambda one: one.link,
    max_size=12,
)


@given(CANDIDATES, st.sets(st.integers(1, 9)), st.randoms(use_true_random=False))
def test_names_are_unique_and_nothing_is_missing(candidates: list[Candidate], directories: set[int], random) -> None:  # type: ignore[no-untyped-def]
    kinds = {node(number): stat.S_IFDIR for number in directories}
    candidates = [
        Candidate(
            one.link, one.node, one.name, kinds.get(one.node, one.kind), one.stamp, one.device, one.time, one.heads
        )
        for one in candidates
    ]
    shown = directory_view(candidates)
    random.shuffle(candidates)
    assert directory_view(candidates) == shown
    assert len({one.name for one in shown}) == len(shown)
    for one in shown:
        check_name(one.name)
    links = [link for one in shown if one.head is None for link in (one.link, *(link for link, _ in one.merged))]
    assert sorted(links) == sorted(one.link for one in candidates)
    real = {one.name for one in candidates}
    for name in real:
        group = [one for one in candidates if one.name == name]
        assert {one for one in shown if one.base == name} == set(name_view(group, real.__contains__))
        assert name_view(group, real.__contains__)[0].name == name
