"""Opening a share: a ladder of contexts.

What was opened last is closed first, and leaving the block ends every task. A share can be opened without its network,
for importing a tree or checking.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from errno import EDQUOT, ENOSPC
from functools import partial
from pathlib import Path

import trio

from syncfs.crypto.certificates import decode_certificate
from syncfs.engine.computer import Computer, this_computer
from syncfs.engine.feeds.feed import OWN_FEED_LOST
from syncfs.engine.setup import Member, open_member
from syncfs.engine.share import Limits, Share
from syncfs.engine.tree.owners import OwnerChoice, OwnerView
from syncfs.index.index import Index
from syncfs.index.presence import Presence
from syncfs.model.errors import SetupError
from syncfs.store.disk import DiskStore
from syncfs.transport.tcp import TcpNetwork

FLUSH_SECONDS = 30.0
"""Closing a share waits so long for what was written, and as long as chunks of it are being sealed."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_share(
    home: Path, name: str, owners: OwnerChoice | None = None, computer: Computer | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Share]:  # fmt: skip
    """Open a share of this home. Raises UnknownShareError, SetupError, BusyError, DamageError, NewerFormatError."""
    computer = computer or this_computer()
    member = open_member(home, name, computer.random)
    member.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lost = not (member.directory / "index.db").exists()
    with Index(member.directory / "index.db") as index:
        if lost and member.may_write:
            index.feeds.set_number(OWN_FEED_LOST, 1)
            index.database.commit()  # or a process that is killed now would leave an index that does not say so
        presence = Presence(index.database)
        with DiskStore(member.directory, presence) as store:
            killed = store.unclean
            if killed:
                _recover_store(index, presence, store, computer.wall())
            _keep_own_certificate(index, member)
            async with trio.open_nursery() as nursery:
                view = OwnerView(owners or OwnerChoice())
                share = Share(home, member, index, presence, store, nursery, view, computer, killed, limits or Limits())
                nursery.start_soon(share.healer.run)
                nursery.start_soon(share.run_tasks)
                try:
                    if share.feed is not None and not share.feed.lost:
                        await share.recover()
                    yield share
                finally:
                    with trio.move_on_after(FLUSH_SECONDS, shield=True) as scope:
                        share.files.settler.cutter.sealed = partial(_more_time, scope)
                        await share.flush()
                        await share.drain()
                    share.journals.close()
                    nursery.cancel_scope.cancel()
            with suppress(SetupError):  # a full disk: when a chunk was last of use is no loss
                presence.write_touches()
            index.database.commit()


def _recover_store(index: Index, presence: Presence, store: DiskStore, now: int) -> None:
    """Look through what a killed process left; on a full disk the next start does, and reads find what is bad."""
    known = presence.totals().chunks
    try:
        if gone := store.recover(now).lost:
            _log.warning("%d chunks, written last and promised to nobody, had not reached the disk", gone)
        if known:
            index.past.add_loose_of(now)
    except SetupError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        _log.warning("what the last process left is looked through at the next start: %s", error)


def _more_time(scope: trio.CancelScope) -> None:
    scope.deadline = max(scope.deadline, trio.current_time() + FLUSH_SECONDS)


def _keep_own_certificate(index: Index, member: Member) -> None:
    if member.certificate is not None:
        certificate = decode_certificate(member.certificate)
        index.feeds.add_device(
            certificate.device, certificate.device_public, certificate.name, certificate.role, member.certificate
        )


async def with_network(share: Share) -> None:
    """Bring a share onto the real network."""
    await share.go_online(TcpNetwork())
