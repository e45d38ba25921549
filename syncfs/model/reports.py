"""What a share tells about itself: the values behind `status`, `peers`, `transfers`, `versions` and their like.

The engine fills them, control passes them on, the command line and later the web page show them. Their JSON is a
promise (docs/guide/commands.md): fields are added, never renamed. Times are datetimes in UTC, sizes and rates are in
bytes and bytes per second, paths are relative to the root of the share, as `shown_path` writes them.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MICROSECOND = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_MICROSECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)

RoleName = Literal["writer", "reader", "store"]
State = Literal["running", "waiting", "degraded", "silent", "stopped"]
"""running: all is well; waiting: no peer has told us the tree yet; degraded: it works, but `reasons` say what does
not; silent: its process is there but does not answer; stopped: nobody serves the share in this home."""


def moment(nanoseconds: int) -> datetime:
    """A time in ns since 1970 as a datetime in UTC; times beyond the years 1 to 9999 become the nearest one."""
    microseconds = min(max(nanoseconds // 1000, _FIRST_MICROSECOND), _LAST_MICROSECOND)
    return _EPOCH + timedelta(microseconds=microseconds)


def shown_path(path: bytes) -> str:
    r"""A path for people and JSON: UTF-8, with bytes that are none and control characters written as `\xNN`."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode().decode("latin-1").encode("unicode_escape").decode()
        for char in text
    )


class Rates(Struct, frozen=True):
    """What moves now, in bytes per second: from peers (`down`) and to peers (`up`)."""

    down: int = 0
    up: int = 0


class HeldReport(Struct, frozen=True):
    """Changes of a device that wait, since it deleted or changed `changed` of `files` files at once."""

    device: str
    name: str
    since: datetime
    """When that began, by the clock of that device: `undo --since` this time puts all of it back."""
    changed: int
    files: int
    records: int
    """All that waits, counted as `peers` exchange it."""


class ShareStatus(Struct, frozen=True):
    """One share at a glance. Figures that only a running share knows are None where it is stopped."""

    share: str
    name: str
    role: RoleName
    state: State
    reasons: list[str] = []
    mountpoint: str | None = None
    pid: int | None = None
    since: datetime | None = None
    listen: str | None = None
    peers: int = 0
    """Peers that are connected now."""
    files: int | None = None
    bytes: int | None = None
    """What all files together contain."""
    cached_bytes: int | None = None
    """What the chunks that are here take on the disk."""
    pending_bytes: int | None = None
    """What was written here and is not yet held by any other peer."""
    in_sync: bool | None = None
    """We have everything that connected peers announced, and they have everything of ours."""
    rates: Rates = Rates()
    held: list[HeldReport] = []
    """Devices that changed too much at once, and whose changes wait for `accept` or `undo`."""


class PeerReport(Struct, frozen=True):
    """One peer of a share, connected or known from before."""

    device: str
    name: str
    role: RoleName
    connected: bool
    path: Literal["lan", "direct", "relay"] | None = None
    address: str | None = None
    seen: datetime | None = None
    """When it was last connected; None where it never was."""
    in_sync: bool | None = None
    rates: Rates = Rates()
    latency: float | None = None
    """Seconds of a round trip."""


class Transfer(Struct, frozen=True):
    """Something that moves now. `path` is None where only chunks are known, as in a store."""

    direction: Literal["down", "up"]
    what: Literal["read", "prefetch", "copy", "records", "serve"]
    path: str | None
    peer: str | None
    done: int
    total: int | None = None
    rate: int = 0


class TransferReport(Struct, frozen=True):
    """What moves now in one share."""

    share: str
    name: str
    time: datetime
    rates: Rates
    transfers: list[Transfer]
    held: list[HeldReport] = []


class Problem(Struct, frozen=True):
    """Something that `check` found: what is wrong with what, in a sentence, and whether it was repaired."""

    kind: str
    subject: str
    message: str
    repaired: bool = False


class CheckReport(Struct, frozen=True):
    """What `check` looked at and found; a share is clean when no problem is left unrepaired."""

    share: str
    name: str
    nodes: int
    versions: int
    chunks: int
    bytes: int
    problems: list[Problem]
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Nothing wrong is left."""
        return all(problem.repaired for problem in self.problems)


class VersionReport(Struct, frozen=True):
    """One version of a file; `id` is what `restore PATH@ID` takes."""

    id: str
    time: datetime
    size: int
    device: str
    current: bool = False
    here: bool | None = None
    """All of its chunks are on this computer."""


class RestoreReport(Struct, frozen=True):
    """What `restore` put back, and where."""

    path: str
    version: str | None
    time: datetime
    size: int
    entries: int = 1


class LogEntry(Struct, frozen=True):
    """One thing that happened below a path: who did what when."""

    time: datetime
    device: str
    action: Literal["create", "write", "rename", "delete", "restore", "attributes", "link", "setting"]
    path: str
    former_path: str | None = None
    size: int | None = None
    version: str | None = None
    setting: str | None = None
    """Where `action` is `setting`: its name; `accept`, `undo` and `restore` are what a person did to the share."""
    value: str | None = None


class ConflictReport(Struct, frozen=True):
    """A file that two devices changed at once: the name that shows one head, and the name that shows the other."""

    path: str
    conflict_path: str
    device: str
    time: datetime
    size: int


class UndoReport(Struct, frozen=True):
    """What `undo` put back, and how much it left because others have changed it since."""

    device: str
    since: datetime
    changed: int
    kept: int = 0


class AcceptReport(Struct, frozen=True):
    """What `accept` let through: the devices, by name, and how many records of theirs."""

    devices: list[str]
    records: int


class CollectReport(Struct, frozen=True):
    """What `gc` gave back."""

    chunks: int
    bytes: int
    versions: int = 0
