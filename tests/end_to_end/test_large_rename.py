"""Renaming a directory, however much is in it, is one record of its name, and moves no data."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Group
from tests.end_to_end.peer import Peer, until

pytestmark = [pytest.mark.fuse, pytest.mark.root]
FILES = 1500


def test_one_record_and_no_data(group: Group, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "old").mkdir(parents=True)
    for number in range(FILES):
        (source / "old" / f"{number}").write_bytes(b"%d" % number * 500)
    first, second = group.add("first", "", "--from", source), group.add("second")
    until(lambda: len(list((second / "old").iterdir())) == FILES, "all files")
    before, held = rows(first), [first.cached(), second.cached()]
    (first / "old").rename(first / "new")
    until(lambda: (second / "new/7").exists() and not (second / "old").exists(), "the new name", 5)
    assert rows(first) == (before[0] + 1, before[1])
    assert [first.cached(), second.cached()] == held
    assert len(list((second / "new").iterdir())) == FILES


def rows(peer: Peer) -> tuple[int, int]:
    """How many link records were replaced, and how many links and versions there are."""
    with closing(sqlite3.connect(f"file:{peer.data / 'index.db'}?mode=ro", uri=True)) as index:
        count = [
            int(index.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            for table in ("past_links", "links", "versions")
        ]
        return count[0], count[1] + count[2]
