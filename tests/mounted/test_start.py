"""How long a large share takes to mount and to end; with -s it tells."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.model.ids import ROOT_NODE
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Record, Times, VersionRecord

FILES, FOLDERS = 100_000, 100
MOST_SECONDS = 2.0
FIELDS = (Owner(0, 0), Times(1, 1), {})


@pytest.mark.fuse
@pytest.mark.soak
def test_an_index_of_many_files_is_mounted_at_once(tmp_path: Path) -> None:
    trio.run(_fill, tmp_path / "home")
    place = tmp_path / "mount"
    place.mkdir()
    environment = {**os.environ, "SYNCFS_HOME": str(tmp_path / "home")}

    def syncfs(*words: object) -> tuple[str, float]:
        start = time.monotonic()
        command = [sys.executable, "-m", "syncfs", *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout, time.monotonic() - start

    for _ in range(3):
        _forget_pages(tmp_path / "home")
        _, mounting = syncfs("mount", "many", place)
        try:
            assert len(list((place / "folder7").iterdir())) == FILES // FOLDERS
            assert (place / "folder99/file999").read_bytes() == b"content"
            assert json.loads(syncfs("status", "many", "--json")[0])["files"] == FILES
        finally:
            _, ending = syncfs("umount", place)
        print(f"{FILES} files: mounted in {mounting:.2f} s, unmounted in {ending:.2f} s")
        assert (mounting < MOST_SECONDS, ending < MOST_SECONDS) == (True, True), (mounting, ending)


def _forget_pages(directory: Path) -> None:
    """Have what lies in a directory read from the disk, as after a boot."""
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


async def _fill(home: Path) -> None:
    create_share(home, "many", {"discovery": "none"}, os.urandom)
    async with open_share(home, "many") as share:
        assert share.feed is not None
        feed = share.feed
        for folder in range(FOLDERS):
            above = os.urandom(16)
            records: list[Record] = [
                NodeRecord(feed.tick(), 1, above, Birth(stat.S_IFDIR), 0o755, *FIELDS),
                LinkRecord(feed.tick(), 1, above, above, ROOT_NODE, b"folder%d" % folder),
            ]
            for number in range(FILES // FOLDERS):
                node = os.urandom(16)
                records += (
                    NodeRecord(feed.tick(), 1, node, Birth(stat.S_IFREG), 0o644, *FIELDS),
                    LinkRecord(feed.tick(), 1, node, node, above, b"file%d" % number),
                    VersionRecord(feed.tick(), 1, node, (), 7, 1, -1, b"content"),
                )
            feed.record(records)
            await share.flush()
