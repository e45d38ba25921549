"""One computer of the simulation: a home, a clock of its own, and at times a process that runs the share."""

import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from syncfs.discovery.memory import MemoryLan
from syncfs.engine.computer import Computer
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share, join_share
from syncfs.engine.share import Share
from syncfs.transport.memory import MemoryNetwork
from tests.simulation.diary import Diary, described
from tests.simulation.ground import Disk

NAME = "share"
START = 1_600_000_000
"""What all clocks show when the share is made: a device whose clock is before that would refuse its own papers."""


class Node:
    """A computer; `share` is None while no process runs."""

    def __init__(
        self, number: int, seed: int, place: Path, network: MemoryNetwork, lan: MemoryLan, disk: Disk, diary: Diary
    ) -> None:
        self.number = number
        self.name = f"n{number}"
        self.dice = random.Random(f"{seed} {self.name}")
        self.skew = 0
        """Seconds that the clock is ahead."""
        self.share: Share | None = None
        self.busy: dict[int, trio.Lock] = {}
        """One program at a time works on a file of this computer."""
        self.lost_power = False
        """Whether what was not flushed was ever lost."""
        self.life = 0
        """Counts starts."""
        self._place = place
        self._network = network
        self._lan = lan
        self._disk = disk
        self._diary = diary
        self._homes = 0
        self._home = place / f"{self.name}-0"
        self._scope: trio.CancelScope | None = None
        self._ended: trio.Event | None = None
        self._programs: trio.Nursery | None = None
        self._running = 0
        self.computer = Computer(self._wall, self.dice.randbytes, self.dice.random, lambda: self.name)

    @property
    def home(self) -> Path:
        """Where this computer keeps everything."""
        return self._home

    def take_over(self, home: Path) -> None:
        """Have a copy of another computer's home, its identity included."""
        shutil.copytree(home, self._home, symlinks=True)

    @property
    def running(self) -> int:
        """How many programs use the share here."""
        return self._running

    def create(self) -> str:
        """Make the share; returns its secret."""
        from syncfs.crypto.vault import Vault

        create_share(self._home, NAME, {}, self.dice.randbytes, self.computer)
        return Vault.open(self._home / "vault", self.dice.randbytes).shares[NAME].secret

    def join(self, secret: str) -> None:
        """Become a member."""
        join_share(self._home, secret, NAME, [], {}, self.dice.randbytes, self.computer)

    async def start(self, nursery: trio.Nursery) -> None:
        """Run the share; returns when it is online."""
        self.life += 1
        self.busy = {}
        await nursery.start(self._live)

    def begin(self, program: Callable[["Node", Share], Awaitable[None]]) -> None:
        """Run a program on the share, until it ends or the process does."""
        if self._programs is not None and self.share is not None:
            self._running += 1
            self._programs.start_soon(self._run, program, self.share)

    async def stop(self) -> None:
        """End the process in good order."""
        if self._scope is not None and self._ended is not None:
            self._forget()
            self._scope.cancel()
            await self._ended.wait()

    def crash(self, power: bool) -> str:
        """Kill the process, or cut the power; the home is from now on what that leaves. Returns what was lost."""
        assert self._scope is not None
        self._homes += 1
        after = self._place / f"{self.name}-{self._homes}"
        lost: list[str] = []
        if power:
            lost = self._disk.after_power_loss(self._home, after, self.dice)
            self.lost_power = True
        else:
            self._disk.after_kill(self._home, after)
        self._network.crash(self.name)
        self._forget()
        self._scope.cancel()
        self._home = after
        return ", ".join(lost)

    def _forget(self) -> None:
        self.share = None
        self._programs = None
        self._running = 0

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        ended = self._ended = trio.Event()
        scope = self._scope = trio.CancelScope()
        life = self.life
        try:
            with scope:
                async with open_share(self._home, NAME, computer=self.computer) as share:
                    await share.go_online(self._network.host(self.name), [self._lan.source(self.name)])
                    async with trio.open_nursery() as programs:
                        self.share, self._programs = share, programs
                        task_status.started()
                        await trio.sleep_forever()
        except Exception as error:
            if self.life == life and not scope.cancel_called:
                self._forget()
                self._diary.problem(f"{self.name} ended by itself: {described(error)}")
            else:
                self._diary.note(self.name, f"(its old process ended with {described(error)})")
        finally:
            ended.set()

    async def _run(self, program: Callable[["Node", Share], Awaitable[None]], share: Share) -> None:
        try:
            await program(self, share)
        finally:
            if self.share is share:
                self._running -= 1

    def _wall(self) -> int:
        return (START + self.skew) * 10**9 + round(trio.current_time() * 1e9) if _in_trio() else START * 10**9


def _in_trio() -> bool:
    return trio.lowlevel.in_trio_run()
