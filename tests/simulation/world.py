"""A world of nodes: what happens to them follows from one seed, and at the end all must agree and nothing be lost.

A step is a program that starts on a node, or an event: a partition, a flaky network, a crash, a loss of power, a clock
that jumps, a node that stops, comes back or joins, an old announcement that comes again. Between steps passes a random
time, mostly short, so that programs overlap with each other and with replication. Then all trouble ends, and
`_come_to_rest` waits until nothing moves; what must hold then is checked, once more after all nodes have restarted.
"""

import logging
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.testing

from syncfs.discovery.memory import MemoryLan
from syncfs.engine.checking import check_open_share
from syncfs.engine.keeping.retention import SETTING
from syncfs.engine.replication.brake import parse_limits
from syncfs.engine.share import Share
from syncfs.model.errors import SyncfsError
from syncfs.model.records import SettingRecord
from syncfs.transport.link import Link
from syncfs.transport.memory import MemoryNetwork
from syncfs.wire.messages import Announce
from tests.simulation.diary import Diary, InternalErrors, described
from tests.simulation.ground import Disk, Treadmill, deterministic
from tests.simulation.node import Node
from tests.simulation.picture import differences, faults, history, model_differences, picture
from tests.simulation.programs import Worker
from tests.simulation.promises import Promises

PROGRAMS_AT_ONCE = 3
"""On one node."""
REST_SECONDS = 1800.0
YEAR = 31_536_000
KEPT_ANNOUNCEMENTS = 200
BRAKE = "share=10% least=2 within=60m"


@dataclass(frozen=True, slots=True)
class Plan:
    """One simulation: `joined` of the `nodes` are members from the start, the others join on the way.

    With `brake` a few changed files are too many at once, and somebody accepts what waits, sooner or later.
    """

    seed: int
    nodes: int = 3
    steps: int = 150
    brake: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a simulation went."""

    plan: Plan
    problems: list[str]
    last: list[str]
    digest: str
    summary: str


def simulate(plan: Plan, log: Path | None = None, place: Path | None = None) -> Result:
    """Run one simulation; `log` takes all that happens, `place` is a folder in memory for the homes."""
    shm = Path("/dev/shm")
    parent = place or (shm if shm.is_dir() else None)
    diary, disk = Diary(log), Disk()
    handler, logger = InternalErrors(diary), logging.getLogger("syncfs")
    logger.addHandler(handler)
    logger.propagate, propagated = False, logger.propagate
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=parent, prefix="syncfs-simulation.") as home:
        try:
            with deterministic(plan.seed, disk):
                world = World(plan, Path(home), disk, diary)
                clock = trio.testing.MockClock(autojump_threshold=0)
                trio.run(world.run, clock=clock, instruments=[Treadmill(world.hangs)], strict_exception_groups=True)
        except Exception as error:
            diary.problems.append(f"the simulation broke: {described(error)}")
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagated
            diary.close()
    return Result(plan, diary.problems, list(diary.last), diary.digest, world.summary(time.monotonic() - began))


class World:
    """The nodes of a simulation, what is between them, and what they have promised."""

    def __init__(self, plan: Plan, place: Path, disk: Disk, diary: Diary) -> None:
        self._plan = plan
        self._dice = random.Random(plan.seed)
        self._diary = diary
        self._promises = Promises()
        dice = random.Random(f"{plan.seed} network")
        self._network = MemoryNetwork(
            dice.randrange(2**32), delay=dice.choice((0.0001, 0.002, 0.05)), jitter=dice.choice((0.0, 0.01, 0.2))
        )
        lan = MemoryLan(self._network.connected)
        self._nodes = [
            Node(number, plan.seed, place, self._network, lan, disk, diary) for number in range(1, plan.nodes + 1)
        ]
        self._members = 0
        self._secret = ""
        self._heard: list[Announce] = []
        self._simulated = 0.0
        self._off = {name for name in EVENT_NAMES if name != "starts" and dice.random() < 0.25}
        self._files = 0

    def summary(self, seconds: float) -> str:
        """One line."""
        counts = self._diary.counts
        works = sum(count for what, count in counts.items() if what not in EVENT_NAMES and what != "refused")
        events = ", ".join(f"{counts[name]} {name}" for name in EVENT_NAMES if counts[name])
        return (
            f"{self._members} nodes, {works} works done and {counts['refused']} refused, {events}; "
            f"{self._files} files and {len(self._promises)} promises kept; "
            f"{self._simulated:.0f} s simulated in {seconds:.1f} s"
        )

    async def run(self) -> None:
        """The whole story."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._secret = self._nodes[0].create()
            await self._begin(self._nodes[0])
            self._members = 1
            feed = self._nodes[0].share.feed if self._nodes[0].share is not None else None
            if feed is not None and "clock changes" not in self._off:
                # Retention goes by the clock of each computer, and is not what is looked at here.
                forever = "all=forever hourly=forever daily=forever deleted=forever"
                feed.record([SettingRecord(feed.tick(), feed.now(), SETTING, forever)])
            for _ in range(1, max(2, (2 * self._plan.nodes + 2) // 3)):
                await self._join()
            for number in range(self._plan.steps):
                await self._step(number)
                if self._diary.problems:
                    break
            if not self._diary.problems:
                await self._end()
            self._simulated = trio.current_time()
            nursery.cancel_scope.cancel()

    def hangs(self, where: str) -> None:
        """The clock stands still."""
        self._diary.problem(f"the clock stands still, and this runs on and on: {where}")
        self._nursery.cancel_scope.cancel()

    # --- steps ------------------------------------------------------------------------------------------------------

    async def _step(self, number: int) -> None:
        dice = self._dice
        await trio.sleep(dice.choice((0.0, 0.002, 0.02, 0.2, 2.0)) * dice.random())
        if dice.random() < 0.85:
            node = dice.choice(self._nodes[: self._members])
            worker = Worker(dice.randrange(2**32), self._diary, self._promises)
            if node.share is not None and node.running < PROGRAMS_AT_ONCE:
                node.begin(worker.run)
        else:
            events: dict[str, tuple[Callable[[], Awaitable[None]], int]] = {
                "waits": (self._wait, 3),
                "partitions": (self._partition, 3),
                "heals": (self._heal, 3),
                "flaky times": (self._flaky, 1),
                "kills": (self._kill, 2),
                "power cuts": (self._power, 2),
                "stops": (self._stop, 1),
                "starts": (self._start, 6),
                "joins": (self._join, 2),
                "replays": (self._replay, 3),
                "clock changes": (self._clock, 1),
            }
            able = [event for name, event in events.items() if name not in self._off]
            await dice.choices([event for event, _ in able], [weight for _, weight in able])[0]()
        if self._plan.brake and number % 25 == 24:
            share = dice.choice(self._nodes[: self._members]).share
            if share is not None:
                await self._accept(share)
        if number % 10 == 0:
            self._look(dice.choice(self._nodes[: self._members]))

    async def _accept(self, share: Share) -> None:
        """Somebody takes what the brake holds."""
        if share.holding.held:
            try:
                done = await share.history.accept(None)
                self._diary.note(share.credentials().name, f"accepts {done.records} of {' '.join(done.devices)}")
            except SyncfsError as error:
                self._diary.note(share.credentials().name, f"accepts nothing: {error}")

    def _look(self, node: Node) -> None:
        if node.share is not None:
            for fault in faults(node.share):
                self._diary.problem(f"{node.name}: {fault}")

    def _event(self, name: str, node: str, what: str = "") -> None:
        self._diary.count(name)
        self._diary.note(node, f"--- {name} {what}")

    def _up(self) -> list[Node]:
        return [node for node in self._nodes[: self._members] if node.share is not None]

    async def _wait(self) -> None:
        await trio.sleep(self._dice.random() * 60)

    async def _partition(self) -> None:
        names = [node.name for node in self._nodes]
        self._dice.shuffle(names)
        cut = self._dice.randrange(1, len(names)) if len(names) > 1 else 1
        self._event("partitions", "", f"{' '.join(names[:cut])} | {' '.join(names[cut:])}")
        self._network.partition(names[:cut], names[cut:])

    async def _heal(self) -> None:
        self._event("heals", "")
        self._network.heal()
        self._network.loss = 0.0

    async def _flaky(self) -> None:
        self._network.loss = self._dice.choice((0.0, 0.02, 0.2))
        self._event("flaky times", "", f"loss {self._network.loss}")

    async def _kill(self) -> None:
        self._crash(power=False)

    async def _power(self) -> None:
        self._crash(power=True)

    def _crash(self, power: bool) -> None:
        if up := self._up():
            node = self._dice.choice(up)
            self._event("power cuts" if power else "kills", node.name, node.crash(power))

    async def _stop(self) -> None:
        if up := self._up():
            node = self._dice.choice(up)
            self._event("stops", node.name)
            await node.stop()

    async def _start(self) -> None:
        down = [node for node in self._nodes[: self._members] if node.share is None]
        if down:
            node = self._dice.choice(down)
            self._event("starts", node.name)
            await self._begin(node)

    async def _join(self) -> None:
        if self._members < len(self._nodes):
            node = self._nodes[self._members]
            self._event("joins", node.name)
            node.join(self._secret)
            self._members += 1
            await self._begin(node)

    async def _replay(self) -> None:
        """Somebody says again what was said long ago."""
        nodes = [node for node in self._up() if node.share and node.share.peers and node.share.peers.links]
        if not nodes or not self._heard:
            return
        node, old = self._dice.choice(nodes), self._dice.choice(self._heard)
        assert node.share is not None and node.share.peers is not None
        link = self._dice.choice(sorted(node.share.peers.links, key=lambda link: link.peer.name))
        self._event("replays", node.name, f"by {link.peer.name}")
        try:
            await node.share.replicator.announced(link, old)
        except SyncfsError as error:
            self._diary.note(node.name, f"(refused the replay: {error})")

    async def _clock(self) -> None:
        node = self._dice.choice(self._nodes[: self._members])
        node.skew = self._dice.choice((0, 3600, 40 * 86_400, 3 * YEAR, 30 * YEAR))
        self._event("clock changes", node.name, f"{node.skew / 86_400:.0f} days ahead")

    async def _begin(self, node: Node) -> None:
        await node.start(self._nursery)
        share = node.share
        if share is None:
            return
        if self._plan.brake:
            share.holding.limits = parse_limits(BRAKE)
        listen = share.replicator.announced

        async def announced(link: Link, message: Announce) -> None:
            self._heard = [*self._heard[-KEPT_ANNOUNCEMENTS:], message]
            await listen(link, message)

        share.replicator.announced = announced  # type: ignore[method-assign]

    # --- the end ----------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        self._diary.note("", "--- the end: all come back")
        self._network.heal()
        self._network.loss = 0.0
        await self._start_all()
        if await self._come_to_rest():
            await self._check()
        if self._diary.problems:
            return
        self._diary.note("", "--- all restart")
        for node in self._nodes[: self._members]:
            await node.stop()
        await self._start_all()
        if await self._come_to_rest():
            await self._check()

    async def _start_all(self) -> None:
        for node in self._nodes[: self._members]:
            if node.share is None:
                await self._begin(node)

    async def _come_to_rest(self) -> bool:
        shares: list[Share] = []
        with trio.move_on_after(REST_SECONDS):
            while True:
                await trio.sleep(1)
                if self._diary.problems:
                    return False
                shares = [node.share for node in self._nodes[: self._members] if node.share is not None]
                if any(node.running for node in self._nodes):
                    continue
                for share in shares:
                    await self._accept(share)
                for share in shares:
                    await share.flush()
                told = [share.index.feeds.applied() for share in shares]
                linked = all(share.peers is not None and len(share.peers.links) == len(shares) - 1 for share in shares)
                settled = not any(share.files.unsettled for share in shares)
                if linked and settled and all(one == told[0] for one in told):
                    break
        await trio.sleep(3)
        for share in shares:
            if share.peers is not None and len(share.peers.links) < len(shares) - 1:
                found = sorted(link.peer.name for link in share.peers.links)
                self._diary.problem(f"after {REST_SECONDS:g} s {share.credentials().name} has found {found} only")
        told = [share.index.feeds.applied() for share in shares]
        if not all(one == told[0] for one in told):
            self._diary.problem("the nodes do not come to rest")
            for share in shares:
                applied = {device.hex()[:4]: last for device, last in sorted(share.index.feeds.applied().items())}
                names = sorted(link.peer.name for link in share.peers.links) if share.peers is not None else []
                trouble = share.problem or share.files.failure or share.replicator.last_refusal
                self._diary.problem(
                    f"{share.credentials().name} has {applied}, links to {' '.join(names)}, {share.files.unsettled} "
                    f"unsettled files, takes {share.replicator.taking} heads; {trouble}"
                )
            return False
        return True

    async def _check(self) -> None:
        up = [(node, node.share) for node in self._nodes[: self._members] if node.share is not None]
        first = await picture(up[0][1])
        self._files = len(first)
        for node, share in up:
            seen = await picture(share)
            for line in differences(first, seen):
                self._diary.problem(f"{up[0][0].name} and {node.name} differ: {line}")
            for line in [*faults(share), *model_differences(share)]:
                self._diary.problem(f"{node.name}: {line}")
            for _, fields in seen.items():
                content = dict(fields)["content"]
                if isinstance(content, str) and " " in content:
                    self._diary.problem(f"{node.name}: a file cannot be read: {content}")
            for found in (await check_open_share(share, repair=True)).problems:
                # What peers had sent and was not flushed may be bad after that; it is put aside, and fetched again.
                if found.kind == "chunk" and node.lost_power:
                    continue
                self._diary.problem(f"{node.name}: check says {found.kind} {found.subject}: {found.message}")
            for line in share.replicator.forks.reasons:
                self._diary.problem(f"{node.name} takes an honest node for a forked one: {line}")
            if share.problem or share.files.failure:
                self._diary.problem(f"{node.name} is in trouble: {share.problem or share.files.failure}")
        kept, unread = await history([share for _, share in up])
        for line in unread:
            self._diary.problem(f"nobody can read {line}")
        for promise in self._promises.broken(kept):
            self._diary.problem(f"{promise.node} had fsynced {promise.what}, which is nowhere any more")


EVENT_NAMES = (
    "partitions", "heals", "flaky times", "kills", "power cuts", "stops", "starts", "joins", "replays", "clock changes",
)  # fmt: skip
