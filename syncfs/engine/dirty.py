"""The unsettled state of a file that is being written.

Bytes are found in layers: what was written lately (extents), over chunks that are being sealed (cutting), over a
manifest of chunks sealed already or taken from the version the writing started from (entries), over zeros.
"""

from collections.abc import Awaitable, Callable, Sequence

from syncfs.engine.content import BytesLike
from syncfs.engine.extents import ExtentMap
from syncfs.model.chunking import MAX_CHUNK, RAMP_CHUNKS, chunk_at, chunk_count, chunk_span, chunk_start, chunks_between
from syncfs.model.errors import SyncfsError
from syncfs.model.manifest import is_hole

Load = Callable[[bytes], Awaitable[bytes]]
"""Gives the plaintext of a manifest entry."""


class Dirty:
    """What differs from the version that a file had; used on the loop's thread only."""

    def __init__(self, size: int, entries: dict[int, bytes], now: int) -> None:
        self.size = size
        self.mtime = now
        self.ctime = now
        self._entries = entries
        self._extents = ExtentMap()
        self._cutting: dict[int, bytes] = {}
        self._cut_once: set[int] = set()
        self._adds: dict[bytes, int] = {}
        self._telling: list[bytes] = []
        self._unsaved: list[tuple[int, int]] = []
        self._shrunk: int | None = None
        self._moves = 0
        self.has_cuts = False
        """Whether only a version can tell what was written: a chunk was cut, or no version could be made of it."""

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._extents.total + sum(map(len, self._cutting.values()))

    @property
    def stored(self) -> int:
        """About how many bytes are no holes: what was written, and whole chunks below it."""
        ramp = [index for index in range(RAMP_CHUNKS) if index in self._entries]
        below = sum(chunk_start(index + 1) - chunk_start(index) for index in ramp)
        below += (len(self._entries) - len(ramp)) * MAX_CHUNK
        return min(self.size, below + self.held)

    @property
    def cutting(self) -> bool:
        """Whether chunks are being sealed."""
        return bool(self._cutting)

    @property
    def settled(self) -> bool:
        """Whether everything is in sealed chunks."""
        return not self._extents and not self._cutting

    def write(self, offset: int, data: bytes, now: int) -> list[int]:
        """Put bytes; returns the chunks that this write completed, which may be cut now."""
        stop = offset + len(data)
        self._extents.write(offset, data)
        self._note_unsaved(offset, stop)
        self.size = max(self.size, stop)
        self.mtime = self.ctime = now
        complete = []
        for index in chunks_between(offset, stop):
            if index not in self._cut_once and self._extents.covers(*chunk_span(index)):
                self._cut_once.add(index)
                complete.append(index)
        return complete

    async def truncate(self, size: int, load: Load, now: int) -> None:
        """Set the size; what is cut off is zeros if the file grows again. Raises UnavailableError, DamageError."""
        if size < self.size and size:
            last = chunk_at(size - 1)
            start, stop = chunk_span(last)
            if size < stop:
                plain = bytearray(await self.chunk(last, load))[: size - start]
                self._cutting.pop(last, None)
                self._entries.pop(last, None)
                self._extents.drop(start, stop)
                self._extents.write(start, bytes(plain))
        if size < self.size:
            self._shrunk = size if self._shrunk is None else min(self._shrunk, size)
            self._unsaved = [(start, min(stop, size)) for start, stop in self._unsaved if start < size]
            self._extents.drop(size, self.size)
            count = chunk_count(size)
            for layer in (self._entries, self._cutting):
                for index in [index for index in layer if index >= count]:
                    del layer[index]
        self.size = size
        self._moves += 1
        self.mtime = self.ctime = now

    def touched_chunks(self) -> list[int]:
        """The chunks that hold bytes not cut yet."""
        found: set[int] = set()
        for start, piece in self._extents.pieces_lengths():
            found.update(chunks_between(start, start + piece))
        return sorted(found)

    async def chunk(self, index: int, load: Load) -> bytes:
        """The content of one chunk now, as long as the file reaches. Raises UnavailableError, DamageError."""
        start, stop = chunk_span(index)
        stop = min(stop, self.size)
        if self._extents.covers(start, stop):
            return self._extents.whole(start, stop)
        base = (await self._bases(range(index, index + 1), load))[0]
        stop = max(min(chunk_span(index)[1], self.size), start)  # the file may have been cut short meanwhile
        plain = bytearray(base[: stop - start])
        plain.extend(bytes(stop - start - len(plain)))
        self._extents.overlay(plain, start)
        return bytes(plain)

    async def read(self, start: int, stop: int, load: Load) -> BytesLike:
        """The bytes start ≤ offset < stop, cut at the end of the file. Raises UnavailableError, DamageError."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._extents.covers(start, stop):
            return self._extents.whole(start, stop)
        indexes = list(chunks_between(start, stop))
        bases = await self._bases(indexes, load)
        stop = min(stop, self.size)
        found = bytearray(max(stop - start, 0))
        for index, base in zip(indexes, bases, strict=True):
            begin = chunk_start(index)
            low, high = max(start, begin), min(stop, begin + len(base))
            if low < high:
                found[low - start : high - start] = base[low - begin : high - begin]
        self._extents.overlay(found, start)
        return found

    def begin_cut(self, index: int, plain: bytes) -> None:
        """From now on the chunk is `plain` until `end_cut`; later writes go over it."""
        start, stop = chunk_span(index)
        self._extents.drop(start, stop)
        self._cutting[index] = plain
        self._moves += 1
        self.has_cuts = True

    def end_cut(self, index: int, plain: bytes, entry: bytes) -> bytes | None:
        """The chunk that began as `plain` is sealed; ignored if it was truncated away or cut again meanwhile.

        Returns the address of the chunk that it replaces, where that is in no version.
        """
        if self._cutting.get(index) is not plain:
            return None
        del self._cutting[index]
        former = self._entries.pop(index, None)
        if not is_hole(entry):
            self._entries[index] = entry
            self.add(entry)
        return self._without(former[-32:]) if former is not None else None

    def _without(self, address: bytes) -> bytes | None:
        """One entry fewer has this chunk; the address where none has any more and no version tells of it."""
        count = self._adds.get(address)
        if count is None or count > 1:
            if count is not None:
                self._adds[address] = count - 1
            return None
        del self._adds[address]
        return address

    def add(self, entry: bytes) -> None:
        """The next version needs this chunk, which no version tells of yet."""
        address = entry[-32:]
        self._adds[address] = self._adds.get(address, 0) + 1

    @property
    def adds(self) -> list[bytes]:
        """The addresses of the chunks that no version tells of yet."""
        return [*self._telling, *self._adds]

    def take_adds(self) -> list[bytes]:
        """The same, which a version tells of from now on, or which nobody needs any more."""
        found = self.adds
        self._telling, self._adds = [], {}
        return found

    def undo_cut(self, index: int, plain: bytes) -> None:
        """Sealing failed: keep the bytes as written, under what was written since."""
        if self._cutting.get(index) is plain:
            del self._cutting[index]
            merged = bytearray(plain)
            start = chunk_start(index)
            self._extents.overlay(merged, start)
            self._extents.write(start, bytes(merged))
            self._moves += 1

    def take_unsaved(self) -> tuple[int | None, list[tuple[int, bytes]]]:
        """What a journal lacks: the smallest size the file had since the last call (None: it never shrank), and pieces.

        The pieces tell everything as long as nothing was cut (`has_cuts`).
        """
        pieces = [
            (begin, bytes(piece)) for start, stop in self._unsaved for begin, piece in self._extents.within(start, stop)
        ]
        shrunk, self._shrunk, self._unsaved = self._shrunk, None, []
        return shrunk, pieces

    def settling_costs_more(self, factor: int) -> bool:
        """Whether cutting the chunks written to would write more than `factor` times what is not saved yet."""
        written = sum(stop - start for start, stop in self._unsaved)
        spans = {index for start, stop in self._unsaved for index in chunks_between(start, stop)}
        cut = sum(min(chunk_span(index)[1], self.size) - chunk_start(index) for index in spans)
        return cut > factor * written

    def begin_version(self) -> None:
        """A version is being made of what is here now: what is written from now on is the difference to it.

        If it cannot be recorded, `has_cuts` has to be set.
        """
        self.has_cuts = bool(self._cutting)
        self._shrunk = None
        self._unsaved = []
        self._telling += self._adds
        self._adds = {}

    def complete_plain(self, index: int) -> bytes | None:
        """The content of a chunk that lies whole in the extents."""
        start, stop = chunk_span(index)
        stop = min(stop, self.size)
        return self._extents.whole(start, stop) if self._extents.covers(start, stop) else None

    def addresses(self) -> list[bytes]:
        """The chunks that the next version will need, as far as they are sealed."""
        return [entry[-32:] for entry in self._entries.values()] + self.adds

    def entries(self, size: int) -> dict[int, bytes]:
        """The manifest entries of a file of `size` bytes; chunks without one are holes."""
        count = chunk_count(size)
        return {index: entry for index, entry in self._entries.items() if index < count}

    async def _bases(self, indexes: Sequence[int], load: Load) -> list[bytes]:
        """What lies below the extents in these chunks, all at one moment.

        While one chunk was loaded, written bytes may have moved out of the extents into another: then begin again.
        """
        while True:
            moves = self._moves
            try:
                bases = [await self._base(index, load) for index in indexes]
            except SyncfsError:
                if moves == self._moves:
                    raise
                continue  # a chunk that was replaced meanwhile may be gone
            if moves == self._moves:
                return bases

    async def _base(self, index: int, load: Load) -> bytes:
        plain = self._cutting.get(index)
        if plain is None:
            entry = self._entries.get(index)
            plain = b"" if entry is None else await load(entry)
        return plain

    def _note_unsaved(self, start: int, stop: int) -> None:
        if self.has_cuts:
            return
        if self._unsaved and self._unsaved[-1][0] <= start <= self._unsaved[-1][1]:
            first, last = self._unsaved[-1]
            self._unsaved[-1] = first, max(last, stop)
        else:
            self._unsaved.append((start, stop))
