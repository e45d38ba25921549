"""Fetched chunks on their way to the disk: whoever reads waits for the network only.

A chunk that was just fetched is verified and can be had from here at once; it is written when no further chunk arrives
for a moment, or when too much waits. Nothing is lost with it: what is not written yet can be fetched again.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address
from syncfs.store.disk import DiskStore

LIMIT_BYTES = 64 * 1024 * 1024
"""Fetched bytes that wait for the disk at most; more makes reading wait."""
BATCH_BYTES = 8 * 1024 * 1024
QUIET_SECONDS = 0.02
LONGEST_WAIT = 2.0

_log = logging.getLogger(__name__)


class WriteBehind:
    """The queue of fetched chunks before the store."""

    def __init__(self, store: DiskStore, wall: Callable[[], int], stored: Callable[[Address], None]) -> None:
        """`stored` hears of each chunk that is in the store."""
        self._store = store
        self._wall = wall
        self._stored = stored
        self._waiting: dict[Address, BytesLike] = {}
        self._bytes = 0
        self._arrivals = 0
        self._news = trio.Event()
        self._progress = trio.Event()
        self._writing = trio.Lock()
        self.failure = ""
        """Why fetched chunks cannot be kept, for `status`; empty when all is well."""

    def get(self, address: Address) -> BytesLike | None:
        """The sealed bytes of a chunk that waits for the disk."""
        return self._waiting.get(address)

    def put(self, address: Address, data: BytesLike) -> None:
        """Take a verified chunk."""
        if address not in self._waiting:
            self._waiting[address] = data
            self._bytes += len(data)
        self._arrivals += 1
        self._news.set()

    async def room(self) -> None:
        """Wait until there is room for more."""
        while self._bytes > LIMIT_BYTES:
            await self._progress.wait()

    async def flush(self) -> None:
        """Write everything that waits; what the disk refuses is given up, and `failure` says so."""
        while self._waiting:
            async with self._writing:
                await self._write(self._batch())

    async def run(self) -> None:
        """Write what waits, in quiet moments, until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            deadline = trio.current_time() + LONGEST_WAIT
            while self._bytes < LIMIT_BYTES // 2 and trio.current_time() < deadline:
                before = self._arrivals
                await trio.sleep(QUIET_SECONDS)
                if before == self._arrivals:
                    break
            if self._bytes > LIMIT_BYTES // 2:
                async with self._writing:
                    await self._write(self._batch())
                self._news.set()
            else:
                await self.flush()

    def _batch(self) -> list[tuple[Address, BytesLike]]:
        batch: list[tuple[Address, BytesLike]] = []
        size = 0
        for address, data in self._waiting.items():
            batch.append((address, data))
            size += len(data)
            if size >= BATCH_BYTES:
                break
        return batch

    async def _write(self, batch: Sequence[tuple[Address, BytesLike]]) -> None:
        here = {address for address, _ in batch if self._store.has(address)}
        new = [(address, data) for address, data in batch if address not in here]
        try:
            places = await trio.to_thread.run_sync(self._store.write_many, new)
            self._store.record_all(zip((address for address, _ in new), places, strict=True), self._wall())
            here.update(address for address, _ in new)
            for address in here:
                self._stored(address)
            self.failure = ""
        except SyncfsError as error:
            if str(error) != self.failure:
                _log.error("fetched data cannot be kept: %s", error)
            self.failure = f"fetched data cannot be kept: {error}"
        for address, data in batch:
            if self._waiting.pop(address, None) is not None:
                self._bytes -= len(data)
        self._progress.set()
        self._progress = trio.Event()
