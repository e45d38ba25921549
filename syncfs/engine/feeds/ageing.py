"""When segments are merged, and what a merged segment leaves out; pure."""

from collections.abc import Iterable, Sequence

from syncfs.model.records import NodeRecord, Record, VersionRecord

FAN_IN = 8
"""So many neighbouring segments of one tier become one segment of the next."""
MAX_MERGED_RECORDS = 8192
MAX_MERGED_BYTES = 2 * 1024 * 1024
_TIERS = 6


def merge_plan(segments: Sequence[tuple[int, int]]) -> slice | None:
    """Which neighbouring segments of a feed, given as (records spanned, bytes), to merge now; None if none.

    Segments are merged once they make up a segment of the next tier, so a record is rewritten O(log n) times and
    O(FAN_IN · log n) segments are left beside full ones. Where they are too many for one, the oldest fill one.
    """
    for tier in range(_TIERS):
        start, records = len(segments), 0
        while start and _tier(segments[start - 1][0]) <= tier:
            start -= 1
            records += segments[start][0]
        if records >= FAN_IN ** (tier + 1):
            chosen = _first_that_fit(segments, start, FAN_IN ** (tier + 1))
            if chosen is not None:
                return chosen
    return None


def _first_that_fit(segments: Sequence[tuple[int, int]], start: int, enough: int) -> slice | None:
    """The first neighbours from `start` on that fit into one segment, and fill it or have `enough` records."""
    for begin in range(start, len(segments) - 1):
        stop, records, size = begin, 0, 0
        while stop < len(segments):
            longer, larger = records + segments[stop][0], size + segments[stop][1]
            if longer > MAX_MERGED_RECORDS or larger > MAX_MERGED_BYTES:
                break
            stop, records, size = stop + 1, longer, larger
        if stop - begin >= 2 and (records >= enough or stop < len(segments)):
            return slice(begin, stop)
        if stop == len(segments):
            return None  # what begins later is less
    return None


def without_superseded(records: Sequence[Record]) -> list[Record]:
    """Drop records that only tell that a directory's entries changed where a later one of the same feed sets its times.

    Such a record sets the time at which it was made; other times were set by a program, which history keeps. All of
    `records` are of one device in feed order, so the later one has the greater stamp and wins everywhere.
    """
    kept: list[Record] = []
    later: set[bytes] = set()
    for record in reversed(records):
        if isinstance(record, NodeRecord) and record.times is not None:
            alone = record == NodeRecord(record.lamport, record.time, record.node, times=record.times)
            if alone and record.times.mtime == record.time and record.node in later:
                continue
            later.add(record.node)
        kept.append(record)
    kept.reverse()
    return kept


def batches(records: Iterable[Record], most: int, size: int) -> Iterable[list[Record]]:
    """Cut records into batches of at most `most` records and about `size` bytes."""
    batch: list[Record] = []
    total = 0
    for record in records:
        weight = 200 + _payload(record)
        if batch and (len(batch) >= most or total + weight > size):
            yield batch
            batch, total = [], 0
        batch.append(record)
        total += weight
    if batch:
        yield batch


def _payload(record: Record) -> int:
    match record:
        case VersionRecord(body=body):
            return len(body)
        case NodeRecord(xattrs=xattrs, birth=birth):
            target = len(birth.target) if birth else 0
            return target + (sum(len(key) + len(value) for key, value in xattrs.items()) if xattrs else 0)
        case _:
            return 0


def _tier(length: int) -> int:
    return (length.bit_length() - 1) // 3
