"""Doing things as a case does them: noting an errno instead of raising, as somebody else, in another process."""

import errno
import faulthandler
import os
import pickle
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class User:
    """An identity that a case takes on; the ids are such that nobody real has them."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


ROOT: Final = User(0, 0)
OWNER: Final = User(65101, 65101, (65110,))
MEMBER: Final = User(65102, 65101)
BY_GROUP: Final = User(65103, 65103, (65101,))
STRANGER: Final = User(65104, 65104)


def attempt(function: Callable[..., object], *arguments: object, **keywords: object) -> object:
    """What the function returns, or the name of the errno that it fails with."""
    try:
        return function(*arguments, **keywords)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))


def call_as(user: User, function: Callable[..., object], *arguments: object, umask: int = 0o022) -> object:
    """What `attempt` gives when `user` does it, in a process of its own."""

    def act() -> object:
        os.umask(umask)
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        return attempt(function, *arguments)

    return in_child(act)


def in_child(step: Step) -> object:
    """What a step returns in a process of its own, or `killed by SIGNAL`."""
    with Other(step) as other:
        return other.next()


class Other:
    """Another process that does prepared steps one at a time, each when it is told to.

    It is forked at construction, so the steps may be closures. As a context manager it ends when the block does.
    `pid` is 0 once it ended.
    """

    def __init__(self, *steps: Step) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._commands)
            os.close(self._answers)
            _follow(steps, commands, answers)
        os.close(commands)
        os.close(answers)

    def start(self) -> None:
        """Begin the next step, which may block."""
        os.write(self._commands, b"!")

    def finish(self) -> object:
        """Wait for the step that was started and return what it saw."""
        header = os.read(self._answers, 4)
        if len(header) < 4:
            return f"killed by {signal.Signals(-self._wait()).name}"
        (size,) = struct.unpack("<I", header)
        data = b""
        while len(data) < size:
            data += os.read(self._answers, size - len(data))
        outcome: object = pickle.loads(data)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def next(self) -> object:
        """Do the next step and return what it saw, errno names included."""
        self.start()
        return self.finish()

    def _wait(self) -> int:
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._commands)
        os.close(self._answers)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._wait()


def _follow(steps: tuple[Step, ...], commands: int, answers: int) -> None:
    faulthandler.disable()  # a step may be there to be killed; no stack has to be printed then
    try:
        for step in steps:
            if os.read(commands, 1) != b"!":
                break
            try:
                outcome = attempt(step)
            except Exception as error:
                outcome = error
            data = pickle.dumps(outcome)
            os.write(answers, struct.pack("<I", len(data)) + data)
        else:
            os.read(commands, 1)
    finally:
        os._exit(0)
