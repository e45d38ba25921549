"""Keeping the history as long as retention says, and giving back the space of what is kept no longer.

Thinning drops contents, names and attributes that no longer count. Chunks go later and apart from it: those that
perhaps nothing needs are noted (`loose`) in the same transaction in which they were written, or in which a version was
thinned. A collection reads all kept manifests and what open files hold; what is loose and not needed is deleted.
"""

from collections.abc import Callable, Collection, Iterable

import trio

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.keeping.deleting import ChunkDeletion
from syncfs.engine.keeping.retention import (
    DEFAULT,
    SETTING,
    Made,
    Policy,
    dropped_records,
    dropped_versions,
    parse_policy,
)
from syncfs.index.index import Index
from syncfs.index.nodes import split_stamps
from syncfs.model.errors import SyncfsError, UnavailableError, UsageError
from syncfs.model.ids import Address, Stamp
from syncfs.model.manifest import entries_of, is_hole
from syncfs.model.records import INLINE, THINNED
from syncfs.model.reports import CollectReport
from syncfs.store.disk import DiskStore

SOON_SECONDS = 60.0
"""Files that changed are thinned after so long, which is what makes a burst of saves one version."""
PASS_SECONDS = 3600.0
"""All of history is thinned, and chunks collected, so often."""
SETTLED_SECONDS = 300.0
"""What was written stays for so long at least, whether a version tells of it already or not."""
PAGE = 200

InUse = Callable[[], list[tuple[int, bytes, list[bytes]]]]
"""Tells what open files need: the manifest (depth, body) of each, and addresses of further chunks."""


class Collector:
    """Thins and collects; its tasks belong to the share."""

    def __init__(
        self, index: Index, in_use: InUse, chunks: ChunkCache, store: DiskStore, wall: Callable[[], int],
        commit: Callable[[], None], feed: Feed | None,
    ) -> None:  # fmt: skip
        """`feed` tells stores what is needed no more, where this device writes."""
        self._index = index
        self._in_use = in_use
        self._chunks = chunks
        self._store = store
        self._deletion = ChunkDeletion(index, store, commit)
        self._wall = wall
        self._commit = commit
        self._feed = feed
        self._changed: set[int] = set()
        self._written: set[bytes] = set()
        self._written_before: set[bytes] = set()
        self._busy = trio.Lock()

    @property
    def policy(self) -> Policy:
        """The share's retention."""
        try:
            return parse_policy(self._index.setting(SETTING) or DEFAULT)
        except UsageError:
            return parse_policy(DEFAULT)

    def changed(self, inos: Iterable[int]) -> None:
        """These files have other contents."""
        self._changed |= set(inos)

    def wrote(self, addresses: Collection[bytes]) -> None:
        """Chunks are about to be stored, or are here already, for versions to come; these stay for a while."""
        self._index.past.add_loose(addresses)
        self._written.update(addresses)

    def grow_older(self) -> None:
        """What was written before the last call has become part of a version, or of an open file, long since."""
        self._written_before, self._written = self._written, set()

    async def run(self, report: Callable[[Exception], None]) -> None:
        """Thin what changed, and from time to time everything."""
        last = aged = trio.current_time()
        while True:
            with trio.move_on_after(SOON_SECONDS):
                await self._chunks.fresh.enough.wait()
            if trio.current_time() - aged >= SETTLED_SECONDS:
                aged = trio.current_time()
                self.grow_older()
            if self._feed is not None and self._feed.lost:
                continue  # what needs chunks that are here is not all told yet
            try:
                await self.drop_given_up()
                if trio.current_time() - last >= PASS_SECONDS:
                    last = trio.current_time()
                    await self.collect()
                elif self._changed:
                    async with self._busy:
                        await self._thin_files(self._take_changed())
            except SyncfsError as error:
                report(error)

    async def collect(self) -> CollectReport:
        """Drop what retention no longer keeps, and the chunks that nothing needs. Raises SetupError, DamageError."""
        async with self._busy:
            self._take_changed()
            self._take_given_up()
            thinned = await self._thin_all()
            chunks, size = await self._delete(await self._unneeded())
        return CollectReport(chunks, size, thinned)

    async def drop_given_up(self) -> None:
        """Delete what was stored for versions that were never made. Raises SetupError."""
        async with self._busy:
            await self._delete(self._take_given_up())

    def _take_given_up(self) -> set[bytes]:
        given_up = self._chunks.fresh.take()
        self._written -= given_up
        self._written_before -= given_up
        return given_up

    # --- thinning ---------------------------------------------------------------------------------------------------

    def _take_changed(self) -> list[int]:
        changed, self._changed = self._changed, set()
        return sorted(changed)

    async def _thin_all(self) -> int:
        database = self._index.database
        thinned, after = 0, 0
        while rows := database.rows(
            "SELECT ino FROM versions WHERE ino > ? GROUP BY ino HAVING count(*) > 1 OR "
            "(SELECT nlink FROM nodes n WHERE n.ino = versions.ino) = 0 ORDER BY ino LIMIT ?",
            (after, PAGE),
        ):
            after = rows[-1][0]
            thinned += await self._thin_files([ino for (ino,) in rows])
        await self._thin_links()
        await self._thin_values()
        oldest = max(self._wall() - self.policy.longest, -(2**63))
        database.write("DELETE FROM setting_changes WHERE time < ?", (oldest,))
        self._commit()
        return thinned

    async def _thin_files(self, inos: Iterable[int]) -> int:
        thinned = 0
        for ino in inos:
            stamps = self._droppable(ino)
            for stamp in sorted(stamps):
                await self._thin(stamp)
            thinned += len(stamps)
            await trio.lowlevel.checkpoint()
        return thinned

    def _droppable(self, ino: int) -> set[Stamp]:
        database = self._index.database
        node = self._index.nodes.get(ino)
        rows = database.rows(
            "SELECT v.stamp, v.time, v.parents, a.stamp IS NOT NULL, v.depth FROM versions v "
            "LEFT JOIN asked a ON a.stamp = v.stamp WHERE v.ino = ?",
            (ino,),
        )
        if node is None or not rows:
            return set()
        deleted = None
        if node.nlink == 0:
            deleted = database.read("SELECT max(time) FROM links WHERE ino = ?", (ino,))[0]
        made = [Made(Stamp(stamp), time, split_stamps(parents), bool(asked)) for stamp, time, parents, asked, _ in rows]
        dropped = dropped_versions(made, node.all_heads, self._wall(), self.policy, deleted)
        return dropped & {Stamp(row[0]) for row in rows if row[4] != THINNED}

    async def _thin(self, stamp: Stamp) -> None:
        version = self._index.version(stamp)
        if version is None or version.depth == THINNED:
            return
        addresses: set[bytes] = set()
        await self._read_manifest(version.depth, version.body, addresses.add, set())
        with self._index.database.whole():
            # What is not here can be in stores, which hear of it when it is collected.
            self._index.past.add_loose(
                address for address in addresses if self._feed is not None or self._store.has(Address(address))
            )
            self._index.past.thin([stamp])

    async def _thin_links(self) -> None:
        await self._thin_records(
            "SELECT DISTINCT link FROM past_links WHERE link > ? ORDER BY link LIMIT ?",
            "SELECT stamp, time, deleted FROM past_links WHERE link = ?1 UNION "
            "SELECT stamp, time, deleted FROM links WHERE link = ?1",
            "DELETE FROM past_links WHERE link = ? AND stamp = ?",
        )

    async def _thin_records(self, keys: str, records: str, delete: str) -> None:
        after, database = b"", self._index.database
        while rows := database.rows(keys, (after, PAGE)):
            after = rows[-1][0]
            for (key,) in rows:
                found = [(Stamp(stamp), time, bool(deletes)) for stamp, time, deletes in database.rows(records, (key,))]
                for stamp in dropped_records(found, self._wall(), self.policy):
                    database.write(delete, (key, stamp))
            await trio.lowlevel.checkpoint()

    async def _thin_values(self) -> None:
        after, database = (-1, -1), self._index.database
        while rows := database.rows(
            "SELECT DISTINCT ino, grp FROM past_nodes WHERE (ino, grp) > (?, ?) ORDER BY ino, grp LIMIT ?",
            (*after, PAGE),
        ):
            after = rows[-1]
            for ino, group in rows:
                found = [
                    (Stamp(stamp), time, False)
                    for stamp, time in database.rows(
                        "SELECT stamp, time FROM past_nodes WHERE ino = ? AND grp = ?", (ino, group)
                    )
                ]
                gone = dropped_records(found, self._wall(), self.policy)
                if len(found) - len(gone) <= 1:
                    gone = {stamp for stamp, _, _ in found}
                for stamp in gone:
                    database.write(
                        "DELETE FROM past_nodes WHERE ino = ? AND grp = ? AND stamp = ?", (ino, group, stamp)
                    )
            await trio.lowlevel.checkpoint()

    # --- collecting -------------------------------------------------------------------------------------------------

    async def _unneeded(self) -> set[bytes]:
        """The loose chunks that no kept version and no open file needs; those that are needed are noted no more."""
        loose = self._index.past.loose()
        if not loose:
            return set()
        needed: set[bytes] = set()

        def need(address: bytes) -> None:
            if address in loose:
                needed.add(address)

        whole, seen, after = True, set[bytes](), b""
        while rows := self._index.database.rows(
            "SELECT stamp, depth, body FROM versions WHERE stamp > ? AND depth >= 0 ORDER BY stamp LIMIT ?",
            (after, PAGE),
        ):
            after = rows[-1][0]
            for _, depth, body in rows:
                whole &= await self._read_manifest(depth, body, need, seen)
            await trio.lowlevel.checkpoint()
        for depth, body, addresses in self._in_use():
            for address in addresses:
                need(address)
            whole &= await self._read_manifest(depth, body, need, seen)
        self._index.past.settle_loose(needed - self._written - self._written_before)
        return loose - needed if whole else set()

    async def _read_manifest(self, depth: int, body: bytes, take: Callable[[bytes], object], seen: set[bytes]) -> bool:
        """Give the address of each chunk of a manifest; false where a part of it cannot be had."""
        whole = True
        for entry in entries_of(body) if depth != INLINE else ():
            if is_hole(entry):
                continue
            take(entry[-32:])
            if depth == 0 or entry in seen:
                continue
            try:
                part = await self._chunks.plain(entry)
            except UnavailableError:
                whole = False
                continue
            seen.add(entry)
            whole &= await self._read_manifest(depth - 1, part, take, seen)
        return whole

    async def _delete(self, victims: set[bytes]) -> tuple[int, int]:
        claimed = set() if self._feed is None or not victims else self._feed.claimed(victims)

        def needed_again() -> set[bytes]:
            in_use = {address for _, _, addresses in self._in_use() for address in addresses}
            return self._written | self._written_before | in_use

        def forgotten(batch: list[Address]) -> None:
            if self._feed is not None:
                self._feed.drop([one for one in batch if one in claimed])

        return await self._deletion.delete(victims, needed_again, forgotten)
