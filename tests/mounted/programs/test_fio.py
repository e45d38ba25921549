"""fio: random mixes of reads and writes of many sizes, each block verified by its checksum."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer
from tests.mounted.programs.conftest import need

pytestmark = [pytest.mark.fuse, pytest.mark.root]

MIXES = {
    "random-4k": ("--rw=randwrite", "--bs=4k", "--fsync=64"),
    "random-mixed-sizes": ("--rw=randrw", "--bsrange=512-256k", "--bs_unaligned=1", "--fdatasync=100"),
    "random-mapped": ("--rw=randrw", "--bs=4k", "--ioengine=mmap"),
    "sequential": ("--rw=write", "--bs=1m", "--end_fsync=1"),
    "direct": ("--rw=randrw", "--bs=4k", "--direct=1"),
    "threads": ("--rw=randwrite", "--bs=16k", "--numjobs=4", "--thread", "--fsync=32"),
}


def run(program: Callable[..., str], place: Path, mix: str, size: str) -> None:
    """One mix; fio ends with an error at the first block that is not what it wrote."""
    need("fio")
    program(
        "fio", f"--name={mix}", f"--directory={place}", f"--size={size}", "--verify=crc32c", "--verify_fatal=1",
        "--do_verify=1", "--verify_backlog=128", "--randseed=7", "--group_reporting", *MIXES[mix], where=place.parent,
    )  # fmt: skip


@pytest.mark.parametrize("mix", MIXES)
def test_fio(mounted: Peer, program: Callable[..., str], mix: str) -> None:
    run(program, mounted.mount, mix, "8m")


@pytest.mark.soak
@pytest.mark.parametrize("mix", MIXES)
def test_fio_with_large_files(mounted: Peer, program: Callable[..., str], mix: str) -> None:
    run(program, mounted.mount, mix, "512m")
