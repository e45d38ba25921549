"""Feeds that forked: devices that have signed two different histories.

An honest device never does, but two computers that run copies of one home do, and one whose home was put back from a
backup. Records of the second history bear numbers that are taken, so they cannot be merged: what was heard first stays,
what contradicts it is refused, and `status` says so on every peer until the device has left the share. Each head tells
marks by which a contradiction shows (wire/head.py). Where none of them falls on a number that both know, the records of
the segment that overlaps with what was applied have to be among those that were.
"""

from collections.abc import Iterable, Sequence

import msgspec

from syncfs.crypto.keys import ReadKeys
from syncfs.index.feeds import Feeds
from syncfs.model.ids import DeviceId
from syncfs.model.records import THINNED, NodeRecord, Record, VersionRecord, content_digest
from syncfs.wire.head import SegmentRef, SignedHead, contradiction, decode_head
from syncfs.wire.segment import decode_segment

_KEY = "fork "


class Forks:
    """Finds forks and remembers them, also after a restart."""

    def __init__(self, feeds: Feeds, own: DeviceId | None) -> None:
        """`own` is this device where it writes."""
        self._feeds = feeds
        self._own = own
        self._decoded: dict[DeviceId, SignedHead] = {}
        known = feeds.applied()
        self._found = {device for device in known if feeds.text(_KEY + device.hex())}

    @property
    def reasons(self) -> list[str]:
        """One sentence about each device that forked, for `status`."""
        return [self._sentence(device) for device in sorted(self._found)]

    def has(self, device: DeviceId) -> bool:
        """Whether a device has forked."""
        return device in self._found

    def note(self, device: DeviceId) -> str:
        """A device has forked; returns what to say of it."""
        self._found.add(device)
        self._feeds.set_text(_KEY + device.hex(), b"1")
        return self._sentence(device)

    def contradicts(self, head: SignedHead) -> bool:
        """Whether a head tells another history than the one of that device that is held."""
        known = self._feeds.head(head.device)
        return known is not None and contradiction(self._decode(head.device, known[0]), head) is not None

    def marks(self, heads: Iterable[tuple[DeviceId, bytes, int]]) -> dict[bytes, bytes]:
        """The mark at the end of each of these heads (device, encoded head, sequence), where it states one."""
        found: dict[bytes, bytes] = {}
        for device, encoded, sequence in heads:
            segments = self._decode(device, encoded).segments
            if segments and segments[-1].last == sequence and segments[-1].mark:
                found[device] = segments[-1].mark
        return found

    def is_continued(
        self, read: ReadKeys, device: DeviceId, applied: int, ref: SegmentRef, records: Sequence[Record]
    ) -> bool:
        """Whether a segment that overlaps with the `applied` records of a feed holds no others for their numbers."""
        held = self._held(read, device, ref.first, applied)
        last = max(held, default=0)
        return held == {} or all(
            one.lamport in held and _agree(held[one.lamport], one) for one in records if one.lamport <= last
        )

    def is_ours(self, read: ReadKeys, device: DeviceId, ref: SegmentRef, records: Sequence[Record]) -> bool:
        """Whether an older segment of our own feed holds no other record where ours has one; it may have more."""
        held = self._held(read, device, ref.first, ref.last)
        return all(_agree(held.get(one.lamport, one), one) for one in records)

    def _held(self, read: ReadKeys, device: DeviceId, first: int, last: int) -> dict[int, Record]:
        """The records of the held segments that overlap with these numbers, by lamport; none unless all are held."""
        found: dict[int, Record] = {}
        reached = first - 1
        for address, start, end, _ in self._feeds.segments_of(device):
            if end >= first and start <= last:
                data = self._feeds.segment(address)
                if data is None or start > reached + 1:
                    return {}
                reached = end
                found.update((record.lamport, record) for record in decode_segment(read, data)[1])
        return found if reached >= last else {}

    def _decode(self, device: DeviceId, encoded: bytes) -> SignedHead:
        decoded = self._decoded.get(device)
        if decoded is None or decoded.encoded != encoded:
            decoded = self._decoded[device] = decode_head(encoded)
        return decoded

    def _sentence(self, device: DeviceId) -> str:
        if device == self._own:
            return (
                "another computer writes as this device, as after its home was copied: this one is read-only; "
                "copy what you wrote lately elsewhere, leave the share here, and join it again"
            )
        name = self._feeds.device_names().get(device) or device.hex()[:8]
        return (
            f"{name} has signed two different histories, as after its home was copied or put back from a backup: "
            f"what contradicts the first is not taken; let {name} leave the share and join it again"
        )


def _agree(one: Record, other: Record) -> bool:
    """Whether two records of one lamport may be the same one, before and after its feed was condensed."""
    if isinstance(one, VersionRecord) and isinstance(other, VersionRecord):
        return _digested(one) == _digested(other)
    if isinstance(one, NodeRecord) and isinstance(other, NodeRecord):
        pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
        return all(left == right for left, right in pairs if left is not None and right is not None)
    return one == other


def _digested(record: VersionRecord) -> VersionRecord:
    digest = content_digest(record.size, record.depth, record.body)
    return msgspec.structs.replace(record, depth=THINNED, body=digest, asked=False)
