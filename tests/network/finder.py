"""A process that takes part in LAN discovery and prints what it is told, one JSON object a line; `ready` comes first.

Arguments: rendezvous key (hex), TCP port to announce, how many times faster than real its wall clock runs.
"""

import json
import logging
import os
import random
import sys
import time

import trio
import trio.testing

from syncfs.discovery.lan import LanSource
from syncfs.discovery.sighting import Announcement, Sighting


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def main(key: bytes, port: int, rate: float) -> None:
    logging.basicConfig(level=logging.INFO)
    started = time.time()

    def wall() -> float:
        return started + (time.time() - started) * rate

    def report(sighting: Sighting) -> None:
        say(host=sighting.endpoint.host, port=sighting.endpoint.port, instance=sighting.instance.hex())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(LanSource(wall, os.urandom, random.random).run, lambda: Announcement(key, port), report)
        await trio.testing.wait_all_tasks_blocked()
        say(ready=True)


if __name__ == "__main__":
    trio.run(main, bytes.fromhex(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 1.0)
