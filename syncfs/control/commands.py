"""The command list: each command's name, typed arguments, result and handler. There is no second way in.

A request is one JSON line `{"command": NAME, "arguments": {…}}`, answered by any number of `{"part": …}` lines and then
one `{"ok": …}` or `{"error": {"type": …, "message": …}}` line (docs/formats/control.md). Paths in arguments are bytes
(base64 in JSON) relative to the root of the share, since file names need not be UTF-8.

Handlers hold no state and no policy: they unpack arguments and call the service. Time comes in through the call.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from msgspec import Struct

from syncfs.control.service import HistoryService, ShareService
from syncfs.control.settings import check_setting, find_setting
from syncfs.model.errors import UsageError
from syncfs.model.reports import (
    AcceptReport,
    CheckReport,
    CollectReport,
    ConflictReport,
    LogEntry,
    PeerReport,
    RestoreReport,
    ShareStatus,
    TransferReport,
    UndoReport,
    VersionReport,
)

MIN_INTERVAL = 0.1
"""Seconds between two parts of a watch, at least, so that a watcher cannot load the share."""
LOOK_SECONDS = 0.5
"""The rates that one answer tells are those of so long a look."""
MAX_LOG = 100_000

A = TypeVar("A", bound=Struct)
R = TypeVar("R")
S = TypeVar("S")


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments, or no result."""


class TransfersArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """`watch` sends a report as a part every `interval` seconds until the caller goes away."""

    watch: bool = False
    interval: float = 1.0


class ConfigArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Without a key all settings, with a key that one, with a value sets it (an empty value takes it away)."""

    key: str | None = None
    value: str | None = None


class ConfigResult(Struct, frozen=True):
    """The settings asked for; `applied` is false where a change waits for the share to be started again."""

    settings: dict[str, str]
    applied: bool = True


class CheckArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to mend what can be mended."""

    repair: bool = False


class PathArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """A path relative to the root of the share; empty is the root."""

    path: bytes


class LogArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """A path and how many entries to tell at most."""

    path: bytes
    limit: int = 100


class RestoreArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """See HistoryService.restore."""

    path: bytes
    version: str | None = None
    time: datetime | None = None
    to: bytes | None = None


class UndoArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose changes to put back, and since when."""

    device: str
    since: datetime


class AcceptArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose changes to let through; None for all."""

    device: str | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[S, A]):
    """One call as a handler sees it: whom to ask, for what, how to send parts and how to pause."""

    service: S
    arguments: A
    send_part: Callable[[Struct], Awaitable[None]]
    pause: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command(Generic[A, R]):
    """A command: `part` is the type of its parts, `needs` the method without which a service cannot answer it."""

    name: str
    arguments: type[A]
    result: Any
    handler: Callable[[Call[Any, A]], Awaitable[R]]
    part: Any = None
    needs: str = ""


async def _status(call: Call[ShareService, Nothing]) -> ShareStatus:
    return call.service.status()


async def _peers(call: Call[ShareService, Nothing]) -> list[PeerReport]:
    return call.service.peers()


async def _transfers(call: Call[ShareService, TransfersArguments]) -> TransferReport:
    while call.arguments.watch:
        await call.send_part(call.service.transfers())
        await call.pause(max(call.arguments.interval, MIN_INTERVAL))
    call.service.transfers()
    await call.pause(LOOK_SECONDS)
    return call.service.transfers()


async def _config(call: Call[ShareService, ConfigArguments]) -> ConfigResult:
    key, value = call.arguments.key, call.arguments.value
    if key is None:
        return ConfigResult(call.service.settings())
    find_setting(key)
    applied = True
    if value is not None:
        applied = await call.service.configure(key, check_setting(key, value))
    known = call.service.settings()
    return ConfigResult({key: known.get(key, "")}, applied)


async def _check(call: Call[ShareService, CheckArguments]) -> CheckReport:
    return await call.service.check(call.arguments.repair)


async def _flush(call: Call[ShareService, Nothing]) -> Nothing:
    await call.service.flush()
    return Nothing()


async def _stop(call: Call[ShareService, Nothing]) -> Nothing:
    call.service.stop()
    return Nothing()


async def _versions(call: Call[HistoryService, PathArguments]) -> list[VersionReport]:
    return await call.service.versions(call.arguments.path)


async def _restore(call: Call[HistoryService, RestoreArguments]) -> RestoreReport:
    arguments = call.arguments
    if arguments.version is not None and arguments.time is not None:
        raise UsageError("name a version or a time to restore, not both")
    return await call.service.restore(arguments.path, arguments.version, arguments.time, arguments.to)


async def _log(call: Call[HistoryService, LogArguments]) -> list[LogEntry]:
    return await call.service.log(call.arguments.path, min(max(call.arguments.limit, 1), MAX_LOG))


async def _undo(call: Call[HistoryService, UndoArguments]) -> UndoReport:
    return await call.service.undo(call.arguments.device, call.arguments.since)


async def _accept(call: Call[HistoryService, AcceptArguments]) -> AcceptReport:
    return await call.service.accept(call.arguments.device)


async def _conflicts(call: Call[HistoryService, Nothing]) -> list[ConflictReport]:
    return call.service.conflicts()


async def _collect(call: Call[HistoryService, Nothing]) -> CollectReport:
    return await call.service.collect()


STATUS = Command("status", Nothing, ShareStatus, _status)
PEERS = Command("peers", Nothing, list[PeerReport], _peers)
TRANSFERS = Command("transfers", TransfersArguments, TransferReport, _transfers, part=TransferReport)
CONFIG = Command("config", ConfigArguments, ConfigResult, _config)
CHECK = Command("check", CheckArguments, CheckReport, _check)
FLUSH = Command("flush", Nothing, Nothing, _flush)
STOP = Command("stop", Nothing, Nothing, _stop)
VERSIONS = Command("versions", PathArguments, list[VersionReport], _versions, needs="versions")
RESTORE = Command("restore", RestoreArguments, RestoreReport, _restore, needs="restore")
LOG = Command("log", LogArguments, list[LogEntry], _log, needs="log")
UNDO = Command("undo", UndoArguments, UndoReport, _undo, needs="undo")
ACCEPT = Command("accept", AcceptArguments, AcceptReport, _accept, needs="accept")
CONFLICTS = Command("conflicts", Nothing, list[ConflictReport], _conflicts, needs="conflicts")
COLLECT = Command("gc", Nothing, CollectReport, _collect, needs="collect")

COMMANDS: tuple[Command[Any, Any], ...] = (
    STATUS,
    PEERS,
    TRANSFERS,
    CONFIG,
    CHECK,
    FLUSH,
    STOP,
    VERSIONS,
    RESTORE,
    LOG,
    UNDO,
    ACCEPT,
    CONFLICTS,
    COLLECT,
)


def available(service: object) -> Mapping[str, Command[Any, Any]]:
    """The commands that this service can answer, by name."""
    answered = (command for command in COMMANDS if not command.needs or hasattr(service, command.needs))
    return MappingProxyType({command.name: command for command in answered})
