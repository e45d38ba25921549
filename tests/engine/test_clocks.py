"""Clocks that are far from ours are told in words a person can use."""

import pytest

from syncfs.engine.replication.clocks import difference


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
