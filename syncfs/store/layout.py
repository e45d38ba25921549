"""What an open file shows while it is being written: the journal's extents over the content that was opened.

Pure: it knows where bytes are, not what they are. Later writes cover earlier ones; a truncation takes away for good,
so that a file which shrinks and grows again shows zeros there and not its former content.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from syncfs.store.replay import Extent, Truncated


class Source(Enum):
    """Where bytes come from that the journal does not hold."""

    BASE = "base"
    ZEROS = "zeros"


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes start ≤ offset < stop of a file, and where they are."""

    start: int
    stop: int
    source: Extent | Source


class Layout:
    """Where each byte of a file is that had `size` bytes when it was opened."""

    def __init__(self, size: int, entries: Iterable[Extent | Truncated] = ()) -> None:
        self.size = size
        self.base = size
        """So many bytes at the start may still be those that were opened."""
        self._starts: list[int] = []
        self._pieces: list[Piece] = []
        for entry in entries:
            if isinstance(entry, Extent):
                self.write(entry)
            else:
                self.truncate(entry.size)

    def write(self, extent: Extent) -> None:
        """The extent covers what was there."""
        stop = extent.offset + extent.size
        if stop > extent.offset:
            self._replace(extent.offset, stop, [Piece(extent.offset, stop, extent)])
            self.size = max(self.size, stop)

    def truncate(self, size: int) -> None:
        """The file has this size."""
        if size < self.size:
            self._replace(size, self.size, [])
            self.base = min(self.base, size)
        self.size = size

    def pieces(self, start: int, stop: int) -> list[Piece]:
        """Where the bytes start ≤ offset < stop are, in order and without gaps, as far as the file goes."""
        stop = min(stop, self.size)
        result: list[Piece] = []
        position = start
        for piece in self._pieces[self._first_after(start) : bisect_left(self._starts, stop)]:
            result += self._uncovered(position, piece.start)
            result.append(Piece(max(piece.start, start), min(piece.stop, stop), piece.source))
            position = piece.stop
        return result + self._uncovered(position, stop)

    def written(self) -> list[Piece]:
        """All that the journal holds of the file as it is now, in order."""
        return list(self._pieces)

    def _uncovered(self, start: int, stop: int) -> list[Piece]:
        cuts = (
            Piece(start, min(stop, self.base), Source.BASE),
            Piece(max(start, self.base), stop, Source.ZEROS),
        )
        return [piece for piece in cuts if piece.start < piece.stop]

    def _first_after(self, offset: int) -> int:
        index = bisect_right(self._starts, offset) - 1
        return index if index >= 0 and self._pieces[index].stop > offset else index + 1

    def _replace(self, start: int, stop: int, middle: list[Piece]) -> None:
        low, high = self._first_after(start), bisect_left(self._starts, stop)
        if low < high:
            first, last = self._pieces[low], self._pieces[high - 1]
            if first.start < start:
                middle = [Piece(first.start, start, first.source), *middle]
            if last.stop > stop:
                middle = [*middle, Piece(stop, last.stop, last.source)]
        self._pieces[low:high] = middle
        self._starts[low:high] = [piece.start for piece in middle]
