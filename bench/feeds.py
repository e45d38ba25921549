"""What a device's feed takes after many changes, and what a late peer has to fetch of it.

`python -m bench.feeds [--files N] [--place DIR] CHANGES...` makes a share without a mount, changes the permissions of N
files so many times, in bursts of 100, and lets a second device join over a network in memory. Then 200 days pass, the
feed is thinned and condensed, and a third device joins. It prints the segments, the head, and what each joiner fetched.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from syncfs.crypto.vault import Vault
from syncfs.discovery.memory import MemoryLan
from syncfs.engine.computer import Computer
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share, join_share
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import Caller
from syncfs.model.ids import NodeId
from syncfs.model.records import NodeRecord
from syncfs.transport.memory import MemoryNetwork

BURST = 100
NAME = "bench"


class Clock:
    """The wall clock of all computers, which can be moved on."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        """In ns since 1970."""
        return time.time_ns() + self.ahead


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("changes", type=int, nargs="+")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--place", default="/var/tmp")
    arguments = parser.parse_args()
    for changes in arguments.changes:
        with tempfile.TemporaryDirectory(dir=arguments.place, prefix="syncfs-feeds.") as place:
            trio.run(measure, Path(place), arguments.files, changes)


async def measure(place: Path, files: int, changes: int) -> None:
    """One share from its making to its end."""
    clock, dice = Clock(), random.Random(1)
    network = MemoryNetwork(1, delay=0.0005)
    lan = MemoryLan()

    def computer(name: str) -> Computer:
        return Computer(clock.now, os.urandom, random.random, lambda: name)

    async with AsyncExitStack() as stack:
        create_share(place / "first", NAME, {}, os.urandom, computer("first"))
        secret = Vault.open(place / "first" / "vault", os.urandom).shares[NAME].secret

        async def begin(name: str, stack: AsyncExitStack) -> Share:
            if name != "first":
                join_share(place / name, secret, NAME, [], {}, os.urandom, computer(name))
            share = await stack.enter_async_context(open_share(place / name, NAME, computer=computer(name)))
            await share.go_online(network.host(name), [lan.source(name)])
            return share

        first = await begin("first", stack)
        feed = first.feed
        assert feed is not None
        nodes: list[NodeId] = []
        for number in range(files):
            ino = first.volume.mknod(1, b"file %d" % number, 0o100644, 0, Caller(0, 0)).ino
            nodes.append(first.index.nodes.must(ino).node)
        began = time.perf_counter()
        for done in range(0, changes, BURST):
            records = [
                NodeRecord(feed.tick(), feed.now(), dice.choice(nodes), mode=dice.randrange(0o1000))
                for _ in range(min(BURST, changes - done))
            ]
            feed.record(records)
            await feed.durable()
            if done % (100 * BURST) == 0:
                feed.age()
        feed.age()
        await feed.durable()
        told(first, f"{changes} changes of {files} files, made in {time.perf_counter() - began:.1f} s")
        await join(first, begin, "second")
        clock.ahead += 200 * 86_400 * 10**9
        began = time.perf_counter()
        await first.collector.collect()
        assert first.condenser is not None
        left_out = await first.condenser.condense()
        feed.age()
        await feed.durable()
        told(first, f"  200 days later, condensed in {time.perf_counter() - began:.1f} s ({left_out} records left out)")
        await join(first, begin, "third")


async def join(first: Share, begin: Callable[[str, AsyncExitStack], Awaitable[Share]], name: str) -> None:
    """Let a device join, and say what that took."""
    began = time.perf_counter()
    async with AsyncExitStack() as stack:
        share = await begin(name, stack)
        feeds = share.index.feeds
        while feeds.applied() != first.index.feeds.applied():  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.005)
        held = sum(size for device in feeds.applied() for *_, size in feeds.segments_of(device))
        print(
            f"  a device that joins then has all after {time.perf_counter() - began:.2f} s, {held:,} bytes", flush=True
        )


def told(share: Share, what: str) -> None:
    """Print the size of the feed."""
    assert share.feed is not None
    head = share.index.feeds.head(share.feed.device)
    segments = share.index.feeds.segments_of(share.feed.device)
    assert head is not None
    size = sum(row[3] for row in segments)
    print(f"{what}: head of {len(head[0]):,} bytes, {len(segments)} segments of {size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
