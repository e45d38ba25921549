"""What the file system layer costs on data that is here already, beside a plain folder on the same disk.

`python -m bench.local [--place DIR]` mounts a share of its own, fills it and a plain folder alike, and prints:

- reading 256 MiB again from the page cache: the plain folder with the pages that the kernel gave it, the plain folder
  with pages of 4 KiB (read at single places, without reading ahead), the mount;
- the second and later walks of `find -ls` over 10,000 files in 100 and in 1,000 directories, best of eight.

Needs root, to drop the page cache between the two ways of filling it.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.command import syncfs

MIB = 1 << 20
PAGE = 4096
FILE_BYTES = 256 * MIB
FILES = 10_000
ROUNDS = 8


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--place", default="/var/tmp")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place, prefix="syncfs-local.") as directory:
        home, plain, mount = (Path(directory) / name for name in ("home", "plain", "mount"))
        for folder in (home, plain, mount):
            folder.mkdir()
        syncfs(home, "create", "bench", "--discovery", "none")
        syncfs(home, "mount", "bench", str(mount))
        try:
            read_again(plain, mount)
            for folders in (100, 1000):
                walk_again(plain, mount, folders)
        finally:
            syncfs(home, "umount", "bench")


def read_again(plain: Path, mount: Path) -> None:
    """A file from the page cache."""
    for folder in (plain, mount):
        with (folder / "file").open("wb") as file:
            for _ in range(FILE_BYTES // MIB):
                file.write(os.urandom(MIB))
    for size in (64 * 1024, MIB):
        drop_page_cache()
        speed(plain / "file", size, 1)
        large = speed(plain / "file", size, ROUNDS)
        drop_page_cache()
        read_single_pages(plain / "file")
        small = speed(plain / "file", size, ROUNDS)
        speed(mount / "file", size, 1)
        ours = speed(mount / "file", size, ROUNDS)
        print(
            f"again from the page cache, {size // 1024:>4} KiB at a time: plain {large:.1f} GB/s, "
            f"plain with pages of 4 KiB {small:.1f}, mount {ours:.1f}",
            flush=True,
        )


def speed(path: Path, size: int, rounds: int) -> float:
    """GB/s of the quickest of so many rounds."""
    buffer, best = bytearray(size), 0.0
    with path.open("rb", buffering=0) as file:
        for _ in range(rounds):
            began, read = time.perf_counter(), 0
            while count := os.preadv(file.fileno(), [buffer], read):
                read += count
            best = max(best, read / 1e9 / (time.perf_counter() - began))
    return best


def read_single_pages(path: Path) -> None:
    """Bring a file into the page cache one page at a time."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for offset in range(0, FILE_BYTES, PAGE):
            os.pread(file.fileno(), PAGE, offset)


def drop_page_cache() -> None:
    """Everything is read from the disk again."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def walk_again(plain: Path, mount: Path, folders: int) -> None:
    """`find -ls` over a tree that the kernel has seen."""
    times = []
    for root in (plain, mount):
        for number in range(folders):
            folder = root / f"tree{folders}" / f"folder {number}"
            folder.mkdir(parents=True)
            for file in range(FILES // folders):
                (folder / f"file {file}").touch()
        walk(root / f"tree{folders}")
    for root in (plain, mount):
        times.append(min(walk(root / f"tree{folders}") for _ in range(ROUNDS)))
    print(
        f"find -ls again over {FILES:,} files in {folders:,} directories: plain {times[0] * 1000:.0f} ms, "
        f"mount {times[1] * 1000:.0f} ms, {times[0] / times[1]:.2f} of the speed",
        flush=True,
    )


def walk(root: Path) -> float:
    """Seconds of one walk."""
    began = time.perf_counter()
    subprocess.run(["find", root, "-ls"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
