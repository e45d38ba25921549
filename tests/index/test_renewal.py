"""An index whose log the disk refused to write is written anew, and never from what is not what was written."""

import errno
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from syncfs.index.database import IndexDatabase
from syncfs.index.renewal import write_copy
from syncfs.model.errors import SetupError
from tests.index.test_log import fill

ROWIDS = "SELECT rowid, address FROM segments ORDER BY rowid"


def refuse(descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def filled(path: Path) -> IndexDatabase:
    """An index with rows in its database and in its log, some of them gone again."""
    database = IndexDatabase(path)
    fill(database, 500)
    database.checkpoint()
    for number in range(40):
        row = (bytes([number]) * 32, b"device", number, number, bytes(2000))
        database.write("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", row)
    database.write("DELETE FROM segments WHERE first % 3 = 0")
    database.commit()
    return database


def fail(database: IndexDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses to write the log, once."""
    with monkeypatch.context() as failing, pytest.raises(SetupError):
        failing.setattr("syncfs.index.log.os.fdatasync", refuse)
        database.sync()


def renew(database: IndexDatabase) -> None:
    database.begin_renewal()
    try:
        database.renew()
    finally:
        database.end_renewal()


def test_all_rows_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.db"
    with filled(path) as database:
        before = database.rows(ROWIDS), database.rows("SELECT * FROM settings")
        fail(database, monkeypatch)
        with pytest.raises(SetupError, match="refused to write"):
            fill(database, 1)
        with pytest.raises(SetupError, match="refused to write"):
            database.sync()
        assert database.wants_renewal
        renew(database)
        assert not database.wants_renewal
        assert (database.rows(ROWIDS), database.rows("SELECT * FROM settings")) == before
        database.sync()
        fill(database, 600)
        database.sync()
        database.checkpoint()
    with IndexDatabase(path) as database:
        assert database.rows(ROWIDS) == before[0]
        assert database.read("SELECT count(*) FROM settings")[0] == 600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["index.db"]


def test_a_checkpoint_that_failed_is_followed_by_a_renewal(tmp_path: Path) -> None:
    with filled(tmp_path / "index.db") as database:
        database._may_checkpoint = False
        assert database.wants_renewal
        renew(database)
        database.checkpoint()
        assert not database.wants_renewal


@pytest.mark.parametrize("where", [30, 100, -5000], ids=["header", "first frame", "last frame"])
def test_what_was_lost_of_the_log_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    database = filled(tmp_path / "index.db")
    fail(database, monkeypatch)
    with (tmp_path / "index.db-wal").open("r+b") as log:
        log.seek(where if where >= 0 else _used(database) + where)
        byte = log.read(1)
        log.seek(-1, os.SEEK_CUR)
        log.write(bytes([byte[0] ^ 1]))
    with pytest.raises(SetupError, match="start syncfs again"):
        renew(database)
    assert not database.wants_renewal
    assert not (tmp_path / "index.db.copy").exists()
    with pytest.raises(SetupError, match="start syncfs again"):
        fill(database, 1)
    with pytest.raises(SetupError, match="start syncfs again"):
        database.close()


def _used(database: IndexDatabase) -> int:
    frames = int.from_bytes(database._log.end[:4], sys.byteorder)
    return 32 + frames * (24 + 4096)


@pytest.mark.parametrize("refused", range(6))
def test_a_renewal_that_the_disk_refuses_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """Whichever of its fsyncs fails, and whether the next try comes here or from the next process."""
    path = tmp_path / "index.db"
    with filled(path) as database:
        before = database.rows(ROWIDS)
        fail(database, monkeypatch)
        calls = iter(range(100))
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if next(calls) == refused:
                refuse(descriptor)
            real(descriptor)

        with monkeypatch.context() as failing, pytest.raises(SetupError, match="refused to write"):
            failing.setattr("syncfs.index.renewal.os.fsync", fsync)
            renew(database)
        assert database.wants_renewal
        with pytest.raises(SetupError):
            fill(database, 1)
        killed = tmp_path / "killed"
        killed.mkdir()
        for part in tmp_path.glob("index.db*"):
            (killed / part.name).write_bytes(part.read_bytes())
        with IndexDatabase(killed / "index.db") as other:
            assert other.rows(ROWIDS) == before
        assert [entry.name for entry in killed.iterdir()] == ["index.db"]
        renew(database)
        assert database.rows(ROWIDS) == before
        fill(database, 600)
        database.sync()
    with IndexDatabase(path) as database:
        assert database.read("SELECT count(*) FROM settings")[0] == 600


def test_a_reader_keeps_what_it_had_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.db"
    with filled(path) as database:
        reader = database.reader()
        before = database.rows(ROWIDS)
        fail(database, monkeypatch)
        renew(database)
        fill(database, 600)
        with reader:
            assert reader.read("SELECT count(*) FROM settings")[0] == 500
            assert reader.rows(ROWIDS) == before
        assert database._log.size == (tmp_path / "index.db-wal").stat().st_size > 0
        with database.reader() as reader:
            assert reader.read("SELECT count(*) FROM settings")[0] == 600
    with IndexDatabase(path) as database:
        assert database.read("SELECT count(*) FROM settings")[0] == 600


def test_an_open_transaction_is_no_part_of_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with filled(path) as database:
        database.write("DELETE FROM settings")
        assert write_copy(path, database._log)
        with sqlite3.connect(tmp_path / "index.db.copy") as copy:
            assert copy.execute("SELECT count(*) FROM settings").fetchone()[0] == 500
        copy.close()
