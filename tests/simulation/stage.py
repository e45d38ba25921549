"""A stage for stories told step by step: a few nodes of one share on a network in memory, under a virtual clock."""

import errno
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trio.testing

from syncfs.discovery.memory import MemoryLan
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import Caller
from syncfs.model.errors import PosixError
from syncfs.transport.memory import MemoryNetwork
from tests.simulation.diary import Diary
from tests.simulation.ground import Disk, deterministic
from tests.simulation.node import Node
from tests.simulation.picture import differences, faults, model_differences, picture

ME = Caller(0, 0)


class Stage:
    """The nodes of a story, by number from 0; the first one makes the share."""

    def __init__(self, place: Path, count: int, nursery: trio.Nursery, disk: Disk) -> None:
        self.diary = Diary()
        self.network = MemoryNetwork(1, delay=0.001)
        lan = MemoryLan(self.network.connected)
        self.nodes = [Node(number, 1, place, self.network, lan, disk, self.diary) for number in range(1, count + 1)]
        self._secret = ""
        self._nursery = nursery

    async def begin(self, *numbers: int) -> None:
        """Start nodes; who is no member yet becomes one."""
        for number in numbers:
            node = self.nodes[number]
            if not node.home.exists():
                if self._secret:
                    node.join(self._secret)
                else:
                    self._secret = node.create()
            await node.start(self._nursery)

    def share(self, number: int) -> Share:
        """The share of a node that runs."""
        share = self.nodes[number].share
        assert share is not None
        return share

    async def write(self, number: int, path: str, content: bytes) -> None:
        """Write a file as a program would."""
        volume, (parent, name) = self.share(number).volume, self.place(number, path)
        if self.share(number).index.resolve(path.encode()) is None:
            _, handle = await volume.create(parent, name, 0o644, os.O_WRONLY, ME)
        else:
            handle = (await volume.open(volume.lookup(parent, name).ino, os.O_WRONLY | os.O_TRUNC, 1)).handle
        await volume.write(handle, 0, content)
        await volume.release(handle)
        await self.share(number).flush()

    def mkdir(self, number: int, path: str) -> None:
        """Make a directory."""
        self.share(number).volume.mkdir(*self.place(number, path), 0o755, ME)

    def remove(self, number: int, path: str) -> None:
        """Remove a file or an empty directory."""
        volume, place = self.share(number).volume, self.place(number, path)
        if volume.lookup(*place).mode & 0o170000 == 0o040000:
            volume.rmdir(*place)
        else:
            volume.unlink(*place)

    async def level(self, *numbers: int) -> None:
        """Wait until these nodes, which all run, have told each other everything."""
        shares = [self.share(number) for number in numbers]
        with trio.move_on_after(600) as waited:
            while not await self._is_level(shares):  # noqa: ASYNC110 - no event tells
                await trio.sleep(1)
        said = [share.replicator.last_refusal for share in shares]
        assert not waited.cancelled_caught, (said, [share.index.feeds.applied() for share in shares])
        await trio.sleep(3)

    async def _is_level(self, shares: list[Share]) -> bool:
        for share in shares:
            await share.flush()
        told = [share.index.feeds.applied() for share in shares]
        linked = all(share.peers is not None and len(share.peers.links) >= len(shares) - 1 for share in shares)
        return linked and all(one == told[0] for one in told) and not any(one.replicator.taking for one in shares)

    async def let_pass(self, days: float) -> None:
        """All clocks go on, while nothing happens."""
        for node in self.nodes:
            node.skew += round(days * 86_400)
        await trio.sleep(1)

    async def condense(self, *numbers: int) -> int:
        """Let these nodes thin, collect and condense until nothing more can go; the records that were left out."""
        left_out = 0
        for _ in range(3):
            for number in numbers:
                share = self.share(number)
                await share.collector.collect()
                assert share.condenser is not None
                left_out += await share.condenser.condense()
            await self.level(*numbers)
        return left_out

    async def talk(self) -> None:
        """Give nodes, of which some refuse what others say, the time to find each other and say it."""
        await trio.sleep(180)

    async def names(self, number: int) -> list[str]:
        """All paths that a node shows."""
        return sorted(path.decode().removeprefix("/") for path in await picture(self.share(number)) if path != b"/")

    async def same(self, *numbers: int) -> None:
        """These nodes show one tree, which is what the records that they pass on make."""
        first = await picture(self.share(numbers[0]))
        for number in numbers:
            share = self.share(number)
            found = [*differences(first, await picture(share)), *faults(share), *model_differences(share)]
            found += share.replicator.forks.reasons
            assert not found, f"n{number + 1}: {found}"
        assert not self.diary.problems

    def place(self, number: int, path: str) -> tuple[int, bytes]:
        """The directory and the name of a path."""
        above, _, name = path.rpartition("/")
        found = self.share(number).index.resolve(above.encode())
        if found is None:
            raise PosixError(errno.ENOENT)
        return found.ino, name.encode()


def play(count: int, story: Callable[[Stage], Awaitable[None]]) -> None:
    """Tell a story with so many nodes."""
    shm = Path("/dev/shm")
    disk = Disk()

    async def run(place: Path) -> None:
        async with trio.open_nursery() as nursery:
            await story(Stage(place, count, nursery, disk))
            nursery.cancel_scope.cancel()

    with (
        tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None, prefix="syncfs-stage.") as home,
        deterministic(1, disk),
    ):
        trio.run(run, Path(home), clock=trio.testing.MockClock(autojump_threshold=0), strict_exception_groups=True)
