"""The store on disk: what it takes, how it is opened again, what it does when the disk says no."""

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from syncfs.model.errors import (
    BadChunkError,
    BusyError,
    DamageError,
    NewerFormatError,
    SetupError,
    UnavailableError,
)
from syncfs.model.ids import Address
from syncfs.model.places import Place
from syncfs.store.contract import verify
from syncfs.store.disk import Damage, DiskStore
from syncfs.store.memory import MemoryCatalogue
from syncfs.store.packformat import HEADER_BYTES, PACKED_LIMIT, PREAMBLE_BYTES
from tests.store.suite import chunk

BIG = PACKED_LIMIT + 1


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size`: the kernel's own way of running out of space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def disk_bytes(directory: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def left_behind(directory: Path, copy: Path) -> Path:
    """The store as it is on disk at this moment, as if its process had been killed."""
    shutil.copytree(directory, copy)
    return copy


@pytest.mark.parametrize(
    "sizes",
    [
        [Random(n).randint(1040, 24_000) for n in range(2000)],
        [Random(n).randint(24_000, 300_000) for n in range(150)],
        [128 * 1024 + 16] * 100,
        [PACKED_LIMIT + 1] * 100,
    ],
    ids=["small", "middling", "first chunks", "worst"],
)
def test_takes_at_most_three_percent_more_than_the_bytes_held(tmp_path: Path, sizes: list[int]) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        for number, size in enumerate(sizes):
            store.put(*chunk(number, size), now=number)
        store.sync()
        held = store.stats()
        assert held.bytes == sum(sizes)
        assert disk_bytes(tmp_path) <= 1.03 * held.bytes
        assert abs(held.disk_bytes - disk_bytes(tmp_path)) <= 0.02 * held.bytes
    assert HEADER_BYTES <= 48


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "share", MemoryCatalogue()) as store:
        for size in (10, BIG):
            store.put(*chunk(1, size), now=1)
        for path in (tmp_path / "share").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
        assert not list((tmp_path / "share/chunks/incoming").iterdir())


def test_a_closed_store_goes_on_where_it_was(tmp_path: Path) -> None:
    catalogue = MemoryCatalogue()
    for number in range(3):
        with DiskStore(tmp_path, catalogue) as store:
            assert not store.unclean
            store.put(*chunk(number, 500), now=1)
            store.put(*chunk(number, BIG), now=1)
            for earlier in range(number + 1):
                for size in (500, BIG):
                    address, data = chunk(earlier, size)
                    assert store.get(address) == data
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["000001.pack"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()), pytest.raises(BusyError):
        DiskStore(tmp_path, MemoryCatalogue())
    DiskStore(tmp_path, MemoryCatalogue()).close()


def test_formats_of_later_days_are_left_alone(tmp_path: Path) -> None:
    DiskStore(tmp_path, MemoryCatalogue()).close()
    (tmp_path / "store.format").write_text("syncfs store 2\n")
    with pytest.raises(NewerFormatError):
        DiskStore(tmp_path, MemoryCatalogue())
    (tmp_path / "store.format").write_text("something else\n")
    with pytest.raises(DamageError):
        DiskStore(tmp_path, MemoryCatalogue())


def test_a_store_that_was_killed_is_recovered_from_what_is_on_disk(tmp_path: Path) -> None:
    catalogue = MemoryCatalogue()
    with DiskStore(tmp_path / "one", catalogue) as store:
        chunks = [chunk(number, size) for number in range(5) for size in (700, BIG)]
        for address, data in chunks:
            store.put(address, data, now=1)
        late, late_data = chunk(50, 900)
        store.write(late, late_data)
        (tmp_path / "one/chunks/incoming/half").write_bytes(b"half")
        killed = left_behind(tmp_path / "one", tmp_path / "two")
    with DiskStore(killed, catalogue) as store:
        assert store.unclean
        assert store.wasteful() is None
        assert not list((killed / "chunks/incoming").iterdir())
        assert store.recover(now=5).adopted == 1
        assert not store.unclean
        assert store.get(late) == late_data
        store.put(*chunk(60, 100), now=1)
        assert len(list((killed / "packs").iterdir())) == 2
    with DiskStore(killed, catalogue) as store:
        assert not store.unclean


@pytest.mark.parametrize("clean", [True, False])
def test_a_lost_catalogue_is_refilled(tmp_path: Path, clean: bool) -> None:
    chunks = [chunk(number, size) for number in range(5) for size in (700, BIG)]
    with DiskStore(tmp_path / "one", MemoryCatalogue()) as store:
        for address, data in chunks:
            store.put(address, data, now=1)
        if not clean:
            left_behind(tmp_path / "one", tmp_path / "two")
    with DiskStore(tmp_path / ("one" if clean else "two"), MemoryCatalogue()) as store:
        assert store.unclean
        recovery = store.recover(now=5)
        assert (recovery.adopted, recovery.damage) == (len(chunks), ())
        for address, data in chunks:
            assert store.get(address) == data


def test_a_tail_torn_at_any_byte_costs_only_the_torn_chunk(tmp_path: Path) -> None:
    with DiskStore(tmp_path / "one", MemoryCatalogue()) as store:
        chunks = [chunk(number, 20 + number) for number in range(3)]
        for address, data in chunks:
            store.put(address, data, now=1)
        killed = left_behind(tmp_path / "one", tmp_path / "two")
    pack = killed / "packs/000001.pack"
    whole = pack.read_bytes()
    ends = [PREAMBLE_BYTES]
    for _, data in chunks:
        ends.append(ends[-1] + HEADER_BYTES + len(data))
    for cut in range(PREAMBLE_BYTES, len(whole) + 1):
        for tail in (b"", bytes(len(whole) - cut)):
            pack.write_bytes(whole[:cut] + tail)
            complete = len([end for end in ends[1:] if end <= cut])
            store = DiskStore(killed, MemoryCatalogue())
            damage: list[Damage] = []
            assert [address for address, _ in store.scan(damage.append)] == [
                address for address, _ in chunks[:complete]
            ]
            size = cut + len(tail) - ends[complete]
            assert damage == ([Damage(pack, ends[complete], size, tail=True)] if size else [])
            store.close()


def test_damage_in_the_middle_hides_nothing_behind_it(tmp_path: Path) -> None:
    catalogue = MemoryCatalogue()
    with DiskStore(tmp_path, catalogue) as store:
        chunks = [chunk(number, 100) for number in range(4)]
        for address, data in chunks:
            store.put(address, data, now=1)
        big, big_data = chunk(9, BIG)
        store.put(big, big_data, now=1)
    pack = tmp_path / "packs/000001.pack"
    whole = pack.read_bytes()
    second = PREAMBLE_BYTES + HEADER_BYTES + 100
    for position in range(second, second + HEADER_BYTES + 100, 7):
        pack.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with DiskStore(tmp_path, catalogue) as store:
            damage: list[Damage] = []
            found = dict(store.scan(damage.append))
            assert set(found) == {big, *(address for address, _ in (chunks[0], *chunks[2:]))}
            assert damage == [Damage(pack, second, HEADER_BYTES + 100, tail=False)]
    with DiskStore(tmp_path, catalogue) as store:
        pack.write_bytes(b"\0" * PREAMBLE_BYTES + whole[PREAMBLE_BYTES:])
        damage = []
        assert len(dict(store.scan(damage.append))) == 5
        assert damage == [Damage(pack, 0, PREAMBLE_BYTES, tail=False)]


@pytest.mark.parametrize("left", [0, PREAMBLE_BYTES - 1])
def test_a_pack_without_its_first_bytes_has_bad_chunks(tmp_path: Path, left: int) -> None:
    """As a loss of power leaves it; who asks for the chunk can then get it elsewhere."""
    catalogue = MemoryCatalogue()
    with DiskStore(tmp_path, catalogue) as store:
        store.put(*chunk(1, 500), now=1)
    os.truncate(tmp_path / "packs/000001.pack", left)
    with DiskStore(tmp_path, catalogue) as store:
        with pytest.raises(BadChunkError, match="cut short"):
            store.get(chunk(1, 500)[0])
        store.quarantine(chunk(1, 500)[0])
        store.put(*chunk(1, 500), now=2)
        assert store.get(chunk(1, 500)[0]) == chunk(1, 500)[1]


def test_bad_and_truncated_and_missing_chunks_are_told_apart(tmp_path: Path) -> None:
    catalogue = MemoryCatalogue()
    with DiskStore(tmp_path, catalogue) as store:
        for size in (500, BIG):
            store.put(*chunk(1, size), now=1)
        packed, own = chunk(1, 500)[0], chunk(1, BIG)[0]
        file = next((tmp_path / "chunks").glob(f"*/{own.hex()}"))
        with (tmp_path / "packs/000001.pack").open("r+b") as pack:
            pack.truncate(300)
        with file.open("r+b") as opened:
            opened.truncate(300)
        for address in (packed, own):
            with pytest.raises(BadChunkError, match="cut short"):
                store.get(address)
        file.unlink()
        with pytest.raises(DamageError, match="missing"):
            store.get(own)
        for address in (packed, own):
            store.quarantine(address)
            assert not store.has(address)


def test_quarantine_keeps_bad_bytes_and_stays_small(tmp_path: Path) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        for number in range(70):
            size = BIG if number % 10 == 0 else 50
            address, data = chunk(number, size)
            store.put(address, data[::-1], now=1)
            store.quarantine(address)
        aside = list((tmp_path / "quarantine").iterdir())
        assert len(aside) == 64
        assert chunk(69, 50)[1][::-1] in [path.read_bytes() for path in aside]
        assert not list((tmp_path / "chunks").glob("??/*"))


def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        store.put(*chunk(1, 500), now=1)
        before = store.stats()
        for size in (PACKED_LIMIT, BIG):
            with file_size_limit(2000), pytest.raises(SetupError, match="full"):
                store.put(*chunk(2, size), now=1)
            assert store.stats() == before
            assert not store.has(chunk(2, size)[0])
        assert not list((tmp_path / "chunks/incoming").iterdir())
        for size in (PACKED_LIMIT, BIG):
            store.put(*chunk(2, size), now=1)
        damage: list[Damage] = []
        assert len(list(store.scan(damage.append))) == 3
        assert not damage


def test_chunks_written_before_one_that_found_no_room_are_taken_back(tmp_path: Path) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        chunks = [chunk(1, BIG), chunk(2, 500), chunk(3, 4 * BIG)]
        with file_size_limit(2 * BIG), pytest.raises(SetupError, match="full"):
            store.write_many(chunks)
        assert len(list((tmp_path / "chunks").glob("??/*"))) == 1
        store.discard(store.forget([]))
        assert not list((tmp_path / "chunks").glob("??/*"))
        for address, data in chunks:
            store.put(address, data, now=1)
            assert store.get(address) == data


def test_a_store_whose_folder_vanished_says_so_and_stays_an_error(tmp_path: Path) -> None:
    catalogue = MemoryCatalogue()
    store = DiskStore(tmp_path / "one", catalogue)
    for size in (500, BIG):
        store.put(*chunk(1, size), now=1)
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(SetupError, match="gone"):
        store.get(chunk(1, BIG)[0])
    with pytest.raises(SetupError, match="gone"):
        store.put(*chunk(2, BIG), now=1)
    for _ in range(2):
        with pytest.raises(SetupError, match="gone"):
            store.sync()
    with pytest.raises(SetupError):
        store.close()
    with pytest.raises(SetupError, match="gone"):
        DiskStore(tmp_path / "one", catalogue)
    assert not (tmp_path / "one").exists()


def test_a_pack_that_vanished_is_noticed_when_it_matters(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, MemoryCatalogue())
    store.put(*chunk(1, 500), now=1)
    (tmp_path / "packs/000001.pack").unlink()
    with pytest.raises(SetupError):
        store.sync()
    with pytest.raises(SetupError):
        store.close()


def test_sync_costs_nothing_where_nothing_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        store.sync()
        assert not synced
        for number in range(10):
            store.put(*chunk(number, 500), now=1)
        store.put(*chunk(1, BIG), now=1)
        store.sync()
        assert len(synced) == 2
        store.sync()
        store.get(chunk(1, 500)[0])
        store.remove([chunk(2, 500)[0]])
        store.sync()
    assert len(synced) == 2


def test_small_chunks_in_memory_are_read_without_waiting(tmp_path: Path) -> None:
    with DiskStore(tmp_path, MemoryCatalogue()) as store:
        address, data = chunk(1, 8192)
        store.put(address, data, now=1)
        place = store.locate(address)
        assert place is not None
        if store.read_cached(place) is None:
            pytest.skip("needs a file system that answers RWF_NOWAIT reads")
        assert store.read_cached(place) == data
        assert store.read_cached(Place(place.pack, place.offset, 100_000, address)) is None


def test_any_number_of_packs_needs_a_bounded_number_of_descriptors(tmp_path: Path) -> None:
    chunks = [chunk(number, 300) for number in range(400)]
    catalogue = MemoryCatalogue()
    for _ in range(2):
        with DiskStore(tmp_path, catalogue, pack_bytes=400) as store:
            before = len(list(Path("/proc/self/fd").iterdir()))
            for address, data in chunks:
                store.put(address, data, now=1)
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + 260
            store.sync()
            for address, data in chunks:
                assert store.get(address) == data
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + 260
    assert len(list((tmp_path / "packs").iterdir())) == 400


class TestCompaction:
    def filled(self, directory: Path, catalogue: MemoryCatalogue) -> tuple[DiskStore, dict[Address, bytes]]:
        store = DiskStore(directory, catalogue, pack_bytes=40_000)
        chunks = [chunk(number, 1000) for number in range(100)]
        for now, (address, data) in enumerate(chunks):
            store.put(address, data, now=now)
        store.remove([address for number, (address, _) in enumerate(chunks) if number % 3])
        return store, {address: data for number, (address, data) in enumerate(chunks) if number % 3 == 0}

    def test_frees_what_is_dead_and_keeps_what_lives(self, tmp_path: Path) -> None:
        catalogue = MemoryCatalogue()
        store, alive = self.filled(tmp_path, catalogue)
        order = [held.address for held in store.oldest(100)]
        commits: list[int] = []
        freed = 0
        while step := store.compact(lambda: commits.append(1)):
            freed += step
        assert freed > 25_000
        assert commits
        with store:
            assert {address: store.get(address) for address in alive} == alive
            assert [held.address for held in store.oldest(100)] == order
            assert store.stats().disk_bytes < 2.6 * store.stats().bytes
            assert set(alive) <= set(dict(store.scan()))

    def test_weighs_packs_from_before(self, tmp_path: Path) -> None:
        catalogue = MemoryCatalogue()
        store, alive = self.filled(tmp_path, catalogue)
        store.close()
        with DiskStore(tmp_path, catalogue, pack_bytes=40_000) as store:
            while store.compact(lambda: None):
                pass
            assert {address: store.get(address) for address in alive} == alive
            assert store.stats().disk_bytes < 2.6 * store.stats().bytes

    def test_places_from_before_are_stale_never_wrong(self, tmp_path: Path) -> None:
        store, alive = self.filled(tmp_path, MemoryCatalogue())
        before = {address: store.locate(address) for address in alive}
        store.compact(lambda: None)
        stale = 0
        for address, place in before.items():
            assert place is not None
            try:
                verify(address, store.read(place))
            except UnavailableError:
                stale += 1
                assert store.locate(address) != place
        assert stale
        store.close()

    def test_a_kill_between_any_two_steps_loses_nothing(self, tmp_path: Path) -> None:
        catalogue = MemoryCatalogue()
        store, alive = self.filled(tmp_path / "one", catalogue)
        stages = iter(range(10))

        def killed_here(committed: bool) -> None:
            copy = left_behind(tmp_path / "one", tmp_path / f"killed{next(stages)}")
            for thorough in (False, True):
                remembered = MemoryCatalogue()
                for address in catalogue if committed else alive:
                    place = catalogue.find(address) if committed else before[address]
                    assert place is not None
                    remembered.add(address, place, 1)
                with DiskStore(copy, remembered, pack_bytes=40_000) as other:
                    if other.unclean:
                        other.recover(now=1, thorough=thorough)
                    assert {address: other.get(address) for address in alive} == alive

        before = {address: store.locate(address) for address in alive}
        compaction = store.wasteful()
        assert compaction is not None
        killed_here(committed=False)
        copied = store.copy_live(compaction)
        killed_here(committed=False)
        store.adopt(compaction, copied)
        killed_here(committed=False)
        killed_here(committed=True)
        store.unlink(store.emptied())
        killed_here(committed=True)
        store.close()

    def test_what_is_not_recorded_yet_keeps_its_pack(self, tmp_path: Path) -> None:
        with DiskStore(tmp_path, MemoryCatalogue(), pack_bytes=5_000) as store:
            address, data = chunk(1, 1000)
            place = store.write(address, data)
            for number in range(2, 12):
                store.put(*chunk(number, 1000), now=1)
                store.remove([chunk(number, 1000)[0]])
            while store.compact(lambda: None):
                pass
            store.record(address, place, now=1)
            assert store.get(address) == data

    def test_a_bad_chunk_is_put_aside_and_the_rest_moves(self, tmp_path: Path) -> None:
        catalogue = MemoryCatalogue()
        store, alive = self.filled(tmp_path, catalogue)
        victim = min(alive, key=lambda address: catalogue.find(address).offset)  # type: ignore[union-attr]
        for address in alive:
            place = store.locate(address)
            assert place is not None
            if place.pack == 1:
                victim = address
        place = store.locate(victim)
        assert place is not None
        with (tmp_path / "packs/000001.pack").open("r+b") as pack:
            pack.seek(place.offset)
            pack.write(b"bad")
        while store.compact(lambda: None):
            pass
        assert not store.has(victim)
        assert len(list((tmp_path / "quarantine").iterdir())) == 1
        del alive[victim]
        assert {address: store.get(address) for address in alive} == alive
        store.close()
