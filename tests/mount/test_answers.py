"""Errors become errnos, and log lines where a person may want to know."""

import errno
import inspect
import logging

import pytest
import trio

from syncfs.model import errors
from syncfs.model.errors import DamageError, PosixError, SetupError, SyncfsError, UnavailableError
from syncfs.mount.answers import REPEAT_S, Failures
from syncfs.mount.errnos import ERRNOS, errno_of, is_expected
from syncfs.mount.handlers import HANDLERS, Handlers


def test_every_error_has_an_errno_and_the_table_is_in_order() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SyncfsError)]
    for kind in kinds:
        error: Exception = PosixError(errno.EISDIR) if kind is PosixError else kind("a sentence")
        assert errno_of(error) > 0
        assert is_expected(error)
    for place, (earlier, _) in enumerate(ERRNOS):
        assert not any(issubclass(later, earlier) for later, _ in ERRNOS[place + 1 :])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PosixError(errno.ENOTEMPTY), errno.ENOTEMPTY),
        (UnavailableError("x"), errno.EIO),
        (DamageError("x"), errno.EIO),
        (SetupError("x"), errno.EIO),
        (SetupError("x", errno.ENOSPC), errno.ENOSPC),
        (SetupError("x", errno.ENOENT), errno.EIO),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError(errno.EBADF, "odd"), errno.EIO),
        (trio.TooSlowError(), errno.ETIMEDOUT),
        (KeyError("x"), errno.EIO),
        (ExceptionGroup("several", [ExceptionGroup("", [PosixError(errno.EPERM)]), ValueError()]), errno.EPERM),
    ],
)
def test_errnos(error: Exception, code: int) -> None:
    assert errno_of(error) == code
    assert Failures().answer("read", error) == code


def test_lines_are_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    caplog.set_level(logging.INFO)
    for _ in range(100):
        failures.answer("read", UnavailableError("no peer has it"))
        failures.answer("lookup", PosixError(errno.ENOENT))
        failures.late("write", 30)
    assert [record.message for record in caplog.records] == [
        "read failed with EIO: no peer has it",
        "write got no answer within 30 s and failed with ETIMEDOUT",
    ]
    now[0] = REPEAT_S
    failures.answer("read", UnavailableError("no peer has it"))
    failures.answer("read", ZeroDivisionError("oh"))
    assert len(caplog.records) == 4
    assert caplog.records[-1].exc_info


def test_every_handler_is_wrapped() -> None:
    for name in HANDLERS.values():
        assert vars(Handlers)[name].__code__.co_name == "answer", name
