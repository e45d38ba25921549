"""Clocks that are far from ours are told in words a person can use."""

from pathlib import Path

import pytest

from syncfs.discovery.memory import MemoryLanSource
from syncfs.engine.replication.clocks import difference
from syncfs.engine.service import RunningShare
from tests.engine.nodes import Nodes, share_of, tell


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, ""),
        (-299, ""),
        (300, "the clock of desk is 5 minutes ahead of ours: set the one that is wrong"),
        (-7200, "the clock of desk is 2 hours behind ours: set the one that is wrong"),
        (365 * 86_400, "the clock of desk is 365 days ahead of ours: set the one that is wrong"),
    ],
)
def test_a_clock_is_told_from_five_minutes_on(seconds: int, told: str) -> None:
    assert difference("desk", seconds) == told


def test_what_keeps_peers_from_being_found_is_told_by_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(nodes: Nodes) -> None:
        service = RunningShare(share_of(await nodes.add()), None)
        await nodes.rest()
        assert service.status().reasons == []
        monkeypatch.setattr(MemoryLanSource, "reasons", ("a clock is wrong",))
        assert service.status().reasons == ["a clock is wrong"]

    tell(tmp_path, story)
