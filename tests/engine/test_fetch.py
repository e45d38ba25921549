"""How long a read waits for a peer that may come."""

from typing import NoReturn

import pytest
import trio

from syncfs.engine.chunks.fetch import GRACE_SECONDS, Fetcher, Urgency
from syncfs.model.errors import UnavailableError
from syncfs.model.ids import Address


async def arrived(data: bytes) -> NoReturn:
    raise AssertionError("nobody could send anything")


async def seconds_of_a_read(fetcher: Fetcher) -> float:
    began = trio.current_time()
    with pytest.raises(UnavailableError, match="no peer is connected"):
        await fetcher.get(Address(bytes(32)), Urgency.READ, arrived)
    return trio.current_time() - began


async def test_only_the_first_of_many_requests_waits_for_a_peer(autojump_clock: object) -> None:
    fetcher = Fetcher()
    waited = [await seconds_of_a_read(fetcher) for _ in range(3)]
    assert waited == pytest.approx([GRACE_SECONDS, 0, 0])
    await trio.sleep(2 * GRACE_SECONDS)
    assert await seconds_of_a_read(fetcher) == pytest.approx(GRACE_SECONDS)
