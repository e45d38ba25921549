"""Reading a journal that a crash left behind: first an index of what is whole, the bytes later.

Every record is opened once while the index is made, one at a time, so a replay of any length needs little memory and
its verdict is final. After the first broken record that was not yet promised to be durable nothing counts: a sync
acknowledges everything before it, so what comes later was not acknowledged either. A broken record that had been
promised is damage: it is reported, and what comes after it still counts.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from syncfs.crypto.sealing import JournalCipher
from syncfs.model.errors import DamageError
from syncfs.store.faults import unreadable
from syncfs.store.journalformat import (
    ANEW,
    EXTENT,
    FIELDS_BYTES,
    HEAD_BYTES,
    MAGIC,
    MARK,
    RECORD_BYTES,
    Fields,
    damaged_start,
    head_size,
    open_head,
    open_record,
    parse_fields,
)

_WINDOW = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Extent:
    """`size` bytes of a file from `offset` on; their record stands at `position` in the journal."""

    offset: int
    size: int
    position: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """The file got this size; what was beyond it is gone, what it gained is zeros."""

    size: int


@dataclass(frozen=True, slots=True)
class Marked:
    """What the engine noted at this `position` of the journal."""

    data: bytes
    position: int


Entry = Extent | Truncated | Marked


@dataclass(frozen=True, slots=True)
class JournalDamage:
    """`size` bytes at `position` that had been made durable and are broken; `extent` is what they held, if known."""

    position: int
    size: int
    extent: Extent | None


@dataclass(frozen=True, slots=True)
class Index:
    """What counts of a journal; see Replay."""

    entries: tuple[Entry, ...]
    damage: tuple[JournalDamage, ...]
    torn: int


class Replay:
    """A journal found after a crash, open for reading; use it with `with`. Any thread."""

    def __init__(self, path: Path, descriptor: int, cipher: JournalCipher, header: bytes, index: Index) -> None:
        self.path = path
        self.header = header
        self.entries = index.entries
        """What was written, in order; later entries override earlier ones."""
        self.damage = index.damage
        """What had been acknowledged and cannot be read any more."""
        self.torn = index.torn
        """The bytes at the end that the crash broke; nobody was promised them."""
        self._descriptor = descriptor
        self._cipher = cipher

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, extent: Extent) -> bytes:
        """The bytes of an extent. Raises DamageError, SetupError."""
        return read_extent(self._descriptor, self._cipher, extent, self.path)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(frozen=True, slots=True)
class _Found:
    position: int
    fields: Fields


def replay(path: Path, cipher: JournalCipher) -> Replay | None:
    """The journal at `path`; None if the crash came before its head was whole, when nothing in it had been promised.

    `cipher` has the key that it was begun with; a wrong one is a DamageError. Raises NewerFormatError, SetupError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = _replay(path, descriptor, cipher)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise unreadable(error, path.parent) from error
    if found is None:
        os.close(descriptor)
    return found


def _replay(path: Path, descriptor: int, cipher: JournalCipher) -> Replay | None:
    end = os.fstat(descriptor).st_size
    clear = os.pread(descriptor, HEAD_BYTES, 0)
    start = head_size(clear) if len(clear) == HEAD_BYTES else None
    if start is None or start > end:
        if _has_records(descriptor, end):
            raise damaged_start()
        return None
    file_key, header = open_head(cipher, os.pread(descriptor, start, 0))
    file_cipher = JournalCipher(file_key)
    found, gaps = _walk(descriptor, file_cipher, start, end)
    durable = max((record.fields.durable for record in found), default=0)
    cut = next((position for position, _ in gaps if position >= durable), end)
    counted = [record for record in found if record.position < cut]
    entries: list[Entry] = []
    begins = 0
    if anew := next((record for record in reversed(counted) if record.fields.kind == ANEW), None):
        begins, data = anew.fields.offset, _content(descriptor, file_cipher, anew)
        entries += [Marked(data, begins)] if data else []
    entries += [
        _entry(descriptor, file_cipher, record)
        for record in counted
        if record.position >= begins and record.fields.kind != ANEW
    ]
    index = Index(
        entries=tuple(entries),
        damage=tuple(_damage(descriptor, position, stop) for position, stop in gaps if begins <= position < cut),
        torn=end - cut,
    )
    return Replay(path, descriptor, file_cipher, header, index)


def _has_records(descriptor: int, end: int) -> bool:
    position = 0
    while (position := _next_magic(descriptor, position, end)) < end:
        if parse_fields(os.pread(descriptor, FIELDS_BYTES, position)) is not None:
            return True
        position += 1
    return False


def _walk(descriptor: int, cipher: JournalCipher, start: int, end: int) -> tuple[list[_Found], list[tuple[int, int]]]:
    """The whole records, and the gaps (start, stop) between them, both in order."""
    found: list[_Found] = []
    gaps: list[tuple[int, int]] = []
    position, gap, counter = start, None, -1
    while position < end:
        fields = parse_fields(os.pread(descriptor, FIELDS_BYTES, position))
        if fields is None or fields.counter <= counter or not _opens(descriptor, cipher, fields, position):
            gap = position if gap is None else gap
            position = _next_magic(descriptor, position + 1, end)
            continue
        if gap is not None:
            gaps.append((gap, position))
            gap = None
        found.append(_Found(position, fields))
        counter = fields.counter
        position += fields.record_bytes
    if gap is not None:
        gaps.append((gap, end))
    return found, gaps


def _opens(descriptor: int, cipher: JournalCipher, fields: Fields, position: int) -> bool:
    return open_record(cipher, os.pread(descriptor, fields.record_bytes, position), position) is not None


def _next_magic(descriptor: int, position: int, end: int) -> int:
    while position < end:
        window = os.pread(descriptor, min(_WINDOW, end - position), position)
        found = window.find(MAGIC)
        if found >= 0:
            return position + found
        if not window:
            return end
        position += max(len(window) - len(MAGIC) + 1, 1)
    return end


def _entry(descriptor: int, cipher: JournalCipher, record: _Found) -> Entry:
    fields = record.fields
    if fields.kind == EXTENT:
        return Extent(fields.offset, fields.size, record.position)
    if fields.kind == MARK:
        return Marked(_content(descriptor, cipher, record), record.position)
    return Truncated(record.fields.offset)


def _content(descriptor: int, cipher: JournalCipher, record: _Found) -> bytes:
    sealed = os.pread(descriptor, record.fields.record_bytes, record.position)
    return open_record(cipher, sealed, record.position) or b""


def _damage(descriptor: int, position: int, stop: int) -> JournalDamage:
    fields = parse_fields(os.pread(descriptor, FIELDS_BYTES, position))
    known = fields is not None and fields.kind == EXTENT and fields.record_bytes == stop - position
    extent = Extent(fields.offset, fields.size, position) if fields is not None and known else None
    return JournalDamage(position, stop - position, extent)


def read_extent(descriptor: int, cipher: JournalCipher, extent: Extent, path: Path) -> bytes:
    """The bytes of an extent of the journal behind `descriptor`. Raises DamageError, SetupError."""
    try:
        record = os.pread(descriptor, RECORD_BYTES + extent.size, extent.position)
    except OSError as error:
        raise unreadable(error, path.parent) from error
    plain = open_record(cipher, record, extent.position)
    if plain is None:
        raise DamageError(f"the journal {path} is damaged: run `syncfs check NAME` to find out more")
    return plain
