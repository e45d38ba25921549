"""The random differ on a mount; and it does find faults, on a file that has one."""

import os
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer
from tests.mounted.programs.differ import Differ, DifferenceError, Side

SEED = 11


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plain file on the disk."""
    return tmp_path / "plain"


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.timeout(600)
def test_twenty_thousand_operations(mounted: Peer, plain: Path) -> None:
    Differ(mounted / "tried", plain, SEED).run(20_000)
    expected = plain.read_bytes()
    mounted.stop()
    mounted.start("xattr=on")
    assert (mounted / "tried").read_bytes() == expected


@pytest.mark.fuse
@pytest.mark.root
@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_million_operations(mounted: Peer, plain: Path, part: int) -> None:
    Differ(mounted / "tried", plain, SEED + 1 + part).run(100_000)


def test_two_plain_files_agree(tmp_path: Path, plain: Path) -> None:
    Differ(tmp_path / "other", plain, SEED).run(2_000)


@pytest.mark.parametrize("fault", ["read", "write", "append", "truncate", "map_write", "copy_range"])
def test_a_fault_is_found(tmp_path: Path, plain: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = getattr(Side, fault)
    calls = 0

    def now_and_then_wrong(side: Side, *words: object) -> object:
        nonlocal calls
        done = whole(side, *words)
        calls += side.path != plain
        if side.path != plain and calls % 5 == 0:
            if fault == "read":
                return bytes(done)[:-1] + b"!"
            size = os.fstat(side.descriptor).st_size
            byte = os.pread(side.descriptor, 1, size // 2) or b"\0"
            os.pwrite(side.descriptor, bytes([byte[0] ^ 1]), size // 2)
        return done

    monkeypatch.setattr(Side, fault, now_and_then_wrong)
    with pytest.raises(DifferenceError, match="the last operations"):
        Differ(tmp_path / "other", plain, SEED).run(3_000)
