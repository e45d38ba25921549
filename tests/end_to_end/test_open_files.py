"""Files that are open while another peer changes them: an open file keeps its version, later ones show the new one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer, until

pytestmark = [pytest.mark.fuse, pytest.mark.root]

OLD, NEW = b"old " * 750_000, b"NEW! " * 800_000


def arrives(path: Path, size: int) -> None:
    until(lambda: path.stat().st_size == size, f"{size} bytes arrive")


def test_an_open_file_keeps_its_version(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "file").write_bytes(OLD)
    arrives(second / "file", len(OLD))
    with (second / "file").open("rb", buffering=0) as before:
        assert before.read(1000) == OLD[:1000]
        (first / "file").write_bytes(NEW)
        arrives(second / "file", len(NEW))
        for _ in range(2):
            assert os.pread(before.fileno(), 100_000, 1_000_000) == OLD[1_000_000:1_100_000]
            with (second / "file").open("rb", buffering=0) as after:
                assert os.pread(after.fileno(), 100_000, 1_000_000) == NEW[1_000_000:1_100_000]
                assert os.pread(before.fileno(), 100_000, 1_000_000) == OLD[1_000_000:1_100_000]
                assert os.pread(before.fileno(), 100_000, 2_000_000) == OLD[2_000_000:2_100_000]
                assert os.pread(after.fileno(), 100_000, 2_000_000) == NEW[2_000_000:2_100_000]
        # The old version ends before the new one; the size that is told stays that of the new one.
        assert os.pread(before.fileno(), 5_000_000, 0) == OLD
        until(lambda: (second / "file").stat().st_size == len(NEW), "the size is that of the new version")
        assert (second / "file").read_bytes() == NEW
    assert (second / "file").read_bytes() == NEW
    assert (second / "file").stat().st_size == len(NEW)


def test_an_old_version_ends_where_it_did_however_often_that_is_read(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "file").write_bytes(OLD)
    arrives(second / "file", len(OLD))
    with (second / "file").open("rb", buffering=0) as before:
        assert os.pread(before.fileno(), len(OLD), 0) == OLD
        (first / "file").write_bytes(NEW)
        arrives(second / "file", len(NEW))
        for at in [*range(len(OLD) - 2_000_000, len(OLD), 100_000), 0, 500_000, len(OLD) + 5000, len(OLD) - 1] * 5:
            assert os.pread(before.fileno(), 5_000_000, at) == OLD[at:], at
            if at % 200_000:
                assert (second / "file").stat().st_size == len(NEW)
            assert {entry.name: entry.stat().st_size for entry in os.scandir(second.mount)}["file"] == len(NEW)
    with (second / "file").open("ab") as after:
        after.write(b"more")
    assert (second / "file").read_bytes() == NEW + b"more"


def test_an_open_file_keeps_its_version_where_the_new_one_is_as_long(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "file").write_bytes(OLD)
    arrives(second / "file", len(OLD))
    with (second / "file").open("rb", buffering=0) as before:
        assert os.pread(before.fileno(), 1000, 0) == OLD[:1000]
        (first / "file").write_bytes(OLD.upper())
        until(lambda: (second / "file").read_bytes() == OLD.upper(), "the new version arrives")
        assert os.pread(before.fileno(), len(OLD), 0) == OLD
        assert (second / "file").read_bytes() == OLD.upper()


def test_unsaved_writes_stay_when_another_version_comes(peers: Callable[..., list[Peer]]) -> None:
    first, second = peers()
    (first / "file").write_bytes(b"base")
    arrives(second / "file", 4)
    with (second / "file").open("r+b", buffering=0) as file:
        file.write(b"MINE and more")
        (first / "file").write_bytes(b"by the first")
        until(lambda: (second / "file").read_bytes() == b"by the first", "the other version arrives")
        assert os.pread(file.fileno(), 100, 0)[:12] == b"MINE and more"[:12]
        file.seek(0)
        file.write(b"Mine")

    def contents(peer: Peer) -> list[bytes]:
        return sorted(path.read_bytes() for path in peer.mount.iterdir() if path.name != ".syncfs")

    both = [b"Mine and more", b"by the first"]
    for peer in (second, first):
        until(lambda: contents(peer) == both, f"both versions are there on {peer.name}")  # noqa: B023
        assert sorted(path.stat().st_size for path in peer.mount.iterdir() if path.name != ".syncfs") == [12, 13]
    assert len((second / "file").read_bytes()) == (second / "file").stat().st_size
