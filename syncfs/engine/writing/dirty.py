"""The unsettled state of a file that is being written.

Bytes are found in layers, from the top: what was written lately (`live`), what is being appended to the file's journal
(`saving`), what waits there (`saved`), and of these layers what a version is being made of (`frozen`); then chunks that
are being sealed (cutting), a manifest of chunks sealed already or taken from the version the writing started from
(entries), and zeros.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import trio

from syncfs.engine.chunks.content import BytesLike
from syncfs.engine.writing.extents import ExtentMap, Piece
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.engine.writing.spilled import Readable, Spilled, read_records
from syncfs.model.chunking import MAX_CHUNK, RAMP_CHUNKS, chunk_at, chunk_count, chunk_span, chunk_start, chunks_between
from syncfs.model.errors import SyncfsError
from syncfs.model.manifest import is_hole

Load = Callable[[bytes], Awaitable[bytes]]
"""Gives the plaintext of a manifest entry."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What the attributes were when the file was frozen, and what was counted since the version before."""

    size: int
    mtime: int
    ctime: int
    written: int
    lowest: int | None
    asked: bool


class Dirty:
    """What differs from the version that a file had; used on the loop's thread only."""

    def __init__(self, size: int, entries: dict[int, bytes], now: int) -> None:
        self.size = size
        self.mtime = now
        self.ctime = now
        self.live = ExtentMap()
        self.saving = ExtentMap()
        self.saved = ExtentMap()
        self._frozen = ExtentMap()
        self._entries = entries
        self._cutting: dict[int, bytes] = {}
        self._cut_once: set[int] = set()
        self._adds: dict[bytes, int] = {}
        self._telling: list[bytes] = []
        self._shrunk: int | None = None
        self._moves = 0
        self.written = 0
        """Bytes written since the version before."""
        self.lowest: int | None = None
        """The smallest size since the version before; None: it never shrank."""
        self.frozen: Frozen | None = None
        """Set while a version is being made."""
        self.torn = False
        """Whether what is frozen was cut short, so that no version can be made of it."""
        self.only_version = False
        """Whether only a version can tell what was written: a chunk was cut of which the journal lacks bytes."""
        self.folded = False
        """Whether bytes that the journal tells were cut into chunks, so that only the journal itself has them all."""
        self.asked = False
        """Whether a program was promised since the version before that all is durable."""
        self.since = 0.0
        """When the writing began, or a version was made last; trio's clock."""
        self.goes_on: MoreTime = patient
        """Called for each step of storing what was written."""
        self.journal_lock = trio.Lock()
        """Held while the journal of the file is written."""

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self.waiting + self.being_cut

    @property
    def waiting(self) -> int:
        """Bytes in memory that are not being cut."""
        return sum(layer.memory for layer in self._layers())

    @property
    def being_cut(self) -> int:
        """Bytes of chunks that are being sealed."""
        return sum(map(len, self._cutting.values()))

    @property
    def stored(self) -> int:
        """About how many bytes are no holes: what was written, and whole chunks below it."""
        ramp = [index for index in range(RAMP_CHUNKS) if index in self._entries]
        below = sum(chunk_start(index + 1) - chunk_start(index) for index in ramp)
        below += (len(self._entries) - len(ramp)) * MAX_CHUNK
        return min(self.size, below + self.being_cut + sum(layer.total for layer in self._layers()))

    def _layers(self) -> tuple[ExtentMap, ...]:
        """From the lowest."""
        return self._frozen, self.saved, self.saving, self.live

    @property
    def written_since(self) -> bool:
        """Whether anything was written that is not in what is frozen, or sealed."""
        return bool(self.live or self.saving or self.saved)

    @property
    def cost(self) -> int:
        """The bytes of the chunks that a version would have to seal."""
        touched = {index for layer in self._layers() for index in layer.touched_chunks()}
        return self._size_of(touched)

    def _size_of(self, indexes: Iterable[int]) -> int:
        return sum(min(chunk_span(index)[1], self.size) - chunk_start(index) for index in indexes)

    def settling_costs_more(self, factor: int) -> bool:
        """Whether cutting the chunks written to would write more than `factor` times what was written."""
        return self._size_of(self.live.touched_chunks()) > factor * self.live.total

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes, now: int, cut: bool = True) -> list[int]:
        """Put bytes; with `cut`, returns the chunks that this write completed, which may be cut now."""
        stop = offset + len(data)
        self.live.write(offset, data)
        self.size = max(self.size, stop)
        self.written += len(data)
        self._changed(now)
        complete = []
        for index in chunks_between(offset, stop) if cut and self.frozen is None else ():
            if index not in self._cut_once and self.live.covers(*chunk_span(index)):
                self._cut_once.add(index)
                complete.append(index)
        return complete

    def take_in(self, offset: int, piece: Spilled) -> None:
        """Put bytes that lie in a journal already."""
        self.live.drop(offset, offset + len(piece))  # what a truncation left there is older
        self.saved.write(offset, piece)
        self.size = max(self.size, offset + len(piece))

    async def truncate(self, size: int, load: Load, now: int) -> None:
        """Set the size; what is cut off is zeros if the file grows again. Raises UnavailableError, DamageError."""
        if size < self.size and size:
            last = chunk_at(size - 1)
            start, stop = chunk_span(last)
            if size < stop:
                plain = bytearray(await self.chunk(last, load))[: size - start]
                self._cutting.pop(last, None)
                self._entries.pop(last, None)
                for layer in self._layers():
                    layer.drop(start, stop)
                self.live.write(start, bytes(plain))
        if size < self.size:
            self._shrunk = _smaller(self._shrunk, size)
            self.lowest = _smaller(self.lowest, size)
            self.torn = self.frozen is not None
            for layer in self._layers():
                layer.drop(size, self.size)
            count = chunk_count(size)
            for chunks in (self._entries, self._cutting):
                for index in [index for index in chunks if index >= count]:
                    del chunks[index]
        self.size = size
        self._moves += 1
        self._changed(now)

    def _changed(self, now: int) -> None:
        # Never twice the same, since a journal tells by it which of two states is in a version.
        self.mtime = self.ctime = now if now != self.ctime else now + 1

    # --- reading ----------------------------------------------------------------------------------------------------

    async def chunk(self, index: int, load: Load) -> bytes:
        """The content of one chunk now, as long as the file reaches. Raises UnavailableError, DamageError."""
        start, stop = chunk_span(index)
        return bytes(await self.read(start, stop, load))

    async def read(self, start: int, stop: int, load: Load) -> BytesLike:
        """The bytes start ≤ offset < stop, cut at the end of the file. Raises UnavailableError, DamageError."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self.live.covers(start, stop):
            return self.live.whole(start, stop)
        found = await self._shown(start, stop, load, self._layers)
        del found[max(self.size - start, 0) :]  # the file may have been cut short meanwhile
        return found

    async def read_frozen(self, start: int, stop: int, load: Load) -> bytes:
        """The same of what is frozen. Raises UnavailableError, DamageError."""
        stop = min(stop, self.frozen.size if self.frozen is not None else 0)
        return bytes(await self._shown(start, max(start, stop), load, lambda: (self._frozen,)))

    async def read_saved(self, start: int, stop: int, load: Load) -> bytes:
        """The same without what is in no journal yet. Raises UnavailableError, DamageError."""
        stop = min(stop, self.size)
        return bytes(await self._shown(start, max(start, stop), load, lambda: (self._frozen, self.saved)))

    async def _shown(self, start: int, stop: int, load: Load, layers: Callable[[], Sequence[ExtentMap]]) -> bytearray:
        """What these layers show over the chunks, all at the moment of the return.

        While one chunk was loaded, written bytes may have moved out of the layers into another: then begin again.
        """
        indexes = list(chunks_between(start, stop))
        records: dict[tuple[Readable, int], bytes] = {}
        while True:
            moves = self._moves
            try:
                bases = [await self._base(index, start, stop, load, layers()) for index in indexes]
                while missing := _missing(layers(), start, stop, records):
                    records |= await read_records(missing)
            except SyncfsError:
                if moves == self._moves:
                    raise
                continue  # a chunk or a record that was replaced meanwhile may be gone
            if moves == self._moves:
                break
        found = bytearray(stop - start)
        for index, base in zip(indexes, bases, strict=True):
            begin = chunk_start(index)
            low, high = max(start, begin), min(stop, begin + len(base))
            if low < high:
                found[low - start : high - start] = base[low - begin : high - begin]
        for layer in layers():
            layer.overlay(found, start, records)
        return found

    async def _base(self, index: int, start: int, stop: int, load: Load, layers: Sequence[ExtentMap]) -> bytes:
        """What lies below the layers in a chunk; nothing where that cannot be seen between start and stop."""
        begin, end = chunk_span(index)
        if any(layer.covers(max(start, begin), min(stop, end)) for layer in layers):
            return b""
        plain = self._cutting.get(index)
        if plain is None:
            entry = self._entries.get(index)
            plain = b"" if entry is None else await load(entry)
        return plain

    # --- saving in the journal --------------------------------------------------------------------------------------

    def take_unsaved(self) -> tuple[int | None, list[tuple[int, Piece]]]:
        """What a journal lacks: the smallest size the file had since the last call (None: it never shrank), and pieces.

        The pieces do not change any more. `saved_as` or `not_saved` has to follow.
        """
        self.saving, self.live = self.live, ExtentMap()
        shrunk, self._shrunk = self._shrunk, None
        return shrunk, self.saving.pieces()

    def saved_as(self, places: Iterable[tuple[int, Spilled]]) -> None:
        """What was taken is durable in the journal, in these pieces (offset, piece)."""
        for offset, piece in places:
            for start, part in list(self.saving.within(offset, offset + len(piece))):
                self.saved.write(start, piece[start - offset : start - offset + len(part)])
        self.saving = ExtentMap()

    def not_saved(self, shrunk: int | None) -> None:
        """What was taken could not be saved."""
        for start, piece in self.live.pieces():
            self.saving.write(start, piece)
        self.live, self.saving = self.saving, ExtentMap()
        self._shrunk = _smaller(self._shrunk, shrunk)

    def moved(self, places: Iterable[tuple[int, Spilled]]) -> None:
        """What was saved lies in other places of the journal now."""
        for offset, piece in places:
            for start, part in list(self.saved.within(offset, offset + len(piece))):
                self.saved.write(start, piece[start - offset : start - offset + len(part)])
        self._moves += 1

    # --- making a version -------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Take what is here now for a version: what is written from now on is the difference to it."""
        self.frozen = Frozen(self.size, self.mtime, self.ctime, self.written, self.lowest, self.asked)
        self.written, self.lowest, self.asked = 0, None, False

    def move_frozen(self, live: bool) -> None:
        """What was saved, and with `live` all else, is what was frozen; nothing may be written since in that case."""
        self._frozen, self.saved = self.saved, ExtentMap()
        if live:
            for start, piece in self.live.pieces():
                self._frozen.write(start, piece)
            self.live = ExtentMap()
            self._shrunk = None

    def hold_frozen(self, content: bytes) -> None:
        """Keep the content of what is frozen in memory, since no chunk gets it and the journal may be given back."""
        self._frozen = ExtentMap()
        self._frozen.write(0, content)
        self._moves += 1

    def thaw(self) -> None:
        """No version was made of what was frozen, or its bytes are still needed: they are written ones again."""
        if self.frozen is None:
            return
        self.written += self.frozen.written
        self.lowest = _smaller(self.lowest, self.frozen.lowest)
        self.asked |= self.frozen.asked
        layer, self._frozen, self.frozen, self.torn = self._frozen, ExtentMap(), None, False
        for start, piece in layer.pieces():
            self._put_below(start, piece)

    def told(self, now: float) -> None:
        """A version of what was frozen was recorded; what of it is in no chunk is kept as if it were written anew."""
        since = self.written, self.lowest, self.asked
        self.thaw()
        self.written, self.lowest, self.asked = since
        self.only_version = self.folded = False
        self.since = now

    def _put_below(self, start: int, piece: Piece) -> None:
        """Put bytes that are older than all that is written, and younger than the chunks."""
        if self.frozen is not None:
            target, above = self._frozen, [self._frozen]
        else:
            target = self.saved if isinstance(piece, Spilled) else self.live
            above = [self.saved, self.saving, self.live]
        free = [(start, start + len(piece))]
        for layer in above:
            free = [gap for low, high in free for gap in layer.gaps(low, high)]
        for low, high in free:
            target.write(low, piece[low - start : high - start])

    def frozen_chunks(self) -> list[int]:
        """The chunks that what is frozen changes."""
        return list(self._frozen.touched_chunks())

    def complete_plain(self, index: int) -> bytes | None:
        """The content of a chunk that lies whole among what was written lately."""
        start, stop = chunk_span(index)
        stop = min(stop, self.size)
        return self.live.whole(start, stop) if self.live.covers(start, stop) else None

    def begin_version(self) -> None:
        """A version is being made of all that is sealed, and of small content that stays in memory meanwhile."""
        self._telling += self._adds
        self._adds = {}

    # --- cutting ----------------------------------------------------------------------------------------------------

    def begin_cut(self, index: int, plain: bytes) -> None:
        """From now on until `end_cut` the chunk is `plain`, which has all that was written; later writes go over it."""
        self._begin_cut(index, plain, self._layers())
        self.only_version = True

    def begin_cut_frozen(self, index: int, plain: bytes) -> None:
        """The same where `plain` has what is frozen."""
        self._begin_cut(index, plain, (self._frozen,))

    def begin_cut_saved(self, index: int, plain: bytes) -> None:
        """The same where `plain` has what the journal has."""
        self._begin_cut(index, plain, (self.saved,))
        self.folded = True

    def _begin_cut(self, index: int, plain: bytes, layers: Sequence[ExtentMap]) -> None:
        start, stop = chunk_span(index)
        for layer in layers:
            layer.drop(start, stop)
        self._cutting[index] = plain
        self._moves += 1

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

    def undo_cut(self, index: int, plain: bytes) -> None:
        """Sealing failed: keep the bytes as written, under what was written since."""
        if self._cutting.get(index) is plain:
            del self._cutting[index]
            self._put_below(chunk_start(index), plain)
            self._moves += 1

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

    def addresses(self) -> list[bytes]:
        """The chunks that the next version will need, as far as they are sealed."""
        return [entry[-32:] for entry in self._entries.values()] + self.adds

    def entries(self, size: int) -> dict[int, bytes]:
        """The manifest entries of a file of `size` bytes; chunks without one are holes."""
        count = chunk_count(size)
        return {index: entry for index, entry in self._entries.items() if index < count}


def _missing(
    layers: Sequence[ExtentMap], start: int, stop: int, records: dict[tuple[Readable, int], bytes]
) -> list[Spilled]:
    return [piece for layer in layers for piece in layer.spilled(start, stop) if piece.record not in records]


def _smaller(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
