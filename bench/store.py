"""How fast the chunk store and the journal are; run by hand: `python -m bench.store [DIRECTORY]`.

Chunks are random bytes that were addressed before the clock starts. `put` is write + record with a catalogue in memory,
`durable put` the same with a sync after every chunk, `get` comes from the page cache. Everything is done twice and the
second round is printed, so that a machine that first has to find memory does not count.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from syncfs.crypto.hashing import BytesLike
from syncfs.crypto.sealing import JournalCipher, address_of
from syncfs.model.ids import Address
from syncfs.store.contract import verify
from syncfs.store.disk import DiskStore
from syncfs.store.journal import Journal, replay
from syncfs.store.memory import MemoryCatalogue

KIB = 1024
TAG = 16
Report = Callable[[str], None]


@contextmanager
def timed(report: Report, what: str, count: int, size: int) -> Iterator[None]:
    """Report how many of `count` things of `size` bytes were done per second."""
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    rate = f"{count * size / seconds / 1e6:>10,.0f} MB/s" if size else ""
    report(f"{what:<34}{count / seconds:>12,.0f} /s{rate}")


def chunks(count: int, size: int) -> list[tuple[Address, BytesLike]]:
    """Chunks of random bytes."""
    return [(address_of(data), data) for data in (os.urandom(size) for _ in range(count))]


def store_figures(report: Report, directory: Path, name: str, count: int, size: int) -> None:
    """put, get, sync, remove of chunks of one size."""
    held, more, few = chunks(count, size), chunks(count, size), chunks(50, size)
    with DiskStore(directory, MemoryCatalogue()) as store:
        with timed(report, f"put {name}", count, size):
            for address, data in held:
                store.put(address, data, now=1)
        with timed(report, f"sync after {count} puts of {name}", 1, count * size):
            store.sync()
        with timed(report, "sync with nothing to do", 1000, 0):
            for _ in range(1000):
                store.sync()
        with timed(report, f"get {name}", count, size):
            for address, _ in held:
                store.get(address)
        with timed(report, f"get and verify {name}", count, size):
            for address, _ in held:
                verify(address, store.get(address) or b"")
        with ThreadPoolExecutor(2) as threads, timed(report, f"put by two threads {name}", count, size):
            halves = [threads.submit(store.write_many, half) for half in (more[::2], more[1::2])]
            for half in halves:
                for place in half.result():
                    store.record(place.address, place, 1)
        store.sync()
        with timed(report, f"durable put {name}", len(few), size):
            for address, data in few:
                store.put(address, data, now=1)
                store.sync()
        with timed(report, f"remove {name}", count, size):
            store.remove(address for address, _ in held)


def journal_figures(report: Report, path: Path, name: str, count: int, size: int) -> None:
    """append, append + sync, read back, replay."""
    data = os.urandom(size)
    cipher = JournalCipher(bytes(32))
    with Journal(path, cipher, b"", os.urandom) as journal:
        extents = []
        with timed(report, f"journal append {name}", count, size):
            for number in range(count):
                extents += journal.append(number * size, data)
        with timed(report, f"journal sync after {count} of {name}", 1, count * size):
            journal.sync()
        with timed(report, f"journal append + sync {name}", 50, size):
            for number in range(50):
                journal.append(number * size, data)
                journal.sync()
        with timed(report, f"journal read {name}", count, size):
            for extent in extents:
                journal.read(extent)
    with timed(report, f"journal replay {name}", count + 50, size):
        found = replay(path, cipher)
    if found is not None:
        found.close()


def main() -> None:
    """All figures, on the disk of the directory given or of the temporary one."""
    figures: Iterable[Callable[[Report, Path], None]] = (
        partial(store_figures, name="8 KiB", count=8000, size=8 * KIB + TAG),
        partial(store_figures, name="1 MiB", count=200, size=1024 * KIB + TAG),
        partial(journal_figures, name="4 KiB", count=5000, size=4 * KIB),
        partial(journal_figures, name="1 MiB", count=200, size=1024 * KIB),
    )
    for figure in figures:
        for report in (lambda line: None, print):
            with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
                figure(report, Path(directory, "bench"))


if __name__ == "__main__":
    main()
