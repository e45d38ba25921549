"""The connection to one share's index: short transactions on the loop's thread, durable on demand, group-committed.

Statements run synchronously on the trio thread inside one open transaction, which `commit` ends. A commit reaches the
operating system, so it survives a crash of the process; `sync_file` gives the descriptor whose fdatasync, in a thread,
makes all commits so far survive a loss of power. Checkpoints move the write-ahead log into the database from a
thread with a connection of its own, so that the loop never waits for a disk.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from syncfs.index.schema import migrate
from syncfs.model.errors import BusyError, DamageError, SetupError

_CACHE_KIB = 32 * 1024
_STATEMENTS = 256
CHECKPOINT_BYTES = 16 * 1024 * 1024
"""A write-ahead log that has grown to so many bytes wants a checkpoint."""


class IndexDatabase:
    """One SQLite database with an open transaction; used from one thread only, except `checkpoint`."""

    def __init__(self, path: Path) -> None:
        """Open or create the index at `path`. Raises SetupError, DamageError, NewerFormatError, BusyError."""
        self.path = path
        try:
            self._connection = _connect(path)
        except sqlite3.OperationalError as error:
            raise SetupError(
                f"the index {path} cannot be opened ({error}): check its folder and permissions"
            ) from error
        try:
            self._configure()
            migrate(self._connection)
            self._wal = os.open(f"{path}-wal", os.O_RDONLY | os.O_CREAT, 0o600)
        except BaseException:
            self._connection.close()
            raise
        self._depth = 0

    def _configure(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            for pragma in (
                "synchronous = NORMAL",
                "wal_autocheckpoint = 0",
                f"cache_size = -{_CACHE_KIB}",
                "temp_store = MEMORY",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            raise translate(error, self.path) from error
        except sqlite3.DatabaseError as error:
            raise DamageError(
                f"the index {self.path} is damaged ({error}): run `syncfs check NAME --rebuild` to remake it from the "
                "feeds"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is open and close."""
        try:
            self.commit()
        finally:
            os.close(self._wal)
            self._connection.close()

    def read(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row of a query, or None."""
        return self._connection.execute(statement, values).fetchone()

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query."""
        return self._connection.execute(statement, values).fetchall()

    def write(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a statement that changes something, in the open transaction. Raises SetupError when the disk refuses."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        return self._connection.execute(statement, values)

    def write_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement that changes something for each of these values, in the open transaction."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(statement, rows)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All writes of the block or none of them, without a commit.

        Raises SetupError or DamageError where SQLite failed; the block has then left no trace.
        """
        if self._depth:
            yield
            return
        self._depth = 1
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("SAVEPOINT whole")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK TO whole")
                    self._connection.execute("RELEASE whole")
                raise
            self._connection.execute("RELEASE whole")
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        finally:
            self._depth = 0

    @property
    def dirty(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def commit(self) -> None:
        """End the open transaction; what it wrote survives a crash of this process. Raises SetupError, DamageError."""
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def sync_file(self) -> int:
        """The descriptor of the write-ahead log: its fdatasync makes every commit so far durable."""
        return self._wal

    def log_bytes(self) -> int:
        """The size of the write-ahead log."""
        return os.fstat(self._wal).st_size

    def checkpoint(self) -> None:
        """Move the log into the database, through a connection of its own; for a thread."""
        connection = _connect(self.path)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.OperationalError:
            return  # busy or out of space: the log stays, the next checkpoint tries again
        finally:
            connection.close()


def translate(error: sqlite3.Error, path: Path) -> SetupError | DamageError | BusyError:
    """Our error for one of SQLite's."""
    match getattr(error, "sqlite_errorname", "") or "":
        case "SQLITE_FULL":
            return SetupError(f"the disk that holds {path} is full: free some space there")
        case name if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return BusyError(f"another process uses the index {path}: stop it first")
        case name if name.startswith(("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return SetupError(f"the index {path} cannot be written ({error}): check the disk that holds it")
        case _:
            return DamageError(f"the index {path} failed ({error}): run `syncfs check NAME` to find out more")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS, timeout=2.0
    )
