"""One file, opened twice: what is written through one is read through the other, whatever the engine does meanwhile.

A random walk of writes, reads, cuts, appends and reopenings around the bounds of chunks, done to a file on the mount
and to a plain one. The kernel's pages are dropped again and again, since reads from them would say nothing about us.
"""

import os
import random
from pathlib import Path

import pytest
from syncfs.model.chunking import KIB, chunk_start

BOUNDS = [chunk_start(index) for index in range(19)]
LENGTHS = (1, 7, 1000, 1024, 1025, 4096, 4097, 30_000, 128 * KIB, 128 * KIB + 1, 300_000)
OPERATIONS = ("write", "read", "cut", "append", "size", "sync", "reopen", "reopen both", "empty")
WEIGHTS = (40, 35, 8, 2, 4, 3, 4, 2, 0.6)


class Walk:
    """One walk; `files` are the two descriptors of the file on the mount, then those of the plain one."""

    def __init__(self, seed: int, mounted: Path, plain: Path) -> None:
        self.dice = random.Random(seed)
        self.paths = (mounted, plain)
        self.files = [[self._open(path), self._open(path)] for path in self.paths]

    def close(self) -> None:
        for pair in self.files:
            for descriptor in pair:
                os.close(descriptor)

    def step(self) -> tuple[object, object]:
        """Do one thing to both files; what was seen of each."""
        what = self.dice.choices(OPERATIONS, WEIGHTS)[0]
        which, offset, length = self.dice.randrange(2), self._offset(), self.dice.choice(LENGTHS)
        mounted, plain = (pair[which] for pair in self.files)
        match what:
            case "write" | "append":
                data = self.dice.randbytes(length) if self.dice.random() < 0.8 else bytes(length)
                place = os.fstat(plain).st_size if what == "append" else offset
                return os.pwrite(mounted, data, place), os.pwrite(plain, data, place)
            case "read":
                if self.dice.random() < 0.6:
                    os.posix_fadvise(mounted, 0, 0, os.POSIX_FADV_DONTNEED)
                return os.pread(mounted, length, offset), os.pread(plain, length, offset)
            case "cut":
                return os.ftruncate(mounted, offset), os.ftruncate(plain, offset)
            case "size":
                return os.fstat(mounted).st_size, os.fstat(plain).st_size
            case "sync":
                os.fsync(mounted)
            case "empty":
                for path in self.paths:
                    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
            case _:
                opened = [which] if what == "reopen" else [0, 1]
                for pair in self.files:
                    for number in opened:
                        os.close(pair[number])
                for path, pair in zip(self.paths, self.files, strict=True):
                    for number in opened:
                        pair[number] = self._open(path)
        return None, None

    def _offset(self) -> int:
        if self.dice.random() < 0.4:
            return self.dice.randrange(BOUNDS[-1])
        near = self.dice.choice((-4097, -4096, -1, 0, 1, 4095, 4096, -70_000, self.dice.randrange(-5000, 5000)))
        return max(0, self.dice.choice(BOUNDS) + near)

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT)


@pytest.mark.fuse
@pytest.mark.parametrize("steps", [2000, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("seed", range(2))
def test_two_opens_show_one_file(seed: int, steps: int, plain_directory: Path, mounted_directory: Path) -> None:
    walk = Walk(seed, mounted_directory / "file", plain_directory / "file")
    try:
        for step in range(steps):
            here, there = walk.step()
            assert here == there, f"step {step} of seed {seed}"
    finally:
        walk.close()
    assert (mounted_directory / "file").read_bytes() == (plain_directory / "file").read_bytes()
