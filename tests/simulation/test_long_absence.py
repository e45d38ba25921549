"""Random stories of a device that is away while the others delete, forget what they deleted, and take in new members.

At the end all show one tree, which is also what a new member makes of what is told, and no content is missing that
nobody overwrote or removed knowingly.
"""

import random
from collections.abc import Iterable

import pytest
import trio

from syncfs.engine.tree.posix import RenameFlags
from syncfs.model.errors import PosixError
from syncfs.model.ids import Stamp
from tests.simulation.picture import picture
from tests.simulation.promises import digest
from tests.simulation.stage import Stage, play

HERE, THERE, AWAY, LATE = range(4)


class Users:
    """People at the computers, and which contents they may expect to find again, by version."""

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self._stage = stage
        self._dice = dice
        self._count = 0
        self.wanted: dict[Stamp, tuple[str, str]] = {}

    async def work(self, number: int, steps: int) -> None:
        """Do some of this and that; what is not possible is not done."""
        for _ in range(steps):
            try:
                await self._step(number)
            except PosixError:
                continue

    async def _step(self, number: int) -> None:
        stage, dice = self._stage, self._dice
        paths = await stage.names(number)
        index = stage.share(number).index
        folders = [path for path in paths if (node := index.resolve(path.encode())) is not None and node.is_directory]
        files = sorted({*paths}.difference(folders))
        new = dice.choice(["", *(folder + "/" for folder in folders)]) + dice.choice("abcdefgh")
        match dice.choices(("make", "edit", "remove", "move", "mkdir", "rmdir"), (5, 2, 4, 2, 2, 1))[0]:
            case "make" if new not in paths:
                await self._write(number, new)
            case "edit" if files:
                await self._write(number, dice.choice(files))
            case "remove" if files:
                path = dice.choice(files)
                self._give_up(number, path)
                stage.remove(number, path)
            case "move" if paths and new not in paths:
                places = stage.place(number, dice.choice(paths)), stage.place(number, new)
                await stage.share(number).volume.rename(*places[0], *places[1], RenameFlags.NONE)
            case "mkdir":
                stage.mkdir(number, new)
            case "rmdir" if folders:
                stage.remove(number, dice.choice(folders))

    async def _write(self, number: int, path: str) -> None:
        self._count += 1
        content = b"%d " % self._count * 400
        self._give_up(number, path)
        await self._stage.write(number, path, content)
        node = self._stage.share(number).index.resolve(path.encode())
        if node is not None and node.head is not None:
            self.wanted[node.head] = digest(content).hex(), f"{path}, number {self._count}, by n{number + 1}"

    def _give_up(self, number: int, path: str) -> None:
        node = self._stage.share(number).index.resolve(path.encode())
        if node is not None and node.head is not None:
            self.wanted.pop(node.head, None)


def story_of(seed: int) -> None:
    dice = random.Random(seed)

    async def story(stage: Stage) -> None:
        users = Users(stage, dice)
        await stage.begin(HERE, THERE, AWAY)
        for number in (HERE, THERE, AWAY):
            await users.work(number, 10)
            await stage.level(HERE, THERE, AWAY)
        stage.network.partition(["n3"])
        is_late_with_away = dice.random() < 0.3
        if is_late_with_away:
            stage.network.partition(["n3", "n4"])
            await stage.begin(LATE)
            await stage.level(AWAY, LATE)
        isolated = dice.randrange(4)
        for chapter in range(4):
            for number in (HERE, THERE):
                await users.work(number, dice.randrange(12))
                await stage.level(HERE, THERE)
            if chapter == isolated:
                await users.work(AWAY, dice.randrange(1, 12))
                if is_late_with_away:
                    await users.work(LATE, dice.randrange(4))
            await stage.level(HERE, THERE)
            await stage.let_pass(dice.choice((1, 100, 200, 400)))
            if dice.random() < 0.8:
                await stage.condense(HERE, THERE)
            if chapter == 2 and len(stage.nodes) > LATE and stage.nodes[LATE].share is None and dice.random() < 0.5:
                await stage.begin(LATE)
                await stage.level(HERE, THERE, LATE)
        stage.network.heal()
        everybody = [HERE, THERE, AWAY]
        if stage.nodes[LATE].share is not None:
            everybody.append(LATE)
        await settle(stage, everybody)
        await check(stage, users, everybody)
        if LATE not in everybody:
            await stage.begin(LATE)
            everybody.append(LATE)
            await settle(stage, everybody)
            await check(stage, users, everybody)
        await stage.let_pass(400)
        await stage.condense(*everybody)
        await settle(stage, everybody)
        await check(stage, users, everybody)

    play(4, story)


async def settle(stage: Stage, numbers: list[int]) -> None:
    """Let all hear everything, and what follows from it."""
    await trio.sleep(120)
    for _ in range(3):
        await stage.level(*numbers)
        await trio.sleep(10)


async def check(stage: Stage, users: Users, numbers: list[int]) -> None:
    """All is well."""
    await stage.same(*numbers)
    shown = {dict(fields)["content"] for fields in (await picture(stage.share(numbers[0]))).values()}
    assert [what for content, what in users.wanted.values() if content not in shown] == []


@pytest.mark.parametrize("seeds", [range(7), range(7, 14), range(14, 21), (57, 66)])
def test_nothing_comes_back_and_nothing_is_lost(seeds: Iterable[int]) -> None:
    for seed in seeds:
        story_of(seed)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_nothing_comes_back_and_nothing_is_lost_soak() -> None:
    for seed in range(1000, 1300):
        story_of(seed)
