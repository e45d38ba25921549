"""Writes pieces at random places all over one large file for ever, seldom with an fsync; told as `writer` tells.

What does not fit into memory goes to the journal at any moment, so the account says all the time that an fsync may be
under way.

Run as `python -m tests.mounted.durability.scatterer DIRECTORY SEED`.
"""

import os
import random
import sys
from pathlib import Path

from tests.mounted.durability.promises import data_of
from tests.mounted.durability.writer import tell

NAME = "large"
SIZE = 96 * 1024 * 1024
LONGEST = 60_000
SYNC = 1 / 2_000
TRUNCATE = 1 / 3_000


def main() -> None:
    """Write until an error ends it."""
    place, chance = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    try:
        place.mkdir()
        tell("create", NAME)
        descriptor = os.open(place / NAME, os.O_RDWR | os.O_CREAT, 0o644)
        tell("truncate", NAME, SIZE)
        os.ftruncate(descriptor, SIZE)
        os.fsync(descriptor)
        tell("kept", NAME)
        tell("syncing", NAME)
        while True:
            at, seed, length = chance.randrange(SIZE), chance.getrandbits(32), chance.randrange(1, LONGEST)
            tell("write", NAME, at, seed, length)
            os.pwrite(descriptor, data_of(seed, length), at)
            if chance.random() < TRUNCATE:
                size = chance.randrange(SIZE // 2, SIZE)
                tell("truncate", NAME, size)
                os.ftruncate(descriptor, size)
            if chance.random() < SYNC:
                os.fsync(descriptor)
                tell("kept", NAME)
                tell("syncing", NAME)
    except OSError as error:
        tell("error", error.errno, str(error))


if __name__ == "__main__":
    main()
