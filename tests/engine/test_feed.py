"""What of our own feed is told to peers, and when."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from syncfs.engine.feed import Feed
from syncfs.engine.posix import Caller
from syncfs.engine.setup import create_share
from syncfs.engine.share import Share, open_share
from syncfs.model.ids import Address
from syncfs.wire.head import decode_head
from syncfs.wire.messages import Announce, Have, Message

ME = Caller(0, 0)


class Peer:
    """Stands for a link, and keeps what is posted."""

    def __init__(self) -> None:
        self.told: list[Message] = []

    def post(self, message: Message) -> None:
        self.told.append(message)

    def heads(self) -> list[int]:
        """The sequences of the heads that were announced."""
        return [decode_head(head).sequence for one in self.told if isinstance(one, Announce) for head in one.heads]


class SlowDisk:
    """Lets flushes wait."""

    def __init__(self) -> None:
        self.go = trio.Event()

    async def run_sync(self, work: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        if work is os.fdatasync:
            await self.go.wait()
        return work(*arguments)


@asynccontextmanager
async def fresh(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Share, Feed, SlowDisk]]:
    """A share on a disk that does not get around to flushing."""
    create_share(home, "s", {}, os.urandom)
    disk = SlowDisk()
    monkeypatch.setattr(trio.to_thread, "run_sync", disk.run_sync)
    async with open_share(home, "s") as share:
        assert share.feed is not None
        yield share, share.feed, disk
        disk.go.set()


async def test_nothing_is_told_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a loss of power takes back what others have seen, and its numbers are used again."""
    async with fresh(tmp_path, monkeypatch) as (share, feed, disk):
        share.volume.mkdir(1, b"a", 0o755, ME)
        feed.commit()
        peer = Peer()
        share.replicator.opened(peer)  # type: ignore[arg-type]
        await share.replicator.have(peer, Have({}))  # type: ignore[arg-type]
        assert peer.told == [Have({})]
        last = feed.sequence
        disk.go.set()
        await feed.durable()
        await share.replicator.have(peer, Have({}))  # type: ignore[arg-type]
        assert set(peer.heads()) == {last}


async def test_what_comes_during_a_flush_is_told_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    async with fresh(tmp_path, monkeypatch) as (share, feed, disk):
        told: list[int] = []

        def announced(head: bytes, segments: Sequence[tuple[Address, bytes]]) -> None:
            told.append(decode_head(head).sequence)

        monkeypatch.setattr(share.replicator, "announce_own", announced)
        share.volume.mkdir(1, b"a", 0o755, ME)
        nursery.start_soon(feed.durable)
        await trio.testing.wait_all_tasks_blocked()
        first = feed.sequence
        share.volume.mkdir(1, b"b", 0o755, ME)
        share.commit()
        disk.go.set()
        await feed.durable()
        assert told == [first, feed.sequence]


async def test_a_peer_that_could_not_take_a_head_is_told_again(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        assert share.feed is not None
        share.volume.mkdir(1, b"a", 0o755, ME)
        await share.feed.durable()
        peer, device, last = Peer(), bytes(share.feed.device), share.feed.sequence
        share.replicator.opened(peer)  # type: ignore[arg-type]
        said: tuple[tuple[dict[bytes, int], int], ...] = (({}, 1), ({}, 1), ({device: 0}, 2), ({device: last}, 2))
        for feeds, expected in said:
            await share.replicator.have(peer, Have(feeds))  # type: ignore[arg-type]
            assert peer.heads() == [last] * expected
