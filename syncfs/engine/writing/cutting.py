"""Cutting: what was written to a file becomes sealed chunks."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.writing.dirty import Dirty
from syncfs.engine.writing.repeats import Repeats
from syncfs.model.chunking import chunk_count, chunk_span
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address
from syncfs.model.manifest import FAN_OUT, depth_for, join_entries, leaves
from syncfs.model.records import HOLE

CUT_TASKS = 4
PUT_BYTES = 4 * 1024 * 1024
SYNC_BYTES = 32 * 1024 * 1024
"""Sealed at most without a flush of the disk, so that none takes long, nor a look at what a loss of power left."""

_log = logging.getLogger(__name__)

Show = Callable[[int, int], Awaitable[bytes]]
Begin = Callable[[int, bytes], None]


class Cutter:
    """Seals chunks of dirty files and stores them."""

    def __init__(self, chunks: ChunkCache) -> None:
        self._chunks = chunks
        self._progress = trio.Event()
        self._tasks = trio.CapacityLimiter(CUT_TASKS)
        self._repeats = Repeats(_log)
        self.failure = ""
        """Why written data could not be sealed; empty when all is well."""
        self.sealed: Callable[[], None] = lambda: None
        """Hears of each time that some chunks have been sealed."""

    async def progress(self) -> None:
        """Return when some chunks have been sealed, or that failed."""
        await self._progress.wait()

    def made_progress(self) -> None:
        """Wake who waits for progress."""
        self._progress.set()
        self._progress = trio.Event()

    async def cut(self, dirty: Dirty, index: int, plain: bytes) -> None:
        """Seal one completed chunk in the background."""
        try:
            async with self._tasks:
                await self._seal(dirty, [(index, plain)])
            await self._chunks.sync()  # now, so that little is left to wait for when the file is closed
            self.failure = ""
        except Exception as error:
            self.failure = told(error)
            self.report(error)

    def report(self, error: Exception) -> None:
        """A failure in the background: the bytes stay where they are, and the share goes on."""
        self._repeats.failed(f"written data could not be stored yet: {told(error)}", error)
        self.made_progress()

    async def cut_frozen(self, dirty: Dirty) -> None:
        """Seal all that is frozen, and wait for what is being sealed already. Raises SetupError, UnavailableError."""
        chunks = self._chunks

        async def show(start: int, stop: int) -> bytes:
            return await dirty.read_frozen(start, stop, chunks.plain)

        while not dirty.torn:
            if indexes := dirty.frozen_chunks():
                await self._cut_all(dirty, indexes, show, dirty.begin_cut_frozen)
            elif dirty.being_cut:
                await self._progress.wait()
            else:
                return

    async def cut_some_saved(self, dirty: Dirty) -> None:
        """Seal a few chunks of what lies in the journal, to forget the places. Raises as `cut_frozen`."""
        chunks = self._chunks

        async def show(start: int, stop: int) -> bytes:
            return await dirty.read_saved(start, stop, chunks.plain)

        await self._cut_all(dirty, dirty.saved.touched_chunks(), show, dirty.begin_cut_saved, dirty.saved.memory - 1)

    async def cut_written(self, dirty: Dirty) -> None:
        """Seal what was written, where no journal can take it. Raises as `cut_frozen`."""
        chunks = self._chunks

        async def show(start: int, stop: int) -> bytes:
            return bytes(await dirty.read(start, stop, chunks.plain))

        touched = {*dirty.saved.touched_chunks(), *dirty.live.touched_chunks()}
        await self._cut_all(dirty, sorted(touched), show, dirty.begin_cut)

    async def manifest(self, dirty: Dirty, size: int) -> tuple[int, bytes]:
        """Store the manifest of a file that is cut; gives depth and body. Raises SetupError."""
        count = chunk_count(size)
        depth, entries = depth_for(count), dirty.entries(size)
        for _ in range(depth):
            parts = leaves(entries, count)
            entries = dict(zip(parts, await self._chunks.put(list(parts.values())), strict=True))
            for entry in entries.values():
                dirty.add(entry)
            count = -(-count // FAN_OUT)
        return depth, join_entries(entries, count)

    async def _cut_all(
        self, dirty: Dirty, indexes: Iterable[int], show: Show, begin: Begin, until: int | None = None
    ) -> None:
        waiting, batch, unsynced = iter(indexes), list[tuple[int, bytes]](), 0
        while not dirty.torn and (until is None or dirty.saved.memory > until):
            try:
                for index in waiting:
                    plain = await show(*chunk_span(index))
                    dirty.goes_on()
                    if plain and not dirty.torn:  # otherwise it was cut off meanwhile
                        begin(index, plain)  # at once: a write during the next await must go over it
                        batch.append((index, plain))
                    if sum(len(plain) for _, plain in batch) >= PUT_BYTES:
                        break
            except BaseException:
                for index, plain in batch:
                    dirty.undo_cut(index, plain)
                raise
            if not batch:
                return
            await self._seal(dirty, batch)
            unsynced += sum(len(plain) for _, plain in batch)
            batch = []
            if unsynced >= SYNC_BYTES:
                await self._chunks.sync()
                unsynced = 0

    async def _seal(self, dirty: Dirty, batch: Sequence[tuple[int, bytes]]) -> None:
        try:
            full = [plain for _, plain in batch if has_bytes(plain)]
            entries = iter(await self._chunks.put(full))
            for index, plain in batch:
                replaced = dirty.end_cut(index, plain, next(entries) if has_bytes(plain) else HOLE)
                if replaced is not None:
                    self._chunks.fresh.give_up([Address(replaced)])
            self.failure = ""
            dirty.goes_on()
            self.sealed()
        except BaseException:
            for index, plain in batch:
                dirty.undo_cut(index, plain)
            raise
        finally:
            self.made_progress()


def told(error: Exception) -> str:
    """An error for `status`."""
    return str(error) if isinstance(error, SyncfsError) else f"an internal error ({error!r}): see the log"


def has_bytes(plain: bytes) -> bool:
    """Whether a chunk has any byte that is not zero; cheap for the first look."""
    return bool(plain[:64].strip(b"\0") or plain.strip(b"\0"))
