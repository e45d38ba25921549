"""The workers of pyfuse3: tasks that each read a request, answer it and read the next.

*Suspensions.* Each worker is driven by `_noticing`, which tells the loop when it suspends, so that whoever suspends in
a handler hands the reading over, and who does not suspend keeps it.

*Deadlines.* A worker runs in one cancel scope of its own whose deadline is set only when a handler suspends, so a
handler that never suspends pays nothing. A scope whose deadline came has served: its worker ends and a new one starts.

*Reads in vain.* pyfuse3's session loop ends with EAGAIN when there was no request to read after all; it is started
again.
"""

import errno
import math
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

import trio

SessionLoop = Callable[..., Coroutine[Any, Any, None]]


class Worker:
    """One pyfuse3 worker with the deadline of the request that it answers."""

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


class Loop(Protocol):
    """What the workers tell the loop."""

    current: Worker
    vain_reads: int

    def suspends(self, worker: Worker) -> None:
        """The current worker suspends."""

    def hand_over(self) -> None:
        """The current worker reads no more."""


class Workers:
    """The nursery of pyfuse3's workers."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> "Workers":
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._manager.__aexit__(*error)

    def start_soon(self, session_loop: SessionLoop, *args: object, name: str) -> None:
        self._nursery.start_soon(self._work, session_loop, args, name=name)

    async def _work(self, session_loop: SessionLoop, args: tuple[object, ...]) -> None:
        loop = self._loop
        try:
            again = True
            while again:
                worker = loop.current = Worker()
                try:
                    with worker.scope:
                        await _noticing(session_loop(*args), loop, worker)
                    again = worker.spent
                except OSError as error:
                    if error.errno != errno.EAGAIN:
                        raise
                    loop.vain_reads += 1
        finally:
            loop.hand_over()


@types.coroutine
def _noticing(work: Coroutine[Any, Any, None], loop: Loop, worker: Worker) -> Generator[Any, Any, None]:
    """Awaits `work` and tells the loop of each suspension, before trio hears of it."""
    step: Callable[[Any], Any] = work.send
    value: Any = None
    while True:
        try:
            trap = step(value)
        except StopIteration:
            return
        loop.suspends(worker)
        try:
            value = yield trap
            step = work.send
        except BaseException as error:
            value = error
            step = work.throw
        loop.current = worker
