"""Changes files in a directory at random for ever and says of each step what it is about to do, and what was promised.

Run as `python -m tests.mounted.durability.writer DIRECTORY SEED`. Each line on stdout is one JSON array: a step (see
`promises`) is told before it is done, `["syncing", PATH]` before an fsync of that file, `["kept", PATH]` once it has
returned, `["named"]` once an fsync of the directory has. Bytes are told by the seed that makes them. Ends with the
first error, which it tells.
"""

import json
import mmap
import os
import random
import sys
from pathlib import Path

from tests.mounted.durability.promises import data_of

SIZES = (1, 100, 900, 4_096, 5_000, 60_000, 130_000, 400_000, 1_500_000)
FILES = 10
OPEN_AT_ONCE = 4
LARGEST = 6_000_000


class Writer:
    """The program's files; some stay open over many steps, as those of a database do."""

    def __init__(self, place: Path, seed: int) -> None:
        self._place = place
        self._chance = random.Random(seed)
        self._open: dict[str, int] = {}

    def step(self) -> None:
        """One random step."""
        chance = self._chance
        name = f"file-{chance.randrange(FILES)}"
        kinds = ("patch", "append", "truncate", "map", "replace", "unlink", "rename")
        kind = chance.choices(kinds, (40, 15, 8, 8, 16, 4, 4))[0]
        getattr(self, f"_{kind}")(name)
        if chance.random() < 0.3:
            self._close(name)

    def _patch(self, name: str) -> None:
        size = os.fstat(self._opened(name)).st_size
        self._write(name, self._chance.randrange(min(size + 10_000, LARGEST)))
        self._perhaps_sync(name)

    def _append(self, name: str) -> None:
        size = os.fstat(self._opened(name)).st_size
        if size < LARGEST:
            self._write(name, size)
        self._perhaps_sync(name)

    def _truncate(self, name: str) -> None:
        descriptor = self._opened(name)
        size = self._chance.randrange(min(os.fstat(descriptor).st_size + 10_000, LARGEST))
        tell("truncate", name, size)
        os.ftruncate(descriptor, size)
        self._perhaps_sync(name)

    def _map(self, name: str) -> None:
        descriptor = self._opened(name)
        size = os.fstat(descriptor).st_size
        if not size:
            return
        at = self._chance.randrange(size)
        seed, length = self._chance.getrandbits(32), min(self._chance.choice(SIZES[:5]), size - at)
        tell("write", name, at, seed, length)
        tell("syncing", name)  # from now on, since the kernel may send the pages of a mapping when and as it likes
        with mmap.mmap(descriptor, size) as mapped:
            mapped[at : at + length] = data_of(seed, length)
            mapped.flush()
        tell("kept", name)

    def _replace(self, name: str) -> None:
        chance = self._chance
        self._close(name)
        seed, length = chance.getrandbits(32), chance.choice(SIZES)
        temporary = self._place / f"{name}.new"
        with temporary.open("wb", buffering=0) as file:
            file.write(data_of(seed, length))
            if chance.random() < 0.5:
                os.fsync(file.fileno())
        tell("replace", name, seed, length)
        temporary.rename(self._place / name)
        self._perhaps_sync_names()

    def _unlink(self, name: str) -> None:
        self._close(name)
        if (self._place / name).exists():
            tell("unlink", name)
            (self._place / name).unlink()
            self._perhaps_sync_names()

    def _rename(self, name: str) -> None:
        other = f"file-{self._chance.randrange(FILES)}"
        self._close(name)
        self._close(other)
        if other != name and (self._place / name).exists():
            tell("rename", name, other)
            (self._place / name).rename(self._place / other)
            self._perhaps_sync_names()

    def _write(self, name: str, at: int) -> None:
        seed, length = self._chance.getrandbits(32), self._chance.choice(SIZES)
        tell("write", name, at, seed, length)
        data = data_of(seed, length)
        written = os.pwrite(self._open[name], data, at)
        assert written == length, f"{written} of {length} bytes were written"

    def _perhaps_sync(self, name: str) -> None:
        if self._chance.random() < 0.6:
            tell("syncing", name)
            self._chance.choice((os.fsync, os.fdatasync))(self._open[name])
            tell("kept", name)

    def _perhaps_sync_names(self) -> None:
        if self._chance.random() < 0.5:
            descriptor = os.open(self._place, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(descriptor)
            os.close(descriptor)
            tell("named")

    def _opened(self, name: str) -> int:
        if name not in self._open:
            if len(self._open) >= OPEN_AT_ONCE:
                self._close(next(iter(self._open)))
            if not (self._place / name).exists():
                tell("create", name)
            self._open[name] = os.open(self._place / name, os.O_RDWR | os.O_CREAT, 0o644)
        return self._open[name]

    def _close(self, name: str) -> None:
        if name in self._open:
            os.close(self._open.pop(name))


def tell(*words: object) -> None:
    """One line, out of this process before anything else happens."""
    os.write(1, json.dumps(words).encode() + b"\n")


def main() -> None:
    """Write until an error ends it."""
    place = Path(sys.argv[1])
    try:
        place.mkdir()
        writer = Writer(place, int(sys.argv[2]))
        while True:
            writer.step()
    except OSError as error:
        tell("error", error.errno, str(error))


if __name__ == "__main__":
    main()
