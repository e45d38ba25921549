"""What history costs: many edits of 1 MiB inside a large file, on a mount of its own.

`python -m bench.history [--size MIB] [--edits N] [--place DIR]` makes a share in a temporary home, writes the file,
edits it at random places (an edit is an open, a write, an fsync and a close, which is one version that is kept), and
prints what the versions take on the disk and in the index, how long they take, and what is left once retention has
dropped them.
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path

from bench.command import syncfs

MIB = 1024 * 1024
NAME = "bench"


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--place", default="/var/tmp")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place, prefix="syncfs-history.") as directory:
        measure(Path(directory), arguments.size, arguments.edits)


def measure(place: Path, size: int, edits: int) -> None:
    """One share from its making to its end."""
    home, mount = place / "home", place / "mount"
    mount.mkdir()
    syncfs(home, "create", NAME, "--listen", "127.0.0.1:0", "--discovery", "none")
    syncfs(home, "mount", NAME, str(mount))
    try:
        dice = random.Random(1)
        file = mount / "large"
        began = time.perf_counter()
        with file.open("wb") as target:
            for _ in range(size):
                target.write(os.urandom(MIB))
        versions(home, file)
        report(home, f"a file of {size} MiB", time.perf_counter() - began)
        began, slowest = time.perf_counter(), 0.0
        for _ in range(edits):
            start = time.perf_counter()
            with file.open("r+b") as target:
                target.seek(dice.randrange((size - 1) * MIB))
                target.write(os.urandom(MIB))
                target.flush()
                os.fsync(target.fileno())
            slowest = max(slowest, time.perf_counter() - start)
        edited = time.perf_counter() - began
        while json.loads(syncfs(home, "status", NAME, "--json"))["reasons"]:
            time.sleep(0.2)
        made = versions(home, file)
        report(home, f"{edits} edits of 1 MiB, {made} versions, slowest edit {slowest * 1000:.0f} ms", edited)
        syncfs(home, "umount", NAME)
        syncfs(home, "mount", NAME, str(mount))
        began = time.perf_counter()
        syncfs(home, "gc", NAME)
        report(home, f"thinned as usual, {versions(home, file)} versions", time.perf_counter() - began)
        syncfs(home, "config", NAME, "retention", "all=0 hourly=0 daily=0 deleted=0")
        began = time.perf_counter()
        syncfs(home, "gc", NAME)
        report(home, f"thinned to the present, {versions(home, file)} version", time.perf_counter() - began)
        check = json.loads(syncfs(home, "check", NAME, "--json"))
        print(f"check: {len(check['problems'])} problems")
    finally:
        syncfs(home, "umount", NAME)


def versions(home: Path, file: Path) -> int:
    """How many versions of a file are kept."""
    return len(json.loads(syncfs(home, "versions", str(file), "--json")))


def report(home: Path, what: str, seconds: float) -> None:
    """One line: what was done, how long it took, and what is on the disk after it."""
    (share,) = (home / "shares").iterdir()
    index = sum(path.stat().st_size for path in share.glob("index.db*"))
    disk = sum(path.stat().st_blocks * 512 for path in share.rglob("*") if path.is_file())
    print(f"{what}: {seconds:.1f} s, disk {disk / MIB:.0f} MiB, of it index {index / MIB:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
