"""Written bytes of one file that are not yet cut into chunks: sparse, non-overlapping, in memory."""

from bisect import bisect_right
from collections.abc import Iterator

_GROW_LIMIT = 1024 * 1024
"""An extent is not grown beyond this by appending, so that growing never copies much."""


class ExtentMap:
    """A sparse byte array: what was written over a base that is elsewhere."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[bytes | bytearray] = []
        self.total = 0
        """Bytes held."""

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def end(self) -> int:
        """The offset after the last byte held."""
        return self._starts[-1] + len(self._pieces[-1]) if self._starts else 0

    def write(self, offset: int, data: bytes) -> None:
        """Put `data` at `offset`, over whatever was there."""
        if not data:
            return
        at = bisect_right(self._starts, offset) - 1
        if at < 0 and not self._starts:
            self._starts.append(offset)
            self._pieces.append(data)
            self.total = len(data)
            return
        if at >= 0:
            start, piece = self._starts[at], self._pieces[at]
            stop = start + len(piece)
            free = at + 1 == len(self._starts) or offset + len(data) <= self._starts[at + 1]
            if offset == stop and free and len(piece) + len(data) <= _GROW_LIMIT:
                if not isinstance(piece, bytearray):
                    piece = self._pieces[at] = bytearray(piece)
                piece += data
                self.total += len(data)
                return
            if offset + len(data) <= stop and len(piece) > len(data):
                if not isinstance(piece, bytearray):
                    piece = self._pieces[at] = bytearray(piece)
                piece[offset - start : offset - start + len(data)] = data
                return
        self.drop(offset, offset + len(data))
        at = bisect_right(self._starts, offset)
        self._starts.insert(at, offset)
        self._pieces.insert(at, data)
        self.total += len(data)

    def drop(self, start: int, stop: int) -> None:
        """Forget the bytes start ≤ offset < stop."""
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._starts[first] + len(self._pieces[first]) <= start:
            first += 1
        last = first
        kept: list[tuple[int, bytes | bytearray]] = []
        while last < len(self._starts) and self._starts[last] < stop:
            begin, piece = self._starts[last], self._pieces[last]
            if begin < start:
                kept.append((begin, piece[: start - begin]))
            if begin + len(piece) > stop:
                kept.append((stop, piece[stop - begin :]))
            self.total -= len(piece)
            last += 1
        self._starts[first:last] = [begin for begin, _ in kept]
        self._pieces[first:last] = [piece for _, piece in kept]
        self.total += sum(len(piece) for _, piece in kept)

    def within(self, start: int, stop: int) -> Iterator[tuple[int, memoryview]]:
        """The pieces (offset, bytes) that lie in start ≤ offset < stop, in order, cut to it."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        while at < len(self._starts) and self._starts[at] < stop:
            begin, piece = self._starts[at], self._pieces[at]
            low, high = max(begin, start), min(begin + len(piece), stop)
            if low < high:
                yield low, memoryview(piece)[low - begin : high - begin]
            at += 1

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte of start ≤ offset < stop is held."""
        reached = start
        for begin, piece in self.within(start, stop):
            if begin != reached:
                return False
            reached += len(piece)
        return reached >= stop

    def whole(self, start: int, stop: int) -> bytes:
        """The bytes start ≤ offset < stop, all of which are held."""
        pieces = [piece for _, piece in self.within(start, stop)]
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def overlay(self, target: bytearray, start: int) -> None:
        """Write what is held over `target`, whose first byte is at offset `start` of the file."""
        for begin, piece in self.within(start, start + len(target)):
            target[begin - start : begin - start + len(piece)] = piece

    def pieces_lengths(self) -> list[tuple[int, int]]:
        """Where pieces start and how long they are, ascending."""
        return [(start, len(piece)) for start, piece in zip(self._starts, self._pieces, strict=True)]
