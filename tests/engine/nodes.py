"""A few whole nodes of one share in one thread, on a network in memory and a clock that jumps, for engine tests."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trio.testing

from syncfs.crypto.keys import derive_keys, secrets_of
from syncfs.crypto.secrets import format_secret, parse_secret
from syncfs.discovery.memory import MemoryLan
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import AttributeChange, Caller
from syncfs.transport.memory import MemoryNetwork
from tests.simulation.diary import Diary
from tests.simulation.ground import Disk, deterministic
from tests.simulation.node import Node
from tests.simulation.picture import picture

ME = Caller(0, 0)
REST_SECONDS = 600.0


class Nodes:
    """The nodes of a story; the first makes the share."""

    def __init__(self, place: Path, nursery: trio.Nursery, disk: Disk, diary: Diary) -> None:
        self.network = MemoryNetwork(1, delay=0.001)
        self._lan = MemoryLan(self.network.connected)
        self._place = place
        self._nursery = nursery
        self._disk = disk
        self._diary = diary
        self._secret = ""
        self._made = 0
        self.all: list[Node] = []

    async def add(self, role: str = "writer") -> Node:
        """One more node, running: a `writer`, a `reader` or a `store`."""
        self._made += 1
        number = self._made
        node = Node(number, number, self._place, self.network, self._lan, self._disk, self._diary)
        if self._secret:
            secrets = secrets_of(derive_keys(parse_secret(self._secret)))
            node.join(format_secret(getattr(secrets, role)))
        else:
            self._secret = node.create()
        await node.start(self._nursery)
        self.all.append(node)
        return node

    async def away(self, node: Node) -> None:
        """End a node in good order; it is not waited for until it is `back`."""
        await node.stop()
        self.all.remove(node)

    async def back(self, node: Node) -> None:
        """Start a node that was away."""
        await node.start(self._nursery)
        self.all.append(node)

    async def crash(self, node: Node) -> None:
        """Cut the power of a node, and start it again."""
        node.crash(power=True)
        await node.start(self._nursery)

    async def restart(self, node: Node) -> None:
        """End a node in good order, and start it again."""
        await node.stop()
        await node.start(self._nursery)

    async def rest(self, until: Callable[[], bool] | None = None) -> None:
        """Return when that is so; without it, when all have told each other everything."""

        def level() -> bool:
            shares = [share_of(node) for node in self.all]
            known = {frozenset(share.index.feeds.applied().items()) for share in shares}
            return len(known) == 1 and not any(share.files.unsettled for share in shares)

        await trio.sleep(1)
        with trio.fail_after(REST_SECONDS):
            while not (until or level)():  # noqa: ASYNC110 - nobody tells an event of it, and the clock jumps
                await trio.sleep(0.5)
        for node in self.all:
            if node.share is not None:
                await node.share.flush()


def tell(place: Path, story: Callable[[Nodes], Awaitable[None]]) -> None:
    """Run a story to its end."""
    disk, diary = Disk(), Diary()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await story(Nodes(place, nursery, disk, diary))
            nursery.cancel_scope.cancel()

    with deterministic(1, disk):
        trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert not diary.problems


def share_of(node: Node) -> Share:
    """The running share of a node."""
    assert node.share is not None
    return node.share


async def write(node: Node, path: str, content: bytes) -> None:
    """Make a file, or give it a new content; its directories are made as they are missing."""
    volume, parent = share_of(node).volume, 1
    *above, name = path.encode().split(b"/")
    for part in above:
        known = share_of(node).index.lookup(parent, part)
        parent = known.ino if known is not None else volume.mkdir(parent, part, 0o755, ME).ino
    known = share_of(node).index.lookup(parent, name)
    if known is None:
        _, handle = await volume.create(parent, name, 0o644, os.O_WRONLY, ME)
    else:
        handle = (await volume.open(known.ino, os.O_WRONLY, 1)).handle
        await volume.setattr(known.ino, AttributeChange(size=0), handle)
    await volume.write(handle, 0, content)
    await volume.release(handle)


def place_of(node: Node, path: str) -> tuple[int, bytes]:
    """The directory and the name of a path."""
    above, _, name = path.rpartition("/")
    found = share_of(node).index.resolve(above.encode())
    assert found is not None, path
    return found.ino, name.encode()


def delete(node: Node, path: str) -> None:
    """Delete a file."""
    share_of(node).volume.unlink(*place_of(node, path))


async def tree(node: Node) -> dict[str, object]:
    """The contents of all files by path, as digests, and the names of what has none."""
    shown = await picture(share_of(node))
    return {path.decode(): dict(values)["content"] for path, values in shown.items()}
