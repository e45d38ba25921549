"""The one wrapper around every request from the kernel: an answer in time, whatever happens below.

pyfuse3 takes FUSEError from a handler and nothing else; any other exception ends the mount for everybody. So every
handler is wrapped by `at_once` (its work is a plain function and has no deadline) or `in_time` (its work awaits:
after the deadline the program gets ETIMEDOUT). Errors become an errno by `errnos`; those that a person may want to
know of become a log line: what is unavailable in one sentence, what is unexpected with its traceback.
"""

import errno
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyfuse3
import trio

from syncfs.model.errors import PosixError
from syncfs.mount.errnos import errno_of, is_expected
from syncfs.mount.loop import RequestLoop

REPEAT_S = 10.0
"""The same line is logged once in this many seconds."""
MAX_LINES = 200

log = logging.getLogger(__name__)


class Failures:
    """Turns errors into answers and says once what happened."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def answer(self, operation: str, error: Exception) -> pyfuse3.FUSEError:
        """The answer to a request that failed with `error`."""
        if isinstance(error, pyfuse3.FUSEError):
            return error
        code = errno_of(error)
        if not isinstance(error, PosixError) and self._is_news(operation, str(error)):
            name = errno.errorcode.get(code, str(code))
            if is_expected(error):
                log.warning("%s failed with %s: %s", operation, name, error)
            else:
                log.error("%s failed with %s by a fault in syncfs", operation, name, exc_info=error)
        return pyfuse3.FUSEError(code)

    def late(self, operation: str, deadline: float) -> pyfuse3.FUSEError:
        """The answer to a request whose deadline came."""
        if self._is_news(operation, "late"):
            log.warning("%s got no answer within %g s and failed with ETIMEDOUT", operation, deadline)
        return pyfuse3.FUSEError(errno.ETIMEDOUT)

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
    loop: RequestLoop
    deadline: float


S = TypeVar("S", bound=Answering)
P = ParamSpec("P")
T = TypeVar("T")


def at_once(
    operation: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Wraps a handler whose work is a plain function."""
    name = operation.__name__

    async def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(self, *args, **kwargs)
        except Exception as error:
            raise self.failures.answer(name, error) from None

    functools.update_wrapper(answer, operation)
    return answer


def in_time(
    operation: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Wraps a handler whose work awaits, for at most the deadline."""
    name = operation.__name__

    async def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        worker = self.loop.current
        worker.limit(self.deadline)
        try:
            return await operation(self, *args, **kwargs)
        except trio.Cancelled:
            if worker.expired:
                raise self.failures.late(name, self.deadline) from None
            raise
        except Exception as error:
            raise self.failures.answer(name, error) from None
        finally:
            worker.unlimit()

    functools.update_wrapper(answer, operation)
    return answer


def to_the_end(
    operation: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Wraps a handler whose work awaits and must not be cut off, because nobody waits for it and it may not be lost."""
    name = operation.__name__

    async def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await operation(self, *args, **kwargs)
        except Exception as error:
            raise self.failures.answer(name, error) from None

    functools.update_wrapper(answer, operation)
    return answer
