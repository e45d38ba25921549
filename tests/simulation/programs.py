"""What programs do on a node: small random works on files and folders, as a program would through the kernel.

A work walks the tree that its node shows, so it meets conflict copies and what others have moved. What the kernel would
refuse before asking us is not tried. Each work notes one line with its outcome; an errno is an outcome like another.
"""

import errno
import os
import random
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from syncfs.engine.share import Share
from syncfs.engine.tree.posix import AttributeChange, Attributes, Caller, Listed, RenameFlags
from syncfs.index.index import ROOT_INO
from syncfs.model.errors import PosixError, SyncfsError, UnavailableError
from tests.simulation.diary import Diary
from tests.simulation.node import Node
from tests.simulation.promises import Promises

ME = Caller(1000, 1000)
FILES = (b"x", b"y", b"z.txt", b"w")
FOLDERS = (b"a", b"b", b"c")
WHOLE = 1 << 40
SIZES = ((0, 1), (1, 200), (900, 1200), (3000, 9000), (60_000, 70_000), (120_000, 140_000), (200_000, 700_000))
COMMON_SIZES = (100, 5_000, 80_000, 131_072, 200_000)
SIZE_WEIGHTS = (2, 50, 15, 15, 4, 4, 2)


@dataclass(frozen=True, slots=True)
class Spot:
    """A name in the tree."""

    parent: int
    path: bytes
    name: bytes
    attributes: Attributes

    @property
    def kind(self) -> int:
        """The S_IFMT value."""
        return stat.S_IFMT(self.attributes.mode)

    def __str__(self) -> str:
        return f"{self.path.decode(errors='replace')}#{self.attributes.ino}"


class Worker:
    """Runs one work on one node; its dice are its own, so works that run at the same time do not disturb each other."""

    def __init__(self, seed: int, diary: Diary, promises: Promises) -> None:
        self._seed = seed
        self._dice = random.Random(seed)
        self._diary = diary
        self._promises = promises

    async def run(self, node: Node, share: Share) -> None:
        """Do something; to be given to Node.begin."""
        self._node, self._share, self._volume = node, share, share.volume
        works: dict[Callable[[], Awaitable[str]], int] = {
            self._create: 20,
            self._rewrite: 22,
            self._save: 8,
            self._truncate: 5,
            self._mkdir: 8,
            self._rename: 14,
            self._exchange: 2,
            self._link: 5,
            self._unlink: 9,
            self._rmdir: 4,
            self._remove_tree: 2,
            self._attributes: 8,
            self._xattrs: 4,
            self._special: 3,
            self._read: 6,
        }
        work = self._dice.choices(list(works), list(works.values()))[0]
        name = work.__name__[1:]
        try:
            outcome = await work()
        except PosixError as error:
            outcome = errno.errorcode.get(error.errno, str(error.errno))
            if error.errno == errno.EIO:
                self._diary.problem(f"{node.name}: {name} ended with EIO: {error}")
        except UnavailableError:
            outcome = "unavailable"
        self._diary.count("refused" if outcome.startswith("E") else name)
        if node.share is share:
            self._diary.note(node.name, f"{name} {outcome}")

    # --- finding a place --------------------------------------------------------------------------------------------

    def _listed(self, ino: int) -> list[Listed]:
        found: list[Listed] = []
        while page := self._volume.readdir(ino, found[-1].cookie if found else 0):
            found += page
        return found

    def _spots(self) -> list[Spot]:
        spots: list[Spot] = []
        waiting = [(ROOT_INO, b"")]
        while waiting:
            ino, path = waiting.pop()
            for one in self._listed(ino):
                spot = Spot(ino, path + b"/" + one.name, one.name, one.attributes)
                spots.append(spot)
                if spot.kind == stat.S_IFDIR:
                    waiting.append((one.attributes.ino, spot.path))
        return spots

    def _folder(self) -> tuple[int, bytes]:
        folders = [(ROOT_INO, b""), (ROOT_INO, b"")]
        folders += [(spot.attributes.ino, spot.path) for spot in self._spots() if spot.kind == stat.S_IFDIR]
        return self._dice.choice(folders)

    def _any(self, *kinds: int, without: tuple[int, ...] = ()) -> Spot:
        spots = [spot for spot in self._spots() if (not kinds or spot.kind in kinds) and spot.kind not in without]
        if not spots:
            raise PosixError(errno.ENOENT)
        return self._dice.choice(spots)

    def _size(self) -> int:
        low, high = self._dice.choices(SIZES, SIZE_WEIGHTS)[0]
        return self._dice.randrange(low, high)

    def _lock(self, ino: int) -> trio.Lock:
        return self._node.busy.setdefault(ino, trio.Lock())

    async def _pause(self) -> None:
        await trio.sleep(self._dice.choice((0, 0.001, 0.01, 0.1, 1, 3)) * self._dice.random())

    # --- content ----------------------------------------------------------------------------------------------------

    async def _create(self) -> str:
        parent, path = self._folder()
        name = self._dice.choice(FILES)
        attributes, handle = await self._volume.create(parent, name, self._dice.choice((0o644, 0o600)), os.O_RDWR, ME)
        async with self._lock(attributes.ino):
            done = await self._write_some(handle, attributes.ino, b"")
        return f"{path.decode()}/{name.decode()}#{attributes.ino} {done}"

    async def _rewrite(self) -> str:
        spot = self._any(stat.S_IFREG)
        ino = spot.attributes.ino
        async with self._lock(ino):
            flags = os.O_RDWR | self._dice.choice((0, 0, 0, os.O_TRUNC))
            handle = (await self._volume.open(ino, flags, 1)).handle
            try:
                before = await self._whole(handle)
            except SyncfsError:
                await self._volume.release(handle)
                raise
            if flags & os.O_TRUNC:
                self._promises.overwritten(self._node.name, self._id(ino), b"")
            return f"{spot} {await self._write_some(handle, ino, before)}"

    async def _save(self) -> str:
        """As editors do: a new file beside it, flushed, then renamed over the old one."""
        spot = self._any(stat.S_IFREG)
        name = b".#" + spot.name[:40]
        attributes, handle = await self._volume.create(spot.parent, name, 0o644, os.O_WRONLY, ME)
        async with self._lock(attributes.ino):
            done = await self._write_some(handle, attributes.ino, b"", flush=True)
        if self._dice.random() < 0.3:
            await self._pause()
        await self._move(spot.parent, name, spot.parent, spot.name, RenameFlags.NONE)
        return f"{spot} by #{attributes.ino} {done}"

    async def _truncate(self) -> str:
        spot = self._any(stat.S_IFREG)
        ino = spot.attributes.ino
        async with self._lock(ino):
            handle = (await self._volume.open(ino, os.O_RDWR, 1)).handle
            try:
                before = await self._whole(handle)
                size = self._dice.choice((0, len(before) // 2, len(before) + 10, self._size()))
                content = before[:size].ljust(size, b"\0")
                await self._volume.setattr(ino, AttributeChange(size=size), handle)
                await self._expect(handle, ino, content)
            finally:
                await self._volume.release(handle)
        return f"{spot} to {size}"

    async def _read(self) -> str:
        spot = self._any(stat.S_IFREG)
        handle = (await self._volume.open(spot.attributes.ino, os.O_RDONLY, 1)).handle
        try:
            return f"{spot} {len(await self._whole(handle))} bytes"
        finally:
            await self._volume.release(handle)

    async def _write_some(self, handle: int, ino: int, content: bytes, flush: bool = False) -> str:
        """Write, flush and close; `content` is what the file has now."""
        done = []
        try:
            for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
                offset = self._dice.choice((0, 0, len(content), self._dice.randrange(len(content) + 1000)))
                data = self._data()
                await self._volume.write(handle, offset, data)
                content = content.ljust(offset, b"\0")[:offset] + data + content[offset + len(data) :]
                await self._expect(handle, ino, content)
                done.append(f"{offset}+{len(data)}")
                if self._dice.random() < 0.4:
                    await self._pause()
                if flush or self._dice.random() < 0.4:
                    await self._volume.fsync(handle, False)
                    if self._node.share is self._share and self._share.index.nodes.must(ino).nlink:
                        self._promises.made(self._node.name, self._id(ino), f"#{ino} (work {self._seed})", content)
                    done.append("fsync")
            return " ".join(done)
        finally:
            await self._volume.release(handle)

    def _data(self) -> bytes:
        """Mostly bytes that nobody else writes; at times those that others write too, and this node wrote before."""
        if self._dice.random() < 0.1:
            number = self._dice.randrange(len(COMMON_SIZES))
            return random.Random(number).randbytes(COMMON_SIZES[number])
        return f"<{self._node.name} {self._seed}>".encode() + self._dice.randbytes(self._size())

    def _id(self, ino: int) -> bytes:
        """Names the file also after a crash that has taken back an inode number."""
        return self._share.index.nodes.must(ino).node

    async def _whole(self, handle: int) -> bytes:
        return bytes(await self._volume.read(handle, 0, WHOLE))

    async def _expect(self, handle: int, ino: int, content: bytes) -> None:
        self._promises.overwritten(self._node.name, self._id(ino), content)
        found = await self._whole(handle)
        if found != content:
            self._diary.problem(
                f"{self._node.name}: #{ino} has {len(found)} bytes that are not the {len(content)} written "
                f"(work {self._seed})"
            )

    # --- names ------------------------------------------------------------------------------------------------------

    async def _mkdir(self) -> str:
        parent, path = self._folder()
        name = self._dice.choice(FOLDERS)
        return f"{path.decode()}/{name.decode()}#{self._volume.mkdir(parent, name, 0o755, ME).ino}"

    async def _rename(self) -> str:
        spot = self._any()
        parent, path = self._folder()
        name = self._dice.choice((spot.name, *(FOLDERS if spot.kind == stat.S_IFDIR else FILES)))
        flags = self._dice.choice((RenameFlags.NONE, RenameFlags.NONE, RenameFlags.NOREPLACE))
        await self._move(spot.parent, spot.name, parent, name, flags)
        return f"{spot} to {path.decode()}/{name.decode()}"

    async def _move(self, old_parent: int, old_name: bytes, parent: int, name: bytes, flags: RenameFlags) -> None:
        # What is written comes first, as in the volume, so that nothing happens between looking and moving.
        await self._share.files.settle_node(self._volume.lookup(old_parent, old_name).ino)
        there = [one.attributes.ino for one in self._listed(parent) if one.name == name]
        if there and flags is RenameFlags.NONE:
            self._removes(there[0])
        await self._volume.rename(old_parent, old_name, parent, name, flags)

    async def _exchange(self) -> str:
        one, other = self._any(), self._any()
        await self._volume.rename(one.parent, one.name, other.parent, other.name, RenameFlags.EXCHANGE)
        return f"{one} and {other}"

    async def _link(self) -> str:
        spot = self._any(without=(stat.S_IFDIR,))
        parent, path = self._folder()
        name = self._dice.choice(FILES)
        self._volume.link(spot.attributes.ino, parent, name)
        return f"{spot} as {path.decode()}/{name.decode()}"

    async def _unlink(self) -> str:
        spot = self._any(without=(stat.S_IFDIR,))
        self._removes(spot.attributes.ino)
        self._volume.unlink(spot.parent, spot.name)
        return str(spot)

    async def _rmdir(self) -> str:
        spot = self._any(stat.S_IFDIR)
        self._volume.rmdir(spot.parent, spot.name)
        return str(spot)

    async def _remove_tree(self) -> str:
        top = self._any(stat.S_IFDIR)
        below = [spot for spot in self._spots() if spot.path.startswith(top.path + b"/")]
        for spot in sorted(below, key=lambda spot: spot.path, reverse=True):
            if spot.kind == stat.S_IFDIR:
                self._volume.rmdir(spot.parent, spot.name)
            else:
                self._removes(spot.attributes.ino)
                self._volume.unlink(spot.parent, spot.name)
            if self._dice.random() < 0.1:
                await self._pause()
        self._volume.rmdir(top.parent, top.name)
        return f"{top} with {len(below)}"

    async def _special(self) -> str:
        parent, path = self._folder()
        name = self._dice.choice(FILES)
        if self._dice.random() < 0.6:
            made = self._volume.symlink(parent, name, b"../" + self._dice.choice(FILES), ME)
        else:
            made = self._volume.mknod(parent, name, stat.S_IFIFO | 0o600, 0, ME)
        return f"{path.decode()}/{name.decode()}#{made.ino}"

    def _removes(self, ino: int) -> None:
        """A name of this file is about to be removed here: what it holds unsettled may go with it."""
        files = self._share.files
        if self._lock(ino).locked() or any(file.ino == ino for file in files.settler.files()):
            self._promises.given_up(self._node.name, self._id(ino))

    # --- attributes -------------------------------------------------------------------------------------------------

    async def _attributes(self) -> str:
        spot = self._any()
        stamp = self._dice.randrange(-(10**18), 2 * 10**18)
        change = self._dice.choice(
            (
                AttributeChange(mode=self._dice.randrange(0o1000)),
                AttributeChange(uid=self._dice.randrange(3000), gid=self._dice.randrange(3000)),
                AttributeChange(mtime=stamp, atime=stamp),
            )
        )
        await self._volume.setattr(spot.attributes.ino, change, None)
        return f"{spot} {change}"

    async def _xattrs(self) -> str:
        spot = self._any()
        name = b"user." + self._dice.choice(FILES)
        if self._dice.random() < 0.7:
            self._volume.setxattr(spot.attributes.ino, name, self._dice.randbytes(5), 0)
            return f"{spot} set {name.decode()}"
        self._volume.removexattr(spot.attributes.ino, name)
        return f"{spot} remove {name.decode()}"
