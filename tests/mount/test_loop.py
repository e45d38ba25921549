"""The request loop with a pipe in place of /dev/fuse and a session loop that does what pyfuse3's does."""

import errno
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from syncfs.mount.loop import RequestLoop
from syncfs.mount.workers import Workers

Handler = Callable[[bytes], Awaitable[None]]


class Session:
    """pyfuse3's session: one byte is one request."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe2(os.O_CLOEXEC)
        self.loop = RequestLoop(lambda descriptor: False)
        self.waiting = 0
        self.closed = False
        self.ended = 0
        self.steals = 0

    def request(self, what: bytes) -> None:
        os.write(self.writing, what)

    async def main(self, handler: Handler) -> None:
        async with self.loop.open_nursery() as nursery:
            nursery.start_soon(self.session_loop, nursery, handler, name="first")

    async def session_loop(self, nursery: Workers, handler: Handler) -> None:
        while not self.closed and self.waiting <= 1:
            self.waiting += 1
            try:
                await self.loop.lowlevel.wait_readable(self.reading)
            except trio.ClosedResourceError:
                break
            finally:
                self.waiting -= 1
            if self.steals:
                self.steals -= 1
                os.read(self.reading, 1)
            what = os.read(self.reading, 1)
            if not self.waiting:
                nursery.start_soon(self.session_loop, nursery, handler, name="more")
            await handler(what)
        self.ended += 1

    def close(self) -> None:
        self.closed = True
        self.loop.notify_closing(self.reading)


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    yield session
    os.close(session.reading)
    os.close(session.writing)


async def test_requests_are_answered_in_order_by_a_worker_that_does_not_suspend(session: Session) -> None:
    answered: list[bytes] = []

    async def handler(what: bytes) -> None:
        answered.append(what)
        if what == b"z":
            session.close()

    session.request(b"abcdez")
    with trio.fail_after(5):
        await session.main(handler)
    assert answered == [b"a", b"b", b"c", b"d", b"e", b"z"]


async def test_whoever_suspends_hands_the_reading_over(session: Session) -> None:
    go, order = trio.Event(), []

    async def handler(what: bytes) -> None:
        if what == b"s":
            await go.wait()
        order.append(what)
        if what == b"g":
            go.set()
        if len(order) == 5:
            session.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.main, handler)
        with trio.fail_after(5):
            for what in (b"s", b"s", b"s", b"x", b"g"):
                session.request(what)
                await trio.testing.wait_all_tasks_blocked()
    assert order == [b"x", b"g", b"s", b"s", b"s"]


async def test_a_read_in_vain_is_taken_up_again(session: Session) -> None:
    answered: list[bytes] = []

    async def handler(what: bytes) -> None:
        answered.append(what)
        if what == b"z":
            session.close()

    session.steals = 1
    session.request(b"a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.main, handler)
        await trio.testing.wait_all_tasks_blocked()
        assert (session.loop.vain_reads, answered) == (1, [])
        session.request(b"bz")
    assert answered == [b"b", b"z"]


async def test_other_errors_of_the_session_are_not_hidden(session: Session) -> None:
    async def handler(what: bytes) -> None:
        raise OSError(errno.EBADF, "gone")

    session.request(b"a")
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="gone")):
        await session.main(handler)


async def test_a_deadline_runs_from_the_first_suspension_and_spends_the_worker(
    session: Session, autojump_clock: MockClock
) -> None:
    outcomes: list[tuple[bytes, float]] = []

    async def handler(what: bytes) -> None:
        worker = session.loop.current
        worker.limit(30)
        try:
            if what == b"n":
                await trio.sleep_forever()
            if what == b"s":
                await trio.sleep(20)
                await trio.sleep(5)
            outcomes.append((what, trio.current_time()))
        except trio.Cancelled:
            if not worker.expired:
                raise
            outcomes.append((b"late", trio.current_time()))
        finally:
            worker.unlimit()
        if what == b"z":
            session.close()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.main, handler)
        session.request(b"n")
        await trio.sleep(10)
        session.request(b"s")
        await trio.sleep(100)
        session.request(b"qz")
    assert [(what, round(at - start)) for what, at in outcomes] == [(b"late", 30), (b"s", 35), (b"q", 110), (b"z", 110)]


async def test_cancelling_from_outside_is_not_a_deadline(session: Session, autojump_clock: MockClock) -> None:
    seen: list[bool] = []

    async def handler(what: bytes) -> None:
        worker = session.loop.current
        worker.limit(30)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append(worker.expired)
            raise
        finally:
            worker.unlimit()

    session.request(b"a")
    with trio.move_on_after(5):
        await session.main(handler)
    assert seen == [False]
