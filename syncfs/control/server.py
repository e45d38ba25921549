"""The control socket of a running share: one task per caller, and no caller can hurt the share or another caller.

A caller that sends what is no request gets an error and is hung up on; so is one that does not read its answers, or
sits idle for long; there is a limit to how many there can be at once. An error of a handler ends that answer, never the
task, and an error that nobody foresaw goes to the log with its traceback.
"""

import logging
import math
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import trio
from msgspec import Struct

from syncfs.control.commands import Call, Command, available
from syncfs.control.protocol import (
    INTERNAL,
    MAX_REQUEST,
    Failure,
    Request,
    encode_error,
    encode_ok,
    encode_part,
    failure_of,
)
from syncfs.model.errors import SyncfsError, UsageError
from syncfs.transport.local_listener import listen_local

MAX_CALLERS = 64
IDLE_SECONDS = 60.0
SEND_SECONDS = 10.0
READ_BYTES = 16 * 1024

log = logging.getLogger(__name__)


async def serve_control(
    path: Path, service: object, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer callers at `path` until cancelled; started once callers can connect. Raises BusyError, SetupError."""
    commands = available(service)
    slots = trio.CapacityLimiter(MAX_CALLERS)

    async def answer_caller(stream: trio.abc.HalfCloseableStream) -> None:
        async with stream:
            try:
                slots.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                await _send(stream, encode_error(Failure("BusyError", "too many callers at once: try again shortly")))
                return
            try:
                await _Caller(stream, service, commands).converse()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                log.debug("a caller on the control socket went away in the middle of an answer")
            except Exception:
                log.exception("a caller on the control socket could not be served")
            finally:
                slots.release_on_behalf_of(stream)

    with listen_local(path) as listener:
        task_status.started()
        await trio.serve_listeners(answer_caller, [listener])


class _Caller:
    """One connection: requests one after the other."""

    def __init__(self, stream: trio.abc.Stream, service: object, commands: Mapping[str, Command[Any, Any]]) -> None:
        self._stream = stream
        self._service = service
        self._commands = commands
        self._buffer = bytearray()

    async def converse(self) -> None:
        while (line := await self._receive_line()) is not None:
            try:
                request = msgspec.json.decode(line, type=Request)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                await _send(self._stream, encode_error(Failure("UsageError", f"this is no request: {error}")))
                return
            await _send(self._stream, await self._answer(request))

    async def _answer(self, request: Request) -> bytes:
        try:
            return encode_ok(await self._run(request))
        except SyncfsError as error:
            return encode_error(failure_of(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise
        except Exception:
            log.exception("command %r failed in a way that nobody foresaw", request.command)
            return encode_error(Failure(INTERNAL, f"'{request.command}' failed: its log has the details"))

    def _run(self, request: Request) -> Awaitable[object]:
        command = self._commands.get(request.command)
        if command is None:
            raise UsageError(
                f"the running share knows no command '{request.command[:40]}': "
                "if it was started by an older syncfs, start it again"
            )
        try:
            arguments = msgspec.json.decode(request.arguments, type=command.arguments)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(f"'{command.name}' cannot be called like this: {error}") from error
        return command.handler(Call(self._service, arguments, self._send_part, trio.sleep))

    async def _send_part(self, part: Struct) -> None:
        await _send(self._stream, encode_part(part))

    async def _receive_line(self) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_REQUEST:
                await _send(self._stream, encode_error(Failure("UsageError", "this request is too long")))
                return None
            data = b""
            with trio.move_on_after(IDLE_SECONDS if not self._buffer else SEND_SECONDS):
                data = bytes(await self._stream.receive_some(READ_BYTES))
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


async def _send(stream: trio.abc.Stream, line: bytes) -> None:
    """Send a line to a caller who has to read it. Raises trio.TooSlowError, trio.BrokenResourceError."""
    megabytes = math.ceil(len(line) / 2**20)
    with trio.fail_after(SEND_SECONDS * megabytes):
        await stream.send_all(line + b"\n")
