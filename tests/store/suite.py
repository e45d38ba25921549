"""What every chunk store owes: run by test_contract.py against each of them."""

import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from syncfs.crypto.sealing import address_of
from syncfs.model.errors import BadChunkError, UnavailableError
from syncfs.model.ids import Address
from syncfs.store import eviction
from syncfs.store.contract import ChunkStore, verify

MakeStore = Callable[[], ChunkStore]
SIZES = (16, 100, 8 * 1024 + 16, 64 * 1024 + 16, 160 * 1024, 160 * 1024 + 1, 1024 * 1024 + 16)


def chunk(seed: int, size: int) -> tuple[Address, bytes]:
    """The same chunk for the same arguments."""
    data = random.Random(seed * 2_000_003 + size).randbytes(size)
    return address_of(data), data


class StoreSuite:
    """The obligations of store.contract.ChunkStore; a test class for one store gives a `store` fixture."""

    @pytest.mark.parametrize("size", SIZES)
    def test_gives_back_what_was_put(self, store: ChunkStore, size: int) -> None:
        address, data = chunk(1, size)
        assert not store.has(address)
        assert store.get(address) is None
        assert store.locate(address) is None
        store.put(address, memoryview(data), now=1)
        assert store.has(address)
        assert store.get(address) == data
        place = store.locate(address)
        assert place is not None
        assert (place.size, place.address) == (size, address)
        assert store.read(place) == data
        assert store.read_cached(place) in (None, data)

    def test_takes_bytearrays_and_forgets_the_buffer(self, store: ChunkStore) -> None:
        address, data = chunk(2, 9000)
        buffer = bytearray(data)
        store.put(address, buffer, now=1)
        buffer[:] = bytes(len(buffer))
        assert store.get(address) == data

    def test_putting_again_is_a_touch(self, store: ChunkStore) -> None:
        first, second = chunk(3, 500), chunk(4, 500)
        store.put(*first, now=1)
        store.put(*second, now=2)
        before = store.stats()
        store.put(*first, now=3)
        assert store.stats() == before
        assert [held.address for held in store.oldest(2)] == [second[0], first[0]]

    def test_removes(self, store: ChunkStore) -> None:
        chunks = [chunk(5, size) for size in SIZES]
        for address, data in chunks:
            store.put(address, data, now=1)
        gone = [address for address, _ in chunks[::2]]
        store.remove([*gone, chunk(6, 10)[0]])
        for address, data in chunks:
            assert store.get(address) == (None if address in gone else data)

    def test_a_removed_chunk_can_come_back(self, store: ChunkStore) -> None:
        for size in SIZES:
            address, data = chunk(7, size)
            for _ in range(3):
                store.put(address, data, now=1)
                store.remove([address])
                assert not store.has(address)
            store.put(address, data, now=1)
            assert store.get(address) == data

    def test_a_late_discard_spares_what_was_written_since(self, store: ChunkStore) -> None:
        address, data = chunk(8, SIZES[-1])
        store.put(address, data, now=1)
        places = store.forget([address])
        store.put(address, data, now=2)
        store.discard(places)
        assert store.get(address) == data

    def test_what_is_being_written_is_not_forgotten(self, store: ChunkStore) -> None:
        address, data = chunk(9, SIZES[-1])
        store.put(address, data, now=1)
        place = store.write(address, data)
        assert not store.forget([address])
        store.record(address, place, now=2)
        assert store.get(address) == data
        assert len(store.forget([address])) == 1

    def test_a_written_chunk_is_held_only_once_it_is_recorded(self, store: ChunkStore) -> None:
        for size in SIZES:
            address, data = chunk(10, size)
            place = store.write(address, data)
            assert not store.has(address)
            store.record(address, place, now=1)
            assert store.get(address) == data

    def test_an_abandoned_chunk_is_not_held_and_does_not_stay(self, store: ChunkStore) -> None:
        chunks = [chunk(13, size) for size in SIZES]
        held, data = chunks[-1]
        store.put(held, data, now=1)
        places = store.write_many(chunks)
        store.abandon(places)
        store.discard(store.forget([]))
        assert store.get(held) == data
        for address, data in chunks[:-1]:
            assert not store.has(address)
            store.put(address, data, now=1)
            assert store.get(address) == data
        store.remove([address for address, _ in chunks])
        assert store.stats().chunks == 0

    def test_counts(self, store: ChunkStore) -> None:
        assert (store.stats().chunks, store.stats().bytes) == (0, 0)
        chunks = [chunk(11, size) for size in SIZES]
        for address, data in chunks:
            store.put(address, data, now=1)
        stats = store.stats()
        assert (stats.chunks, stats.bytes) == (len(SIZES), sum(SIZES))
        assert stats.bytes <= stats.disk_bytes <= stats.bytes * 1.03
        store.remove([chunks[0][0], chunks[-1][0]])
        assert (store.stats().chunks, store.stats().bytes) == (len(SIZES) - 2, sum(SIZES[1:-1]))

    def test_offers_the_oldest_first_to_eviction(self, store: ChunkStore) -> None:
        chunks = [chunk(12 + number, 1000) for number in range(10)]
        for now, (address, data) in enumerate(chunks):
            store.put(address, data, now=now)
        store.touch(chunks[0][0], 100)
        dropped = eviction.choose(store.oldest(10), store.stats().bytes, 9_000, 7_500, lambda address: False)
        assert dropped == [address for address, _ in chunks[1:4]]
        store.remove(dropped)
        assert store.stats().bytes == 7_000

    def test_a_stale_place_gives_no_other_bytes(self, store: ChunkStore) -> None:
        for size in SIZES:
            address, data = chunk(30, size)
            store.put(address, data, now=1)
            place = store.locate(address)
            assert place is not None
            store.remove([address])
            try:
                assert store.read(place) == data
            except UnavailableError:
                continue

    def test_a_quarantined_chunk_is_gone_and_can_be_fetched_again(self, store: ChunkStore) -> None:
        for size in SIZES:
            address, data = chunk(31, size)
            store.put(address, b"\0" + data[1:], now=1)
            with pytest.raises(BadChunkError):
                verify(address, store.get(address) or b"")
            store.quarantine(address)
            assert store.get(address) is None
            store.put(address, data, now=2)
            verify(address, store.get(address) or b"")
            store.quarantine(chunk(32, size)[0])

    def test_sync_may_be_called_at_any_time(self, store: ChunkStore) -> None:
        store.sync()
        for size in SIZES:
            store.put(*chunk(33, size), now=1)
            store.sync()
            store.sync()
        store.remove([chunk(33, size)[0] for size in SIZES])
        store.sync()

    def test_threads_write_and_read_while_the_loop_records(self, store: ChunkStore) -> None:
        chunks = [chunk(100 + number, size) for number in range(40) for size in (300, 20_000, 170_000)]
        with ThreadPoolExecutor(3) as threads:
            written = [(address, data, threads.submit(store.write, address, data)) for address, data in chunks]
            reads: list[tuple[bytes, Future[bytes]]] = []
            syncs: list[Future[None]] = []
            for number, (address, data, future) in enumerate(written):
                store.record(address, future.result(), now=number)
                place = store.locate(address)
                assert place is not None
                reads.append((data, threads.submit(store.read, place)))
                if number % 10 == 0:
                    syncs.append(threads.submit(store.sync))
                if number % 7 == 0 and number > 20:
                    threads.submit(store.discard, store.forget([written[number - 20][0]])).result()
            for sync in syncs:
                sync.result()
            for data, read in reads:
                assert read.result() == data
        assert store.stats().chunks == len(chunks) - len([n for n in range(21, len(chunks)) if n % 7 == 0])

    def test_the_same_chunk_may_be_written_by_several_threads(self, store: ChunkStore) -> None:
        for size in (5_000, 200_000):
            address, data = chunk(200, size)
            with ThreadPoolExecutor(4) as threads:
                for place in threads.map(lambda _: store.write(address, data), range(8)):  # noqa: B023
                    store.record(address, place, now=1)
            assert store.get(address) == data
            store.remove([address])
            assert store.get(address) is None
