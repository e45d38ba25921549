"""The feed of a device: what peers are told of can always be fetched."""

import os
from pathlib import Path

import trio

from syncfs.engine.feeds.feed import Feed
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.tree.posix import Caller
from syncfs.index.database import CHECKPOINT_BYTES, RESTART_BYTES
from syncfs.model.ids import DeviceId
from syncfs.model.records import NodeRecord
from syncfs.wire.head import decode_head
from syncfs.wire.messages import Chunks, Get
from syncfs.wire.segment import decode_segment


async def test_the_head_that_is_told_lists_what_is_held_also_after_merging(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        feed = share.feed
        assert feed is not None
        for number in range(40):
            share.volume.mkdir(1, b"folder%d" % number, 0o755, Caller(0, 0))
            await feed.durable()
        before = [address for address, *_ in share.index.feeds.segments_of(feed.device)]
        await feed.age()
        feed.commit()
        await feed.durable()
        held = {address for address, *_ in share.index.feeds.segments_of(feed.device)}
        assert len(held) < len(before)
        assert feed.durable_head is not None
        assert {ref.address for ref in decode_head(feed.durable_head[0]).segments} == held
        answer = await share.server.serve(None, Get(before))  # type: ignore[arg-type]
        assert answer is not None and answer[0] == Chunks(before, [])  # a peer may be about to ask for what it was told


async def test_what_compresses_well_is_not_merged_into_more_than_a_segment_may_hold(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        feed, volume = share.feed, share.volume
        assert feed is not None
        file, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, Caller(0, 0))
        await volume.release(handle)
        for number in range(600):
            volume.setxattr(file.ino, b"user.a", b"%06d" % number + b"x" * 60_000, 0)
            if number % 6 == 5:
                await feed.durable()
        await feed.age()
        segments = share.index.feeds.segments_of(feed.device)
        assert len(segments) <= 4  # some 36 MB of records, of which a segment may hold 16 MiB
        for address, *_ in segments:
            data = share.index.feeds.segment(address)
            assert data is not None
            decode_segment(feed.read, data)


async def test_the_log_of_the_index_begins_anew_while_it_is_written_all_the_time(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        volume, longest = share.volume, 0
        file, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, Caller(0, 0))
        await volume.release(handle)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                nonlocal longest
                while True:
                    volume.setxattr(file.ino, b"user.a", os.urandom(60_000), 0)
                    share.commit()
                    longest = max(longest, share.index.database.log_bytes())
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(write)
            for _ in range(3):
                while share.index.database.log_bytes() <= RESTART_BYTES:
                    await trio.lowlevel.checkpoint()
                await share.keep_log_short()
            while share.index.database.log_bytes() > CHECKPOINT_BYTES:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert RESTART_BYTES < longest < 6 * RESTART_BYTES


async def test_merging_is_followed_by_a_flush_of_its_own(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        feed = share.feed
        assert feed is not None
        for number in range(40):
            share.volume.mkdir(1, b"folder%d" % number, 0o755, Caller(0, 0))
            await feed.durable()
        told = feed.durable_head
        await feed.age()
        feed.commit()
        with trio.fail_after(10):
            while feed.durable_head == told:  # noqa: ASYNC110 - the feed tells no event of it
                await trio.sleep(0.01)


async def test_changes_are_published_also_after_a_flush_of_what_peers_sent(tmp_path: Path) -> None:
    """The flush had made the publisher wait for a signal that nobody gave any more."""
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        feed = share.feed
        assert feed is not None
        share.volume.mkdir(1, b"before", 0o755, Caller(0, 0))
        await wait_until_told(feed)
        share.index.apply([NodeRecord(1, 0, b"n" * 16, mode=0o700)], DeviceId(b"another device.."))
        share.commit()
        await feed.durable()
        share.volume.mkdir(1, b"after", 0o755, Caller(0, 0))
        await wait_until_told(feed)


async def wait_until_told(feed: Feed) -> None:
    with trio.fail_after(10):
        feed.seal()
        while feed.durable_head is None or feed.durable_head[1] < feed.sequence:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.01)
