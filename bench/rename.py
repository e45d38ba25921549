"""What the rename of a large directory costs, on two mounted peers.

`python -m bench.rename [--files N] [--rounds N] [--place DIR]` makes a share with one directory of N files, mounts it
and a second peer of it, lists the directory on both, and renames it to and fro. It prints how long a rename takes,
after how long the other peer shows the new name (asked again and again; with a file in it, and the old name gone), how
many records the rename made, and how many bytes of chunks it moved.
"""

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.command import syncfs

NAME = "bench"
PATIENCE = 60.0


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--place", default="/var/tmp")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place, prefix="syncfs-rename.") as directory:
        measure(Path(directory), arguments.files, arguments.rounds)


def measure(place: Path, files: int, rounds: int) -> None:
    """Both peers from their making to their end."""
    source, here, there = place / "source", place / "here", place / "there"
    (source / "old").mkdir(parents=True)
    for number in range(files):
        (source / "old" / f"file {number}").write_bytes(b"%d" % number)
    homes = [place / "home1", place / "home2"]
    began = time.perf_counter()
    made = syncfs(homes[0], "create", NAME, "--from", str(source), "--listen", "127.0.0.1:47561", "--discovery", "none",
                  "--json")  # fmt: skip
    print(f"a directory of {files} files: imported in {time.perf_counter() - began:.1f} s", flush=True)
    secret = json.loads(made)["secrets"]["read_write"]
    syncfs(
        homes[1], "join", secret, NAME, "--peer", "127.0.0.1:47561", "--listen", "127.0.0.1:0", "--discovery", "none"
    )
    try:
        for home, mount in zip(homes, (here, there), strict=True):
            mount.mkdir()
            began = time.perf_counter()
            syncfs(home, "mount", NAME, str(mount))
            print(f"{mount.name}: mounted in {time.perf_counter() - began:.1f} s", flush=True)
        for mount in (here, there):
            while len(os.listdir(mount / "old")) < files:  # noqa: PTH208 - the largest part of a walk is not asked for
                time.sleep(0.1)
        sequence, held = records(homes[0]), [cached(home) for home in homes]
        local, seen = [], []
        for number in range(rounds):
            names = ("old", "new") if number % 2 == 0 else ("new", "old")
            one, two = rename(here, there, *names)
            local.append(one)
            seen.append(two)
        time.sleep(2)
        made_records = (records(homes[0]) - sequence) / rounds
        moved = sum(cached(home) for home in homes) - sum(held)
        print(
            f"rename: {statistics.median(local) * 1000:.1f} ms (slowest {max(local) * 1000:.1f}), on the other peer "
            f"after {statistics.median(seen) * 1000:.0f} ms (slowest {max(seen) * 1000:.0f}); "
            f"{made_records:.1f} records, {moved} bytes of chunks moved"
        )
    finally:
        for home in homes:
            syncfs(home, "umount", NAME)


def rename(here: Path, there: Path, old: str, new: str) -> tuple[float, float]:
    """Rename once: seconds that it takes, and seconds until the other peer shows it."""
    began = time.perf_counter()
    (here / old).rename(here / new)
    local = time.perf_counter() - began
    while not (there / new / "file 7").exists() or (there / old).exists():
        if time.perf_counter() - began > PATIENCE:
            raise AssertionError("the other peer never showed it")
        time.sleep(0.001)
    return local, time.perf_counter() - began


def records(home: Path) -> int:
    """How many records this device has ever made; a directory's new times count among them."""
    (share,) = (home / "shares").iterdir()
    with closing(sqlite3.connect(f"file:{share}/index.db?mode=ro", uri=True)) as index:
        return int(index.execute("SELECT max(sequence) FROM feeds").fetchone()[0])


def cached(home: Path) -> int:
    """The bytes of chunks that a peer holds."""
    return int(json.loads(syncfs(home, "status", NAME, "--json"))["cached_bytes"])


if __name__ == "__main__":
    main()
