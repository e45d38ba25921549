"""Open files: who has what open, what was written and not yet settled, and turning that into versions.

A version of a file is made when its last writing handle is closed, on fsync, and when the share stops: chunks are
sealed and stored, made durable together with those of other files, and only then the version record is written. Until
then every reader on this computer sees the written bytes from memory. An open handle keeps the version it was
opened with when another peer changes the file; later opens see the new one.
"""

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from syncfs.engine.ahead import ReadAhead
from syncfs.engine.chunks import ChunkCache
from syncfs.engine.content import BytesLike, Content
from syncfs.engine.dirty import Dirty
from syncfs.engine.feed import Feed
from syncfs.engine.journals import Header, Journals, is_stale
from syncfs.engine.siblings import SMALL_FILE, Siblings
from syncfs.index.index import Index, Node
from syncfs.model.chunking import INLINE_LIMIT, chunk_count
from syncfs.model.errors import DamageError, PosixError, SyncfsError
from syncfs.model.ids import NodeId, Stamp, make_stamp
from syncfs.model.manifest import FAN_OUT, depth_for, join_entries, leaves
from syncfs.model.records import HOLE, INLINE, VersionRecord
from syncfs.store.journal import Extent, Replay

_log = logging.getLogger(__name__)

DIRTY_BYTES = 48 * 1024 * 1024
"""Written bytes kept in memory over all files; a writer beyond waits until some are sealed."""
SETTLE_TASKS = 64
CUT_TASKS = 4
PUT_BYTES = 4 * 1024 * 1024
CUT_FACTOR = 4
"""An fsync goes to a journal where cutting chunks would write so many times more than was written."""


@dataclass(slots=True, eq=False)
class OpenFile:
    """The content of one node as those who opened it see it."""

    ino: int
    node: NodeId
    base: tuple[Stamp, ...]
    content: Content
    dirty: Dirty | None = None
    handles: int = 0
    writers: int = 0
    versions: int = 0
    lock: trio.Lock = field(default_factory=trio.Lock)


@dataclass(slots=True, eq=False)
class Handle:
    """One open(2)."""

    file: OpenFile
    writing: bool
    append: bool
    ahead: ReadAhead


class Files:
    """The open files of one share."""

    def __init__(
        self,
        index: Index,
        feed: Feed | None,
        chunks: ChunkCache,
        siblings: Siblings,
        journals: Journals,
        nursery: trio.Nursery,
        wall: Callable[[], int],
    ) -> None:
        self._index = index
        self._feed = feed
        self._chunks = chunks
        self._siblings = siblings
        self._journals = journals
        self._nursery = nursery
        self._wall = wall
        self._files: dict[int, OpenFile] = {}
        self._unsettled: set[OpenFile] = set()
        self._handles: dict[int, Handle] = {}
        self._next_handle = 1
        self._shown: dict[int, Stamp | None] = {}
        self._settling = trio.CapacityLimiter(SETTLE_TASKS)
        self._cutting = trio.CapacityLimiter(CUT_TASKS)
        self._room = trio.Event()
        self._idle = trio.Event()
        self.failure = ""
        """Why the last written data could not be settled, for `status`; empty when all is well."""

    def dirty_of(self, ino: int) -> Dirty | None:
        """The unsettled state of a node, which its attributes come from."""
        file = self._files.get(ino)
        return file.dirty if file is not None else None

    def is_open(self, ino: int) -> bool:
        """Whether anybody on this computer has the node open."""
        file = self._files.get(ino)
        return file is not None and file.handles > 0

    def open(self, node: Node, flags: int) -> tuple[int, bool]:
        """Open a regular file: (handle, whether the kernel's cached pages still show this content)."""
        if node.kind != stat.S_IFREG:
            raise PosixError(21 if node.is_directory else 6)
        file = self._file(node)
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        file.handles += 1
        file.writers += writing
        keep = node.ino in self._shown and self._shown[node.ino] == node.head
        self._shown[node.ino] = node.head
        handle = self._next_handle
        self._next_handle += 1
        self._handles[handle] = Handle(file, writing, bool(flags & os.O_APPEND), ReadAhead(self._chunks))
        return handle, keep

    def handle(self, number: int) -> Handle:
        """An open handle. Raises PosixError."""
        found = self._handles.get(number)
        if found is None:
            raise PosixError(9)
        return found

    async def read(self, number: int, offset: int, size: int) -> BytesLike:
        """Bytes of an open file. Raises UnavailableError, SetupError, PosixError."""
        handle = self.handle(number)
        file = handle.file
        if file.dirty is not None:
            return await file.dirty.read(offset, offset + size, self._chunks.plain)
        content = file.content
        handle.ahead.note(content, offset, offset + size)
        ready = content.read_ready(offset, offset + size)
        if ready is not None:
            return ready
        if content.size <= SMALL_FILE:
            await self._siblings.bring(file.ino)
        return await content.read(offset, offset + size)

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Put bytes into an open file; returns how many. Raises UnavailableError, SetupError, PosixError."""
        handle = self.handle(number)
        file = handle.file
        while self._held() > DIRTY_BYTES:
            await self._make_room(file)
        dirty = file.dirty or await self._begin(file)
        for index in dirty.write(offset, data, self._wall()):
            plain = dirty.complete_plain(index)
            if plain is not None:
                dirty.begin_cut(index, plain)
                self._nursery.start_soon(self._cut, dirty, index, plain)
        return len(data)

    async def truncate(self, node: Node, size: int) -> None:
        """Set a file's size. Raises UnavailableError, SetupError."""
        file = self._file(node)
        if file.dirty is None and size == file.content.size:
            self._dispose(file)
            return
        file.handles += 1
        try:
            dirty = file.dirty or await self._begin(file)
            await dirty.truncate(size, self._chunks.plain, self._wall())
        finally:
            file.handles -= 1
        self._settle_if_unwritten(file)

    async def fsync(self, number: int) -> None:
        """Make everything written to the file so far durable. Raises SetupError, UnavailableError.

        The first fsync of a small file makes a version, since a program that saves once and closes is the normal case.
        Where that would write over much more than was written, a journal takes just that.
        """
        file = self.handle(number).file
        if file.dirty is not None and self._feed is not None and not self._is_unlinked(file):
            if self._journal_pays(file, file.dirty):
                async with file.lock:
                    if file.dirty is not None and not file.dirty.has_cuts:
                        await self._journals.save(file.dirty, file.node, file.base, file.content.size)
            else:
                await self.settle(file)
        if self._feed is not None:
            await self._feed.durable()

    def _journal_pays(self, file: OpenFile, dirty: Dirty) -> bool:
        if dirty.has_cuts or dirty.size <= INLINE_LIMIT:
            return False
        return file.versions > 0 or self._journals.has(dirty) or dirty.settling_costs_more(CUT_FACTOR)

    def release(self, number: int) -> None:
        """Close a handle; the last writing one begins to make a version."""
        handle = self._handles.pop(number, None)
        if handle is None:
            return
        file = handle.file
        file.handles -= 1
        file.writers -= handle.writing
        self._settle_if_unwritten(file)

    async def settle_node(self, ino: int) -> None:
        """Make a version of what was written to a node, if anything."""
        file = self._files.get(ino)
        if file is not None and file.dirty is not None:
            await self.settle(file)

    async def settle_all(self) -> None:
        """Make versions of everything written so far. Raises SetupError, UnavailableError."""
        for file in list(self._unsettled):
            await self.settle(file)

    @property
    def unsettled(self) -> int:
        """How many files have bytes that are in no version yet."""
        return len(self._unsettled)

    def replaced(self, ino: int) -> bool:
        """A peer changed the content: later opens see it, open handles keep theirs. True while handles are open."""
        file = self._files.get(ino)
        if file is None:
            self._shown.pop(ino, None)
            return False
        if file.handles == 0 and file.dirty is None:
            del self._files[ino]
            self._shown.pop(ino, None)
            return False
        node = self._index.nodes.get(ino)
        if node is not None and node.head not in file.base:
            del self._files[ino]
            self._shown.pop(ino, None)
        return file.handles > 0

    def forget(self, ino: int) -> None:
        """The kernel has dropped a node and its pages."""
        self._shown.pop(ino, None)

    async def settle(self, file: OpenFile) -> None:
        """Make a version of what was written to a file until now. Raises SetupError, UnavailableError."""
        async with file.lock:
            dirty = file.dirty
            if dirty is None:
                return
            try:
                await self._settle(file, dirty)
                self.failure = ""
            except SyncfsError as error:
                self.failure = str(error)
                raise
        self._wake()
        self._dispose(file)

    async def _settle(self, file: OpenFile, dirty: Dirty) -> None:
        size, mtime, ctime = dirty.size, dirty.mtime, dirty.ctime
        if self._is_unlinked(file):
            if file.handles == 0:
                self._drop(file)
            return
        if size <= INLINE_LIMIT:
            depth, body = INLINE, bytes(await dirty.read(0, size, self._chunks.plain)).ljust(size, b"\0")
        else:
            await self._cut_touched(dirty)
            depth, body = await self._manifest(dirty, size)
            await self._chunks.sync()
        if file.dirty is not dirty or self._is_unlinked(file) or self._feed is None:
            return
        adds, dirty.adds = dirty.adds, []
        record = VersionRecord(self._feed.tick(), ctime, file.node, file.base, size, mtime, depth, body)
        self._feed.record([record], adds)
        head = self._index.nodes.must(file.ino).head
        assert head is not None
        file.base = (make_stamp(record.lamport, self._feed.device),)
        file.versions += 1
        file.content = Content(size, depth, body, self._chunks)
        if self._shown.get(file.ino) is not None or file.ino in self._shown:
            self._shown[file.ino] = head
        unchanged = (size, mtime, ctime) == (dirty.size, dirty.mtime, dirty.ctime)
        if unchanged and (dirty.settled or size <= INLINE_LIMIT):
            file.dirty = None
            self._unsettled.discard(file)
        else:
            dirty.rebase()
        if self._journals.has(dirty):
            await self._feed.durable()
            await self._journals.settled(dirty)

    async def recover(self) -> None:
        """Take in the journals of an earlier process that was killed; `failure` tells of what could not be."""
        assert self._feed is not None
        for path in self._journals.left():
            try:
                found = self._journals.open_left(path)
                if found is not None:
                    with found[0]:
                        if not is_stale(self._index, found[1], self._feed.device):
                            await self._take_in(*found)
                            await self._feed.durable()
                        if found[0].damage:
                            raise DamageError(f"the journal {path} is damaged in part: compare the file with a backup")
                path.unlink()
            except SyncfsError as error:
                self.failure = str(error)
                _log.error("a journal was not taken in: %s", error)

    async def _take_in(self, journal: Replay, header: Header) -> None:
        node = self._index.nodes.must(self._index.nodes.intern(header.node))
        file = self._file(node)
        if header.base and file.base != header.base:
            version = self._index.version(header.base[0])
            if version is None:
                raise DamageError(f"the journal {journal.path} belongs to a version that is not here: run syncfs check")
            content = Content(version.size, version.depth, version.body, self._chunks)
            file = OpenFile(node.ino, node.node, (version.stamp,), content)
        dirty = file.dirty or await self._begin(file)
        for entry in journal.entries:
            if isinstance(entry, Extent):
                dirty.write(entry.offset, journal.read(entry), self._wall())
                if dirty.held > DIRTY_BYTES:
                    await self._cut_touched(dirty)
            else:
                await dirty.truncate(entry.size, self._chunks.plain, self._wall())
        await self.settle(file)

    async def _cut_touched(self, dirty: Dirty) -> None:
        """Seal all chunks that hold written bytes, and wait for those already being sealed."""
        while not dirty.settled:
            batch: list[tuple[int, bytes]] = []
            weight = 0
            for index in dirty.touched_chunks():
                plain = await dirty.chunk(index, self._chunks.plain)
                batch.append((index, plain))
                weight += len(plain)
                if weight >= PUT_BYTES:
                    break
            if not batch:
                await self._idle.wait()
                continue
            for index, plain in batch:
                dirty.begin_cut(index, plain)
            await self._seal(dirty, batch)

    async def _cut(self, dirty: Dirty, index: int, plain: bytes) -> None:
        """Seal one completed chunk in the background."""
        async with self._cutting:
            try:
                await self._seal(dirty, [(index, plain)])
            except Exception as error:
                self._report(error)

    def _report(self, error: Exception) -> None:
        """A failure in the background: the bytes stay in memory, and the share goes on."""
        self.failure = str(error) if isinstance(error, SyncfsError) else f"an internal error ({error!r}): see the log"
        _log.error("written data could not be stored yet: %s", self.failure, exc_info=error)

    async def _seal(self, dirty: Dirty, batch: list[tuple[int, bytes]]) -> None:
        try:
            full = [plain for _, plain in batch if _has_bytes(plain)]
            entries = iter(await self._chunks.put(full))
            for index, plain in batch:
                dirty.end_cut(index, plain, next(entries) if _has_bytes(plain) else HOLE)
        except BaseException:
            for index, plain in batch:
                dirty.undo_cut(index, plain)
            raise
        finally:
            self._wake()

    async def _manifest(self, dirty: Dirty, size: int) -> tuple[int, bytes]:
        count = chunk_count(size)
        depth, entries = depth_for(count), dirty.entries(size)
        for _ in range(depth):
            parts = leaves(entries, count)
            entries = dict(zip(parts, await self._chunks.put(list(parts.values())), strict=True))
            dirty.adds += [entry[-32:] for entry in entries.values()]
            count = -(-count // FAN_OUT)
        return depth, join_entries(entries, count)

    def _file(self, node: Node) -> OpenFile:
        file = self._files.get(node.ino)
        if file is None:
            base: tuple[Stamp, ...] = ()
            content = Content(0, INLINE, b"", self._chunks)
            version = self._index.version(node.head) if node.head is not None else None
            if version is not None:
                base = (version.stamp,)
                content = Content(version.size, version.depth, version.body, self._chunks)
            file = self._files[node.ino] = OpenFile(node.ino, node.node, base, content)
        return file

    async def _begin(self, file: OpenFile) -> Dirty:
        content = file.content
        entries = await content.entries()
        if file.dirty is None:
            file.dirty = Dirty(content.size, entries, self._wall())
            if content.inline:
                file.dirty.write(0, content.inline, self._wall())
            self._unsettled.add(file)
        return file.dirty

    def _settle_if_unwritten(self, file: OpenFile) -> None:
        if file.writers == 0 and file.dirty is not None:
            self._nursery.start_soon(self._settle_soon, file)
        else:
            self._dispose(file)

    async def _settle_soon(self, file: OpenFile) -> None:
        async with self._settling:
            try:
                await self.settle(file)
            except SyncfsError:
                return  # kept in memory; `failure` says why, and the next fsync, close or flush tries again
            except Exception as error:
                self._report(error)

    def _dispose(self, file: OpenFile) -> None:
        if file.handles == 0 and file.dirty is None and self._files.get(file.ino) is file:
            del self._files[file.ino]
        elif file.handles == 0 and file.dirty is not None and self._is_unlinked(file):
            self._drop(file)

    def _drop(self, file: OpenFile) -> None:
        file.dirty = None
        self._unsettled.discard(file)
        if self._files.get(file.ino) is file:
            del self._files[file.ino]

    def _is_unlinked(self, file: OpenFile) -> bool:
        node = self._index.nodes.get(file.ino)
        return node is None or node.nlink == 0

    def _held(self) -> int:
        return sum(file.dirty.held for file in self._unsettled if file.dirty is not None)

    async def _make_room(self, file: OpenFile) -> None:
        cutting = any(one.dirty is not None and one.dirty.cutting for one in self._unsettled)
        if cutting:
            await self._idle.wait()
        else:
            largest = max(self._unsettled, key=lambda one: one.dirty.held if one.dirty else 0)
            if largest.dirty is not None:
                await self._cut_touched(largest.dirty)

    def _wake(self) -> None:
        self._idle.set()
        self._idle = trio.Event()


def _has_bytes(plain: bytes) -> bool:
    return bool(plain[:64].strip(b"\0") or plain.strip(b"\0"))
