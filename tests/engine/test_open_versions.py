"""A file that is written for long without being closed gets versions meanwhile."""

import os
from pathlib import Path

import trio

from syncfs.engine.share import OPEN_FILE_SECONDS
from tests.engine.nodes import ME, Nodes, share_of, tell


def test_a_file_held_open_gets_a_version_at_intervals(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        volume = share_of(one).volume
        _, handle = await volume.create(1, b"log", 0o644, os.O_WRONLY, ME)
        for number in range(60):
            await volume.write(handle, number * 10, b"%09d\n" % number)
            await trio.sleep(5)
        sizes = [report.size for report in share_of(two).history.versions(b"log")]
        assert 300 / OPEN_FILE_SECONDS - 3 <= len(sizes) <= 300 / OPEN_FILE_SECONDS + 1
        assert sizes == sorted(sizes, reverse=True) and sizes[0] > 500
        await volume.release(handle)

    tell(tmp_path, story)
