"""Killed while space is given back: no content that is shown or kept is missing, and the space is given back later.

In each round files get a state that a program asked to keep (by fsync), some in quick succession that history thins
out, and a last one. A collection is begun through the control socket, and the process is killed at a random moment
before it has answered.
"""

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from syncfs.cli.asking import ask
from syncfs.cli.home import Home
from syncfs.control.client import connect
from syncfs.control.commands import COLLECT, VERSIONS, Nothing, PathArguments
from syncfs.model.errors import UnavailableError
from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import SHARE, Peer, until
from tests.end_to_end.test_history import a_moment

pytestmark = [pytest.mark.fuse, pytest.mark.root]

FILES, BYTES, BURSTS = 8, 300_000, 3


def write(one: Peer, dice: random.Random, asking: bool = False) -> dict[str, bytes]:
    """A new content for each file; with `asking` each is fsynced."""
    contents = {f"f{number}": dice.randbytes(BYTES) for number in range(FILES)}
    for name, content in contents.items():
        with (one / name).open("wb") as file:
            file.write(content)
            if asking:
                file.flush()
                os.fsync(file.fileno())
    return contents


def versions(one: Peer) -> int:
    """How many are kept of the file that is written last."""
    return len(ask(Home(one.home), SHARE, VERSIONS, PathArguments(b"f%d" % (FILES - 1))))


def work(one: Peer, dice: random.Random) -> tuple[str, dict[str, bytes], dict[str, bytes]]:
    """A moment, what history must show of it, and what the files have now; there is something to collect."""
    kept = write(one, dice, asking=True)
    moment = a_moment(one)
    shown = kept
    for _ in range(BURSTS + 1):
        before = versions(one)
        shown = write(one, dice)
        until(lambda before=before: versions(one) > before, "a version")
    one.stop()  # or what was written within the last minutes would stay
    one.start()
    return moment, kept, shown


def killed_while_collecting(one: Peer, after: float) -> bool:
    """Begin a collection and kill the process so many seconds later; false if it had answered by then."""
    record = one.record
    assert record is not None
    with connect(record.socket, record.name) as client:
        client._ask(COLLECT, Nothing(), None)  # all that is public waits for the answer
        time.sleep(after)
        os.kill(record.pid, signal.SIGKILL)
        with suppress(UnavailableError):
            return bool(client._next().part)
    return True


def killed_again_and_again(group: Group, kills: int, seed: int) -> None:
    one, dice = group.add("first"), random.Random(seed)
    past = one.mount / ".syncfs" / "history"
    kept: dict[str, dict[str, bytes]] = {}
    moment, kept[moment], shown = work(one, dice)
    start = time.monotonic()
    report = ask(Home(one.home), SHARE, COLLECT, Nothing(), timeout=None)
    duration = time.monotonic() - start
    assert report.versions >= FILES and report.bytes >= FILES * BYTES
    killed = rounds = 0
    while killed < kills and rounds < 4 * kills:
        rounds += 1
        moment, kept[moment], shown = work(one, dice)
        after = dice.random() * duration
        if killed_while_collecting(one, after):
            killed += 1
        else:
            duration = after
        until(lambda: one.record is None, "the process is gone")
        one.start()
        assert {name: (one / name).read_bytes() for name in shown} == shown
        assert {when: {name: (past / when / name).read_bytes() for name in old} for when, old in kept.items()} == kept
        one.good("check", SHARE)
    assert killed == kills
    ask(Home(one.home), SHARE, COLLECT, Nothing(), timeout=None)
    # Of a burst those states are kept that were there at a full five seconds.
    assert one.cached() < 0.8 * (rounds + 1) * (BURSTS + 2) * FILES * BYTES
    assert {name: (one / name).read_bytes() for name in shown} == shown
    one.good("check", SHARE)


@pytest.mark.timeout(300)
def test_killed_while_it_collects(group: Group) -> None:
    killed_again_and_again(group, 2, 1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_while_it_collects_soak(group: Group) -> None:
    killed_again_and_again(group, 40, 2)
