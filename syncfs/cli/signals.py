"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that what it has begun is taken back or closed in order.

A process that serves a share deals with signals itself (cli.serving).
"""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from syncfs.cli.exits import Ended
from syncfs.cli.failures import understood
from syncfs.model.errors import SyncfsError

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Whether a signal has told this command to end, and which one."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._cancel: Callable[[], None] | None = None

    def meant(self, error: BaseException) -> BaseException:
        """What an error that ended the command is to be told as."""
        if self._number in (None, signal.SIGINT) or isinstance(understood(error), SyncfsError):
            return error
        return Ended(self._number)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; one more must not interrupt the taking back, and timeout(1) sends two."""
        if self._number is not None:
            return
        self._number = number
        if self._cancel is not None:
            self._cancel()
            return
        # An event loop has its own way to be interrupted, unless SIGINT is ignored as in the background of a script.
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    async def interruptible(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work in the loop; a signal cancels it, and then raises KeyboardInterrupt here.

        Ctrl-C as well, which could otherwise hit a task that is needed to close what the work is done with.
        """
        import trio

        with trio.CancelScope() as scope:
            token = trio.lowlevel.current_trio_token()
            self._cancel = lambda: token.run_sync_soon(scope.cancel)
            interrupt = signal.getsignal(signal.SIGINT)
            if callable(interrupt):
                signal.signal(signal.SIGINT, self.receive)
            try:
                await work()
            finally:
                signal.signal(signal.SIGINT, interrupt)
                self._cancel = None
        if self._number is not None:
            raise KeyboardInterrupt


@contextmanager
def ending_in_order() -> Iterator[Ending]:
    """Let the signals interrupt the block, but those that our caller has us ignore, as nohup(1) does."""
    ending = Ending()
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number in _ENDING:
        if before[number] == signal.SIG_DFL:
            signal.signal(number, ending.receive)
    try:
        yield ending
    finally:
        for number in _ENDING:
            signal.signal(number, before[number])


def end_at_once() -> None:
    """Let the signals do again what they do by default, for who has a way of its own."""
    for number in _ENDING:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
