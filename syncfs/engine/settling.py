"""Settling: making versions of what was written.

The chunks of a version are sealed, stored and made durable before its record is written, so no record ever tells of
content that a loss of power could take away. What many programs wrote at once is settled together: one flush of the
disk and one batch of records. While requests keep coming, settling waits a little, as the writeback of a disk does.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import trio

from syncfs.engine.chunks import ChunkCache
from syncfs.engine.content import Content
from syncfs.engine.dirty import Dirty
from syncfs.engine.feed import Feed
from syncfs.engine.journals import Journals
from syncfs.engine.openfile import OpenFile
from syncfs.index.index import Index
from syncfs.model.chunking import INLINE_LIMIT, chunk_count, chunk_span
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address, Stamp, make_stamp
from syncfs.model.manifest import FAN_OUT, depth_for, join_entries, leaves
from syncfs.model.records import HOLE, INLINE, VersionRecord

DIRTY_BYTES = 48 * 1024 * 1024
"""Written bytes kept in memory over all files; a writer beyond waits until some are sealed."""
EAGER_BYTES = DIRTY_BYTES // 3
"""Beyond this, settling no longer waits for a quiet moment."""
QUIET_SECONDS = 0.004
LONGEST_WAIT = 1.0
"""Settling a closed file waits for a moment without requests, but no longer than this."""
TOGETHER = 200
"""Small files settled in one batch."""
SMALL_FILE = 64 * 1024
RETRY_SECONDS = 5.0
"""When to try again to settle a closed file that could not be settled, as on a full disk."""
CUT_TASKS = 4
PUT_BYTES = 4 * 1024 * 1024

_log = logging.getLogger(__name__)


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
        self._progress = trio.Event()
        self._cutting = trio.CapacityLimiter(CUT_TASKS)
        self._held = 0
        self.activity = 0
        """Counts requests, so that a burst of them is noticed."""
        self._failed: dict[OpenFile, str] = {}
        self._cut_failure = ""

    @property
    def failure(self) -> str:
        """Why written data could not be settled, for `status`; empty when all is well."""
        return next(iter(self._failed.values()), self._cut_failure)

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

    def holds_more_than(self, limit: int) -> bool:
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

        Returns those files, and how many versions have been made of each now.
        """
        made: dict[OpenFile, int] = {}
        for file, versions in since.items():
            if file in self._unsettled and file.versions == versions and file.writers:
                try:
                    await self.settle(file)
                    made[file] = file.versions
                except SyncfsError as error:
                    _log.warning("no version of an open file could be made: %s", error)
        return made

    async def settle(self, file: OpenFile, asked: bool = False) -> None:
        """Make a version of what was written to a file until now. Raises SetupError, UnavailableError.

        `asked` marks it as one that history keeps, however soon the next one follows; so does an fsync that went to a
        journal.
        """
        async with file.lock:
            dirty = file.dirty
            if dirty is None:
                return
            self._closed.pop(file, None)
            try:
                await self._settle(file, dirty, asked or self._journals.has(dirty))
                self._failed.pop(file, None)
            except BaseException as error:
                dirty.has_cuts = True
                if isinstance(error, Exception):
                    self._failed[file] = _told(error)
                    self._news.set()
                raise
        self._made_progress()

    async def make_room(self) -> None:
        """Wait until less is in memory; for a writer that meets DIRTY_BYTES. Raises SetupError, UnavailableError."""
        dirty_ones = [file.dirty for file in self._unsettled if file.dirty is not None]
        if any(dirty.cutting for dirty in dirty_ones):
            await self._progress.wait()
        elif dirty_ones:
            await self._cut_touched(max(dirty_ones, key=lambda dirty: dirty.held))

    async def cut(self, dirty: Dirty, index: int, plain: bytes) -> None:
        """Seal one completed chunk in the background."""
        try:
            async with self._cutting:
                await self._seal(dirty, [(index, plain)])
            await self._chunks.sync()  # now, so that little is left to wait for when the file is closed
            self._cut_failure = ""
        except Exception as error:
            self._cut_failure = _told(error)
            self._report(error)

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
                self._report(error)
            for file in closed:
                try:
                    await self.settle(file)
                except Exception as error:
                    self._report(error)
            if self._failed:
                again = min(again, trio.current_time() + RETRY_SECONDS)

    async def _quiet_moment(self) -> None:
        deadline = trio.current_time() + LONGEST_WAIT
        while trio.current_time() < deadline and not self.holds_more_than(EAGER_BYTES):
            before = self.activity
            await trio.sleep(QUIET_SECONDS)
            if self.activity == before:
                return

    def _report(self, error: Exception) -> None:
        """A failure in the background: the bytes stay in memory, and the share goes on."""
        trace = None if isinstance(error, SyncfsError) else error
        _log.error("written data could not be stored yet: %s", _told(error), exc_info=trace)
        self._made_progress()

    async def _settle_together(self, files: Sequence[OpenFile]) -> None:
        """Settle those of the files that are small and held whole in memory, in batches; the others are left."""
        for start in range(0, len(files), TOGETHER):
            batch: list[tuple[OpenFile, Dirty, bytes]] = []
            for file in files[start : start + TOGETHER]:
                plain = self._whole(file)
                if plain is not None and file.dirty is not None:
                    file.lock.acquire_nowait()
                    file.dirty.begin_version()
                    batch.append((file, file.dirty, plain))
            try:
                if batch:
                    await self._settle_batch(batch)
            except BaseException:
                for _, dirty, _ in batch:
                    dirty.has_cuts = True
                raise
            finally:
                for file, _, _ in batch:
                    file.lock.release()

    def _whole(self, file: OpenFile) -> bytes | None:
        """All bytes of a small dirty file that nobody settles now and that has one chunk at most."""
        dirty = file.dirty
        if dirty is None or file.lock.locked() or self.is_given_up(file) or self._journals.has(dirty):
            return None
        small = dirty.size <= min(SMALL_FILE, chunk_span(0)[1]) and not dirty.has_cuts
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
                dirty.has_cuts = True
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
        inline = await self._ready_for_version(dirty)
        size, mtime, ctime = dirty.size, dirty.mtime, dirty.ctime
        dirty.begin_version()
        depth, body = (INLINE, inline) if inline is not None else await self._manifest(dirty, size)
        if inline is None:
            await self._chunks.sync()
        if file.dirty is not dirty or self.is_given_up(file):
            dirty.has_cuts = True
            return
        record = VersionRecord(self._feed.tick(), ctime, file.node, file.base, size, mtime, depth, body, asked)
        self._feed.record([record], dirty.adds)
        self._chunks.fresh.needed(map(Address, dirty.take_adds()))
        same = (size, mtime, ctime) == (dirty.size, dirty.mtime, dirty.ctime)
        self._took(file, dirty, record, same and (dirty.settled or depth == INLINE))
        if self._journals.has(dirty):
            await self._feed.durable()
            await self._journals.settled(dirty)

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
        self._journals.forget(dirty)
        self._settled(file, stamp)

    async def _ready_for_version(self, dirty: Dirty) -> bytes | None:
        """Bring a file to where a version can be made of it at once: gives its bytes if small, else seals all."""
        while True:
            if dirty.size > INLINE_LIMIT:
                await self._cut_touched(dirty)
                if dirty.size > INLINE_LIMIT:
                    return None
            else:
                plain = bytes(await dirty.read(0, INLINE_LIMIT, self._chunks.plain))
                if len(plain) == dirty.size:
                    return plain

    async def _cut_touched(self, dirty: Dirty) -> None:
        """Seal all chunks that hold written bytes, and wait for those already being sealed."""
        while not dirty.settled:
            batch: list[tuple[int, bytes]] = []
            try:
                for index in dirty.touched_chunks():
                    plain = await dirty.chunk(index, self._chunks.plain)
                    dirty.begin_cut(index, plain)  # at once: a write during the next await must go over it
                    batch.append((index, plain))
                    if sum(len(plain) for _, plain in batch) >= PUT_BYTES:
                        break
            except BaseException:
                for index, plain in batch:
                    dirty.undo_cut(index, plain)
                raise
            if not batch:
                await self._progress.wait()
                continue
            await self._seal(dirty, batch)

    async def _seal(self, dirty: Dirty, batch: Sequence[tuple[int, bytes]]) -> None:
        try:
            full = [plain for _, plain in batch if has_bytes(plain)]
            entries = iter(await self._chunks.put(full))
            for index, plain in batch:
                replaced = dirty.end_cut(index, plain, next(entries) if has_bytes(plain) else HOLE)
                if replaced is not None:
                    self._chunks.fresh.give_up([Address(replaced)])
            self._cut_failure = ""
        except BaseException:
            for index, plain in batch:
                dirty.undo_cut(index, plain)
            raise
        finally:
            self._made_progress()

    async def _manifest(self, dirty: Dirty, size: int) -> tuple[int, bytes]:
        count = chunk_count(size)
        depth, entries = depth_for(count), dirty.entries(size)
        for _ in range(depth):
            parts = leaves(entries, count)
            entries = dict(zip(parts, await self._chunks.put(list(parts.values())), strict=True))
            for entry in entries.values():
                dirty.add(entry)
            count = -(-count // FAN_OUT)
        return depth, join_entries(entries, count)

    def _made_progress(self) -> None:
        self._progress.set()
        self._progress = trio.Event()


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SyncfsError) else f"an internal error ({error!r}): see the log"


def has_bytes(plain: bytes) -> bool:
    """Whether a chunk has any byte that is not zero; cheap for the first look."""
    return bool(plain[:64].strip(b"\0") or plain.strip(b"\0"))
