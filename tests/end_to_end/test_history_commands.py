"""The commands of history as a person types them, on a pair of mounts: each sentence of the guide, once."""

import subprocess
from datetime import datetime, timedelta

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, same, until
from tests.end_to_end.test_history import a_moment, asked, settled

pytestmark = [pytest.mark.fuse, pytest.mark.root]


def test_what_the_guide_says_of_history(group: Group) -> None:
    one, two = group.add("first"), group.add("second")
    (one / "2026").mkdir()
    (one / "2026" / "letter.odt").write_text("draft")
    (one / "2026" / "other").write_text("other")
    then = a_moment(one, two)
    (two / "2026" / "letter.odt").write_text("final, by the second")  # a remote edit makes a version as well
    until(lambda: (one / "2026" / "letter.odt").read_text() == "final, by the second", "the edit")
    assert [each["size"] for each in settled(one, "2026/letter.odt", 2)] == [20, 5]
    assert asked(two, "versions", two / "2026/letter.odt")[0]["current"]

    # restore PATH@TIME, --to, NAME:PATH
    done = asked(two, "restore", f"{SHARE}:2026/letter.odt@{then}", "--to", two / "then.odt")
    assert done["path"] == "then.odt" and (two / "then.odt").read_text() == "draft"
    assert asked(one, "restore", f"{one / '2026/letter.odt'}@{then}")["size"] == 5
    until(lambda: (two / "2026" / "letter.odt").read_text() == "draft", "the restored one")
    assert "Restored" in one.good("restore", f"{one / '2026/letter.odt'}")  # the one before
    assert (one / "2026" / "letter.odt").read_text() == "final, by the second"

    # what was deleted is found, with the folder it was in, and comes back
    subprocess.run(["rm", "-r", two / "2026"], check=True)
    until(lambda: not (one / "2026").exists(), "the deletion")
    gone = [(each["action"], each["path"]) for each in asked(one, "log", f"{SHARE}:2026")]
    assert ("delete", "2026/letter.odt") in gone and ("delete", "2026") in gone
    assert len(asked(one, "versions", one / "2026/letter.odt")) == 4
    asked(one, "restore", one / "2026/other")
    assert (one / "2026" / "other").read_text() == "other" and not (one / "2026" / "letter.odt").exists()
    asked(one, "restore", f"{one / '2026'}@{then}")
    assert (one / "2026" / "letter.odt").read_text() == "draft"

    # old trees with ordinary tools
    past = one.mount / ".syncfs" / "history" / then
    assert subprocess.run(["diff", "-r", past / "2026", one / "2026"], check=False).returncode == 0
    assert then[:11] + "00:00:00Z" not in [path.name for path in (one / ".syncfs" / "history").iterdir()]

    # settings are the share's, and the log tells who changed them
    two.good("config", SHARE, "retention", "all=2d daily=60d")
    until(lambda: "all=2d daily=60d" in one.good("config", SHARE, "retention"), "the setting")
    told = asked(one, "log", one.mount)
    changes = [(each["setting"], each["value"]) for each in told if each["action"] == "setting"]
    assert changes[0] == ("retention", "all=2d daily=60d") and ("restore", "2026/other") in changes
    assert "retention all=2d daily=60d" in one.good("log", one.mount)
    until(same(one, two), "peers are level")
    two.stop()
    assert asked(two, "config", SHARE)["retention"] == "all=2d daily=60d"
    two.start("xattr=on")

    # undo by the beginning of a device's id, both ways of saying a time
    device = next(each["device"] for each in asked(one, "peers", SHARE))
    since = (datetime.fromisoformat(then) - timedelta(seconds=1)).astimezone()
    report = asked(one, "undo", SHARE, "--device", device[:8], "--since", since.replace(tzinfo=None).isoformat())
    assert report["changed"] and not (one / "then.odt").exists()
    assert "--since" in one.run("undo", SHARE, "--device", device).err
    assert one.run("undo", SHARE, "--device", "nobody", "--since", then).code == 2
    assert one.run("undo", SHARE, "--device", device, "--since", "yesterday").code == 2


def test_a_store_gives_space_back_by_the_command(group: Group) -> None:
    one = group.add("first")
    store = group.add("store", "store", options="")
    store.good("serve", SHARE)
    (one / "f").write_bytes(b"x" * 200_000)
    until(lambda: store.cached() > 200_000, "the store has it")
    report = asked(store, "gc", SHARE)
    assert report == {"chunks": 0, "bytes": 0, "versions": 0}
    assert store.status()["reasons"] == []
