"""Names of a node: what is deleted stays away, unless it would take content with it that nobody gave up."""

import pytest

from syncfs.model.ids import NO_STAMP, LinkId
from syncfs.model.merge import LinkEnd, NodeView, directory_alive, newer, node_view
from syncfs.model.versions import Version
from tests.model.test_versions import FIVE, FOUR, ONE, THREE, TWO

HERE, THERE = LinkId(b"h" * 16), LinkId(b"t" * 16)
VERSIONS = {ONE: Version((), b"one"), TWO: Version((ONE,), b"two"), THREE: Version((ONE,), b"three")}


def test_the_greater_stamp_wins() -> None:
    assert newer(ONE, None) and newer(TWO, ONE) and newer(ONE, NO_STAMP)
    assert not newer(ONE, ONE) and not newer(ONE, TWO)


@pytest.mark.parametrize(
    ("links", "heads", "shown"),
    [
        pytest.param([], [ONE], NodeView(), id="no link has arrived"),
        pytest.param([LinkEnd(HERE, ONE, False)], [], NodeView((HERE,)), id="no version has arrived"),
        pytest.param([LinkEnd(HERE, ONE, False)], [ONE], NodeView((HERE,), (ONE,)), id="the normal case"),
        pytest.param([LinkEnd(HERE, FOUR, True, [ONE])], [ONE], NodeView(), id="deleted"),
        pytest.param([LinkEnd(HERE, FOUR, True)], [], NodeView(), id="deleted, and no file"),
        pytest.param([LinkEnd(HERE, FOUR, True, [ONE])], [TWO], NodeView((HERE,), (TWO,)), id="an unseen edit"),
        pytest.param(
            [LinkEnd(HERE, FOUR, True, [TWO])],
            [TWO, THREE],
            NodeView((HERE,), (THREE,)),
            id="of two heads the seen one stays deleted",
        ),
        pytest.param(
            [LinkEnd(HERE, FOUR, True), LinkEnd(THERE, ONE, False)],
            [TWO],
            NodeView((THERE,), (TWO,)),
            id="an edit by the other name brings no deleted name back",
        ),
        pytest.param(
            [LinkEnd(HERE, FOUR, True), LinkEnd(THERE, FIVE, True, [TWO])],
            [TWO],
            NodeView(),
            id="both names deleted, knowingly",
        ),
        pytest.param(
            [LinkEnd(HERE, FOUR, True), LinkEnd(THERE, FIVE, True)],
            [TWO],
            NodeView((THERE,), (TWO,)),
            id="each device deleted the name that the other kept",
        ),
    ],
)
def test_names_of_a_node(links: list[LinkEnd], heads: list[bytes], shown: NodeView) -> None:
    assert node_view(links, tuple(heads), VERSIONS.get) == shown  # type: ignore[arg-type]


def test_a_directory_lives_by_itself_or_by_its_children() -> None:
    assert [directory_alive(deleted, full) for deleted in (False, True) for full in (False, True)] == [
        True,
        True,
        False,
        True,
    ]
