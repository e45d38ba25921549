"""Writing an index anew, after the disk refused to write its log.

The kernel takes pages that it could not write for clean: a later fdatasync succeeds without them, and memory may drop
them, so that they are read as they were before. The files of the index are therefore copied into blocks that are new.

* Plain reads and writes make the copy: where a file system can share blocks between files, those in doubt would be.
* SQLite takes the copied log into the copied database, as after a crash. The log's checksums form a chain; only if it
  ends with the very commit that was the last one here, all that was read is what was written.
* The copy is one file, on stable storage, before it is called `index.db.renewed`; from then on it is the index, and
  nobody changes the old one any more. The old log goes before `index.db` is replaced, since SQLite would set a new
  index back by an old log. Whoever opens an index does first what is left of this. So a crash leaves the old index with
  its log, or the new one.
* Who has the old files open keeps them: SQLite neither empties nor removes the log of a database that was moved.
"""

import os
import sqlite3
from pathlib import Path

from syncfs.index.log import Log, end_of_log
from syncfs.model.errors import SetupError

_STEP_BYTES = 1024 * 1024


def write_copy(path: Path, log: Log) -> bool:
    """Copy the index at `path` and make the copy durable; nobody may change the index meanwhile.

    False where what can be read is not what was written. Raises OSError, sqlite3.Error, having left no copy.
    """
    copy = _copy_of(path)
    _remove(copy)
    try:
        _copy(log.database, copy)
        _copy(log.descriptor, _beside(copy, "-wal"))
        if _take_log_in(copy, log.end):
            _sync(copy)
            return True
    except BaseException:
        _remove(copy)
        raise
    _remove(copy)
    return False


def put_in_place(path: Path) -> None:
    """Make the copy the index at `path`. Raises OSError; to be done again then."""
    _copy_of(path).rename(_renewed(path))
    _sync(path.parent)
    finish(path)


def finish(path: Path) -> None:
    """Do what is left to do where the last process was stopped in the middle. Raises OSError."""
    if _renewed(path).exists():
        for suffix in ("-wal", "-shm"):
            _beside(path, suffix).unlink(missing_ok=True)
        _sync(path.parent)
        _renewed(path).replace(path)
        _sync(path.parent)
    _remove(_copy_of(path))


def _take_log_in(copy: Path, end: bytes) -> bool:
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if end_of_log(_beside(copy, "-shm").read_bytes()) != end:
            return False
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.close()
    if busy or _beside(copy, "-wal").exists():
        raise SetupError(f"somebody else has {copy} open: leave the files of the index alone")
    return True


def _copy(source: int, target: Path) -> None:
    offset = 0
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while data := os.pread(source, _STEP_BYTES, offset):
            offset += file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(copy: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        _beside(copy, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _copy_of(path: Path) -> Path:
    return _beside(path, ".copy")


def _renewed(path: Path) -> Path:
    return _beside(path, ".renewed")
