"""What `transfers`, `peers` and `status` tell while a file is being read from a peer."""

import os
from threading import Event, Thread
from typing import Any

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, same, until

pytestmark = [pytest.mark.fuse, pytest.mark.root]

MIB = 1024 * 1024
SIZE = 300 * MIB


def told(peer: Peer) -> dict[str, Any]:
    return dict(peer.run("transfers", SHARE, "--json").json)


def test_a_file_that_is_being_read_is_shown_with_its_path_and_progress_on_both_sides(group: Group) -> None:
    one, other = group.add("one"), group.add("other")
    with (one / "film.mkv").open("wb") as file:
        for _ in range(SIZE // MIB):
            file.write(os.urandom(MIB))
    until(same(one, other), "both peers are in sync")
    assert told(other)["transfers"] == []
    enough = Event()

    def read() -> None:
        with (other / "film.mkv").open("rb", buffering=0) as film:
            for place in range(SIZE // MIB - 2, -1, -3):
                os.pread(film.fileno(), 4096, place * MIB)
                if enough.wait(0.05):
                    return

    reader = Thread(target=read)
    reader.start()
    try:
        here, there = told(other), told(one)
    finally:
        enough.set()
        reader.join()
    [coming] = here["transfers"]
    assert (coming["direction"], coming["what"], coming["path"]) == ("down", "read", "film.mkv")
    assert 0 < coming["done"] < coming["total"] == SIZE
    assert here["rates"]["down"] > 100_000
    [going] = there["transfers"]
    assert (going["direction"], going["what"]) == ("up", "serve")
    assert going["rate"] > 100_000
    assert other.status()["listen"].startswith("127.0.0.1:")
