"""Files that are written at random places while memory is short: what waits in journals, and what a crash leaves."""

import os
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.opening import FLUSH_SECONDS, open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Limits, Share
from syncfs.engine.tree.posix import AttributeChange, Caller
from syncfs.engine.writing.dirty import Dirty, Load
from syncfs.engine.writing.extents import PIECE_BYTES
from syncfs.engine.writing.settling import OPEN_BYTES_PER_SECOND, OPEN_FACTOR, is_due

ME = Caller(0, 0)
KIB = 1024
MIB = 1024 * KIB
SIZE = 12 * MIB


class File:
    """A file in a share, beside the bytes that it should have."""

    def __init__(self, share: Share, ino: int, handle: int) -> None:
        self.share = share
        self.ino = ino
        self.handle = handle
        self.expected = bytearray()

    async def write(self, at: int, data: bytes) -> None:
        await self.share.volume.write(self.handle, at, data)
        self.expected.extend(bytes(max(at + len(data) - len(self.expected), 0)))
        self.expected[at : at + len(data)] = data

    async def truncate(self, size: int) -> None:
        await self.share.volume.setattr(self.ino, AttributeChange(size=size), self.handle)
        del self.expected[size:]
        self.expected.extend(bytes(size - len(self.expected)))

    async def fsync(self) -> None:
        await self.share.volume.fsync(self.handle, False)

    async def read(self) -> bytes:
        return await content(self.share, self.handle)

    @property
    def versions(self) -> int:
        return len(self.share.index.versions_of(self.ino))

    @property
    def held(self) -> int:
        dirty = self.share.files.dirty_of(self.ino)
        return 0 if dirty is None else dirty.held


async def content(share: Share, handle: int) -> bytes:
    parts = []
    while part := await share.volume.read(handle, sum(map(len, parts)), 3 * MIB):
        parts.append(bytes(part))
    return b"".join(parts)


@asynccontextmanager
async def opened(home: Path, limits: Limits) -> AsyncIterator[File]:
    create_share(home, "s", {}, os.urandom)
    async with open_share(home, "s", limits=limits) as share:
        entry, handle = await share.volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        yield File(share, entry.ino, handle)
        await share.volume.release(handle)


async def after_a_crash(home: Path, left: Path) -> bytes:
    """What the file has where the process is killed now."""
    shutil.copytree(home, left, symlinks=True, ignore=lambda _, names: [n for n in names if is_socket(left, n)])
    async with open_share(left, "s") as share:
        assert not share.files.failure
        handle = (await share.volume.open(share.volume.lookup(1, b"file").ino, os.O_RDONLY, 0)).handle
        found = await content(share, handle)
        await share.volume.release(handle)
    shutil.rmtree(left)
    return found


def is_socket(place: Path, name: str) -> bool:
    path = place / name
    return path.exists() and stat.S_ISSOCK(path.lstat().st_mode)


def journals(share: Share) -> list[Path]:
    return list((share.member.directory / "journal").glob("*"))


def on_disk(paths: list[Path]) -> int:
    return sum(path.stat().st_blocks * 512 for path in paths)


async def test_random_writes_make_no_versions_and_rewrite_nothing(tmp_path: Path) -> None:
    chance = Random(3)
    async with opened(tmp_path, Limits(dirty=MIB)) as file:
        await file.write(0, chance.randbytes(SIZE))
        await file.share.volume.flush()
        before = file.share.store.stats().bytes
        for number in range(1500):
            await file.write(chance.randrange(SIZE // 4096) * 4096, chance.randbytes(4096))
            if number % 32 == 31:
                await file.fsync()
            assert file.held <= MIB + 4096 + 2 * PIECE_BYTES
        assert file.versions == 1
        assert file.share.store.stats().bytes == before
        assert on_disk(journals(file.share)) < 2 * 1500 * 4096
        assert await file.read() == file.expected
        await file.share.volume.flush()
        assert file.versions == 2
        assert file.share.store.stats().bytes < before + SIZE + MIB
        assert not journals(file.share)
        assert await file.read() == file.expected


async def test_without_fsync_memory_is_given_back_all_the_same(tmp_path: Path) -> None:
    chance = Random(4)
    async with opened(tmp_path, Limits(dirty=MIB)) as file:
        for _ in range(1500):
            await file.write(chance.randrange(SIZE // 4096) * 4096 + 5, chance.randbytes(3000))
            assert file.held <= MIB + 4096 + 2 * PIECE_BYTES
        assert file.versions == 0
        assert file.share.store.stats().bytes < SIZE
        assert await file.read() == file.expected
        await file.share.volume.flush()
        assert (file.versions, journals(file.share)) == (1, [])
        assert await file.read() == file.expected


async def test_the_places_of_what_was_spilled_do_not_fill_the_memory(tmp_path: Path) -> None:
    chance, limit = Random(5), 100 * PIECE_BYTES
    async with opened(tmp_path / "home", Limits(dirty=limit)) as file:
        await file.write(0, chance.randbytes(4 * MIB))
        await file.share.volume.flush()
        for _ in range(4):
            for _ in range(200):
                await file.write(chance.randrange(4 * MIB), chance.randbytes(90))
                assert file.held <= limit + 90 + 2 * PIECE_BYTES
            await file.fsync()
            assert await after_a_crash(tmp_path / "home", tmp_path / "left") == file.expected
        assert file.versions == 1
        await file.share.volume.flush()
        assert await file.read() == file.expected


async def test_a_journal_stays_small_where_the_same_place_is_written_again_and_again(tmp_path: Path) -> None:
    chance, slack = Random(6), 200 * KIB
    async with opened(tmp_path / "home", Limits(slack=slack)) as file:
        await file.write(0, chance.randbytes(4 * MIB))
        await file.share.volume.flush()
        for number in range(300):
            await file.write(number % 7 * 300_000, chance.randbytes(8 * KIB))
            if number == 150:
                await file.truncate(3 * MIB)
                await file.truncate(4 * MIB)
            await file.fsync()
            assert on_disk(journals(file.share)) < 2 * slack + MIB * (number >= 150)
        assert file.versions == 1
        assert await file.read() == file.expected
        assert await after_a_crash(tmp_path / "home", tmp_path / "left") == file.expected


async def test_a_deleted_file_leaves_no_journal(tmp_path: Path) -> None:
    async with opened(tmp_path, Limits(dirty=MIB)) as file:
        await file.write(0, os.urandom(4 * MIB))
        await file.share.volume.flush()
        for number in range(500):
            await file.write(number * 8 * KIB, b"x" * 4096)
        await file.fsync()
        assert journals(file.share)
        file.share.volume.unlink(1, b"file")
        for number in range(500):
            await file.write(number * 8 * KIB, b"y" * 4096)
        assert await file.read() == file.expected
        await file.share.volume.release(file.handle)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert not journals(file.share)
        _, file.handle = await file.share.volume.create(1, b"other", 0o644, os.O_RDWR, ME)


async def test_a_file_that_became_small_and_changes_while_its_version_is_made_needs_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "home", Limits()) as file:
        await file.write(0, os.urandom(MIB))
        await file.share.volume.flush()
        await file.write(0, b"x" * 200)
        await file.fsync()
        await file.truncate(500)
        await file.fsync()
        assert journals(file.share)
        read_frozen = Dirty.read_frozen

        async def and_change(self: Dirty, start: int, stop: int, load: Load) -> bytes:
            found = await read_frozen(self, start, stop, load)
            monkeypatch.undo()
            await file.write(100, b"new")
            return found

        monkeypatch.setattr(Dirty, "read_frozen", and_change)
        await file.share.files.settle_node(file.ino)
        assert not journals(file.share)
        assert await file.read() == file.expected
        await file.fsync()
        assert await after_a_crash(tmp_path / "home", tmp_path / "left") == file.expected


@pytest.mark.parametrize("method", ["put", "sync"])
async def test_fsync_waits_for_no_version_and_what_it_promised_survives_a_crash_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    home, left, chance = tmp_path / "home", tmp_path / "left", Random(7)
    async with opened(home, Limits(dirty=20 * MIB)) as file:
        await file.write(0, chance.randbytes(24 * MIB))
        await file.share.volume.flush()
        for number in range(300):
            await file.write(number * 80_000, chance.randbytes(4096))
        await file.fsync()
        reached, may = trio.Event(), trio.Event()
        original = getattr(ChunkCache, method)

        async def held(self: ChunkCache, *words: object) -> object:
            if self is file.share.chunks:
                reached.set()
                await may.wait()
            return await original(self, *words)

        monkeypatch.setattr(ChunkCache, method, held)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.share.volume.flush)
            await reached.wait()
            before = bytes(file.expected)
            for number in range(2_400):  # more than the memory takes
                await file.write(number * 9_500 + 77, chance.randbytes(9_000))
            with trio.fail_after(20):
                await file.fsync()
            assert await file.read() == file.expected
            assert file.versions == 1
            assert await after_a_crash(home, left) == file.expected
            may.set()
        monkeypatch.setattr(ChunkCache, method, original)
        assert file.versions == 2
        assert await file.read() == file.expected
        assert await after_a_crash(home, left) == file.expected
        await file.write(5, b"once more")
        await file.fsync()
        assert await after_a_crash(home, left) == file.expected
        assert before != file.expected


async def test_what_was_written_after_a_truncation_survives_a_crash(tmp_path: Path) -> None:
    async with opened(tmp_path / "home", Limits()) as file:
        await file.write(0, os.urandom(MIB))
        await file.share.volume.flush()
        await file.truncate(600_000)
        await file.write(590_000, b"x" * 4096)
        await file.fsync()
        assert await after_a_crash(tmp_path / "home", tmp_path / "left") == file.expected


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 400_000), st.integers(1, 9_000)),
        st.tuples(st.just("write"), st.integers(0, 1_200_000), st.integers(100_000, 200_000)),
        st.tuples(st.just("truncate"), st.integers(0, 600_000), st.just(0)),
        st.sampled_from([("fsync", 0, 0), ("version", 0, 0), ("read", 0, 0), ("crash", 0, 0), ("open", 0, 0)]),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(OPERATIONS, st.sampled_from([9_000, 60_000, 400_000]), st.sampled_from([0, 100_000]))
def test_shows_what_a_bytearray_shows(operations: list[tuple[str, int, int]], dirty: int, slack: int) -> None:
    async def run(place: Path) -> None:
        async with opened(place / "home", Limits(dirty, slack)) as file:
            promised, touched = b"", set[range]()
            await file.fsync()
            for number, (name, at, size) in enumerate(operations):
                match name:
                    case "write":
                        await file.write(at, Random(number).randbytes(size))
                        touched.add(range(at, at + size))
                    case "truncate":
                        touched.add(range(min(at, len(file.expected)), 2**40))
                        await file.truncate(at)
                    case "fsync" | "version":
                        await (file.fsync() if name == "fsync" else file.share.flush())
                        promised = bytes(file.expected)
                        touched.clear()
                    case "crash":
                        found = await after_a_crash(place / "home", place / "left")
                        if not touched:
                            assert found == promised
                        same = bytearray(found.ljust(len(promised), b"\0"))
                        wanted = bytearray(promised)
                        for one in touched:
                            stop = min(one.stop, len(promised))
                            same[one.start : stop] = wanted[one.start : stop] = bytes(max(stop - one.start, 0))
                        assert same[: len(wanted)] == wanted
                    case "open":
                        handle = (await file.share.volume.open(file.ino, os.O_RDWR, 0)).handle
                        await file.share.volume.release(file.handle)
                        file.handle = handle
                    case _:
                        assert await file.read() == file.expected
            assert await file.read() == file.expected
            await file.fsync()
            assert await after_a_crash(place / "home", place / "left") == file.expected
            await file.share.flush()
            assert await file.read() == file.expected
        assert await after_a_crash(place / "home", place / "left") == file.expected

    with TemporaryDirectory(dir="/var/tmp") as place:
        trio.run(run, Path(place))


def test_a_version_of_an_open_file_waits_until_it_is_worth_its_cost() -> None:
    assert is_due(MIB, 300, 30)
    assert is_due(OPEN_FACTOR * MIB, MIB, 0)
    assert not is_due(2048 * MIB, 16 * MIB, 30)
    assert is_due(2048 * MIB, 512 * MIB, 0)
    assert is_due(2048 * MIB, 0, 2048 * MIB / OPEN_BYTES_PER_SECOND)


async def test_no_journal_goes_over_a_version_that_a_crash_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be given again after the crash, to a version of another file."""
    async with opened(tmp_path, Limits()) as file:
        await file.write(0, os.urandom(4 * MIB))
        durable, may, waits = Feed.durable, trio.Event(), trio.Event()

        async def held(self: Feed) -> None:
            waits.set()
            await may.wait()
            await durable(self)

        async with trio.open_nursery() as nursery:
            monkeypatch.setattr(Feed, "durable", held)
            await file.share.files.settle_node(file.ino)
            await file.write(3 * MIB, b"x")
            nursery.start_soon(file.fsync)
            await waits.wait()
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert not journals(file.share)
            may.set()
        assert journals(file.share)


async def test_closing_a_share_waits_while_what_was_spilled_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    put, asked = ChunkCache.put, list[int]()

    async def slow(self: ChunkCache, plains: list[bytes]) -> list[bytes]:
        asked.append(len(plains))
        mock_clock.jump(FLUSH_SECONDS * 2 / 3)
        return await put(self, plains)

    chance = Random(8)
    async with opened(tmp_path, Limits(dirty=MIB)) as file:
        await file.write(0, chance.randbytes(MIB))  # sealed at once, so that the journal does not tell everything
        for _ in range(1_500):
            await file.write(chance.randrange(4 * SIZE), chance.randbytes(3000))
        monkeypatch.setattr(ChunkCache, "put", slow)
        expected = file.expected
    assert len(asked) > 4
    monkeypatch.setattr(ChunkCache, "put", put)
    async with open_share(tmp_path, "s") as again:
        handle = (await again.volume.open(again.volume.lookup(1, b"file").ino, os.O_RDONLY, 0)).handle
        assert await content(again, handle) == expected
        await again.volume.release(handle)
