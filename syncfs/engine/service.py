"""What a running share tells and does when it is asked: the engine's side of control.service."""

import os
from datetime import UTC, datetime

from syncfs.crypto.keys import Role
from syncfs.crypto.vault import Vault
from syncfs.engine.checking import check_open_share
from syncfs.engine.feeds.feed import OWN_FEED_SENTENCE
from syncfs.engine.history.log import log
from syncfs.engine.keeping.retention import SETTING as RETENTION
from syncfs.engine.moving import Moving
from syncfs.engine.replication.brake import DEFAULT as DEFAULT_BRAKE
from syncfs.engine.replication.brake import SETTING as BRAKE
from syncfs.engine.replication.brake import parse_limits
from syncfs.engine.share import Share
from syncfs.model.errors import UsageError
from syncfs.model.records import SettingRecord
from syncfs.model.reports import (
    AcceptReport,
    CheckReport,
    CollectReport,
    ConflictReport,
    HeldReport,
    LogEntry,
    PeerReport,
    RestoreReport,
    ShareStatus,
    State,
    TransferReport,
    UndoReport,
    VersionReport,
    moment,
)
from syncfs.transport.link import Link


class RunningShare:
    """Answers for one share; all methods run in its loop."""

    def __init__(self, share: Share, mountpoint: str | None) -> None:
        self._share = share
        self._mountpoint = mountpoint
        self._moving = Moving(share.index, share.files, share.chunks, share.fetcher, self._links)

    def _links(self) -> list[Link]:
        return self._share.peers.links if self._share.peers is not None else []

    def status(self) -> ShareStatus:
        """The share at a glance."""
        share = self._share
        files, size = share.index.totals()
        unkept = share.problem or share.files.failure or (share.feed.failure if share.feed is not None else "")
        unkept = unkept or share.healer.failure
        reasons = [text for text in (unkept, share.fetcher.last_failure, share.chunks.behind.failure) if text]
        if share.filler is not None and share.filler.failure:
            reasons.append(share.filler.failure)
        if share.replicator.last_refusal:
            reasons.append(f"refused: {share.replicator.last_refusal}")
        if share.peers is not None and share.peers.breach:
            reasons.append(f"refused: {share.peers.breach}")
        reasons += share.replicator.forks.reasons
        reasons += share.returner.reasons if share.returner is not None else []
        reasons += share.clocks.reasons
        reasons += share.peers.reasons if share.peers is not None else []
        held = share.holding.reports()
        reasons += [self._why_held(one) for one in held]
        links = self._links()
        if not links and share.peers is not None and share.peers.last_problem:
            reasons.append(f"no peer is connected; the last try: {share.peers.last_problem}")
        state: State = "running"
        if unkept or held:
            state = "degraded"
        elif not share.index.feeds.applied():
            state = "waiting"
        pending = share.presence.only_here()
        return ShareStatus(
            share=share.member.keys.share_id,
            name=share.member.name,
            role="writer" if share.member.may_write else share.member.keys.role.value,
            state=state,
            reasons=reasons,
            mountpoint=self._mountpoint,
            pid=os.getpid(),
            since=moment(share.started),
            listen=share.listens_at,
            peers=len(links),
            files=files,
            bytes=size,
            cached_bytes=share.presence.totals().bytes,
            pending_bytes=pending,
            in_sync=bool(links) and share.replicator.in_sync() and not share.files.unsettled and not share.missing,
            rates=self._moving.rates(),
            held=held,
        )

    def _why_held(self, held: HeldReport) -> str:
        names = list(self._share.index.feeds.device_names().values())
        device = held.name if names.count(held.name) == 1 else held.device[:8]
        name, since = self._share.member.name, f"{held.since:%Y-%m-%dT%H:%M:%SZ}"
        return (
            f"{held.name} deleted or changed {held.changed:,} of {held.files:,} files at once, so what it does waits: "
            f"'syncfs accept {name} --device {device}' takes it, "
            f"'syncfs undo {name} --device {device} --since {since}' puts it back"
        )

    def peers(self) -> list[PeerReport]:
        """All peers that the share knows, connected ones first."""
        share = self._share
        links = self._links()
        reports = [
            PeerReport(
                device=link.peer.device.hex(),
                name=link.peer.name,
                role=link.peer.role.value,
                connected=True,
                path="lan" if link.peer.path == "lan" else "direct",
                address=link.peer.address,
                seen=datetime.now(UTC),
                in_sync=share.replicator.is_level(link),
                rates=self._moving.rates_of(link),
                latency=link.latency,
            )
            for link in sorted(links, key=lambda link: link.peer.name)
        ]
        connected = {link.peer.device for link in links} | {share.member.identity.id}
        met, names, roles = share.meetings.all(), share.index.feeds.device_names(), share.index.feeds.device_roles()
        away = [
            PeerReport(
                device=device.hex(),
                name=names[device] if device in names else met[device].name,
                role=Role(roles[device] if device in roles else met[device].role).value,
                connected=False,
                seen=moment(met[device].seconds * 10**9) if device in met else None,
            )
            for device in (names.keys() | met.keys()) - connected
        ]
        return reports + sorted(away, key=lambda peer: (peer.name, peer.device))

    def transfers(self) -> TransferReport:
        """What moves at this moment."""
        share = self._share
        return TransferReport(
            share.member.keys.share_id,
            share.member.name,
            datetime.now(UTC),
            self._moving.rates(),
            self._moving.transfers(),
            share.holding.reports(),
        )

    def settings(self) -> dict[str, str]:
        """The settings of this share on this computer."""
        shared = {RETENTION: kept} if (kept := self._share.index.setting(RETENTION)) else {}
        return {**self._share.member.options, **shared}

    async def configure(self, key: str, value: str) -> bool:
        """Keep a setting; those of the share work at once, those of this computer after a restart."""
        from msgspec.structs import replace

        share = self._share
        if key == BRAKE:
            share.holding.limits = parse_limits(value or DEFAULT_BRAKE)
        if key == RETENTION:
            feed = share.history.writable()
            feed.record([SettingRecord(feed.tick(), feed.now(), key, value)])
            return True
        vault = Vault.open(share.home / "vault", os.urandom)
        kept = vault.shares[share.member.name]
        options = {name: text for name, text in {**kept.options, key: value}.items() if text}
        vault.put_share(replace(kept, options=options))
        return key == BRAKE

    async def check(self, repair: bool) -> CheckReport:
        """Verify the invariants of index and store, and mend what can be mended where `repair` is set."""
        return await check_open_share(self._share, repair)

    async def flush(self) -> None:
        """Return when everything written so far is durable here and has been offered to the connected peers."""
        await self._share.flush()
        await self._share.drain()

    def stop(self) -> None:
        """Begin to end the share."""
        self._share.stop()

    async def versions(self, path: bytes) -> list[VersionReport]:
        """The versions of a file, newest first."""
        return self._share.history.versions(path)

    async def restore(self, path: bytes, version: str | None, time: datetime | None, to: bytes | None) -> RestoreReport:
        """Make an old state the current one."""
        return await self._share.history.restore(path, version, time, to)

    async def undo(self, device: str, since: datetime) -> UndoReport:
        """Put back everything that a device did since a time."""
        return await self._share.history.undo(device, since)

    async def accept(self, device: str | None) -> AcceptReport:
        """Let through what the brake holds."""
        return await self._share.history.accept(device)

    async def log(self, path: bytes, limit: int) -> list[LogEntry]:
        """The last things that happened at or below a path, newest first."""
        return log(self._share.index, path, limit)

    def conflicts(self) -> list[ConflictReport]:
        """The files that have several heads now."""
        return self._share.history.conflicts()

    async def collect(self) -> CollectReport:
        """Drop what retention no longer keeps, and the chunks that nothing needs."""
        share = self._share
        if share.own_feed_lost:
            raise UsageError(OWN_FEED_SENTENCE)  # without it nobody knows what is needed
        report = await (share.collector if share.store_collector is None else share.store_collector).collect()
        if share.condenser is not None:
            await share.condenser.condense()
        await self._share.packer.give_back()
        return report
