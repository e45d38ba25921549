"""Written bytes of one file that are not yet cut into chunks: sparse, non-overlapping, in memory or in a journal."""

from bisect import bisect_right
from collections.abc import Iterator

from syncfs.engine.writing.spilled import Records, Spilled
from syncfs.model.chunking import chunk_at, chunk_span

_GROW_LIMIT = 1024 * 1024
"""An extent is not grown beyond this by appending, so that growing never copies much."""
PIECE_BYTES = 300
"""What a piece takes in memory besides its bytes, or where these lie in a journal."""

Piece = bytes | bytearray | Spilled


class ExtentMap:
    """A sparse byte array: what was written over a base that is elsewhere."""

    __slots__ = ("_pieces", "_starts", "memory", "total")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[Piece] = []
        self.total = 0
        """Bytes that were written."""
        self.memory = 0
        """Bytes that they take in memory."""

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def end(self) -> int:
        """The offset after the last byte held."""
        return self._starts[-1] + len(self._pieces[-1]) if self._starts else 0

    def write(self, offset: int, data: Piece) -> None:
        """Put `data` at `offset`, over whatever was there."""
        if not data:
            return
        if isinstance(data, Spilled):
            self._put(offset, data)
            return
        at = bisect_right(self._starts, offset) - 1
        if at < 0 and not self._starts:
            self._starts.append(offset)
            self._pieces.append(data)
            self.total, self.memory = len(data), _memory(data)
            return
        if at >= 0 and not isinstance(piece := self._pieces[at], Spilled):
            start = self._starts[at]
            stop = start + len(piece)
            free = at + 1 == len(self._starts) or offset + len(data) <= self._starts[at + 1]
            if offset == stop and free and len(piece) + len(data) <= _GROW_LIMIT:
                try:
                    if not isinstance(piece, bytearray):
                        piece = self._pieces[at] = bytearray(piece)
                    piece += data
                except BufferError:  # somebody looks at it, such as the error that kept it from being saved
                    self._pieces[at] = piece + data
                self.total += len(data)
                self.memory += len(data)
                return
            if offset + len(data) <= stop and len(piece) > len(data):
                if not isinstance(piece, bytearray):
                    piece = self._pieces[at] = bytearray(piece)
                piece[offset - start : offset - start + len(data)] = data
                return
        self._put(offset, data)

    def _put(self, offset: int, data: Piece) -> None:
        self.drop(offset, offset + len(data))
        at = bisect_right(self._starts, offset)
        self._starts.insert(at, offset)
        self._pieces.insert(at, data)
        self.total += len(data)
        self.memory += _memory(data)

    def drop(self, start: int, stop: int) -> None:
        """Forget the bytes start ≤ offset < stop."""
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._starts[first] + len(self._pieces[first]) <= start:
            first += 1
        last = first
        kept: list[tuple[int, Piece]] = []
        while last < len(self._starts) and self._starts[last] < stop:
            begin, piece = self._starts[last], self._pieces[last]
            if begin < start:
                kept.append((begin, piece[: start - begin]))
            if begin + len(piece) > stop:
                kept.append((stop, piece[stop - begin :]))
            self.total -= len(piece)
            self.memory -= _memory(piece)
            last += 1
        self._starts[first:last] = [begin for begin, _ in kept]
        self._pieces[first:last] = [piece for _, piece in kept]
        self.total += sum(len(piece) for _, piece in kept)
        self.memory += sum(_memory(piece) for _, piece in kept)

    def within(self, start: int, stop: int) -> Iterator[tuple[int, memoryview | Spilled]]:
        """The pieces (offset, bytes) that lie in start ≤ offset < stop, in order, cut to it."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        while at < len(self._starts) and self._starts[at] < stop:
            begin, piece = self._starts[at], self._pieces[at]
            low, high = max(begin, start), min(begin + len(piece), stop)
            if low < high:
                whole = piece if isinstance(piece, Spilled) else memoryview(piece)
                yield low, whole[low - begin : high - begin]
            at += 1

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte of start ≤ offset < stop is held."""
        reached = start
        for begin, piece in self.within(start, stop):
            if begin != reached:
                return False
            reached += len(piece)
        return reached >= stop

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges (start, stop) of start ≤ offset < stop that are not held, in order."""
        reached = start
        for begin, piece in self.within(start, stop):
            if begin > reached:
                yield reached, begin
            reached = begin + len(piece)
        if reached < stop:
            yield reached, stop

    def whole(self, start: int, stop: int) -> bytes:
        """The bytes start ≤ offset < stop, all of which are held in memory."""
        pieces = [piece for _, piece in self.within(start, stop) if not isinstance(piece, Spilled)]
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def spilled(self, start: int, stop: int) -> list[Spilled]:
        """The pieces of start ≤ offset < stop that lie in a journal."""
        return [piece for _, piece in self.within(start, stop) if isinstance(piece, Spilled)]

    def overlay(self, target: bytearray, start: int, records: Records) -> None:
        """Write what is held over `target`, whose first byte is at offset `start` of the file.

        `records` has those of all that is spilled.
        """
        for begin, piece in self.within(start, start + len(target)):
            found = piece.bytes_in(records) if isinstance(piece, Spilled) else piece
            target[begin - start : begin - start + len(piece)] = found

    def pieces(self) -> list[tuple[int, Piece]]:
        """Where pieces start, and they themselves, ascending."""
        return list(zip(self._starts, self._pieces, strict=True))

    def touched_chunks(self) -> Iterator[int]:
        """The chunks of which any byte is held, ascending."""
        reached = 0
        while (at := self._first_beyond(reached)) < len(self._starts):
            index = chunk_at(max(self._starts[at], reached))
            yield index
            reached = chunk_span(index)[1]

    def _first_beyond(self, offset: int) -> int:
        """The number of the first piece that ends after `offset`."""
        at = bisect_right(self._starts, offset) - 1
        return at if at >= 0 and self._starts[at] + len(self._pieces[at]) > offset else at + 1


def _memory(piece: Piece) -> int:
    return PIECE_BYTES if isinstance(piece, Spilled) else PIECE_BYTES + len(piece)
