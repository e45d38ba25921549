"""What pyfuse3 runs on instead of trio: the waiting for requests, without its freeze and cheaper.

pyfuse3 looks up `Lock`, `open_nursery` and `lowlevel.wait_readable` in its global `trio`; a `RequestLoop` put there
(the way pyfuse3's own asyncio module does it) answers them. It changes five things.

*No freeze.* pyfuse3 waits until /dev/fuse is readable and then reads it with the GIL held. Where the only request was
withdrawn in between, because its caller was killed, that read sleeps until the next request, and with it every task
and thread of the process. So the descriptor is polled once more right before the read; and because a request can still
vanish after that, the descriptor does not block: a read in vain ends pyfuse3's session loop with EAGAIN, which is
started again here. That forgets the loop's buffer, which is why the poll comes first: it makes this path rare.

*Storms.* While requests wait, a worker takes the next one without going through trio. To keep the network alive it
yields after a burst, which shrinks to BURST_MIN while other tasks have work and grows to BURST_MAX while they have
none. After a request the descriptor is watched for SPIN_S before trio is asked to wait: a program that makes one call
after another comes back within microseconds. Spinning stops after a miss until requests come quickly again.

*Terms.* The first request is answered by way of `terms`, before any other is read.

*One reader.* All workers are equal, and nothing is awaited between the end of the wait and the read, so pyfuse3's lock
guards nothing and is free here. One worker watches the descriptor, idle others are parked. A worker that answers
without suspending goes on reading itself; one that suspends in a handler hands the watching over at that moment.

Deadlines and the watching for suspensions are in `workers`.
"""

import ctypes
import os
import select
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pyfuse3
import trio

from syncfs.mount.opendir import ListingCache
from syncfs.mount.terms import Terms
from syncfs.mount.workers import Worker, Workers

BURST_MIN = 0.0001
BURST_MAX = 0.001
BUSY_PASS = 0.00005
"""A pass through trio that took longer than this had other work to do than ours; seconds."""
SPIN_S = 0.00003
QUICK_S = 0.0002
"""Requests that come within this time of the answer before are worth spinning for; seconds."""


class _PollRequest(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class _Done:
    """An awaitable that is over at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]


_DONE = _Done()


class _FreeLock:
    """The lock that nobody needs, see "One reader" above."""

    def __aenter__(self) -> Awaitable[None]:
        return _DONE

    def __aexit__(self, *error: object) -> Awaitable[None]:
        return _DONE


class RequestLoop:
    """Stands in for the module trio within pyfuse3; one per process, like pyfuse3's session."""

    ClosedResourceError = trio.ClosedResourceError
    Lock = _FreeLock

    def __init__(self, first: Callable[[int], bool] | None = None) -> None:
        """`first` stands in for `Terms.offer`."""
        self.lowlevel = self
        self.current = Worker()
        self.vain_reads = 0
        self.listings = ListingCache()
        self._fd = -1
        self._first = Terms().offer if first is None else first
        self._waiting_here = False
        self._watching = False
        self._closed = False
        self._parked = trio.lowlevel.ParkingLot()
        self._burst = BURST_MAX
        self._burst_end = 0.0
        self._spin = True
        self._ready: Callable[[], int] = lambda: 0

    def install(self) -> None:
        """Makes pyfuse3 use this loop; to be called before pyfuse3.main."""
        pyfuse3.trio = self  # type: ignore[attr-defined]

    @staticmethod
    def current_task() -> trio.lowlevel.Task:
        """As in trio.lowlevel."""
        return trio.lowlevel.current_task()

    @staticmethod
    def current_trio_token() -> trio.lowlevel.TrioToken:
        """As in trio.lowlevel."""
        return trio.lowlevel.current_trio_token()

    def open_nursery(self) -> Workers:
        """As in trio; what is started in it are workers."""
        return Workers(self)

    def notify_closing(self, fd: int) -> None:
        """Ends all waiting: every worker finishes what it does and ends."""
        self._closed = True
        trio.lowlevel.notify_closing(fd)
        self._parked.unpark_all()

    async def wait_readable(self, fd: int) -> None:
        """Returns when a request can be read now. Raises ClosedResourceError when the worker is to end."""
        self.listings.end()
        if self._closed or self.current.spent:
            raise trio.ClosedResourceError
        if fd != self._fd:
            if self._first(fd):
                return
            self._adopt(fd)
        ready = self._ready
        now = time.perf_counter()
        if now >= self._burst_end:
            await self._pass()
        elif ready():
            return
        elif self._spin:
            end = now + SPIN_S
            while time.perf_counter() < end:
                if ready():
                    return
            self._spin = False
        asleep = time.perf_counter()
        while not ready():
            self._waiting_here = True
            if self._watching:
                await self._parked.park()
            else:
                self._watching = True
                try:
                    await trio.lowlevel.wait_readable(fd)
                finally:
                    self._watching = False
            if self._closed:
                raise trio.ClosedResourceError
        now = time.perf_counter()
        self._spin = now - asleep < QUICK_S
        self._burst_end = now + self._burst

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
            self.hand_over()

    def hand_over(self) -> None:
        """Lets a parked worker watch the descriptor, where there is one and nobody watches."""
        self.listings.end()
        if not self._watching:
            self._parked.unpark()

    def _adopt(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.listings.adopt(fd)
        request = _PollRequest(fd, select.POLLIN, 0)
        # PyDLL keeps the GIL: no other thread delays the read that follows the poll.
        poll = ctypes.PyDLL(None).poll
        poll.argtypes = (ctypes.POINTER(_PollRequest), ctypes.c_ulong, ctypes.c_int)
        poll.restype = ctypes.c_int
        pointer = ctypes.pointer(request)
        self._ready = lambda: int(poll(pointer, 1, 0))
        self._fd = fd
