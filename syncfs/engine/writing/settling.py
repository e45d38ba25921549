"""Settling: making versions of what was written.

The chunks of a version are sealed, stored and made durable before its record is written, so no record ever tells of
content that a loss of power could take away. What many programs wrote at once is settled together: one flush of the
disk and one batch of records. While requests keep coming, settling waits a little, as the writeback of a disk does.

When memory is short no version is made: what was written goes to the journals of the files, and is read from there.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import trio

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.chunks.content import Content
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.writing.cutting import Cutter, told
from syncfs.engine.writing.dirty import Dirty, Frozen
from syncfs.engine.writing.journals import Journals
from syncfs.engine.writing.openfile import OpenFile
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.index.index import Index
from syncfs.model.chunking import INLINE_LIMIT, chunk_span
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address, Stamp, make_stamp
from syncfs.model.records import INLINE, VersionRecord

DIRTY_BYTES = 48 * 1024 * 1024
"""Written bytes kept in memory over all files; a writer beyond waits until some are sealed or in a journal."""
OPEN_FACTOR = 4
"""A file that stays open gets a version where that seals at most so many times more than was written to it."""
OPEN_BYTES_PER_SECOND = 128 * 1024
"""So much more may be sealed for each second since the version before."""
QUIET_SECONDS = 0.004
LONGEST_WAIT = 1.0
"""Settling a closed file waits for a moment without requests, but no longer than this."""
TOGETHER = 200
"""Small files settled in one batch."""
SMALL_FILE = 64 * 1024
RETRY_SECONDS = 5.0
"""When to try again to settle a closed file that could not be settled, as on a full disk."""

_log = logging.getLogger(__name__)


def is_due(cost: int, written: int, seconds: float) -> bool:
    """Whether a version of an open file that would seal `cost` bytes is worth it.

    `written` bytes were written since the version before, which is so many seconds ago.
    """
    return cost <= OPEN_FACTOR * written + OPEN_BYTES_PER_SECOND * seconds


class Settler:
    """Makes versions of dirty files, now or soon."""

    def __init__(
        self,
        index: Index,
        feed: Feed | None,
        chunks: ChunkCache,
        journals: Journals,
        wall: Callable[[], int],
        settled: Callable[[OpenFile, Stamp | None], None],
        limit: int = DIRTY_BYTES,
    ) -> None:
        """`settled` hears of each version made with its stamp, and of each file that no longer needs one with None."""
        self._index = index
        self._feed = feed
        self._chunks = chunks
        self._journals = journals
        self._wall = wall
        self._settled = settled
        self._unsettled: dict[OpenFile, None] = {}
        self._closed: dict[OpenFile, None] = {}
        self._news = trio.Event()
        self.cutter = Cutter(chunks)
        self._limit = limit
        self._held = 0
        self.activity = 0
        """Counts requests, so that a burst of them is noticed."""
        self._failed: dict[OpenFile, str] = {}

    @property
    def failure(self) -> str:
        """Why written data could not be settled, for `status`; empty when all is well."""
        return next(iter(self._failed.values()), self.cutter.failure)

    @property
    def unsettled(self) -> int:
        """How many files have bytes that are in no version yet."""
        return len(self._unsettled)

    def files(self) -> list[OpenFile]:
        """The files that have bytes that are in no version yet."""
        return list(self._unsettled)

    def wrote(self, size: int) -> None:
        """So many more bytes are in memory."""
        self._held += size

    @property
    def is_full(self) -> bool:
        """Whether more written bytes are in memory than may be."""
        return self._holds_more_than(self._limit)

    def _holds_more_than(self, limit: int) -> bool:
        """Whether written bytes in memory exceed `limit`; counted anew only where it seems so."""
        if self._held > limit:
            self._held = sum(file.dirty.held for file in self._unsettled if file.dirty is not None)
        return self._held > limit

    def is_given_up(self, file: OpenFile) -> bool:
        """Whether the last name of the file was taken here, so that nobody will ever ask for a version.

        Who took it elsewhere had not seen what was written here: that brings the file back.
        """
        node = self._index.nodes.get(file.ino)
        return node is None or (
            node.nlink == 0 and self._feed is not None and self._index.taken_by(file.ino) == self._feed.device
        )

    async def begin(self, file: OpenFile) -> Dirty:
        """The unsettled state of a file that is about to be written. Raises UnavailableError, DamageError."""
        while file.dirty is None:
            content = file.content
            entries = await content.entries()
            if file.dirty is None and file.content is content:
                file.dirty = Dirty(content.size, entries, self._wall())
                file.dirty.since = trio.current_time()
                file.dirty.goes_on = file.goes_on
                if content.inline:
                    file.dirty.write(0, content.inline, self._wall())
                self._unsettled[file] = None
        return file.dirty

    def drop(self, file: OpenFile) -> None:
        """Forget what was written: nobody can see it any more."""
        if file.dirty is not None:
            self._chunks.fresh.give_up(map(Address, file.dirty.take_adds()))
        file.dirty = None
        self._unsettled.pop(file, None)
        self._closed.pop(file, None)
        self._failed.pop(file, None)

    def settle_soon(self, file: OpenFile) -> None:
        """The last writer has closed the file."""
        self._closed[file] = None
        self._news.set()

    async def settle_all(self) -> None:
        """Make versions of everything written so far. Raises SetupError, UnavailableError."""
        await self._settle_together(list(self._unsettled))
        for file in list(self._unsettled):
            await self.settle(file)

    async def settle_long_open(self, since: Mapping[OpenFile, int]) -> dict[OpenFile, int]:
        """Make versions of files that are being written and have had none since so many versions were made of them.

        Where a version would cost far more than what was written, it is left for later. Returns those files, and how
        many versions have been made of each now.
        """
        made: dict[OpenFile, int] = {}
        for file, versions in since.items():
            dirty = file.dirty
            if dirty is not None and file.versions == versions and file.writers and self._is_due(dirty):
                try:
                    await self.settle(file)
                    made[file] = file.versions
                except SyncfsError as error:
                    _log.warning("no version of an open file could be made: %s", error)
        return made

    def _is_due(self, dirty: Dirty) -> bool:
        overgrown = dirty.folded and self._journals.is_overgrown(dirty)
        return overgrown or is_due(dirty.cost, dirty.written, trio.current_time() - dirty.since)

    async def settle(self, file: OpenFile, more_time: MoreTime = patient, asked: bool = False) -> None:
        """Make a version of what was written to a file until now. Raises SetupError, UnavailableError.

        `asked` marks it as one that history keeps, however soon the next one follows; so does an fsync that went to a
        journal.
        """
        async with file.locked(more_time):
            dirty = file.dirty
            if dirty is None:
                return
            self._closed.pop(file, None)
            try:
                await self._settle(file, dirty, asked)
                self._failed.pop(file, None)
            except BaseException as error:
                dirty.thaw()
                if isinstance(error, Exception):
                    self._failed[file] = told(error)
                    self._news.set()
                raise
            finally:
                self.cutter.made_progress()

    async def make_room(self, more_time: MoreTime = patient) -> None:
        """Have less in memory; for a writer while `is_full`. Raises SetupError, UnavailableError."""
        files = [(file, file.dirty) for file in self._unsettled if file.dirty is not None]
        if sum(dirty.being_cut for _, dirty in files) > self._limit // 4:
            await self.cutter.progress()
            return
        file, dirty = max(files, key=lambda one: one[1].waiting)
        broken = self._journals.is_broken(dirty)
        if dirty.saving:
            async with dirty.journal_lock:
                return
        if 2 * dirty.live.memory >= dirty.waiting and not broken:
            # Where a version may be on its way that a new journal would have to go over, that is waited for.
            begins = dirty.frozen is None and not self._journals.has(dirty)
            async with file.locked(more_time) if begins else nullcontext():
                if file.dirty is dirty:
                    await self._journals.save(file, dirty)
            return
        async with file.locked(more_time):
            if file.dirty is not dirty or not self.is_full:
                return
            if broken:
                await self.cutter.cut_written(dirty)
            else:
                await self.cutter.cut_some_saved(dirty)

    async def run(self) -> None:
        """Settle closed files, each soon after it was closed, and again where that failed."""
        again = math.inf
        while True:
            with trio.move_on_at(again):
                await self._news.wait()
            self._news = trio.Event()
            await self._quiet_moment()
            closed = list(self._closed)
            self._closed.clear()
            if trio.current_time() >= again:
                closed += [file for file in self._failed if file.writers == 0 and file not in closed]
                again = math.inf
            try:
                await self._settle_together(closed)
            except Exception as error:
                self.cutter.report(error)
            for file in closed:
                try:
                    await self.settle(file)
                except Exception as error:
                    self.cutter.report(error)
            if self._failed:
                again = min(again, trio.current_time() + RETRY_SECONDS)

    async def _quiet_moment(self) -> None:
        deadline = trio.current_time() + LONGEST_WAIT
        while trio.current_time() < deadline and not self._holds_more_than(self._limit // 3):
            before = self.activity
            await trio.sleep(QUIET_SECONDS)
            if self.activity == before:
                return

    async def _settle_together(self, files: Sequence[OpenFile]) -> None:
        """Settle those of the files that are small and held whole in memory, in batches; the others are left."""
        for start in range(0, len(files), TOGETHER):
            batch: list[tuple[OpenFile, Dirty, bytes]] = []
            for file in files[start : start + TOGETHER]:
                plain = self._whole(file)
                if plain is not None and file.dirty is not None:
                    file.lock.acquire_nowait()
                    batch.append((file, file.dirty, plain))
            try:
                if batch:
                    await self._settle_batch(batch)
            finally:
                for file, _, _ in batch:
                    file.lock.release()

    def _whole(self, file: OpenFile) -> bytes | None:
        """All bytes of a small dirty file that nobody settles now and that has one chunk at most."""
        dirty = file.dirty
        if dirty is None or file.lock.locked() or self.is_given_up(file) or self._journals.has(dirty):
            return None
        small = dirty.size <= min(SMALL_FILE, chunk_span(0)[1]) and not dirty.only_version
        return dirty.complete_plain(0) if small and dirty.size else None

    async def _settle_batch(self, batch: Sequence[tuple[OpenFile, Dirty, bytes]]) -> None:
        entries = dict(
            zip(
                [file for file, _, plain in batch if len(plain) > INLINE_LIMIT],
                await self._chunks.put_durably([plain for _, _, plain in batch if len(plain) > INLINE_LIMIT]),
                strict=True,
            )
        )
        assert self._feed is not None
        records: list[VersionRecord] = []
        done: list[tuple[OpenFile, Dirty, VersionRecord, bool]] = []
        for file, dirty, plain in batch:
            if file.dirty is not dirty or self.is_given_up(file):
                continue
            depth, body = (0, entries[file]) if file in entries else (INLINE, plain)
            tick = self._feed.tick()
            record = VersionRecord(tick, dirty.ctime, file.node, file.base, len(plain), dirty.mtime, depth, body)
            records.append(record)
            done.append((file, dirty, record, dirty.complete_plain(0) == plain and dirty.size == len(plain)))
        adds = [record.body[-32:] for record in records if record.depth == 0]
        self._feed.record(records, adds)
        self._chunks.fresh.needed(map(Address, adds))
        for file, dirty, record, unchanged in done:
            self._took(file, dirty, record, unchanged)

    async def _settle(self, file: OpenFile, dirty: Dirty, asked: bool) -> None:
        if self._feed is None:
            return
        if self.is_given_up(file):
            self._settled(file, None)
            return
        while (made := await self._freeze(file, dirty)) is None:
            dirty.thaw()
        frozen, depth, body = made
        if file.dirty is not dirty or self.is_given_up(file):
            dirty.thaw()
            self._settled(file, None)
            return
        asked |= frozen.asked
        size, mtime, ctime = frozen.size, frozen.mtime, frozen.ctime
        record = VersionRecord(self._feed.tick(), ctime, file.node, file.base, size, mtime, depth, body, asked)
        self._feed.record([record], dirty.adds)
        self._chunks.fresh.needed(map(Address, dirty.take_adds()))
        unchanged = (size, mtime, ctime) == (dirty.size, dirty.mtime, dirty.ctime) and not dirty.written_since
        dirty.told(trio.current_time())
        self._journals.recorded(dirty)
        self._took(file, dirty, record, unchanged)
        if self._journals.has(dirty):
            await self._feed.durable()
            await self._journals.settled(dirty, file.dirty is not dirty)

    async def _freeze(self, file: OpenFile, dirty: Dirty) -> tuple[Frozen, int, bytes] | None:
        """Bring what a file is now to where a version can tell of it: gives that, and depth and body.

        None where it was cut short meanwhile.
        """
        await self._journals.freeze(file, dirty)
        frozen = dirty.frozen
        assert frozen is not None
        if frozen.size <= INLINE_LIMIT:
            depth, body = INLINE, await dirty.read_frozen(0, frozen.size, self._chunks.plain)
            if not dirty.torn:
                dirty.hold_frozen(body)
        else:
            await self.cutter.cut_frozen(dirty)
            dirty.begin_version()
            depth, body = await self.cutter.manifest(dirty, frozen.size)
            await self._chunks.sync()
            self.cutter.failure = ""
        return None if dirty.torn else (frozen, depth, body)

    def _took(self, file: OpenFile, dirty: Dirty, record: VersionRecord, unchanged: bool) -> None:
        """A version of a file was recorded; `unchanged` where nothing was written since it was taken."""
        assert self._feed is not None
        stamp = make_stamp(record.lamport, self._feed.device)
        file.base = (stamp,)
        file.versions += 1
        file.content = Content(record.size, record.depth, record.body, self._chunks)
        if unchanged:
            file.dirty = None
            self._unsettled.pop(file, None)
        self._failed.pop(file, None)
        self._settled(file, stamp)
