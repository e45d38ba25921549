"""What only the network in memory can do: delay, partition, crash and seeded loss, under a virtual clock."""

import pytest
import trio

from syncfs.model.errors import UnavailableError
from syncfs.transport.memory import MemoryNetwork

from .contract.networks import stream_pair


async def pair_on(network):
    return await stream_pair(network.host("left"), network.host("right"), "right")


async def test_bytes_take_their_time(autojump_clock):
    near, far = await pair_on(MemoryNetwork(delay=0.5, jitter=0.1))
    started = trio.current_time()
    await near.send_all(b"slowly")
    assert await far.receive_some() == b"slowly"
    assert 0.5 <= trio.current_time() - started <= 0.6


async def test_a_partition_stalls_streams_and_refuses_new_ones_until_it_heals(autojump_clock):
    network = MemoryNetwork()
    near, far = await pair_on(network)
    network.partition(["left"], ["right"])
    await near.send_all(b"held")
    with pytest.raises(trio.TooSlowError), trio.fail_after(3600):
        await far.receive_some()
    with pytest.raises(UnavailableError, match="did not answer within 7 seconds"):
        await network.host("left").open("right", 1, 7)
    network.heal()
    assert await far.receive_some() == b"held"


async def test_a_crash_breaks_both_ends(autojump_clock):
    network = MemoryNetwork()
    near, far = await pair_on(network)
    await network.host("right").listen("", 7)
    network.crash("right")
    for stream in (near, far):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    with pytest.raises(UnavailableError, match="refused"):
        await network.host("left").open("right", 7, 5)


async def test_loss_is_the_same_for_the_same_seed(autojump_clock):
    async def sends_until_lost(seed: int) -> int:
        near, _ = await pair_on(MemoryNetwork(seed, loss=0.05))
        for count in range(10_000):
            try:
                await near.send_all(b"x")
            except trio.BrokenResourceError:
                return count
        return -1

    counts = [await sends_until_lost(seed) for seed in range(20)]
    assert counts == [await sends_until_lost(seed) for seed in range(20)]
    assert len(set(counts)) > 5
    assert -1 not in counts
