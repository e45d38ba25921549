"""The JSON lines of the control socket: what a request and an answer look like, and how errors cross.

Limits: a request line has at most MAX_REQUEST bytes, an answer line at most MAX_ANSWER.
"""

import msgspec
from msgspec import Raw, Struct

from syncfs.model import errors
from syncfs.model.errors import PosixError, SyncfsError

MAX_REQUEST = 256 * 1024
MAX_ANSWER = 64 * 1024 * 1024
INTERNAL = "InternalError"
"""The type of an error that nobody meant to raise."""


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """One request of a caller."""

    command: str
    arguments: Raw = Raw(b"{}")


class Failure(Struct, frozen=True):
    """An error on its way to the caller: the name of its class and its sentence."""

    type: str
    message: str


class Answer(Struct, frozen=True):
    """One line of an answer: exactly one of the three is set, and what is not set is empty."""

    ok: Raw = Raw(b"")
    part: Raw = Raw(b"")
    error: Failure | None = None


def failure_of(error: SyncfsError) -> Failure:
    """How an error is told to a caller. An errno means nothing to people, so PosixError goes as a usage error."""
    kind = errors.UsageError if isinstance(error, PosixError) else type(error)
    return Failure(kind.__name__, str(error))


def error_of(failure: Failure) -> SyncfsError:
    """The error that a failure tells of, of the same class where we know it."""
    kind = getattr(errors, failure.type, None)
    if isinstance(kind, type) and issubclass(kind, SyncfsError) and kind is not PosixError:
        return kind(failure.message)
    return SyncfsError(failure.message)


def encode_ok(value: object) -> bytes:
    """The last line of an answer that went well."""
    return b'{"ok":' + msgspec.json.encode(value) + b"}"


def encode_part(value: object) -> bytes:
    """A line on the way to the last one."""
    return b'{"part":' + msgspec.json.encode(value) + b"}"


def encode_error(failure: Failure) -> bytes:
    """The last line of an answer that failed."""
    return b'{"error":' + msgspec.json.encode(failure) + b"}"
