"""A share in memory: answers every command honestly from plain values, for tests of what lies above the engine."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from syncfs.model.errors import PosixError, UsageError
from syncfs.model.reports import (
    CheckReport,
    CollectReport,
    ConflictReport,
    LogEntry,
    PeerReport,
    Problem,
    Rates,
    RestoreReport,
    ShareStatus,
    Transfer,
    TransferReport,
    VersionReport,
    shown_path,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class MemoryShare:
    """A share without a history."""

    def __init__(self, share: str = "a" * 26, name: str = "photos") -> None:
        self.share = share
        self.name = name
        self.mountpoint: str | None = None
        self.kept: dict[str, str] = {}
        self.flushed = 0
        self.stopped = False
        self.damaged: list[str] = []
        self.known_peers = [
            PeerReport("d1", "desk", "writer", True, "lan", "192.0.2.7:4000", NOON, True, Rates(10, 20), 0.0012),
            PeerReport("d2", "nas \x1b[31m", "store", False),
        ]

    def status(self) -> ShareStatus:
        connected = sum(peer.connected for peer in self.known_peers)
        return ShareStatus(
            self.share, self.name, "writer", "running", [], self.mountpoint, 4711, NOON, "[::]:4000", connected,
            3, 2_000_000, 1_500, 0, True, Rates(1_000, 2_000),
        )  # fmt: skip

    def peers(self) -> list[PeerReport]:
        return self.known_peers

    def transfers(self) -> TransferReport:
        moving = [Transfer("down", "read", "film.mkv", "desk", 500, 1000, 100)]
        return TransferReport(self.share, self.name, NOON, Rates(100, 0), moving)

    def settings(self) -> dict[str, str]:
        return dict(self.kept)

    async def configure(self, key: str, value: str) -> bool:
        self.kept[key] = value
        return key != "listen"

    async def check(self, repair: bool) -> CheckReport:
        found = [Problem("chunk", subject, f"chunk {subject} is not what it was", repair) for subject in self.damaged]
        if repair:
            self.damaged.clear()
        return CheckReport(self.share, self.name, 5, 3, 7, 2_000_000, found, 0.1)

    async def flush(self) -> None:
        self.flushed += 1

    def stop(self) -> None:
        self.stopped = True


class MemoryHistory(MemoryShare):
    """A share with a history of the file `a.txt` and of one name that is not UTF-8."""

    files: Mapping[bytes, tuple[str, ...]] = MappingProxyType({b"a.txt": ("v1", "v2"), b"\xff": ("v9",)})

    async def versions(self, path: bytes) -> list[VersionReport]:
        if path not in self.files:
            raise UsageError(f"there never was a file '{shown_path(path)}'")
        return [VersionReport(version, NOON, 12, "desk") for version in reversed(self.files[path])]

    async def restore(self, path: bytes, version: str | None, time: datetime | None, to: bytes | None) -> RestoreReport:
        if to == b"dir":
            raise PosixError(21)
        return RestoreReport(shown_path(to or path), version or "v1", time or NOON, 12)

    async def log(self, path: bytes, limit: int) -> list[LogEntry]:
        entries = [LogEntry(NOON, "desk", "write", f"file{number}", size=number) for number in range(200)]
        return entries[:limit]

    def conflicts(self) -> list[ConflictReport]:
        return [ConflictReport("a.txt", "a (conflict desk 2026-05-04).txt", "desk", NOON, 12)]

    async def collect(self) -> CollectReport:
        return CollectReport(4, 4096, 1)
