"""The content of one version: from its manifest to bytes, chunk by chunk, fetching only what is read."""

from typing import Protocol

from syncfs.model.chunking import chunk_span, chunks_between
from syncfs.model.errors import UnavailableError
from syncfs.model.manifest import FAN_OUT, entries_of, is_hole, leaf_place
from syncfs.model.records import ENTRY_BYTES, INLINE, THINNED

BytesLike = bytes | bytearray | memoryview


class PlainChunks(Protocol):
    """Where the plaintext of chunks comes from."""

    def ready(self, entry: bytes) -> bytes | None:
        """The plaintext of a chunk where it can be had without waiting."""
        ...

    async def plain(self, entry: bytes) -> bytes:
        """The plaintext of a chunk, from memory, disk or a peer. Raises UnavailableError, DamageError."""
        ...

    def used_up(self, entry: bytes) -> None:
        """Somebody has read this chunk whole."""
        ...


class Content:
    """One version's bytes; never changes."""

    def __init__(self, size: int, depth: int, body: bytes, chunks: PlainChunks) -> None:
        self.size = size
        self._depth = depth
        self._body = body
        self._chunks = chunks
        self._leaves: dict[bytes, bytes] = {}

    @property
    def manifest(self) -> tuple[int, bytes]:
        """The depth and the body of the version."""
        return self._depth, self._body

    @property
    def inline(self) -> bytes | None:
        """The whole content, where it lives in the version record."""
        return self._body if self._depth == INLINE else None

    def entry_ready(self, index: int) -> bytes | None:
        """The manifest entry of a chunk, where no leaf has to be fetched for it."""
        if self._depth == THINNED:
            return None
        at, below = leaf_place(index, self._depth)
        body, depth = self._body, self._depth
        while True:
            entry = body[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES]
            if depth == 0 or is_hole(entry):
                return entry
            leaf = self._leaves.get(entry)
            if leaf is None:
                return None
            body, depth = leaf, depth - 1
            at, below = leaf_place(below, depth)

    async def entry(self, index: int) -> bytes:
        """The manifest entry of a chunk. Raises UnavailableError, DamageError."""
        self._require_content()
        while (found := self.entry_ready(index)) is None:
            await self._load_leaf(index)
        return found

    async def entries(self) -> dict[int, bytes]:
        """All entries of the manifest that are no holes. Raises UnavailableError, DamageError."""
        self._require_content()
        return {} if self._depth == INLINE else await self._entries_below(self._body, self._depth, 0)

    async def _entries_below(self, body: bytes, depth: int, first: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for number, entry in enumerate(entries_of(body)):
            index = first + number * FAN_OUT**depth
            if is_hole(entry):
                continue
            if depth == 0:
                found[index] = entry
            else:
                found |= await self._entries_below(await self._chunks.plain(entry), depth - 1, index)
        return found

    def read_ready(self, start: int, stop: int) -> BytesLike | None:
        """The bytes start ≤ offset < stop (cut at the end of the file), where they can be had without waiting."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._depth == INLINE:
            return self._body[start:stop]
        if self._depth == THINNED:
            return None
        found: list[tuple[bytes, bytes]] = []
        for index in chunks_between(start, stop):
            entry = self.entry_ready(index)
            if entry is None:
                return None
            plain = b"" if is_hole(entry) else self._chunks.ready(entry)
            if plain is None:
                return None
            found.append((entry, plain))
        return self._joined(found, start, stop)

    async def read(self, start: int, stop: int) -> BytesLike:
        """The bytes start ≤ offset < stop (cut at the end of the file). Raises UnavailableError, DamageError."""
        ready = self.read_ready(start, stop)
        if ready is not None:
            return ready
        self._require_content()
        stop = min(stop, self.size)
        found: list[tuple[bytes, bytes]] = []
        for index in chunks_between(start, stop):
            entry = await self.entry(index)
            found.append((entry, b"" if is_hole(entry) else await self._chunks.plain(entry)))
        return self._joined(found, start, stop)

    def _joined(self, found: list[tuple[bytes, bytes]], start: int, stop: int) -> BytesLike:
        """What was asked for of the chunks that it touches: manifest entry and plaintext of each, in order."""
        pieces: list[BytesLike] = []
        for index, (entry, plain) in zip(chunks_between(start, stop), found, strict=True):
            piece = _cut(plain, index, start, stop)
            if piece is plain:
                self._chunks.used_up(entry)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _require_content(self) -> None:
        if self._depth == THINNED:
            raise UnavailableError(
                "this version is kept no longer, and what replaced it has not arrived: connect a peer that has it"
            )

    async def _load_leaf(self, index: int) -> None:
        at, below = leaf_place(index, self._depth)
        body, depth = self._body, self._depth
        while depth > 0:
            entry = body[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES]
            leaf = self._leaves.get(entry)
            if leaf is None:
                self._leaves[entry] = await self._chunks.plain(entry)
                return
            body, depth = leaf, depth - 1
            at, below = leaf_place(below, depth)


def _cut(plain: bytes, index: int, start: int, stop: int) -> BytesLike:
    """The part of a chunk's plaintext that was asked for; what the plaintext lacks at its end is zeros."""
    begin, end = chunk_span(index)
    low, high = max(start, begin) - begin, min(stop, end) - begin
    if low == 0 and high == len(plain):
        return plain
    if high <= len(plain):
        return memoryview(plain)[low:high]
    return bytes(plain[low:high]).ljust(high - low, b"\0")
