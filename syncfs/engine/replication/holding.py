"""What the brake holds: changes of a peer that wait until somebody accepts or undoes them.

The segments of a device whose changes are held are kept as those of any other and served to whoever asks, but they are
not applied, so they are told to nobody as ours and take part in nothing. What is held, and what each device changed
lately, is in the index, in the same transaction as the segments: a restart forgets none of it.

Somebody's decision is a setting of the share, so that it holds on all computers: up to which record the changes of a
device are accepted. A device has no say about itself. Undoing decides as well, once what was undone is told.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from syncfs.engine.replication.brake import Blow, Limits, Recent, weigh
from syncfs.engine.replication.harm import harms
from syncfs.index.index import Index
from syncfs.model.ids import DeviceId, device_of
from syncfs.model.records import Record, SettingRecord
from syncfs.model.reports import HeldReport, moment
from syncfs.wire.head import SegmentRef, SignedHead, decode_head

ACCEPTED = "accepted "
"""The key of a setting, followed by a device in hex: up to which record its changes are accepted, as a number, and
UNDONE if they were undone."""
UNDONE = " undone"
HELD, RECENT, WAITING, LET_THROUGH = "held ", "recent ", "waiting ", "let through "
"""The marks in the index, each followed by a device in hex."""
ARMED = "brake_armed"
"""The number in the index that is 1 once this computer has had the tree: there is nothing to protect before."""
RECOUNT = 20
"""Files are counted again once a twentieth of them has changed."""

_log = logging.getLogger(__name__)


class _Held(msgspec.Struct, array_like=True):
    since: int
    changed: int
    files: int


@dataclass(slots=True)
class _Watched:
    """What is known of a device in memory alone: files counted since the start, and how many there were."""

    counted: set[int] = field(default_factory=set)
    files: int = 0
    at: int = -1


class Holding:
    """Decides for one share what is applied now; plain functions in the loop."""

    def __init__(self, index: Index, limits: Limits | None, own: DeviceId) -> None:
        self._index = index
        self.limits = limits
        self._own = own
        self._watched: dict[DeviceId, _Watched] = {}

    @property
    def held(self) -> list[DeviceId]:
        """The devices whose changes wait."""
        return [DeviceId(bytes.fromhex(key.removeprefix(HELD))) for key, _ in self._index.feeds.texts(HELD)]

    def holds(self, device: DeviceId) -> bool:
        """Whether the changes of a device wait."""
        return bool(self._index.feeds.text(_mark(HELD, device)))

    def reports(self) -> list[HeldReport]:
        """What waits, for people."""
        names = self._index.feeds.device_names()
        found = []
        for device in self.held:
            held = msgspec.msgpack.decode(self._index.feeds.text(_mark(HELD, device)), type=_Held)
            _, _, applied = self._index.feeds.head(device) or (b"", 0, 0)
            found.append(
                HeldReport(
                    device.hex(), names.get(device) or device.hex()[:8], moment(held.since), held.changed, held.files,
                    max(self.waiting_sequence(device) - applied, 0),
                )
            )  # fmt: skip
        return found

    def arm(self) -> None:
        """The tree is here now: what changes too much from now on is held."""
        if not self._index.feeds.number(ARMED) and any(self._index.feeds.applied().values()):
            self._index.feeds.set_number(ARMED, 1)

    def takes(self, device: DeviceId, ref: SegmentRef, records: Sequence[Record]) -> bool:
        """Whether the records of a segment may be applied now; false where they, and all that follow, have to wait."""
        if self.limits is None and not self.holds(device):
            return True
        if device == self._own or ref.last <= self.accepted(device) or not self._index.feeds.number(ARMED):
            return True
        if self.holds(device):
            self._count_more(device, records)
            return False
        assert self.limits is not None
        watched = self._watched.setdefault(device, _Watched())
        found = harms(self._index, records, device, self.limits.within, set())
        if not found:
            return True
        recent = self._recent(device)
        before = sum(changed for changed, _ in recent.minutes.values())
        blow = weigh(recent, found, self.limits, lambda changed: self._files(watched, changed))
        if blow is None:
            self._index.feeds.set_text(_mark(RECENT, device), msgspec.msgpack.encode(recent))
            return True
        self._hold(device, blow)
        watched.counted.clear()
        self._count_more(device, records, before)
        return False

    def accepted(self, device: DeviceId) -> int:
        """Up to which record somebody has accepted the changes of a device."""
        decided = self._index.feeds.number(_mark(LET_THROUGH, device))
        told = self._index.setting_record(_mark(ACCEPTED, device))
        number = "" if told is None else told[0].partition(" ")[0]
        if told is not None and device_of(told[1]) != device and number.isascii() and number.isdigit():
            decided = max(decided, int(number))
        return decided

    def waiting_head(self, device: DeviceId) -> SignedHead | None:
        """The newest head of a device whose changes wait."""
        encoded = self._index.feeds.text(_mark(WAITING, device))
        return decode_head(encoded) if encoded else None

    def waiting_sequence(self, device: DeviceId) -> int:
        """The number of the last record that waits; 0 if none does."""
        head = self.waiting_head(device) if self.holds(device) else None
        return 0 if head is None else head.sequence

    def keep(self, head: SignedHead) -> None:
        """A head came whose records wait."""
        self._index.feeds.set_text(_mark(WAITING, head.device), head.encoded)

    def accept(self, device: DeviceId) -> int:
        """Accept, on this computer, what is known of a device until now; returns the number of its last record."""
        _, sequence, _ = self._index.feeds.head(device) or (b"", 0, 0)
        sequence = max(sequence, self.waiting_sequence(device))
        self._index.feeds.set_number(_mark(LET_THROUGH, device), sequence)
        return sequence

    def forget(self, device: DeviceId) -> SignedHead | None:
        """Nothing of a device waits any more, and what it did until now is of no account; returns what had waited."""
        head = self.waiting_head(device)
        for kind in (HELD, RECENT, WAITING):
            self._index.feeds.set_text(_mark(kind, device), b"")
        self._watched.pop(device, None)
        return head

    def is_decision(self, record: Record) -> bool:
        """Whether a record may end some waiting."""
        return isinstance(record, SettingRecord) and record.key.startswith(ACCEPTED)

    def _hold(self, device: DeviceId, blow: Blow) -> None:
        held = _Held(blow.since, 0, blow.files)
        self._index.feeds.set_text(_mark(HELD, device), msgspec.msgpack.encode(held))
        name = self._index.feeds.device_names().get(device) or device.hex()[:8]
        _log.warning(
            "%s deleted or changed %d of %d files within a short time: what it does waits for 'syncfs accept' or "
            "'syncfs undo'", name, blow.changed, blow.files,
        )  # fmt: skip

    def _count_more(self, device: DeviceId, records: Sequence[Record], already: int = 0) -> None:
        watched = self._watched.setdefault(device, _Watched())
        within = self.limits.within if self.limits is not None else 0
        more = already + len(harms(self._index, records, device, within, watched.counted))
        if more:
            held = msgspec.msgpack.decode(self._index.feeds.text(_mark(HELD, device)), type=_Held)
            held.changed += more
            self._index.feeds.set_text(_mark(HELD, device), msgspec.msgpack.encode(held))

    def _recent(self, device: DeviceId) -> Recent:
        kept = self._index.feeds.text(_mark(RECENT, device))
        return msgspec.msgpack.decode(kept, type=Recent) if kept else Recent()

    def _files(self, watched: _Watched, changed: int) -> int:
        if watched.at < 0 or abs(changed - watched.at) * RECOUNT > watched.files:
            watched.files, watched.at = self._index.count_files(), changed
        return watched.files


def accepting(device: DeviceId) -> str:
    """The key of the setting that tells up to which record the changes of a device are accepted."""
    return _mark(ACCEPTED, device)


def held_mark(device: DeviceId) -> str:
    """The key of the text in an index that is there while the changes of a device wait."""
    return _mark(HELD, device)


def _mark(kind: str, device: DeviceId) -> str:
    return f"{kind}{device.hex()}"
