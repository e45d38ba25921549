"""The calling end of the control socket, blocking, for commands that come and go.

It loads no event loop, so that a command which only asks a question is quick.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from syncfs.control.commands import CONFIG, Command, ConfigArguments
from syncfs.control.protocol import MAX_ANSWER, Answer, Request, error_of
from syncfs.model.errors import SilentError, UnavailableError
from syncfs.transport.local import LocalConnection, connect_local

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""How long a share may take to answer by default; commands that take their time say so."""
LIFE_SECONDS = 15.0
"""A share that works, however hard, answers a question to which it knows the answer within this time."""

A = TypeVar("A", bound=Struct)
R = TypeVar("R")


class Client:
    """A connection to one running share."""

    def __init__(self, connection: LocalConnection, call_again: Callable[[], AbstractContextManager["Client"]]) -> None:
        """`call_again` makes one more connection to the same share."""
        self._connection = connection
        self._call_again = call_again

    def call(self, command: Command[A, R], arguments: A, timeout: float | None = ANSWER_SECONDS) -> R:
        """Ask and return the answer. Raises the SyncfsError that the share answered, UnavailableError, SilentError.

        Without a timeout it may take any time, as long as the share answers other questions meanwhile. One that does
        not is not even asked, so that it does not do later what its caller was told to have failed.
        """
        if timeout is None:
            self._require_life()
        self._ask(command, arguments, timeout or ANSWER_SECONDS)
        while True:
            answer = self._next_patiently() if timeout is None else self._next()
            if not answer.part:
                result: R = msgspec.json.decode(answer.ok, type=command.result)
                return result

    def stream(self, command: Command[A, R], arguments: A, timeout: float) -> Iterator[R]:
        """Ask and yield each part of the answer as it comes, until the share ends it. Raises as `call`.

        `timeout` is for each part.
        """
        self._ask(command, arguments, timeout)
        while part := self._next().part:
            yield msgspec.json.decode(part, type=command.part)

    def _require_life(self) -> None:
        self.call(CONFIG, ConfigArguments(), LIFE_SECONDS)

    def _next_patiently(self) -> Answer:
        while True:
            try:
                return self._next()
            except SilentError:
                with self._call_again() as other:
                    other._require_life()

    def _ask(self, command: Command[A, R], arguments: A, timeout: float) -> None:
        self._connection.set_timeout(timeout)
        request = Request(command.name, Raw(msgspec.json.encode(arguments)))
        self._connection.send_line(msgspec.json.encode(request))

    def _next(self) -> Answer:
        line = self._connection.receive_line()
        if line is None:
            raise UnavailableError("the share ended before it had answered: see its log")
        try:
            answer = msgspec.json.decode(line, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UnavailableError("the running share answers in a way that this syncfs does not know") from error
        if answer.error is not None:
            raise error_of(answer.error)
        return answer


@contextmanager
def connect(path: Path, name: str) -> Iterator[Client]:
    """Call the share `name` at its socket, and hang up at the end of the block. Raises UnavailableError."""
    connection = connect_local(path, CONNECT_SECONDS, MAX_ANSWER)
    if connection is None:
        raise UnavailableError(
            f"'{name}' is not running: start it with 'syncfs mount {name} DIR' or 'syncfs serve {name}'"
        )
    with connection:
        yield Client(connection, partial(connect, path, name))
