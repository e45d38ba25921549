"""Tasks that each take a request, answer it and take the next.

*One watcher.* All workers are equal. One watches the device, idle others are parked. A worker that answers without
suspending goes on taking requests itself; one that suspends in a handler hands the watching over at that moment, to a
parked worker or a new one. So a request costs no switch of tasks unless it has to wait.

*Storms.* While requests wait, a worker takes the next one without going through trio. To keep the network alive it
yields after a burst, which shrinks to BURST_MIN while other tasks have work and grows to BURST_MAX while they have
none. After a request the device is watched for SPIN_S before trio is asked to wait: a program that makes one call
after another comes back within microseconds. Spinning stops after a miss until requests come quickly again.

*Deadlines.* A worker runs in one cancel scope of its own whose deadline is set only when a handler suspends, so a
handler that never suspends pays nothing. It begins anew whenever the handler hears that what it waits for goes on. A
scope whose deadline came has served: the worker goes on with a new one.
"""

import math
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Protocol

import trio

from syncfs.mount.device import UnmountedError
from syncfs.mount.protocol import Request

BURST_MIN: Final = 0.0001
BURST_MAX: Final = 0.001
BUSY_PASS: Final = 0.00005
"""A pass through trio that took longer than this had other work to do than ours; seconds."""
SPIN_S: Final = 0.00003
QUICK_S: Final = 0.0002
"""Requests that come within this time of the answer before are worth spinning for; seconds."""
MAX_WORKERS: Final = 1000
"""Requests that may wait at once, as for data that no peer has now; cached data must not wait behind them."""
SPARE: Final = 10
"""Idle workers that are kept."""


class Worker:
    """What takes requests one after another, with the deadline of the one that it answers."""

    __slots__ = ("_armed", "_limit", "scope", "spent")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.spent = False
        self._limit: float | None = None
        self._armed = False

    def limit(self, seconds: float) -> None:
        """Gives the handler that runs now this long from its first suspension on."""
        self._limit = seconds

    def suspends(self) -> None:
        """The handler suspends: its deadline starts to run."""
        if self._limit is not None and not self._armed:
            self._armed = True
            self.scope.deadline = trio.current_time() + self._limit

    def more_time(self) -> None:
        """What the handler waits for goes on: its deadline begins anew."""
        if self._armed and self._limit is not None and not self.scope.cancel_called:
            self.scope.deadline = trio.current_time() + self._limit

    def unlimit(self) -> None:
        """The handler is over."""
        self._limit = None
        if self._armed:
            self._armed = False
            self.spent = self.scope.cancel_called
            self.scope.deadline = math.inf

    @property
    def expired(self) -> bool:
        """Whether a Cancelled in the handler came from its deadline, not from the end of the mount."""
        return self._armed and self.scope.cancel_called


class Source(Protocol):
    """Where requests come from."""

    descriptor: int

    def take(self) -> Request | None:
        """The next request, None where none waits. Raises UnmountedError."""


class Workers:
    """The workers of a mount; `run` is their life."""

    def __init__(self) -> None:
        self.current = Worker()
        """Whose handler runs now."""
        self._closed = False
        self._watching = False
        self._waiting_here = False
        self._count = 0
        self._parked = trio.lowlevel.ParkingLot()
        self._burst = BURST_MAX
        self._burst_end = 0.0
        self._spin = True

    async def run(self, source: Source, answer: Callable[[Request], Coroutine[Any, Any, None] | None]) -> None:
        """Answers requests until it is closed or unmounted, and until those under way are answered.

        `answer` answers at once, or returns what is to be awaited for it.
        """
        self._source = source
        self._answer = answer
        async with trio.open_nursery() as self._nursery:
            self._start()

    def close(self) -> None:
        """Takes no more requests."""
        self._closed = True
        trio.lowlevel.notify_closing(self._source.descriptor)
        self._parked.unpark_all()

    def _start(self) -> None:
        self._count += 1
        self._nursery.start_soon(self._work, name=f"fuse worker {self._count}")

    async def _work(self) -> None:
        try:
            again = True
            while again:
                worker = self.current = Worker()
                with worker.scope:
                    await _noticing(self._serve(worker), self, worker)
                again = worker.spent
        finally:
            self._count -= 1

    async def _serve(self, worker: Worker) -> None:
        answer = self._answer
        while not worker.spent:
            request = self._take_now()
            if request is None:
                request = await self._wait()
                if request is None:
                    return
            waiting = answer(request)
            if waiting is not None:
                await waiting

    def _take_now(self) -> Request | None:
        """A request that waits, or comes within moments, unless others are to have their turn first."""
        if self._closed:
            return None
        now = time.perf_counter()
        if now >= self._burst_end:
            return None
        take = self._take
        request = take()
        if request is None and self._spin:
            end = now + SPIN_S
            while request is None and time.perf_counter() < end:
                request = take()
            self._spin = request is not None
        return request

    async def _wait(self) -> Request | None:
        """The next request, after a turn for others; None where this worker is not needed any more."""
        if not self._closed and time.perf_counter() >= self._burst_end:
            await self._pass()
        asleep = time.perf_counter()
        while True:
            if self._closed:
                return None
            request = self._take()
            if request is not None:
                break
            if self._closed or (self._watching and len(self._parked) >= SPARE):
                return None
            self._waiting_here = True
            if self._watching:
                await self._parked.park()
            else:
                await self._watch()
        now = time.perf_counter()
        self._spin = now - asleep < QUICK_S
        self._burst_end = now + self._burst
        return request

    async def _watch(self) -> None:
        self._watching = True
        try:
            await trio.lowlevel.wait_readable(self._source.descriptor)
        except trio.ClosedResourceError:
            self._closed = True
        finally:
            self._watching = self._waiting_here = False

    def _take(self) -> Request | None:
        try:
            return self._source.take()
        except UnmountedError:
            self._closed = True
            self._parked.unpark_all()
            return None

    async def _pass(self) -> None:
        start = time.perf_counter()
        self._waiting_here = True
        await trio.lowlevel.checkpoint()
        end = time.perf_counter()
        self._burst = BURST_MIN if end - start > BUSY_PASS else min(BURST_MAX, 2 * self._burst)
        self._burst_end = end + self._burst

    def suspends(self, worker: Worker) -> None:
        """A worker suspends: in the wait above, or in a handler, and then somebody else has to watch."""
        if self._waiting_here:
            self._waiting_here = False
        else:
            worker.suspends()
            self._hand_over()

    def _hand_over(self) -> None:
        """Lets another worker watch the device, where nobody does."""
        if self._watching or self._closed:
            return
        if self._parked:
            self._parked.unpark()
        elif self._count < MAX_WORKERS:
            self._start()


@types.coroutine
def _noticing(work: Coroutine[Any, Any, None], workers: Workers, worker: Worker) -> Generator[Any, Any, None]:
    """Awaits `work` and tells the workers of each suspension, before trio hears of it."""
    step: Callable[[Any], Any] = work.send
    value: Any = None
    while True:
        try:
            trap = step(value)
        except StopIteration:
            return
        workers.suspends(worker)
        try:
            value = yield trap
            step = work.send
        except BaseException as error:
            value = error
            step = work.throw
        workers.current = worker
