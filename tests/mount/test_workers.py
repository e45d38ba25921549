"""The workers with a pipe in place of /dev/fuse: one byte is one request."""

import errno
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from syncfs.mount.device import UnmountedError
from syncfs.mount.protocol import Request
from syncfs.mount.workers import MAX_WORKERS, SPARE, Workers

Handler = Callable[[bytes], Awaitable[None]]
BROKEN = b"!"
UNMOUNTED = b"0"


class Pipe:
    """Where requests come from; `z` closes after its answer."""

    def __init__(self) -> None:
        self.descriptor, self.writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.workers = Workers()
        self.most = 0

    def request(self, what: bytes) -> None:
        os.write(self.writing, what)

    def take(self) -> Request | None:
        try:
            what = os.read(self.descriptor, 1)
        except BlockingIOError:
            return None
        if what == BROKEN:
            raise OSError(errno.EBADF, "gone")
        if what == UNMOUNTED:
            raise UnmountedError
        return Request(0, 0, 0, 0, 0, 0, 0, memoryview(what))

    async def main(self, handler: Handler) -> None:
        async def answer(what: bytes) -> None:
            await handler(what)
            if what == b"z":
                self.workers.close()

        def begin(request: Request) -> Coroutine[Any, Any, None] | None:
            self.most = max(self.most, trio.lowlevel.current_statistics().tasks_living)
            return answer(request.body.tobytes())

        await self.workers.run(self, begin)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.descriptor)
    os.close(pipe.writing)


async def test_requests_are_answered_in_order_by_a_worker_that_does_not_suspend(pipe: Pipe) -> None:
    answered: list[bytes] = []
    tasks: set[trio.lowlevel.Task] = set()

    async def handler(what: bytes) -> None:
        answered.append(what)
        tasks.add(trio.lowlevel.current_task())

    pipe.request(b"abcdez")
    with trio.fail_after(5):
        await pipe.main(handler)
    assert answered == [b"a", b"b", b"c", b"d", b"e", b"z"]
    assert len(tasks) == 1


async def test_whoever_suspends_hands_the_watching_over(pipe: Pipe) -> None:
    go, order = trio.Event(), []

    async def handler(what: bytes) -> None:
        if what == b"s":
            await go.wait()
        order.append(what)
        if what == b"g":
            go.set()
        if len(order) == 5:
            pipe.workers.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.main, handler)
        with trio.fail_after(5):
            for what in (b"s", b"s", b"s", b"x", b"g"):
                pipe.request(what)
                await trio.testing.wait_all_tasks_blocked()
    assert order == [b"x", b"g", b"s", b"s", b"s"]


async def test_many_may_wait_and_few_idle_workers_are_kept(pipe: Pipe) -> None:
    go = trio.Event()

    async def handler(what: bytes) -> None:
        if what == b"s":
            await go.wait()

    before = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.main, handler)
        for _ in range(MAX_WORKERS + 5):
            pipe.request(b"s")
            await trio.testing.wait_all_tasks_blocked()
        assert pipe.most <= before + MAX_WORKERS + 2
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        pipe.request(b"xxx")
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= before + SPARE + 3
        pipe.request(b"z")


@pytest.mark.parametrize("waiting", [0, 3])
async def test_an_unmount_ends_all_workers(pipe: Pipe, waiting: int) -> None:
    go = trio.Event()

    async def handler(what: bytes) -> None:
        await go.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.main, handler)
        await trio.testing.wait_all_tasks_blocked()
        pipe.request(b"s" * waiting)
        await trio.testing.wait_all_tasks_blocked()
        pipe.request(UNMOUNTED)
        await trio.testing.wait_all_tasks_blocked()
        go.set()


async def test_a_broken_device_is_not_hidden(pipe: Pipe) -> None:
    async def handler(what: bytes) -> None:
        pytest.fail("there was no request")

    pipe.request(BROKEN)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="gone")):
        await pipe.main(handler)


async def test_a_deadline_runs_from_the_first_suspension_and_spends_the_worker(
    pipe: Pipe, autojump_clock: MockClock
) -> None:
    outcomes: list[tuple[bytes, float]] = []

    async def handler(what: bytes) -> None:
        worker = pipe.workers.current
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

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.main, handler)
        pipe.request(b"n")
        await trio.sleep(10)
        pipe.request(b"s")
        await trio.sleep(100)
        pipe.request(b"qz")
    assert [(what, round(at - start)) for what, at in outcomes] == [(b"late", 30), (b"s", 35), (b"q", 110), (b"z", 110)]


async def test_a_deadline_begins_anew_while_what_is_waited_for_goes_on(pipe: Pipe, autojump_clock: MockClock) -> None:
    outcomes: list[tuple[bytes, float]] = []

    async def handler(what: bytes) -> None:
        worker = pipe.workers.current
        worker.more_time()  # before there is a deadline
        worker.limit(30)
        try:
            worker.more_time()  # before it runs
            for _ in range(4):
                await trio.sleep(20)
                worker.more_time()
            if what == b"n":
                await trio.sleep_forever()
            outcomes.append((what, trio.current_time()))
        except trio.Cancelled:
            if not worker.expired:
                raise
            worker.more_time()  # too late
            outcomes.append((b"late", trio.current_time()))
        finally:
            worker.unlimit()
            worker.more_time()  # nobody waits any more

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.main, handler)
        pipe.request(b"n")
        await trio.lowlevel.checkpoint()
        pipe.request(b"s")
        await trio.sleep(200)
        pipe.request(b"z")
    assert [(what, round(at - start)) for what, at in outcomes] == [(b"s", 80), (b"late", 110), (b"z", 280)]


async def test_cancelling_from_outside_is_not_a_deadline(pipe: Pipe, autojump_clock: MockClock) -> None:
    seen: list[bool] = []

    async def handler(what: bytes) -> None:
        worker = pipe.workers.current
        worker.limit(30)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append(worker.expired)
            raise
        finally:
            worker.unlimit()

    pipe.request(b"a")
    with trio.move_on_after(5):
        await pipe.main(handler)
    assert seen == [False]
