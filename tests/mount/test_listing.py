"""Listings of large directories, reply by reply."""

import os
from pathlib import Path

import pytest

from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.tree.posix import Caller, Listed
from syncfs.engine.tree.volume import Volume
from syncfs.mount import protocol
from syncfs.mount.known import KernelView
from syncfs.mount.listing import LARGEST_KEPT, Listing

NAMES = [f"file {number}".encode() for number in range(2 * LARGEST_KEPT)]


def names_in(reply: bytes, with_attributes: bool) -> dict[bytes, int]:
    """The names in a reply, and the offset after each."""
    found, start = dict[bytes, int](), 0
    while start < len(reply):
        start += len(protocol.UNTOLD) if with_attributes else 0
        offset, length = (int.from_bytes(reply[start + at : start + end], "little") for at, end in ((8, 16), (16, 20)))
        found[reply[start + 24 : start + 24 + length]] = offset
        start += 24 + (length + 7) // 8 * 8
    return found


@pytest.mark.parametrize("size", [4096, 32 * 1024])
@pytest.mark.parametrize("with_attributes", [True, False])
async def test_each_reply_reads_about_as_many_entries_as_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, with_attributes: bool
) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        for name in NAMES:
            share.volume.mknod(1, name, 0o100644, 0, Caller(0, 0))
        counts, readdir = list[int](), Volume.readdir

        def counting(self: Volume, ino: int, after: int, limit: int = 10**9) -> list[Listed]:
            found = list(readdir(self, ino, after, limit))
            counts.append(len(found))
            return found

        monkeypatch.setattr(Volume, "readdir", counting)
        listing, offset, told = Listing(share.volume, KernelView()), 0, dict[bytes, int]()
        while reply := listing.reply(1, offset, size, with_attributes):
            names = names_in(reply, with_attributes)
            assert not names.keys() & told.keys()
            told |= names
            offset = max(names.values())
        assert set(told) == {b".", b"..", *NAMES}
        assert sum(counts) < LARGEST_KEPT + 2 * len(NAMES)
