"""Written bytes that wait in a journal instead of in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

from syncfs.store.journal import Extent


class Readable(Protocol):
    """A journal, growing or left behind."""

    def read(self, extent: Extent) -> bytes:
        """The bytes of an extent. Raises DamageError, SetupError."""
        ...


Records = Mapping[tuple[Readable, int], bytes]
"""The content of records of journals that were read; see `Spilled.record`."""


@dataclass(frozen=True, slots=True)
class Spilled:
    """The bytes low ≤ offset < high of a record of a journal; sliced as bytes are."""

    source: Readable
    extent: Extent
    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low

    def __getitem__(self, part: slice) -> "Spilled":
        low, high, _ = part.indices(len(self))
        return Spilled(self.source, self.extent, self.low + low, self.low + high)

    @property
    def record(self) -> tuple[Readable, int]:
        """Which record it is a part of."""
        return self.source, self.extent.position

    def bytes_in(self, records: Records) -> memoryview:
        """The bytes, from records that `read_records` gave."""
        return memoryview(records[self.record])[self.low : self.high]


def spilled(source: Readable, extent: Extent) -> Spilled:
    """All bytes of a record."""
    return Spilled(source, extent, 0, extent.size)


async def read_records(pieces: Iterable[Spilled]) -> dict[tuple[Readable, int], bytes]:
    """The records that the pieces are parts of, read in a thread. Raises DamageError, SetupError."""
    wanted = {piece.record: piece for piece in pieces}

    def read() -> dict[tuple[Readable, int], bytes]:
        return {record: piece.source.read(piece.extent) for record, piece in wanted.items()}

    return await trio.to_thread.run_sync(read) if wanted else {}
