"""A peer ends in the middle of a read: with another holder the read goes on, without one it fails soon and says why."""

import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from syncfs.engine.chunks.fetch import ANSWER_SECONDS
from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import Peer, until
from tests.end_to_end.trees import digest

pytestmark = [pytest.mark.fuse, pytest.mark.root]

MIB = 1024 * 1024
SIZE = 192 * MIB
DEADLINE = 30.0
"""What a request of the kernel may take at the very most (design, promise 3)."""


class Reading:
    """A thread that reads a file from start to end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0
        self.error: OSError | None = None
        self.longest = 0.0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with self._path.open("rb", buffering=0) as file:
                while True:
                    start = time.monotonic()
                    try:
                        data = file.read(MIB)
                    finally:
                        self.longest = max(self.longest, time.monotonic() - start)
                    if not data:
                        return
                    self.position += len(data)
        except OSError as error:
            self.error = error

    def wait(self) -> None:
        self.thread.join(2 * DEADLINE)
        assert not self.thread.is_alive(), f"the read hangs at {self.position}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with a file large enough to be still being read when its peer dies."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "large").open("wb") as file:
        for _ in range(SIZE // (8 * MIB)):
            file.write(os.urandom(8 * MIB))
    (source / "small").write_bytes(os.urandom(100_000))
    return source


def read_from_two_holders(group: Group, source: Path) -> tuple[Peer, Peer, Reading]:
    """A peer whose content another one has as well, and a third that has begun to read it."""
    first = group.add("first", "", "--from", source)
    second = group.add("second")
    assert digest(second / "large") == digest(source / "large")
    third = group.add("third")
    until(lambda: third.status()["peers"] == 2, "the third is linked with both")
    reading = Reading(third / "large")
    until(lambda: reading.position > 8 * MIB, "the read is under way")
    return first, third, reading


def test_with_another_holder_the_read_goes_on(group: Group, source: Path) -> None:
    first, third, reading = read_from_two_holders(group, source)
    first.kill()
    reading.wait()
    assert reading.error is None and reading.position == SIZE
    assert reading.longest < DEADLINE
    assert digest(third / "large") == digest(source / "large")


def test_without_one_it_fails_in_time_and_says_why_and_comes_back(group: Group, source: Path) -> None:
    first = group.add("first", "", "--from", source)
    second = group.add("second")
    assert digest(second / "small") == digest(source / "small")
    reading = Reading(second / "large")
    until(lambda: reading.position > 8 * MIB, "the read is under way")
    first.kill()
    reading.wait()
    assert reading.error is not None and reading.error.errno == errno.EIO
    assert 8 * MIB < reading.position < SIZE and reading.longest < DEADLINE

    status = second.status()
    assert status["peers"] == 0
    assert any("no peer is connected" in reason for reason in status["reasons"]), status
    assert "no peer is connected" in second.log()

    assert (second / "small").read_bytes() == (source / "small").read_bytes()
    assert (second / "large").open("rb").read(MIB) == (source / "large").open("rb").read(MIB)
    (second / "written meanwhile").write_text("works")

    first.start("xattr=on")
    until(lambda: second.status()["peers"] == 1, "the second finds the first again", 70)
    assert digest(second / "large") == digest(source / "large")
    until(lambda: (first / "written meanwhile").read_text() == "works", "what was written meanwhile arrives")
    assert second.status()["reasons"] == []


def test_one_that_freezes_beside_another_holder_holds_up_nobody_for_long(group: Group, source: Path) -> None:
    first, _, reading = read_from_two_holders(group, source)
    frozen = os.pidfd_open(first.pid)
    try:
        signal.pidfd_send_signal(frozen, signal.SIGSTOP)
        reading.wait()
    finally:
        signal.pidfd_send_signal(frozen, signal.SIGCONT)
        os.close(frozen)
    assert reading.error is None and reading.position == SIZE
    assert reading.longest < ANSWER_SECONDS / 2, "nobody waits until it is clear that there will be no answer"
