"""The process that test_crash.py kills: it works on a store or a journal and says what it was promised.

Run as `python -m tests.store.victim store|journal PATH SEED`; each line of output acknowledges everything up to a
number.
"""

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from syncfs.crypto.sealing import JournalCipher
from syncfs.store.disk import DiskStore
from syncfs.store.journal import Journal
from syncfs.store.memory import MemoryCatalogue
from tests.store.suite import chunk

CIPHER = JournalCipher(b"k" * 32)
PACK_BYTES = 300_000
BATCH = 6


def size_of(number: int) -> int:
    """The size of the chunk with a number: some packed, some files of their own."""
    return (700, 9_000, 40_000, 170_000)[number % 4]


def removed_after(number: int) -> bool:
    """Whether the chunk with a number is removed again, so that packs are compacted."""
    return number % 3 != 0


def write_at(number: int) -> tuple[int, bytes]:
    """The write with a number: where and what."""
    source = random.Random(number)
    return source.randrange(300_000), source.randbytes(source.choice((10, 4_096, 200_000)))


def work_on_store(path: Path) -> None:
    """Two threads write, the loop records, syncs, acknowledges, removes and compacts."""
    store = DiskStore(path, MemoryCatalogue(), pack_bytes=PACK_BYTES)
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, 1_000_000, BATCH):
            chunks = [chunk(number, size_of(number)) for number in range(start, start + BATCH)]
            places = list(threads.map(lambda each: store.write(*each), chunks))
            for (address, _), place in zip(chunks, places, strict=True):
                store.record(address, place, start)
            threads.submit(store.sync).result()
            print(start + BATCH, flush=True)
            store.remove([address for number, (address, _) in enumerate(chunks, start) if removed_after(number)])
            store.compact(lambda: None)


def work_on_journal(path: Path, seed: int) -> None:
    """Writes and truncations, acknowledged now and then."""
    journal = Journal(path, CIPHER, b"header", random.Random(seed).randbytes)
    for number in range(1, 1_000_000):
        journal.append(*write_at(number))
        if number % 5 == 0:
            journal.truncate(100_000)
        if number % 3 == 0:
            journal.sync()
            print(number, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["store", path, _]:
            work_on_store(Path(path))
        case ["journal", path, seed]:
            work_on_journal(Path(path), int(seed))
