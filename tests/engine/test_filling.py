"""What a store says of the chunks that it lacks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import trio

from syncfs.crypto.hashing import BytesLike
from syncfs.engine.chunks.fetch import GRACE_SECONDS, Fetcher
from syncfs.engine.chunks.filling import StoreFiller
from syncfs.index.feeds import Feeds
from syncfs.model.ids import Address, DeviceId

ADDRESSES = [Address(bytes([number]) * 32) for number in range(3)]


class NoFeeds:
    def applied(self) -> dict[DeviceId, int]:
        return {}


class NoChunks:
    def has_sealed(self, address: Address) -> bool:
        return False

    async def keep(self, found: Sequence[tuple[Address, BytesLike]]) -> None:
        raise AssertionError("nobody could send anything")


@asynccontextmanager
async def lonely_filler(fetcher: Fetcher, seconds: float = GRACE_SECONDS + 1) -> AsyncIterator[StoreFiller]:
    """A filler that has looked so long for somebody to ask for chunks."""
    filler = StoreFiller(cast(Feeds, NoFeeds()), NoChunks(), fetcher)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(filler.run)
        filler.want(ADDRESSES)
        await trio.sleep(seconds)
        yield filler
        nursery.cancel_scope.cancel()


async def test_what_is_no_longer_wanted_is_not_complained_of(autojump_clock: object) -> None:
    async with lonely_filler(Fetcher()) as filler:
        assert filler.failure.startswith("3 chunks are still to be fetched: no peer is connected")
        filler.forget(ADDRESSES[:1])
        assert filler.failure.startswith("2 chunks are still to be fetched: ")
        filler.forget(ADDRESSES)
        assert filler.failure == ""
        filler.want(ADDRESSES[:1])
        assert filler.failure == "", "nobody has been asked for that yet"


async def test_what_is_forgotten_while_it_is_asked_for_is_not_complained_of(autojump_clock: object) -> None:
    async with lonely_filler(Fetcher(), GRACE_SECONDS / 2) as filler:
        filler.forget(ADDRESSES)
        await trio.sleep(3 * GRACE_SECONDS)
        assert filler.failure == ""


async def test_what_a_store_lacks_is_said_once(autojump_clock: object) -> None:
    fetcher = Fetcher()
    async with lonely_filler(fetcher) as filler:
        assert filler.failure
        assert fetcher.last_failure == "", "the filler says it, and no longer than it is so"
