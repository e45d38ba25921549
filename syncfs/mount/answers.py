"""The one wrapper around every request from the kernel: an answer in time, whatever happens below.

Every handler is wrapped by `at_once` (its work is a plain function and has no deadline), `in_time` (its work awaits:
after the deadline the program gets ETIMEDOUT) or `to_the_end`. Errors become an errno by `errnos`; those that a person
may want to know of become a log line: what is unavailable in one sentence, what is unexpected with its traceback.
"""

import errno
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import trio

from syncfs.model.errors import PosixError
from syncfs.mount.device import Device
from syncfs.mount.errnos import errno_of, is_expected
from syncfs.mount.protocol import Request
from syncfs.mount.volume import Buffer
from syncfs.mount.workers import Workers

REPEAT_S = 10.0
"""The same line is logged once in this many seconds."""
MAX_LINES = 200

log = logging.getLogger(__name__)


class Failures:
    """Turns errors into answers and says once what happened."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def answer(self, operation: str, error: Exception) -> int:
        """The errno for a request that failed with `error`."""
        code = errno_of(error)
        if not isinstance(error, PosixError) and self._is_news(operation, str(error)):
            name = errno.errorcode.get(code, str(code))
            if is_expected(error):
                log.warning("%s failed with %s: %s", operation, name, error)
            else:
                log.error("%s failed with %s by a fault in syncfs", operation, name, exc_info=error)
        return code

    def late(self, operation: str, deadline: float) -> int:
        """The errno for a request whose deadline came."""
        if self._is_news(operation, "late"):
            log.warning("%s got no answer within %g s and failed with ETIMEDOUT", operation, deadline)
        return errno.ETIMEDOUT

    def _is_news(self, operation: str, text: str) -> bool:
        now, line = self._clock(), (operation, text)
        if now < self._said.get(line, now):
            return False
        if len(self._said) >= MAX_LINES:
            self._said.clear()
        self._said[line] = now + REPEAT_S
        return True


class Answering(Protocol):
    """What the wrappers need of the object whose methods they wrap."""

    failures: Failures
    device: Device
    workers: Workers
    deadline: float


S = TypeVar("S", bound=Answering)


def at_once(operation: Callable[[S, Request], bytes | None]) -> Callable[[S, Request], None]:
    """Wraps a handler whose work is a plain function; where it gives None, nobody waits for an answer."""
    name = operation.__name__

    def answer(self: S, request: Request) -> None:
        try:
            payload = operation(self, request)
            if payload is not None:
                self.device.answer(request.unique, payload)
        except Exception as error:
            self.device.refuse(request.unique, self.failures.answer(name, error))

    functools.update_wrapper(answer, operation)
    return answer


def in_time(
    operation: Callable[[S, Request], Coroutine[Any, Any, Buffer]],
) -> Callable[[S, Request], Coroutine[Any, Any, None]]:
    """Wraps a handler whose work awaits, for at most the deadline."""
    name = operation.__name__

    async def answer(self: S, request: Request) -> None:
        worker = self.workers.current
        worker.limit(self.deadline)
        try:
            self.device.answer(request.unique, await operation(self, request))
        except trio.Cancelled:
            if not worker.expired:
                raise
            self.device.refuse(request.unique, self.failures.late(name, self.deadline))
        except Exception as error:
            self.device.refuse(request.unique, self.failures.answer(name, error))
        finally:
            worker.unlimit()

    functools.update_wrapper(answer, operation)
    return answer


def to_the_end(
    operation: Callable[[S, Request], Coroutine[Any, Any, Buffer]],
) -> Callable[[S, Request], Coroutine[Any, Any, None]]:
    """Wraps a handler whose work awaits and must not be cut off, because nobody waits for it and it may not be lost."""
    name = operation.__name__

    async def answer(self: S, request: Request) -> None:
        try:
            self.device.answer(request.unique, await operation(self, request))
        except Exception as error:
            self.device.refuse(request.unique, self.failures.answer(name, error))

    functools.update_wrapper(answer, operation)
    return answer
