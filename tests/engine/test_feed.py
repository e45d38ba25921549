"""The feed of a device: what peers are told of can always be fetched."""

import os
from pathlib import Path

import trio

from syncfs.engine.feeds.feed import Feed
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.tree.posix import Caller
from syncfs.model.ids import DeviceId
from syncfs.model.records import NodeRecord
from syncfs.wire.head import decode_head
from syncfs.wire.messages import Chunks, Get


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
