"""The demonstration that scripts/demo runs: two peers on this computer, one tree, and what syncfs promises of it.

Every claim it prints has been checked; the first that does not hold ends it with exit code 1 and says so.
"""

import argparse
import os
import shutil
import signal
import sys
import sysconfig
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from syncfs.cli.show import amount, size
from tests.end_to_end.peer import Peer, free_port, peer, until
from tests.end_to_end.trees import Entry, differences, digest, scan

MIB: Final = 1024 * 1024
LARGE: Final = "large.bin"
LAZY: Final = "python/turtle.py"
NOT_SHARED: Final = ("site-packages", "dist-packages")
SLACK: Final = 4 * MIB
"""What reading one file may fetch beside it: the chunks of small files of the same directory come along."""


class Demo:
    """What is said on the way, with the time it took."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """One line with the seconds since the start."""
        print(f"{time.monotonic() - self._start:6.1f} s  {text}", flush=True)

    def require(self, holds: bool, claim: str) -> None:
        """End the demonstration unless the claim holds."""
        if not holds:
            raise AssertionError(claim)


def make_source(place: Path, mib: int) -> None:
    """A real tree: Python's standard library, one large file, and one of everything that has to survive."""
    place.mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, place / "python", symlinks=True, ignore=shutil.ignore_patterns(*NOT_SHARED))
    with (place / LARGE).open("wb", buffering=0) as file:
        for _ in range(mib // 8):
            file.write(os.urandom(8 * MIB))
        file.write(os.urandom(mib % 8 * MIB))
    odd = place / "odd"
    odd.mkdir()
    (odd / "naïve name ☃").write_text("text\n")
    (odd / "hard link").hardlink_to(odd / "naïve name ☃")
    (odd / "symlink").symlink_to("../" + LAZY)
    (odd / "empty").touch()
    (odd / "script").write_text("#!/bin/sh\n")
    (odd / "script").chmod(0o4751)
    (odd / "closed").mkdir(mode=0o700)
    with (odd / "sparse").open("wb") as sparse:
        sparse.truncate(64 * MIB)
        sparse.seek(40 * MIB)
        sparse.write(b"in the middle")
    os.utime(odd / "empty", ns=(1_000_000_000_123_456_789, 981_173_106_987_654_321))
    os.mkfifo(odd / "pipe")
    if os.geteuid() == 0:
        os.chown(odd / "script", 1234, 4321)
        (odd / "script").chmod(0o4751)
    try:
        os.setxattr(odd / "script", "user.syncfs.demo", b"kept \x00 too")
    except OSError:
        return  # this file system has no attributes


def show(demo: Demo, place: Path, mib: int) -> None:
    """The whole demonstration in `place`."""
    source = place / "source"
    make_source(source, mib)
    original = scan(source)
    total = sum(entry.size for entry in original.values())
    demo.say(
        f"made a tree of {amount(len(original), 'entry', 'entries')}, {size(total)}: "
        f"Python's library, {LARGE}, odd things"
    )
    with ExitStack() as stack:
        first, second = (stack.enter_context(peer(place, name)) for name in ("first", "second"))
        port = free_port()
        secrets = first.create("--from", source, "--listen", f"127.0.0.1:{port}", "--discovery", "none")
        demo.say("first peer:  created the share from the tree (everything encrypted, every file a version)")
        first.start("xattr=on")
        second.join(
            secrets["read_write"], "--peer", f"127.0.0.1:{port}", "--listen", "127.0.0.1:0", "--discovery", "none"
        )
        second.start("xattr=on")
        demo.say("second peer: joined with the secret and mounted")
        lazily(demo, second, original, source)
        wholly(demo, first, second, source)
        back(demo, first, second)
        for one in (first, second):
            one.stop()
        demo.say("both peers unmounted: flushed, and their processes have ended")


def lazily(demo: Demo, second: Peer, original: dict[str, Entry], source: Path) -> None:
    """The tree is there at once, the bytes come when they are read."""
    seen = scan(second.mount, contents=False)
    demo.require(seen.keys() == original.keys(), "the second peer sees every entry")
    before = second.cached()
    demo.require(before < 64 * 1024, f"the second peer has fetched nothing, but holds {before} bytes")
    demo.say(
        f"second peer: lists all {amount(len(seen), 'entry', 'entries')} with true sizes; "
        f"its cache holds {size(before)}"
    )
    demo.require(digest(second / LAZY) == digest(source / LAZY), f"{LAZY} reads the same")
    length = (source / LAZY).stat().st_size
    grown = second.cached() - before
    demo.require(length <= grown <= length + SLACK, f"the cache grew by {grown} for a file of {length} bytes")
    demo.say(f"second peer: read {LAZY} ({size(length)}); its cache grew by {size(grown)}, no more was fetched")


def wholly(demo: Demo, first: Peer, second: Peer, source: Path) -> None:
    """Source, first and second peer are equal in every byte and attribute."""
    start = time.monotonic()
    demo.require(digest(second / LARGE) == digest(source / LARGE), f"{LARGE} reads the same")
    seconds = time.monotonic() - start
    length = (source / LARGE).stat().st_size
    demo.say(f"second peer: read {LARGE}, {size(length)} from the first peer, at {size(int(length / seconds))}/s")
    trees = [scan(source), scan(first.mount), scan(second.mount)]
    for which, tree in (("first", trees[1]), ("second", trees[2])):
        told = [line for line in differences(trees[0], tree) if not is_only_the_root(line)]
        demo.require(not told, f"the {which} peer's tree equals the source, but: {'; '.join(told[:5])}")
    count = len(trees[0])
    demo.say(f"compared all {count:,} entries of source, first and second peer: content by hash, mode, uid, gid,")
    demo.say("             mtime in ns, symlinks, hard links, extended attributes: no difference")


def is_only_the_root(line: str) -> bool:
    """The root of a mount has its owner's directory mode and the time of the last change, as any directory."""
    return line.startswith(".:")


def back(demo: Demo, first: Peer, second: Peer) -> None:
    """What the second writes, the first sees; one change takes milliseconds."""
    (second / "reply").mkdir()
    start = time.monotonic()
    (second / "reply/hello.txt").write_text("written on the second peer\n")
    until(lambda: (first / "reply/hello.txt").read_text() == "written on the second peer\n", "the reply arrives")
    demo.say(f"second peer: wrote reply/hello.txt; the first read it {1000 * (time.monotonic() - start):.0f} ms later")
    (second / LAZY).rename(second / "reply/moved.py")
    (second / "odd/empty").unlink()
    until(lambda: (first / "reply/moved.py").exists() and not (first / LAZY).exists(), "the rename arrives")
    until(lambda: not (first / "odd/empty").exists(), "the deletion arrives")
    demo.say("second peer: renamed one file and deleted another; the first shows the same")


def stop(number: int, frame: FrameType | None) -> None:
    """A signal ends the demonstration like an error, so that everything is taken down; a second one changes nothing."""
    for each in (signal.SIGINT, signal.SIGTERM):
        # A function, since Python complains of a signal that arrives while its handler becomes SIG_IGN.
        signal.signal(each, lambda number, frame: None)
    raise KeyboardInterrupt


def main() -> int:
    """Run in the directory that is given; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="size of the large file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    demo = Demo()
    try:
        show(demo, options.place, options.size)
    except KeyboardInterrupt:
        print("demo: interrupted; everything is being taken away", file=sys.stderr)
        return 130
    except AssertionError as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1
    demo.say("all of this held; nothing is left behind")
    return 0


if __name__ == "__main__":
    sys.exit(main())
