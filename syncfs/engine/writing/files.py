"""Open files: who has what open, and what they read and write.

Every reader on this computer sees written bytes at once, long before they are in a version (see engine.settling). An
open handle keeps the version it was opened with when another peer changes the file; later opens see the new one.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, nullcontext

import trio

from syncfs.engine.chunks.ahead import ReadAhead
from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.chunks.content import BytesLike, Content
from syncfs.engine.chunks.siblings import SMALL_FILE, Siblings
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.writing.dirty import Dirty
from syncfs.engine.writing.extents import PIECE_BYTES
from syncfs.engine.writing.journals import Header, Journals
from syncfs.engine.writing.journals_left import Left, counted
from syncfs.engine.writing.openfile import Handle, OpenFile
from syncfs.engine.writing.patience import MoreTime, patient
from syncfs.engine.writing.settling import DIRTY_BYTES, Settler
from syncfs.engine.writing.spilled import spilled
from syncfs.index.index import Index, Node
from syncfs.model.chunking import INLINE_LIMIT
from syncfs.model.errors import DamageError, PosixError, SyncfsError
from syncfs.model.ids import Stamp
from syncfs.model.records import INLINE
from syncfs.store.journal import Extent, Replay

CUT_FACTOR = 4
"""An fsync goes to a journal where cutting chunks would write so many times more than was written."""

_log = logging.getLogger(__name__)


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
        limit: int = DIRTY_BYTES,
    ) -> None:
        """At most `limit` written bytes wait in memory."""
        self._index = index
        self._feed = feed
        self._chunks = chunks
        self._siblings = siblings
        self._journals = journals
        self._nursery = nursery
        self._wall = wall
        self._files: dict[int, OpenFile] = {}
        self._handles: dict[int, Handle] = {}
        self._next_handle = 1
        self._replaced_here: Callable[[int], None] = lambda ino: None
        self._journal_failure = ""
        self._shown: dict[int, Stamp | None] = {}
        self.settler = Settler(index, feed, chunks, journals, wall, self._settled, limit)

    @property
    def failure(self) -> str:
        """Why the last written data could not be settled, for `status`; empty when all is well."""
        return self.settler.failure or self._journal_failure

    @property
    def unsettled(self) -> int:
        """How many files have bytes that are in no version yet."""
        return self.settler.unsettled

    def dirty_of(self, ino: int) -> Dirty | None:
        """The unsettled state of a node, which its attributes come from."""
        file = self._files.get(ino)
        return file.dirty if file is not None else None

    def in_use(self) -> list[tuple[int, bytes, list[bytes]]]:
        """What open and unsettled files need: the manifest (depth, body) of each, and addresses of further chunks."""
        files = {*self._files.values(), *(handle.file for handle in self._handles.values()), *self.settler.files()}
        return [(*file.content.manifest, file.dirty.addresses() if file.dirty is not None else []) for file in files]

    def is_open(self, ino: int) -> bool:
        """Whether anybody on this computer has the node open."""
        file = self._files.get(ino)
        return file is not None and file.handles > 0

    def waiting(self, since: float) -> list[OpenFile]:
        """The files with a read that waits for a disk or a peer, or did so since a time of trio's clock."""
        return [file for file in self._files.values() if file.waiting or file.waited >= since]

    def open(self, node: Node, flags: int) -> tuple[int, bool]:
        """Open a regular file: (handle, whether the kernel's cached pages still show this content)."""
        if node.kind != stat.S_IFREG:
            raise PosixError(errno.EISDIR if node.is_directory else errno.ENXIO)
        self.settler.activity += 1
        file = self._file(node)
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        file.handles += 1
        file.writers += writing
        keep = node.ino in self._shown and self._shown[node.ino] == node.head
        self._shown[node.ino] = node.head
        handle = self._next_handle
        self._next_handle += 1
        self._handles[handle] = Handle(file, writing, ReadAhead(self._chunks))
        return handle, keep

    def handle(self, number: int) -> Handle:
        """An open handle. Raises PosixError."""
        found = self._handles.get(number)
        if found is None:
            raise PosixError(errno.EBADF)
        return found

    async def read(self, number: int, offset: int, size: int) -> BytesLike:
        """Bytes of an open file. Raises UnavailableError, SetupError, PosixError."""
        self.settler.activity += 1
        handle = self.handle(number)
        file = handle.file
        if file.dirty is not None:
            return await file.dirty.read(offset, offset + size, self._chunks.plain)
        content = file.content
        handle.ahead.note(content, offset, offset + size)
        ready = content.read_ready(offset, offset + size)
        if ready is not None:
            return ready
        file.waiting += 1
        try:
            if content.size <= SMALL_FILE:
                await self._siblings.bring(file.ino)
            return await content.read(offset, offset + size)
        finally:
            file.waiting -= 1
            file.waited = trio.current_time()

    async def write(self, number: int, offset: int, data: bytes, more_time: MoreTime = patient) -> int:
        """Put bytes into an open file; returns how many. Raises UnavailableError, SetupError, PosixError."""
        settler = self.settler
        settler.activity += 1
        file = self.handle(number).file
        while settler.is_full:
            await settler.make_room(more_time)
            more_time()
        settler.wrote(len(data) + 2 * PIECE_BYTES)  # where it falls into the middle of another, that is cut in two
        dirty = file.dirty or await settler.begin(file)
        for index in dirty.write(offset, data, self._wall(), not self._journals.tells_all(dirty)):
            plain = dirty.complete_plain(index)
            if plain is not None:
                dirty.begin_cut(index, plain)
                self._nursery.start_soon(settler.cutter.cut, dirty, index, plain)
        return len(data)

    async def truncate(self, node: Node, size: int, handle: int | None = None, more_time: MoreTime = patient) -> None:
        """Set a file's size, as a handle sees it if one is given. Raises UnavailableError, SetupError, PosixError."""
        self.settler.activity += 1
        file = self._file(node) if handle is None else self.handle(handle).file
        if file.dirty is None and size == file.content.size:
            self._dispose(file)
            return
        file.handles += 1
        try:
            # Cutting a chunk short may wait for it; nobody may make a version of the file as it was meanwhile.
            async with file.locked(more_time) if size else nullcontext():
                begun = file.dirty is None
                dirty = file.dirty or await self.settler.begin(file)
                as_begun = dirty.mtime
                try:
                    await dirty.truncate(size, self._chunks.plain, self._wall())
                except BaseException:
                    if begun and dirty is file.dirty and dirty.mtime == as_begun:
                        self.settler.drop(file)  # there is nothing to make a version of
                    raise
        finally:
            file.handles -= 1
            self._settle_if_unwritten(file)

    async def fsync(self, number: int, more_time: MoreTime = patient) -> None:
        """Make everything written to the file so far durable. Raises SetupError, UnavailableError.

        The first fsync of a small file makes a version, since a program that saves once and closes is the normal case.
        Where that would write over much more than was written, a journal takes just that.
        """
        file = self.handle(number).file
        if file.dirty is not None and self._feed is not None and not self.settler.is_given_up(file):
            in_journal = await self._save(file, more_time)
            if not in_journal:
                await self.settler.settle(file, more_time, asked=True)
        if self._feed is not None:
            await self._feed.durable()

    def release(self, number: int) -> None:
        """Close a handle; after the last writing one a version is made soon."""
        self.settler.activity += 1
        handle = self._handles.pop(number, None)
        if handle is None:
            return
        file = handle.file
        file.handles -= 1
        file.writers -= handle.writing
        self._settle_if_unwritten(file)

    async def settle_node(self, ino: int, more_time: MoreTime = patient) -> None:
        """Make a version of what was written to a node, if anything. Raises SetupError, UnavailableError."""
        file = self._files.get(ino)
        if file is not None and file.dirty is not None:
            await self.settler.settle(file, more_time)

    async def settle_all(self) -> None:
        """Make versions of everything written so far. Raises SetupError, UnavailableError."""
        await self.settler.settle_all()

    def replaced(self, ino: int) -> bool:
        """A peer changed the content: later opens see it, open handles keep theirs. True while handles are open."""
        file = self._files.get(ino)
        node = self._index.nodes.get(ino)
        if file is None or node is None or node.head not in file.base:
            self._shown.pop(ino, None)
        if file is None:
            return False
        if (file.handles == 0 and file.dirty is None) or (node is not None and node.head not in file.base):
            del self._files[ino]
        return file.handles > 0

    def watch(self, replaced_here: Callable[[int], None]) -> None:
        """Be told where a version made here replaces one that others on this computer have opened since."""
        self._replaced_here = replaced_here

    def forget(self, ino: int) -> None:
        """The kernel has dropped a node and its pages."""
        self._shown.pop(ino, None)

    async def recover(self) -> None:
        """Take in the journals of an earlier process that was killed; `failure` tells of what could not be."""
        assert self._feed is not None
        for path in self._journals.left():
            try:
                found = self._journals.open_left(path)
                if found is None:
                    path.unlink()
                    continue
                await self._recover(*found)
            except SyncfsError as error:
                self._journal_failure = str(error)
                _log.error("a journal was not taken in: %s", error)

    async def _recover(self, journal: Replay, header: Header) -> None:
        assert self._feed is not None
        with ExitStack() as closing:
            closing.callback(journal.close)
            left = counted(self._index, self._feed.device, journal, header)
            if left is not None:
                dirty, file = await self._take_in(journal, header, left)
                self._journals.adopt(dirty, journal)
                closing.pop_all()
                try:
                    await self.settler.settle(file)
                except SyncfsError as error:  # what lies around the written bytes may be with a peer that is away
                    _log.warning("a journal is kept, since no version can be made of it yet: %s", error)
                self._dispose(file)
            elif not journal.damage:
                journal.path.unlink()
            if journal.damage if left is None else left.damage:
                raise DamageError(f"the journal {journal.path} is damaged in part: compare the file with a backup")

    async def _take_in(self, journal: Replay, header: Header, left: Left) -> tuple[Dirty, OpenFile]:
        node = self._index.nodes.must(self._index.nodes.intern(header.node))
        file = self._file(node)
        if left.base and file.base != left.base:
            version = self._index.version(left.base[0])
            if version is None or version.ino != node.ino:
                raise DamageError(f"the journal {journal.path} belongs to a version that is not here: run syncfs check")
            content = Content(version.size, version.depth, version.body, self._chunks)
            file = OpenFile(node.ino, node.node, (version.stamp,), content)
        dirty = await self.settler.begin(file)
        try:
            for entry in left.entries:
                if isinstance(entry, Extent):
                    dirty.take_in(entry.offset, spilled(journal, entry))
                else:
                    await dirty.truncate(entry.size, self._chunks.plain, self._wall())
        except BaseException:
            self.settler.drop(file)
            raise
        dirty.asked = True
        return dirty, file

    async def _save(self, file: OpenFile, more_time: MoreTime) -> bool:
        """Put what was written into the journal where that pays; false where it takes a version."""
        dirty = file.dirty
        if dirty is None or not self._journals.tells_all(dirty):
            async with file.locked(more_time):  # a version may be on its way that the journal would go over
                dirty = file.dirty
                if dirty is None:
                    return True
                if not self._journal_pays(file, dirty) or not await self._journals.save(file, dirty):
                    return False
        elif not await self._journals.save(file, dirty):
            return False
        dirty.asked = True
        return True

    def _journal_pays(self, file: OpenFile, dirty: Dirty) -> bool:
        if dirty.only_version or dirty.size <= INLINE_LIMIT or self._journals.is_broken(dirty):
            return False
        return file.versions > 0 or self._journals.has(dirty) or dirty.settling_costs_more(CUT_FACTOR)

    def _file(self, node: Node) -> OpenFile:
        file = self._files.get(node.ino)
        if file is None:
            base: tuple[Stamp, ...] = ()
            content = Content(0, INLINE, b"", self._chunks)
            version = self._index.version(node.head) if node.head is not None else None
            if version is not None:
                base = (version.stamp, *self._index.hidden_heads(node.ino))
                content = Content(version.size, version.depth, version.body, self._chunks)
            file = self._files[node.ino] = OpenFile(node.ino, node.node, base, content)
        return file

    def _settle_if_unwritten(self, file: OpenFile) -> None:
        if file.writers == 0 and file.dirty is not None and not self.settler.is_given_up(file):
            self.settler.settle_soon(file)
        else:
            self._dispose(file)

    def _settled(self, file: OpenFile, stamp: Stamp | None) -> None:
        if stamp is not None:
            if self._files.get(file.ino, file) is not file:
                # The file was opened again while a peer's version was shown: that may be shown no longer.
                self.replaced(file.ino)
                self._replaced_here(file.ino)
            elif file.ino in self._shown:
                self._shown[file.ino] = stamp
        self._dispose(file)

    def _dispose(self, file: OpenFile) -> None:
        if file.handles:
            return
        if file.dirty is not None and self.settler.is_given_up(file):
            self._nursery.start_soon(self._drop_journal, file, file.dirty)
            self.settler.drop(file)
        if file.dirty is None and self._files.get(file.ino) is file:
            del self._files[file.ino]

    async def _drop_journal(self, file: OpenFile, dirty: Dirty) -> None:
        try:
            async with file.lock:  # a version that nobody needs any more may be on its way, and read the journal
                await self._journals.drop(dirty)
        except SyncfsError as error:
            _log.warning("the journal of a deleted file could not be removed: %s", error)
