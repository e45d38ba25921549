"""The table of pairs of changes (docs/merge-table.md) on two running nodes, one directory for each row.

The model's replicas say what the rules are (tests/model/test_pairs.py); here volumes, feeds and indexes follow them,
and a file that is open and written to keeps its bytes, whatever comes from elsewhere before it is closed.
"""

import os
import re
import stat
from pathlib import Path

import pytest

from syncfs.engine.tree.posix import AttributeChange, RenameFlags
from syncfs.model.ids import DeviceId
from tests.engine.nodes import ME, Nodes, place_of, share_of, tell
from tests.model.test_pairs import EVERYTHING, LEAD, USUAL_MODES, Row, rows
from tests.simulation.node import Node
from tests.simulation.picture import Picture, picture

ROWS = [row for row in rows() if row.before == (EVERYTHING,)]
WRITES = ("write", "append", "truncate")
LETTERS = {"n1": "A", "n2": "B"}


class Person:
    """Somebody who types what a cell says, in one directory; `hold` leaves written files open."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._volume = share_of(node).volume
        self._open: list[int] = []

    async def act(self, directory: str, commands: str, *, hold: bool = False) -> None:
        for command in commands.split("; "):
            await self._do(*command.split(), at=directory)
            if not hold:
                await self.close()

    async def close(self) -> None:
        for handle in self._open:
            await self._volume.release(handle)
        self._open.clear()

    def _place(self, at: str, path: str) -> tuple[int, bytes]:
        return place_of(self._node, f"{at}/{path}")

    def _ino(self, at: str, path: str) -> int:
        return self._volume.lookup(*self._place(at, path)).ino

    async def _write(self, at: str, path: str, content: bytes, keep: bool) -> None:
        ino = self._ino(at, path)
        handle = (await self._volume.open(ino, os.O_RDWR, 1)).handle
        if not keep:
            await self._volume.setattr(ino, AttributeChange(size=0), handle)
        await self._volume.write(handle, self._volume.getattr(ino).size, content)
        self._open.append(handle)

    async def _create(self, at: str, path: str, content: bytes) -> None:
        _, handle = await self._volume.create(*self._place(at, path), 0o644, os.O_RDWR, ME)
        await self._volume.write(handle, 0, content)
        self._open.append(handle)

    async def _do(self, *words: str, at: str) -> None:
        volume = self._volume
        match words:
            case ["create", path, content]:
                await self._create(at, path, content.encode())
            case ["write", path, content]:
                await self._write(at, path, content.encode(), False)
            case ["append", path, content]:
                await self._write(at, path, content.encode(), True)
            case ["truncate", path]:
                await self._write(at, path, b"", False)
            case ["save", path, content]:
                await self._create(at, path + ".tmp", content.encode())
                await volume.rename(*self._place(at, path + ".tmp"), *self._place(at, path), RenameFlags.NONE)
            case ["mv", old, new]:
                await volume.rename(*self._place(at, old), *self._place(at, new), RenameFlags.NONE)
            case ["rm", path]:
                volume.unlink(*self._place(at, path))
            case ["rmdir", path]:
                volume.rmdir(*self._place(at, path))
            case ["mkdir", path]:
                volume.mkdir(*self._place(at, path), 0o755, ME)
            case ["ln", "-s", target, path]:
                volume.symlink(*self._place(at, path), target.encode(), ME)
            case ["ln", old, new]:
                volume.link(self._ino(at, old), *self._place(at, new))
            case ["chmod", mode, path]:
                await volume.setattr(self._ino(at, path), AttributeChange(mode=int(mode, 8)), None)
            case ["chown", uid, path]:
                await volume.setattr(self._ino(at, path), AttributeChange(uid=int(uid)), None)
            case ["setfattr", value, path]:
                volume.setxattr(self._ino(at, path), b"user.a", value.encode(), 0)
            case _:
                raise ValueError(words)


async def shown(node: Node, whole: Picture, directory: str) -> str:
    """What a directory shows, as the table writes it."""
    names: dict[tuple[object, str], list[str]] = {}
    share = share_of(node)
    inside = f"/{directory}/".encode()
    tree = {path.decode(): dict(values) for path, values in whole.items() if path.startswith(inside)}
    for path, values in sorted(tree.items()):
        found = share.index.resolve(path[1:].encode())
        assert found is not None
        mode = int(str(values["mode"]), 8)
        kind, bits = stat.S_IFMT(mode), stat.S_IMODE(mode)
        end = f":{bits:o}" if bits != USUAL_MODES[kind] else ""
        end += f"@{found.uid}" if found.uid else ""
        end += "".join(f"#{value.decode()}" for _, value in values["xattrs"])  # type: ignore[attr-defined]
        if kind == stat.S_IFDIR:
            if not end and any(one.startswith(path + "/") for one in tree):
                continue
            end += "/"
        elif kind == stat.S_IFLNK:
            end += "->" + share.volume.readlink(found.ino).decode()
        else:
            handle = (await share.volume.open(found.ino, os.O_RDONLY, 1)).handle
            end += "=" + bytes(await share.volume.read(handle, 0, 1000)).decode()
            await share.volume.release(handle)
        name = re.sub(
            r" \(conflict (\w+) \d{4}-\d\d-\d\d \d{6}( \d+)?\)", lambda found: "!" + LETTERS[found[1]], path
        ).removeprefix(f"/{directory}/")
        names.setdefault((found.ino, end), []).append(name)
    return " ".join(sorted("+".join(paths) + end for (_, end), paths in names.items())) or "nothing"


async def prepare(nodes: Nodes, count: int) -> tuple[Person, Person]:
    """Two people who see the same, and as many directories to work in."""
    alice, bob = Person(await nodes.add()), Person(await nodes.add())
    for node in nodes.all:
        share_of(node).holding.limits = None
    for number in range(count):
        share_of(nodes.all[0]).volume.mkdir(1, b"%d" % number, 0o755, ME)
        await alice.act(f"{number}", EVERYTHING)
    await nodes.rest()
    return alice, bob


async def wrong(nodes: Nodes, table: list[Row], expected: list[str]) -> list[str]:
    """The rows of which somebody sees something else."""
    found = []
    for node in nodes.all:
        whole = await picture(share_of(node))
        for number, (row, wanted) in enumerate(zip(table, expected, strict=True)):
            seen = await shown(node, whole, f"{number}")
            if seen != wanted:
                found.append(f"{row.by_a} | {row.by_b}: {node.name} sees {seen}, not {wanted}")
    return found


def lead(node: Node) -> None:
    """What this node does from now on is later than what others do before they hear of it."""
    feed = share_of(node).feed
    assert feed is not None
    feed.witness(feed.tick() + LEAD * 100)


@pytest.mark.parametrize("later", ["A", "B"])
def test_two_nodes_see_what_the_table_says(tmp_path: Path, later: str) -> None:
    async def story(nodes: Nodes) -> None:
        alice, bob = await prepare(nodes, len(ROWS))
        lead(nodes.all[later == "B"])
        nodes.network.partition(["n1"], ["n2"])
        for number, row in enumerate(ROWS):
            await alice.act(f"{number}", row.by_a)
            await bob.act(f"{number}", row.by_b)
        await share_of(nodes.all[0]).files.settle_all()
        await share_of(nodes.all[1]).files.settle_all()
        nodes.network.heal()
        await nodes.rest()
        expected = [row.if_a_later if later == "A" else row.if_b_later for row in ROWS]
        assert await wrong(nodes, ROWS, expected) == []

    tell(tmp_path, story)


def test_what_an_open_file_holds_is_merged_when_it_is_closed(tmp_path: Path) -> None:
    """A writes and keeps the file open, B's change comes, and only then A closes: so A is later."""
    table = [row for row in ROWS if row.by_a.split()[0] in WRITES]

    async def story(nodes: Nodes) -> None:
        alice, bob = await prepare(nodes, len(table))
        for number, row in enumerate(table):
            await alice.act(f"{number}", row.by_a, hold=True)
        for number, row in enumerate(table):
            await bob.act(f"{number}", row.by_b)
        await share_of(nodes.all[1]).flush()
        applied = share_of(nodes.all[0]).index.feeds.applied
        theirs = DeviceId(share_of(nodes.all[1]).member.identity.id)
        told = share_of(nodes.all[1]).index.feeds.applied()[theirs]
        await nodes.rest(lambda: applied().get(theirs, 0) >= told)
        await alice.close()
        await nodes.rest()
        assert await wrong(nodes, table, [row.if_a_later for row in table]) == []

    tell(tmp_path, story)
