"""One share, assembled: index, store, feed, volume, peers, and the tasks that keep them going.

It is opened and closed in opening.py.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from syncfs.crypto.certificates import decode_certificate
from syncfs.crypto.keys import Role, ShareKeys
from syncfs.crypto.sealing import Sealer
from syncfs.discovery.directory import Directory
from syncfs.discovery.fixed import FixedPeers
from syncfs.discovery.lan import LanSource
from syncfs.discovery.sighting import Announcement, Endpoint, Source
from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.chunks.fetch import Fetcher
from syncfs.engine.chunks.filling import StoreFiller
from syncfs.engine.chunks.siblings import Siblings
from syncfs.engine.computer import Computer
from syncfs.engine.feeds.condensing import Condenser
from syncfs.engine.feeds.feed import OWN_FEED_SENTENCE, Feed
from syncfs.engine.feeds.returning import Returner
from syncfs.engine.healing import Healer
from syncfs.engine.history.history import History
from syncfs.engine.history.past_view import PastView
from syncfs.engine.history.whole_volume import WholeVolume
from syncfs.engine.keeping.collecting import Collector
from syncfs.engine.keeping.packing import Packer
from syncfs.engine.keeping.store_collecting import StoreCollector
from syncfs.engine.replication.brake import DEFAULT as DEFAULT_BRAKE
from syncfs.engine.replication.brake import SETTING as BRAKE
from syncfs.engine.replication.brake import parse_limits
from syncfs.engine.replication.clocks import Clocks
from syncfs.engine.replication.holding import Holding
from syncfs.engine.replication.meetings import Meetings
from syncfs.engine.replication.peers import Attendant, Peers
from syncfs.engine.replication.replicator import Replicator
from syncfs.engine.replication.serving import Server
from syncfs.engine.setup import Member, keep_learnt
from syncfs.engine.tree.owners import OwnerView
from syncfs.engine.tree.posix import StatFs
from syncfs.engine.tree.volume import Volume
from syncfs.engine.writing.files import Files
from syncfs.engine.writing.journals import SLACK_BYTES, Journals
from syncfs.engine.writing.openfile import OpenFile
from syncfs.engine.writing.repeats import Repeats
from syncfs.engine.writing.settling import DIRTY_BYTES
from syncfs.index.database import CHECKPOINT_BYTES, RESTART_BYTES
from syncfs.index.index import Changes, Index
from syncfs.index.presence import Presence
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address
from syncfs.store.disk import DiskStore
from syncfs.transport.link import Link
from syncfs.transport.streams import Network, local_port, parse_endpoint
from syncfs.wire.credentials import Credentials

CARRIED_SALT = "carried_salt"
"""The text in a store's index that holds the share's sealed salt, which it passes on to readers and cannot open."""
TIDY_SECONDS = 1.0
"""How often what peers sent is committed, and the log is looked at; only while something changes."""
OPEN_FILE_SECONDS = 30.0
"""A file that is written all the time gets a version so often, though nobody closes it."""
DRAIN_SECONDS = 2.0
FIRST_TREE_SECONDS = 5.0
WHOLE_TREE_SECONDS = 60.0
"""What is told by then is shown, and the rest comes into the mount as it is told."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many written bytes wait in memory, and how much dead space a journal may have; a test hands in others."""

    dirty: int = DIRTY_BYTES
    slack: int = SLACK_BYTES


class Share:
    """A share that is open in this process."""

    def __init__(
        self,
        home: Path,
        member: Member,
        index: Index,
        presence: Presence,
        store: DiskStore,
        nursery: trio.Nursery,
        owners: OwnerView,
        computer: Computer,
        doubted: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        self.home = home
        self.member = member
        self.index = index
        self.presence = presence
        self.store = store
        self._nursery = nursery
        self._computer = computer
        self.started = computer.wall()
        self.stopping = trio.Event()
        self._keys = member.keys
        self._carried_salt = index.feeds.text(CARRIED_SALT)
        self._host = ""
        self._port = 0
        self._tidy = trio.Event()
        self._told = trio.Event()
        self.fetcher = Fetcher()
        read = member.keys.read
        sealer = None if read is None else Sealer(read)
        elsewhere = self._seen_elsewhere
        self.chunks = ChunkCache(store, sealer, self.fetcher, nursery, computer.wall, elsewhere, doubted)
        self.feed: Feed | None = None
        if member.may_write and read is not None:
            self.feed = Feed(
                index, read, member.identity, random=computer.random, wall=computer.wall,
                announce=self._announce, changed=self._own_changed,
            )  # fmt: skip
        siblings = Siblings(index, self.chunks, trio.current_time)
        self.journals = Journals(
            member.directory / "journal", member.identity, self._durable, computer.random, limits.slack
        )
        self.files = Files(index, self.feed, self.chunks, siblings, self.journals, nursery, computer.wall, limits.dirty)
        self.volume = Volume(index, self.feed, self.files, owners, self._space)
        self.holding = Holding(index, parse_limits(member.options.get(BRAKE) or DEFAULT_BRAKE), member.identity.id)
        self.replicator = Replicator(
            index, self.feed, read, self.credentials, self.commit, self._theirs_changed, self.holding
        )
        self.filler = StoreFiller(index.feeds, self.chunks, self.fetcher) if read is None else None
        self.store_collector: StoreCollector | None = None
        if self.filler is not None:
            filler = self.filler
            self.store_collector = StoreCollector(index, presence, store, computer.wall, self.commit, filler.forget)
            self.replicator.applier.want = self._store_wants
            self.chunks.lost = lambda address: filler.want([address])
            self.replicator.applier.gave_up = self.store_collector.gave_up
        self.server = Server(index.feeds, self.feed, self.chunks, self.replicator, elsewhere)
        self.directory = Directory(computer.dice)
        self.clocks = Clocks(computer.seconds)
        self.meetings = Meetings(index, computer.seconds, self._wake_tidy)
        self.history = History(index, self.feed, self.files, self.volume, self.replicator, self.chunks.is_here)
        self.collector = Collector(index, self._in_use, self.chunks, store, computer.wall, self.commit, self.feed)
        self.chunks.wrote = self.collector.wrote
        self.packer = Packer(index, store, self.commit)
        self.healer = Healer(index, store, self.packer, self.commit, self._healed, self._report)
        self.condenser = None if self.feed is None else Condenser(index, self.feed, self.feed.read, computer.wall)
        self.returner = None if read is None else Returner(index, self.feed, read, self._theirs_changed, computer.wall)
        self._past = PastView(index, self.chunks, owners, computer.wall, lambda: self.collector.policy)
        self.shown = WholeVolume(self.volume, self._past)
        """What a mount shows: the volume, with the past in `.syncfs`."""
        self.replicator.applier.took = self.shown.records_came
        self.peers: Peers | None = None
        self._repeats = Repeats(_log)
        self.problem = OWN_FEED_SENTENCE if self.own_feed_lost else ""
        """What keeps the share from working as it should, for `status`."""

    @property
    def own_feed_lost(self) -> bool:
        """Whether this device may not write, until peers have told it what it had written."""
        return self.feed is not None and self.feed.lost

    def credentials(self) -> Credentials:
        """Who we are to peers, as of now."""
        member = self.member
        certificate = None if member.certificate is None else decode_certificate(member.certificate)
        return Credentials(
            self._keys,
            member.identity,
            certificate,
            self._computer.name(),
            self._port,
            now=self._computer.seconds,
            carried_salt=self._carried_salt,
        )

    def commit(self) -> None:
        """Seal what is ours, and commit. Raises SetupError, DamageError."""
        if self.feed is not None:
            self.feed.commit()
        else:
            self.index.database.commit()

    async def _durable(self) -> None:
        if self.feed is not None:
            await self.feed.durable()

    async def flush(self) -> None:
        """Make everything written so far durable. Raises SetupError, UnavailableError."""
        await self.volume.flush()
        await self.chunks.behind.flush()
        self.commit()

    async def drain(self) -> None:
        """Give connected peers a moment to take what was announced."""
        with trio.move_on_after(DRAIN_SECONDS):
            # A link tells no event when its backlog is gone.
            while self.peers is not None and any(link.backlog for link in self.peers.links):  # noqa: ASYNC110
                await trio.sleep(0.02)

    def stop(self) -> None:
        """Begin to end."""
        self.stopping.set()

    async def go_online(self, network: Network, sources: Sequence[Source] | None = None) -> None:
        """Listen, look for peers and talk to them until the share is closed. Raises BusyError, SetupError."""
        options = self.member.options
        host, port = parse_endpoint(options.get("listen") or "[::]:0")
        listeners = await network.listen("" if host == "::" else host, port)
        self._port = local_port(listeners)
        self._host = f"[{host}]" if ":" in host else host
        attendants: list[Attendant] = [self, self.clocks, self.meetings]
        self.peers = Peers(network, self.credentials, self.directory, self.server.serve, attendants)
        found = self._sources() if sources is None else sources
        announce = partial(Announcement, self._keys.rendezvous_key)
        self._nursery.start_soon(self.peers.run, found, listeners, lambda: announce(self._port))

    @property
    def missing(self) -> int:
        """Chunks that a store still has to fetch."""
        return 0 if self.filler is None else self.filler.missing

    @property
    def listens_at(self) -> str | None:
        """The address and port that peers can reach us on, `[::]` standing for all; None while offline."""
        return f"{self._host}:{self._port}" if self._port else None

    async def first_tree(self) -> None:
        """In a share that has no record yet, wait a little for a peer to tell the tree, and longer while it does."""
        if self.index.feeds.applied():
            return
        with trio.move_on_after(FIRST_TREE_SECONDS):
            await self._told.wait()
        with trio.move_on_after(WHOLE_TREE_SECONDS):
            await self.replicator.all_taken()

    async def run_tasks(self) -> None:
        """What goes on all the time."""
        async with trio.open_nursery() as nursery:
            if self.feed is not None:
                nursery.start_soon(self._publish, self.feed)
                nursery.start_soon(self.files.settler.run)
                nursery.start_soon(self._keep_versions)
                if self.feed.lost:
                    nursery.start_soon(self._regain, self.feed)
            nursery.start_soon(self.chunks.behind.run)
            nursery.start_soon(self.replicator.run)
            nursery.start_soon(self.volume.tell_rest)
            if self.filler is not None:
                nursery.start_soon(self.filler.run)
            if self.store_collector is not None:
                nursery.start_soon(self.store_collector.run, self._report)
            nursery.start_soon(self._keep_tidy)
            if self.condenser is not None:
                nursery.start_soon(self.condenser.run, self._report)
            if self.returner is not None:
                nursery.start_soon(self._look_for_what_is_over, self.returner)
            if self._keys.read is not None:
                nursery.start_soon(self.collector.run, self._report)

    # --- Attendant --------------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """A link to a peer stands."""
        if link.peer.learnt is not None and self._keys.share_public is None:
            self._learn(link.peer.learnt)
        if self._keys.read is None and link.peer.role is Role.WRITER and link.peer.carried_salt:
            self._carried_salt = link.peer.carried_salt
            self.index.feeds.set_text(CARRIED_SALT, self._carried_salt)
        self.fetcher.connected(link)
        self.replicator.opened(link)

    async def attend(self, link: Link) -> None:
        """Nothing beside messages."""

    def closed(self, link: Link) -> None:
        """The link is over."""
        self.fetcher.gone(link)
        self.replicator.closed(link)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _learn(self, keys: ShareKeys) -> None:
        self._keys = keys
        self.member = replace(self.member, keys=keys)
        keep_learnt(self.home, self.member.name, keys)

    def _announce(self, head: bytes, segments: Sequence[tuple[bytes, bytes]]) -> None:
        self.replicator.announce_own(head, segments)  # type: ignore[arg-type]

    def _own_changed(self) -> None:
        changes = self.index.take_changes()
        self.collector.changed(changes.contents)
        self.volume.applied(changes, own=True)
        self._wake_tidy()

    def _theirs_changed(self, changes: Changes) -> None:
        self._told.set()
        self.collector.changed(changes.contents)
        self.volume.applied(changes, own=False)
        if self.returner is not None:
            self.returner.head_came(changes.nodes)
        self._wake_tidy()

    def _store_wants(self, addresses: Iterable[Address]) -> None:
        assert self.filler is not None and self.store_collector is not None
        self.store_collector.claims(addresses := list(addresses))
        self.filler.want(addresses)

    def _seen_elsewhere(self, address: bytes) -> None:
        self.presence.seen_elsewhere(address)  # type: ignore[arg-type]
        self._wake_tidy()

    def _healed(self) -> None:
        self.chunks.behind.failure = ""
        if self.feed is not None:
            self.feed.failure = ""
        self._wake_tidy()

    def _wake_tidy(self) -> None:
        self._tidy.set()

    async def _publish(self, feed: Feed) -> None:
        while True:
            try:
                await feed.durable()  # what an earlier failure left
                self._wake_tidy()
                await feed.run()
            except Exception as error:
                self._report(error)
            await trio.sleep(TIDY_SECONDS)

    async def recover(self) -> None:
        """Take in what an earlier process left. Raises SetupError, DamageError."""
        self.history.end_purpose()  # a restore that the disk refused may have left it
        await self.files.recover()

    async def _regain(self, feed: Feed) -> None:
        """Once peers have told our own feed, write again as in a share that was just opened."""
        await self.replicator.own_told()
        feed.regain()
        while feed.recovering:
            try:
                with self.volume.behind_kernel():
                    await self.recover()
                # A journal of which no version can be made yet shows as well, and the kernel has the file as it was.
                unsettled = {file.ino for file in self.files.settler.files()}
                self.volume.applied(Changes(contents=unsettled), own=False)
                feed.recovering = False
            except Exception as error:
                self._report(error)
                await trio.sleep(TIDY_SECONDS)
        self.problem = ""
        _log.info("peers have told what this device had written: it can be written again")

    async def _keep_versions(self) -> None:
        """Make versions of files that stay open while they are written."""
        settler, settled = self.files.settler, dict[OpenFile, int]()
        while True:
            # One that has just been settled may be written again in a moment.
            before = settled | {file: file.versions for file in settler.files()}
            await trio.sleep(OPEN_FILE_SECONDS)
            settled = await settler.settle_long_open(before)

    async def _look_for_what_is_over(self, returner: Returner) -> None:
        while True:
            try:
                await returner.run()
            except SyncfsError as error:
                self._report(error)
                await trio.sleep(TIDY_SECONDS)

    async def _keep_tidy(self) -> None:
        while True:
            await self._tidy.wait()
            self._tidy = trio.Event()
            await trio.sleep(TIDY_SECONDS)
            try:
                self.presence.write_touches()
                self.commit()
                await self.keep_log_short()
                if self.feed is not None:
                    await self.feed.age()
                    self.commit()
                self.problem = OWN_FEED_SENTENCE if self.own_feed_lost else ""
                await self.packer.compact()
            except Exception as error:
                self._report(error)
                self._wake_tidy()

    async def keep_log_short(self) -> None:
        """Keep the index's log short, also while it is written all the time."""
        database = self.index.database
        if database.log_bytes() <= CHECKPOINT_BYTES:
            return
        await trio.to_thread.run_sync(database.checkpoint)
        if database.log_bytes() > RESTART_BYTES:
            await trio.to_thread.run_sync(database.checkpoint)  # so that little is left to do in the loop
            self.commit()
            database.checkpoint()

    def _in_use(self) -> list[tuple[int, bytes, list[bytes]]]:
        return self.files.in_use() + self._past.in_use()

    def _report(self, error: Exception) -> None:
        """Something in the background failed; it is tried again, and the share goes on."""
        self.problem = str(error) if isinstance(error, SyncfsError) else f"an internal error ({error!r}): see the log"
        self._repeats.failed(self.problem, error)

    def _space(self) -> StatFs:
        disk = os.statvfs(self.member.directory)
        return StatFs(disk.f_frsize, disk.f_blocks, disk.f_bfree, disk.f_bavail, disk.f_files, disk.f_ffree)

    def _sources(self) -> list[Source]:
        options = self.member.options
        sources: list[Source] = []
        peers = [parse_endpoint(peer) for peer in options.get("peers", "").split(",") if peer]
        if peers:
            sources.append(FixedPeers([Endpoint(host, port) for host, port in peers]))
        if "lan" in (options.get("discovery") or "lan").split(","):
            on = self._computer
            sources.append(LanSource(lambda: on.wall() / 1e9, on.random, on.dice))
        return sources
