"""The log of a share tells of its settings, on whatever computer they were changed."""

import sqlite3
from pathlib import Path

from syncfs.engine.history.log import log
from syncfs.engine.service import RunningShare
from syncfs.index.index import Index
from syncfs.index.schema import SCHEMA_VERSION
from tests.engine.nodes import Nodes, share_of, tell, write
from tests.engine.test_undo import a_moment


def test_who_changed_a_setting_is_told(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "f", b"first")
        await nodes.rest()
        since = await a_moment(one)
        await RunningShare(share_of(two), None).configure("retention", "all=2d")
        await write(two, "f", b"second")
        await nodes.rest()
        await share_of(one).history.undo("n2", since)
        await share_of(one).history.restore(b"f", None, None, None)
        await RunningShare(share_of(one), None).configure("retention", "")
        await nodes.rest()
        for node in (one, two):
            told = [entry for entry in log(share_of(node).index, b"", 100) if entry.action == "setting"]
            assert [(entry.setting, entry.value, entry.device) for entry in told] == [
                ("retention", "", "n1"),
                ("restore", "f", "n1"),
                ("undo", f"n2 since {since:%Y-%m-%dT%H:%M:%SZ}", "n1"),
                ("retention", "all=2d", "n2"),
            ]
            assert all(abs((entry.time - since).total_seconds()) < 3600 for entry in told)
            assert "setting" not in {entry.action for entry in log(share_of(node).index, b"f", 100)}

    tell(tmp_path, story)


def test_an_index_of_the_first_format_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    Index(path).database.close()
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE setting_changes")
        old.execute("DELETE FROM _sqlite_migrations WHERE name != '1-tables'")
        old.execute("PRAGMA user_version = 1")
    old.close()
    with Index(path) as index:
        assert index.database.read("PRAGMA user_version")[0] == SCHEMA_VERSION
        assert index.database.rows("SELECT * FROM setting_changes") == []
