"""One computer deletes everything: the other holds that, says so, and takes it or puts it back as it is told."""

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, same, until
from tests.end_to_end.trees import Entry, differences, scan

pytestmark = [pytest.mark.fuse, pytest.mark.root]

FILES = 130


def ravage(group: Group) -> tuple[Peer, Peer, dict[str, Entry]]:
    one, two = group.add("first"), group.add("second")
    (one / "d").mkdir()
    for number in range(FILES):
        (one / f"d/f{number}").write_text(f"content {number}")
    until(same(one, two), "peers are level")
    before = scan(one.mount)
    for number in range(FILES):
        (two / f"d/f{number}").unlink()
    until(lambda: one.status()["held"], "the brake")
    return one, two, before


def test_what_one_computer_ravaged_is_put_back(group: Group) -> None:
    one, two, before = ravage(group)
    status = one.status()
    (held,) = status["held"]
    assert status["state"] == "degraded" and held["files"] == FILES and held["changed"] >= 100
    assert "undo" in one.good("status", SHARE) and "too many" not in one.good("status", SHARE)
    assert "waits for 'syncfs accept'" in one.log()
    one.good("umount", one.mount)
    one.start("xattr=on")
    assert one.status()["held"] == [held]
    one.good("undo", SHARE, "--device", held["device"], "--since", held["since"])
    for peer in (one, two):
        until(lambda peer=peer: differences(before, scan(peer.mount)) == [], "all is back")
    assert not one.status()["held"] and not two.status()["held"]


def test_what_one_computer_deleted_is_taken(group: Group) -> None:
    one, two, _ = ravage(group)
    assert one.run("accept", SHARE, "--device", "nobody").code == 2
    done = one.run("accept", SHARE, "--json").json
    assert done["records"] > 0 and len(done["devices"]) == 1
    until(lambda: not list((one / "d").iterdir()), "the files are gone")
    until(same(one, two), "peers are level")
    assert one.run("accept", SHARE).code == 2 and one.status()["held"] == []
