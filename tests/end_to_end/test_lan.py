"""Hosts on one bridge that are given nothing but the secret."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer, peer, until
from tests.end_to_end.test_two_peers import except_root, plant, walk_through_changes
from tests.end_to_end.trees import differences, scan
from tests.network.lab import Lab, lab

pytestmark = [pytest.mark.netns, pytest.mark.root, pytest.mark.fuse]

FOUND_SECONDS = 10.0


@pytest.fixture
def network(tmp_path: Path) -> Iterator[tuple[Lab, ExitStack]]:
    """A lab of three hosts, and what ends the peers on them before it."""
    with lab(3) as made, ExitStack() as stack:
        yield made, stack


def on(network: tuple[Lab, ExitStack], place: Path, number: int) -> Peer:
    """A peer on the host of that number."""
    made, stack = network
    prefix = ["nsenter", f"--net=/run/netns/{made.prefix}h{number}"]
    return stack.enter_context(peer(place, f"host{number}", prefix))


def test_hosts_that_know_the_secret_alone_find_each_other(network: tuple[Lab, ExitStack], tmp_path: Path) -> None:
    source = tmp_path / "source"
    plant(source)
    first, second, third = (on(network, tmp_path, number) for number in (1, 2, 3))
    secrets = first.create("--from", source)
    first.start("xattr=on")
    second.join(secrets["read_write"])
    second.start("xattr=on")
    until(lambda: second.status()["peers"] == 1 and first.status()["peers"] == 1, "they are linked", FOUND_SECONDS)
    until(lambda: len(scan(second.mount, contents=False)) == len(scan(source, contents=False)), "the tree is there")
    assert second.cached() == 0
    assert except_root(differences(scan(source), scan(second.mount))) == []
    assert [(one["connected"], one["path"]) for one in second.run("peers", "photos", "--json").json] == [(True, "lan")]
    walk_through_changes(second, first)

    third.join(secrets["read_only"])
    third.start("xattr=on")
    until(lambda: third.status()["peers"] == 2, "the reader is linked with both", FOUND_SECONDS)
    assert except_root(differences(scan(first.mount), scan(third.mount))) == []
    for name in ("d0", "written by the reader"):
        with pytest.raises(OSError) as caught:
            (third / name / "x" if name == "d0" else third / name).write_text("no")
        assert caught.value.errno == errno.EROFS
    (second / "later").write_text("all see it")
    for one in (first, third):
        until(lambda: (one / "later").read_text() == "all see it", f"{one.name} sees it")  # noqa: B023


def test_a_cable_that_is_pulled_and_put_back(network: tuple[Lab, ExitStack], tmp_path: Path) -> None:
    made, _ = network
    first, second = (on(network, tmp_path, number) for number in (1, 2))
    secrets = first.create()
    first.start()
    second.join(secrets["read_write"])
    second.start()
    (first / "before").write_text("1")
    until(lambda: (second / "before").read_text() == "1", "the file arrives", FOUND_SECONDS)
    made.cut("h2")
    (first / "a").write_text("first")
    (second / "b").write_text("second")
    assert (second / "before").read_text() == "1"
    made.mend("h2")
    until(lambda: (second / "a").read_text() == "first", "the first's file arrives", 90)
    until(lambda: (first / "b").read_text() == "second", "the second's file arrives", 90)
