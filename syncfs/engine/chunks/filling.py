"""A store keeps everything: whatever chunks the segments name as added are fetched, in the background, from anyone."""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.engine.chunks.fetch import Fetcher, Urgency
from syncfs.index.feeds import Feeds
from syncfs.model.errors import BadChunkError, SyncfsError, UnavailableError
from syncfs.model.ids import Address
from syncfs.wire.segment import decode_segment_public

BATCH = 64
RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Sealed(Protocol):
    """Where sealed chunks are kept."""

    def has_sealed(self, address: Address) -> bool:
        """Whether a chunk is here."""
        ...

    async def keep(self, found: Sequence[tuple[Address, BytesLike]]) -> None:
        """Verify chunks and keep them. Raises BadChunkError."""
        ...


class StoreFiller:
    """Fetches what a store lacks."""

    def __init__(self, feeds: Feeds, chunks: Sealed, fetcher: Fetcher) -> None:
        self._feeds = feeds
        self._chunks = chunks
        self._fetcher = fetcher
        self._wanted: dict[Address, None] = {}
        self._news = trio.Event()
        self._unreachable = ""
        self._unkept = ""

    @property
    def failure(self) -> str:
        """Why not everything is here yet, for `status`; empty when it is, or is on its way."""
        if not self._unreachable:
            return self._unkept
        return f"{self.missing} chunks are still to be fetched: {self._unreachable}"

    @property
    def missing(self) -> int:
        """How many chunks are known of and not here."""
        return len(self._wanted)

    def want(self, addresses: Iterable[Address]) -> None:
        """Chunks that are to be kept."""
        for address in addresses:
            if not self._chunks.has_sealed(address):
                self._wanted[address] = None
        if self._wanted:
            self._news.set()

    def forget(self, addresses: Iterable[bytes]) -> None:
        """Chunks that nobody needs any more."""
        for address in addresses:
            self._wanted.pop(Address(address), None)
        if not self._wanted:
            self._unreachable = self._unkept = ""

    def want_all(self) -> None:
        """Look through all segments held, after a start."""
        for device in self._feeds.applied():
            dropped: set[bytes] = set()
            for address, *_ in reversed(self._feeds.segments_of(device)):
                data = self._feeds.segment(address)
                if data is not None:
                    segment = decode_segment_public(data)
                    self.want([added for added in segment.adds if added not in dropped])
                    dropped.update(segment.drops)

    async def run(self) -> None:
        """Fetch until cancelled."""
        self.want_all()
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._wanted:
                batch = [address for address, _ in zip(self._wanted, range(BATCH), strict=False)]
                if not await self._fetch(batch):
                    with trio.move_on_after(RETRY_SECONDS):
                        await self._news.wait()

    async def _fetch(self, batch: Sequence[Address]) -> bool:
        """Whether anything came; what no peer has now goes behind the rest."""
        try:
            found = await self._fetcher.get_any(batch, Urgency.COPY)
            await self._chunks.keep(found)
        except (UnavailableError, BadChunkError) as error:
            self._fails(unreachable=str(error))
            return False
        except SyncfsError as error:
            self._fails(unkept=str(error))
            _log.error("chunks could not be kept: %s", error)
            return False
        for address, _ in found:
            self._wanted.pop(address, None)
        for address in batch:
            if address in self._wanted:
                del self._wanted[address]
                self._wanted[address] = None
        self._fails()
        return bool(found)

    def _fails(self, unreachable: str = "", unkept: str = "") -> None:
        # What is no longer wanted may have been forgotten while it was being fetched.
        self._unreachable, self._unkept = (unreachable, unkept) if self._wanted else ("", "")
