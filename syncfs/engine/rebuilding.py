"""`check --rebuild`: making the index anew from the signed feeds.

The damaged index is put aside, never deleted. Every segment that can still be read and that fits its address is applied
to a new index; what is missing comes from the peers, as for a device that was away. A feed of our own that is not whole
any more must not be written to, or its numbers would stand for two things: the share is read-only until a peer
has told us our own newest head (`Replicator.own_told`).
"""

import logging
import time
from pathlib import Path

from syncfs.crypto.identity import device_id
from syncfs.crypto.sealing import check_address
from syncfs.engine.feeds.feed import OWN_FEED_LOST
from syncfs.engine.replication.holding import held_mark
from syncfs.engine.setup import Member
from syncfs.index.index import Index
from syncfs.index.salvage import Salvaged, salvage
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address, DeviceId
from syncfs.wire.head import SignedHead, decode_head, verify_head
from syncfs.wire.segment import decode_segment

SLICE = 400

_log = logging.getLogger(__name__)


def rebuild_index(member: Member) -> Path | None:
    """Put the index aside and make a new one; returns where the old one is now. Raises SetupError, DamageError."""
    member.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = member.directory / "index.db"
    aside = _put_aside(path)
    found = salvage(aside) if aside is not None else Salvaged()
    with Index(path) as index:
        for row in found.devices:
            index.feeds.add_device(DeviceId(row[0]), *row[1:])
        whole = _apply_feeds(index, member, found)
        for key, text in found.texts.items():
            index.feeds.set_text(key, text)
        for key, number in found.numbers.items():
            index.feeds.set_number(key, max(number, index.feeds.number(key)))
        if member.may_write and member.identity.id not in whole:
            index.feeds.set_number(OWN_FEED_LOST, 1)
        index.take_changes()
        index.database.commit()
    return aside


def _put_aside(path: Path) -> Path | None:
    if not path.exists():
        return None
    aside = path.with_name(f"index.db.damaged-{int(time.time())}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _apply_feeds(index: Index, member: Member, found: Salvaged) -> set[DeviceId]:
    """Apply what can be read, but not what waits; returns the devices whose feeds are whole up to their newest head."""
    segments: dict[DeviceId, list[tuple[int, int, Address, bytes]]] = {}
    for address, device, first, last, data in found.segments:
        try:
            check_address(Address(address), data)
        except SyncfsError:
            continue
        segments.setdefault(DeviceId(device), []).append((first, last, Address(address), data))
    waits = {row[0]: row[3] for row in found.feeds if found.texts.get(held_mark(DeviceId(row[0])))}
    heads = {head.device: head for head in map(_head, found.feeds) if head is not None}
    whole: set[DeviceId] = set()
    for device, held in segments.items():
        reached = 0
        for first, last, address, data in sorted(held):
            if last > waits.get(device, last):
                index.feeds.add_segment(address, device, first, last, data)
                continue
            if not _apply_segment(index, member, device, data):
                break
            index.feeds.add_segment(address, device, first, last, data)
            reached = max(reached, last)
        head = heads.get(device)
        if head is not None:
            complete = {ref.address for ref in head.segments} <= {address for _, _, address, _ in held}
            applied = head.sequence if complete and reached >= head.sequence else 0
            index.feeds.set_head(device, head.encoded, head.sequence, applied)
            if applied:
                whole.add(device)
    return whole


def _apply_segment(index: Index, member: Member, device: DeviceId, data: bytes) -> bool:
    if member.keys.read is None:
        return True
    try:
        public, records = decode_segment(member.keys.read, data)
    except SyncfsError as error:
        _log.warning("a segment in the damaged index is left out: %s", error)
        return False
    if public.device != device:
        return False
    for start in range(0, len(records), SLICE):
        index.apply(records[start : start + SLICE], device)
    return True


def _head(row: tuple[bytes, bytes, int, int]) -> SignedHead | None:
    try:
        head = decode_head(row[1])
        verify_head(head)
    except SyncfsError:
        return None
    return head if device_id(head.device_public) == row[0] else None
