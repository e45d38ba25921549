"""What control needs from a running share: the protocols that the engine's share fulfils.

All methods run in the trio loop of the share. The plain ones answer at once from what is known; those that may wait are
async. Each may raise a SyncfsError, whose sentence reaches the person who asked. Values are those of model.reports.
A share without some method of `HistoryService` does not serve the command that needs it (control.commands.available).
"""

from datetime import datetime
from typing import Protocol

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


class ShareService(Protocol):
    """A share that runs, mounted or not."""

    def status(self) -> ShareStatus:
        """The share at a glance."""
        ...

    def peers(self) -> list[PeerReport]:
        """All peers that the share knows, connected ones first."""
        ...

    def transfers(self) -> TransferReport:
        """What moves at this moment."""
        ...

    def settings(self) -> dict[str, str]:
        """The settings of this share on this computer: every key of control.settings that has a value."""
        ...

    async def configure(self, key: str, value: str) -> bool:
        """Keep a setting that control.settings has checked; true where it works at once, false after a restart."""
        ...

    async def check(self, repair: bool) -> CheckReport:
        """Verify the invariants of index and store, and mend what can be mended where `repair` is set."""
        ...

    async def flush(self) -> None:
        """Return when everything written so far is durable here and has been offered to the connected peers."""
        ...

    def stop(self) -> None:
        """Begin to end the share: no new work, flush, unmount, close. Returns at once; the process ends when done."""
        ...


class HistoryService(Protocol):
    """What a share with a history can do besides."""

    async def versions(self, path: bytes) -> list[VersionReport]:
        """The versions of a file, newest first, deleted files included. UsageError where there never was one."""
        ...

    async def restore(self, path: bytes, version: str | None, time: datetime | None, to: bytes | None) -> RestoreReport:
        """Make an old version the current one, as a new version.

        Takes a version's id, or a time, or neither for the version before the current one (the last one of a deleted
        file). Puts it at `to` where that is given; nothing that exists there is lost, it becomes an older version.
        """
        ...

    async def log(self, path: bytes, limit: int) -> list[LogEntry]:
        """The last `limit` things that happened at or below a path, newest first."""
        ...

    async def undo(self, device: str, since: datetime) -> UndoReport:
        """Put back everything that a device (a name, or the begin of an id) did since a time."""
        ...

    async def accept(self, device: str | None) -> AcceptReport:
        """Let through what the brake holds of a device (a name, or the begin of an id), or of all."""
        ...

    def conflicts(self) -> list[ConflictReport]:
        """The files that have several heads now."""
        ...

    async def collect(self) -> CollectReport:
        """Drop the versions that retention no longer keeps and the chunks that nothing needs."""
        ...
