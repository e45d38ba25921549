"""What a person does with the history: versions, restore, log, conflicts, undo."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import trio

from syncfs.engine.feeds.feed import Feed
from syncfs.engine.history.finding import (
    device_name,
    find,
    kept_versions,
    mtime_of,
    nanoseconds,
    pick_device,
    pick_version,
)
from syncfs.engine.history.purpose import Purpose, end_purpose
from syncfs.engine.history.putting import Putter, past_path
from syncfs.engine.history.trees import TreePutter
from syncfs.engine.history.undo import undo
from syncfs.engine.replication.holding import UNDONE, accepting
from syncfs.engine.replication.replicator import Replicator
from syncfs.engine.tree.volume import Volume
from syncfs.engine.writing.files import Files
from syncfs.index.database import Reader
from syncfs.index.index import ROOT_INO, Index, VersionRow
from syncfs.index.moment import Moment, PastEntry, PastNode
from syncfs.model.errors import UsageError
from syncfs.model.ids import ROOT_NODE, DeviceId, LinkId
from syncfs.model.manifest import entries_of, is_hole
from syncfs.model.records import INLINE, Owner, SettingRecord
from syncfs.model.reports import (
    AcceptReport,
    ConflictReport,
    RestoreReport,
    UndoReport,
    VersionReport,
    moment,
    shown_path,
)

GAP = 10 * 10**9
"""Deletions in one directory that follow each other within so many ns are one deletion to a person."""


class History:
    """The history of one share."""

    def __init__(
        self, index: Index, feed: Feed | None, files: Files, volume: Volume, replicator: Replicator,
        is_here: Callable[[bytes], bool],
    ) -> None:  # fmt: skip
        """`is_here` tells whether the chunk of a manifest entry is on this computer."""
        self._index = index
        self._feed = feed
        self._files = files
        self._volume = volume
        self._replicator = replicator
        self._is_here = is_here
        self._busy = trio.Lock()

    def versions(self, path: bytes) -> list[VersionReport]:
        """The kept versions of a file, newest first. Raises UsageError where there never was one."""
        found = find(self._index, path)
        node = self._index.nodes.must(found.ino)
        if node.is_directory:
            raise UsageError(f"'{shown_path(path)}' is a directory: only files have versions")
        return [
            VersionReport(
                version.stamp.hex(), moment(version.time), version.size, device_name(self._index, version.stamp),
                found.shown and version.stamp in node.shown_heads, self._is_whole(version),
            )
            for version in kept_versions(self._index, found.ino)
        ]  # fmt: skip

    def conflicts(self) -> list[ConflictReport]:
        """The conflict copies that are shown now."""
        reports = []
        rows = self._index.database.rows("SELECT parent, name, link, head FROM entries WHERE head IS NOT NULL")
        for parent, name, _, head in rows:
            found = self._index.entry(parent, name)
            version = self._index.version(head)
            above = self._index.path_of(parent)
            if found is None or version is None or above is None:
                continue
            base = self._index.path_of(found[1].ino)
            reports.append(
                ConflictReport(
                    shown_path(base or b""), shown_path(above + b"/" + name if above else name),
                    device_name(self._index, head), moment(version.time), version.size,
                )
            )  # fmt: skip
        return sorted(reports, key=lambda report: report.conflict_path)

    async def restore(self, path: bytes, version: str | None, time: datetime | None, to: bytes | None) -> RestoreReport:
        """Put an old state back. Raises UsageError, PosixError, SetupError, UnavailableError."""
        feed = self.writable()
        if time is not None and nanoseconds(time) > feed.now():
            raise UsageError(f"{time.isoformat()} is yet to come: name a time that has passed")
        await self._settle(feed)
        async with self._busy:
            feed.commit()
            with (
                self._index.database.reader() as rows,
                self._volume.behind_kernel(),
                self._putting(feed, f"restore {shown_path(path)}") as putter,
            ):
                report = await self._restore(putter, rows, path, version, time, to)
        await feed.durable()
        return report

    async def undo(self, device: str, since: datetime) -> UndoReport:
        """Put back everything that a device did since a time. Raises UsageError, PosixError, SetupError."""
        feed = self.writable()
        who = pick_device(self._index, device)
        await self._settle(feed)
        sequence = self._replicator.holding.accept(who)
        await self._replicator.let_through(who)
        async with self._busy:
            feed.commit()
            with self._volume.behind_kernel():
                what = f"undo {device} since {since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
                with self._putting(feed, what) as putter:
                    done = await undo(self._index, putter, who, nanoseconds(since))
                self._decide(feed, who, f"{sequence}{UNDONE}")
        await feed.durable()
        return UndoReport(self._index.feeds.device_names()[who], since, done.changed, done.kept)

    async def accept(self, device: str | None) -> AcceptReport:
        """Apply what the brake holds of a device, or of all. Raises UsageError, UnavailableError."""
        held = self._replicator.holding.held
        chosen = held if device is None else [pick_device(self._index, device)]
        if not chosen or not set(chosen) <= set(held):
            raise UsageError(
                "nothing waits to be accepted"
                if not held
                else f"nothing of '{device}' waits: 'syncfs status' shows what does"
            )
        records = 0
        for who in chosen:
            records += sum(one.records for one in self._replicator.holding.reports() if one.device == who.hex())
            sequence = self._replicator.holding.accept(who)
            await self._replicator.let_through(who)
            if self._feed is not None and self._feed.may_write:
                self._decide(self._feed, who, str(sequence))
                await self._feed.durable()
        names = self._index.feeds.device_names()
        return AcceptReport([names.get(who) or who.hex()[:8] for who in chosen], records)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _settle(self, feed: Feed) -> None:
        """Have everything recorded that was done here, also when directories were changed."""
        await self._files.settle_all()
        feed.seal()

    async def _restore(
        self, putter: Putter, rows: Reader, path: bytes, version: str | None, time: datetime | None, to: bytes | None
    ) -> RestoreReport:
        then = self._at(rows, nanoseconds(time)) if time is not None else None
        if then is not None and time is not None:
            entry = await trio.to_thread.run_sync(then.resolve, path)
            if entry is None:
                raise UsageError(f"there was no '{shown_path(path)}' at {time.isoformat()}: 'syncfs log' shows when")
            if entry.kind == stat.S_IFREG:
                past = then.node(entry)
                row = self._index.version(past.version) if past.version is not None else None
                return self._restore_file(putter, path, entry, past, row, then, to)
            return await self._restore_tree(putter, path, entry, then, to)
        found = find(self._index, path)
        node = self._index.nodes.must(found.ino)
        if node.kind != stat.S_IFREG:
            if found.shown:
                raise UsageError(
                    f"'{shown_path(path)}' is no file: name a time, as in {shown_path(path)}@2026-05-04T12:00"
                )
            return await self._restore_deleted(putter, rows, path, found.ino, to)
        kept = kept_versions(self._index, found.ino)
        if version is not None:
            chosen = pick_version(self._index, found.ino, version, path)
        elif found.shown:
            older = [one for one in kept if node.head is not None and one.stamp < node.head]
            if not older:
                raise UsageError(f"'{shown_path(path)}' has no older version that is kept")
            chosen = older[0]
        elif kept:
            chosen = kept[0]
        else:
            raise UsageError(
                f"no version of '{shown_path(path)}' is kept any more: history keeps deleted files a while"
            )
        owner = Owner(node.uid, node.gid, node.user, node.group)
        past = PastNode(
            node.ino, node.kind, 0, b"", node.mode, owner, node.xattrs, node.atime, mtime_of(self._index, chosen),
            chosen.time, chosen.size, version=chosen.stamp,
        )  # fmt: skip
        last = next(iter(self._index.links_of(node.ino)), None)
        link = last.link if last is not None else LinkId(node.node)
        entry = PastEntry(b"", node.ino, node.kind, link, (), chosen.stamp)
        before = self._at(rows, _before_deletion(rows, found.ino)) if not found.shown else None
        return self._restore_file(putter, path, entry, past, chosen, before, to)

    def _restore_file(
        self, putter: Putter, path: bytes, entry: PastEntry, past: PastNode, version: VersionRow | None,
        then: Moment | None, to: bytes | None,
    ) -> RestoreReport:  # fmt: skip
        above, name = past_path(path if to is None else to)
        parent = putter.folder(above, then if to is None else None)
        there = self._index.lookup(parent, name)
        if there is not None and there.kind != stat.S_IFREG:
            raise UsageError(f"'{shown_path(path if to is None else to)}' is no file now: choose a place with --to")
        if there is not None and not there.is_copy:
            ino = there.ino
        elif to is None and there is None and self._index.nodes.must(entry.ino).nlink == 0:
            putter.link(entry.link, entry.ino, parent, name)
            ino = entry.ino
        elif there is None:
            ino = putter.make(parent, name, past, version)
        else:
            raise UsageError(f"'{shown_path(path if to is None else to)}' is a conflict copy: choose a place with --to")
        if version is not None:
            node = self._index.nodes.must(ino)
            putter.content(node, version, past.mtime, node.shown_heads[1:])
        if to is None:
            putter.attributes(ino, past)
        shown = shown_path(path if to is None else to)
        return RestoreReport(
            shown, version.stamp.hex() if version else None, moment(version.time if version else past.ctime), past.size
        )

    async def _restore_tree(
        self, putter: Putter, path: bytes, entry: PastEntry, then: Moment, to: bytes | None
    ) -> RestoreReport:
        above, name = past_path(path if to is None else to)
        parent = putter.folder(above, then if to is None else None)
        if to is not None and (not name or self._index.lookup(parent, name) is not None):
            raise UsageError(f"'{shown_path(to)}' is there already: name a place where nothing is")
        copy = to is not None
        if copy and entry.ino == ROOT_INO:
            entry = PastEntry(name, 0, stat.S_IFDIR, LinkId(ROOT_NODE), entry.folders)
            made = putter.make(parent, name, then.node(PastEntry(b"", ROOT_INO, stat.S_IFDIR, entry.link)), None)
            for below in then.entries(entry.folders):
                await TreePutter(self._index, putter, then).put(below, made, below.name, copy=True)
        else:
            await TreePutter(self._index, putter, then).put(entry, parent, name, copy=copy)
        return RestoreReport(
            shown_path(path if to is None else to), None, moment(then.time), putter.bytes, putter.changed
        )

    async def _restore_deleted(
        self, putter: Putter, rows: Reader, path: bytes, ino: int, to: bytes | None
    ) -> RestoreReport:
        """A directory, symlink or special file that is gone comes back as it was before it went, with all in it."""
        then = self._at(rows, await trio.to_thread.run_sync(_before_deletion, rows, ino))
        entry = await trio.to_thread.run_sync(then.resolve, path)
        if entry is None:
            raise UsageError(f"'{shown_path(path)}' went in several steps: name a time, as 'syncfs log' shows them")
        return await self._restore_tree(putter, path, entry, then, to)

    def _at(self, rows: Reader, time: int) -> Moment:
        """The tree at a time in ns."""
        return Moment(rows, time, dict(self._index.feeds.device_names()))

    def _is_whole(self, version: VersionRow) -> bool | None:
        """Whether all chunks of a version are here; None where that cannot be told without reading its manifest."""
        if version.depth == INLINE:
            return True
        here = all(is_hole(entry) or self._is_here(entry) for entry in entries_of(version.body))
        return None if here and version.depth else here

    def _decide(self, feed: Feed, who: DeviceId, decision: str) -> None:
        """Tell the other computers that what a device did until now is decided on."""
        if who != feed.device:
            feed.record([SettingRecord(feed.tick(), feed.now(), accepting(who), decision)])

    @contextmanager
    def _putting(self, feed: Feed, what: str) -> Iterator[Putter]:
        """What is recorded through the putter is known elsewhere as put back by a person, and not held."""
        purpose = Purpose(self._index, feed, what)

        async def turn() -> None:
            """Between two names that are put back: what others do meanwhile is not done on purpose."""
            self.writable()
            purpose.end()
            await self._volume.let_kernel_in()

        try:
            yield Putter(self._index, feed, purpose.begin, turn)
        finally:
            purpose.end()

    def end_purpose(self) -> None:
        """What is recorded from now on is nothing special."""
        if self._feed is not None:
            end_purpose(self._index, self._feed)

    def writable(self) -> Feed:
        """The feed that a person's decision goes to. Raises UsageError where this device may not write."""
        if self._feed is None:
            raise UsageError("this computer may only read this share: do it on one that may write")
        if not self._feed.may_write:
            raise UsageError("this computer must not write for now: 'syncfs status' says why")
        return self._feed


def _before_deletion(rows: Reader, ino: int) -> int:
    """The moment, in ns, before somebody began to delete a node and what was in it."""
    deleted: list[int] = []
    waiting, seen = [ino], set[int]()
    while waiting:
        folder = waiting.pop()
        if folder not in seen:
            seen.add(folder)
            found = rows.rows("SELECT ino, time FROM links WHERE parent = ? AND deleted = 1", (folder,))
            waiting += [below for below, _ in found]
            deleted += [time for _, time in found]
    own = [time for (time,) in rows.rows("SELECT time FROM links WHERE ino = ? AND deleted = 1", (ino,))]
    start = max(own, default=0)
    for time in sorted(deleted, reverse=True):
        if start - GAP <= time <= start:
            start = time
    return start - 1
