"""SQLite with several processes that write at once: locks, a journal, a shared mapping, many small fsyncs."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.peer import ROOT, Peer

pytestmark = [pytest.mark.fuse, pytest.mark.root]

WRITERS = 4


def write_at_once(database: Path, mode: str, transactions: int) -> None:
    """Several processes move money between accounts; none may appear or vanish."""
    with sqlite3.connect(database, isolation_level=None) as connection:
        assert connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0] == mode
        connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, money INTEGER NOT NULL)")
        connection.execute("CREATE TABLE done (writer INTEGER, number INTEGER, filling BLOB)")
        connection.executemany("INSERT INTO account (money) VALUES (?)", [(1000,)] * 50)
    connection.close()
    command = [sys.executable, "-m", "tests.mounted.programs.sqlite_writer", str(database), mode, str(transactions)]
    writers = [subprocess.Popen([*command, str(number)], cwd=ROOT) for number in range(WRITERS)]
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    verify(database, transactions)


def verify(database: Path, transactions: int) -> None:
    """Nothing was lost, by SQLite's own word and by ours."""
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT sum(money) FROM account").fetchone() == (50_000,)
        rows = connection.execute(
            "SELECT writer, count(*), count(DISTINCT number) FROM done GROUP BY writer"
        ).fetchall()
        assert rows == [(writer, transactions, transactions) for writer in range(WRITERS)]
    finally:
        connection.close()


@pytest.mark.parametrize("mode", ["wal", "delete", "truncate", "persist"])
def test_sqlite(mounted: Peer, mode: str) -> None:
    write_at_once(mounted / "database", mode, 25)
    mounted.stop()
    mounted.start("xattr=on")
    verify(mounted / "database", 25)


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_sqlite_for_long(mounted: Peer, mode: str) -> None:
    write_at_once(mounted / "database", mode, 2000)
