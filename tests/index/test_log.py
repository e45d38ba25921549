"""The space that the index's log takes on the disk."""

import subprocess
import sys
from pathlib import Path

from syncfs.index.database import CHECKPOINT_BYTES, IndexDatabase
from syncfs.index.log import STEP_BYTES

ROW = b"x" * 500


def fill(database: IndexDatabase, count: int) -> None:
    for number in range(count):
        with database.whole():
            database.write("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (f"{number}", ROW, ROW[:24]))
    database.commit()


def taken(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_blocks * 512


def test_a_large_transaction_gives_back_what_it_had_reserved(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with IndexDatabase(path) as database:
        fill(database, 5_000)
        assert taken(path) <= database.log_bytes() + 3 * STEP_BYTES


def test_a_log_is_shortened_after_its_checkpoint_and_has_its_space_reserved_again(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with IndexDatabase(path) as database:
        while database.log_bytes() < CHECKPOINT_BYTES:
            fill(database, 2_000)
        database.checkpoint()
        fill(database, 1)
        assert database.log_bytes() <= STEP_BYTES
        assert STEP_BYTES // 2 <= taken(path) <= 3 * STEP_BYTES


def test_sqlite_keeps_its_lock_on_the_shared_memory(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with IndexDatabase(path) as database:
        fill(database, 1)
        taken_by_another = subprocess.run(
            [sys.executable, "-c", TAKE_LOCK, f"{path}-shm"], capture_output=True, text=True, check=False
        )
        assert "BlockingIOError" in taken_by_another.stderr


TAKE_LOCK = """
import fcntl, os, sys
# The byte by which SQLite tells that somebody uses the index; who can lock it alone takes the rest for left behind.
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
"""
