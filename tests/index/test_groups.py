"""Directories that are shown as one: what becoming one and parting cost, and an index that kept it differently."""

import sqlite3
from pathlib import Path

from syncfs.index.index import Index
from syncfs.index.schema import SCHEMA_VERSION
from tests.index.picture import apply_all, check, know_devices, seen_by_index
from tests.model.replica import Replica

FILES, COMMON = 300, 3


def two_directories(files: int = FILES) -> tuple[Replica, Replica]:
    """Two devices that each made a directory, `d` and `e`, with many files and a few names that both have."""
    one, two = Replica(1), Replica(2)
    for begin, folder, replica in (("a", "d", one), ("b", "e", two)):
        replica.mkdir(folder)
        replica.mkdir(f"{folder}/sub")
        for number in range(files):
            replica.create(f"{folder}/{begin}{number}", b"x")
        for number in range(COMMON):
            replica.create(f"{folder}/common {number}", begin.encode())
    return one, two


def rows_changed(index: Index) -> int:
    """How many rows were written so far."""
    return int(index.database.read("SELECT total_changes()")[0])


def test_becoming_one_and_parting_write_no_row_for_a_name_that_only_one_has(tmp_path: Path) -> None:
    one, two = two_directories()
    with Index(tmp_path / "index.db") as index:
        know_devices(index)
        apply_all(index, one.entries() + two.entries())
        one.receive(two.entries())
        for name, shown in (("d", 2 * FILES + 2 * COMMON + 3), ("elsewhere", 2 * FILES + 2 * COMMON + 5)):
            before, known = rows_changed(index), len(two.feed)
            two.rename("e" if name == "d" else "d", name)
            apply_all(index, two.entries()[known:])
            assert rows_changed(index) - before < 10 * (COMMON + 5)
            one.receive(two.entries())
            check(index, one.state)
            assert len(seen_by_index(index)) == shown


def test_a_name_that_several_had_stays_when_the_directory_that_kept_it_goes(tmp_path: Path) -> None:
    """One `d` goes with its `sub`, which kept the name by its smaller id: the two `d` part before `sub` is derived."""
    gone, stays, maker = Replica(1), Replica(2), Replica(3)
    for replica in (maker, stays):
        replica.mkdir("d")
    gone.receive(maker.entries())
    for replica in (gone, stays):
        replica.mkdir("d/sub")
    stays.create("d/sub/file", b"x")
    with Index(tmp_path / "index.db") as index:
        know_devices(index)
        apply_all(index, maker.entries() + gone.entries() + stays.entries())
        known = len(gone.feed)
        gone.remove_tree("d")
        apply_all(index, gone.entries()[known:])
        for replica in (maker, gone):
            stays.receive(replica.entries())
        check(index, stays.state)
        assert b"d/sub/file" in seen_by_index(index)


def test_an_index_with_all_entries_in_one_directory_is_brought_up_to_date(tmp_path: Path) -> None:
    one, two = two_directories(2)
    two.rename("e", "d")
    one.receive(two.entries())
    path = tmp_path / "index.db"
    with Index(path) as index:
        know_devices(index)
        apply_all(index, one.entries() + two.entries())
    with sqlite3.connect(path) as old:
        old.executescript(
            """
            UPDATE entries SET parent = coalesce((SELECT view_of FROM nodes WHERE ino = parent), parent);
            UPDATE links SET shown_parent = coalesce((SELECT view_of FROM nodes WHERE ino = parent), parent)
            WHERE shown_parent IS NOT NULL;
            UPDATE nodes SET nlink = 0 WHERE kind = 16384 AND view_of IS NOT NULL;
            CREATE INDEX links_elsewhere ON links (parent) WHERE shown_parent != parent;
            DELETE FROM _sqlite_migrations WHERE name = '3-entries-with-their-links';
            PRAGMA user_version = 2;
            """
        )
    old.close()
    with Index(path) as again:
        assert again.database.read("PRAGMA user_version")[0] == SCHEMA_VERSION
        check(again, one.state)
        two.rename("d", "elsewhere")
        one.receive(two.entries())
        apply_all(again, two.entries())
        check(again, one.state)
