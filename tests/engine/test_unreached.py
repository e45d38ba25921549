"""What cannot be had from anybody now: the call fails, and nothing of it stays behind."""

import os
import random
from pathlib import Path

import pytest

from syncfs.engine.tree.posix import AttributeChange
from syncfs.model.errors import UnavailableError
from tests.engine.nodes import Nodes, share_of, tell, tree, write

KIB = 1024


@pytest.mark.parametrize("by_handle", [False, True])
def test_a_truncation_that_fails_changes_nothing(tmp_path: Path, by_handle: bool) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "f", random.Random(1).randbytes(900 * KIB))
        await nodes.rest()
        before = await tree(one)
        await nodes.away(one)
        share = share_of(two)
        node = share.index.lookup(1, b"f")
        assert node is not None
        handle = (await share.volume.open(node.ino, os.O_WRONLY, 1)).handle if by_handle else None
        with pytest.raises(UnavailableError):
            await share.volume.setattr(node.ino, AttributeChange(size=700 * KIB + 1), handle)
        if handle is not None:
            await share.volume.release(handle)
        assert share.files.unsettled == 0
        await nodes.back(one)
        await nodes.rest()
        assert await tree(two) == before
        assert len(share.history.versions(b"f")) == 1

    tell(tmp_path, story)
