"""The connection to one share's index: short transactions on the loop's thread, durable on demand, group-committed.

Statements run synchronously on the trio thread inside one open transaction, which `commit` ends. A commit reaches the
operating system, so it survives a crash of the process; `sync`, in a thread, makes all commits so far survive a loss of
power. Checkpoints move the write-ahead log into the database from a thread with a connection of its own, so that the
loop never waits for a disk.

A commit that fails takes the whole transaction back, also what programs were told is done. So the space for it is
reserved before anything is changed (`index.log`): a full disk refuses a change, never the commit of those before it.

Once the disk has refused to write the log, nothing can be changed until the index was written anew (`index.renewal`):
`begin_renewal`, `renew` in a thread, and `end_renewal`. All rows stay as they are, so whoever remembers some may go on.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from syncfs.index.log import Log
from syncfs.index.renewal import finish, put_in_place, write_copy
from syncfs.index.schema import migrate
from syncfs.model.errors import BusyError, DamagedIndexError, SetupError

_CACHE_KIB = 32 * 1024
_STATEMENTS = 256
CHECKPOINT_BYTES = 16 * 1024 * 1024
"""A write-ahead log that has grown to so many bytes wants a checkpoint."""
RESTART_BYTES = 64 * 1024 * 1024
"""At this size the end of a checkpoint is waited for, without a write meanwhile, so that the log can begin anew."""
_ROOM_FOR_TABLES = 1024 * 1024
"""What a new index takes, with its log and shared memory, and some more."""
_KEPT_LOG_BYTES = 4 * 1024 * 1024
"""A log that is begun anew after a checkpoint keeps so much of its file."""


class IndexDatabase:
    """One SQLite database with an open transaction; used from one thread only, except `checkpoint`."""

    def __init__(self, path: Path) -> None:
        """Open or create the index at `path`. Raises SetupError, DamagedIndexError, NewerFormatError, BusyError."""
        self.path = path
        self._connecting = threading.Lock()
        _require_room(path)
        try:
            finish(path)
            self._connection = _connect(path)
        except (OSError, sqlite3.OperationalError) as error:
            raise SetupError(
                f"the index {path} cannot be opened ({error}): check its folder and permissions"
            ) from error
        try:
            _configure(self._connection, path)
            _migrate(self._connection, path)
            self._log = Log(path)
        except BaseException:
            self._connection.close()
            raise
        self._depth = 0
        self._before = 0
        self._broken = ""
        self._may_checkpoint = True
        self._held = False
        self._renewed = False

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
            self._connection.close()
            self._log.close()

    def read(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row of a query, or None."""
        return self._connection.execute(statement, values).fetchone()

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query."""
        return self._connection.execute(statement, values).fetchall()

    def write(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a statement that changes something, in the open transaction. Raises SetupError, BusyError."""
        self.begin()
        return self._connection.execute(statement, values)

    def write_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement that changes something for each of these values, in the open transaction."""
        self.begin()
        self._connection.executemany(statement, rows)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All writes of the block or none of them, without a commit.

        Raises SetupError or DamageError where SQLite failed; the block has then left no trace.
        """
        if self._depth:
            yield
            return
        if self._connection.in_transaction:
            self._log.reserve(self._connection.total_changes - self._before)
        else:
            self.begin()
        self._depth = 1
        try:
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

    def begin(self) -> None:
        """Open a transaction if none is open. Raises SetupError, BusyError."""
        if self._connection.in_transaction:
            return
        if self._broken:
            raise SetupError(self._broken)
        if self._log.failure is not None:
            raise self._log.failure
        if self._held:
            raise SetupError(f"the index {self.path} is being written anew: try again in a moment")
        self._before = self._connection.total_changes
        self._log.reserve(0)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    @property
    def dirty(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def commit(self) -> None:
        """End the open transaction; what it wrote survives a crash of this process. Raises SetupError, DamageError."""
        if self._broken:
            raise SetupError(self._broken)
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                self._broken = (
                    f"the last changes could not be put into the index {self.path} ({error}): check the disk that "
                    "holds it, and start syncfs again"
                )
            raise translate(error, self.path) from error
        self._log.committed()

    def sync(self) -> None:
        """Make every commit so far survive a loss of power; for a thread. Raises SetupError."""
        self._log.sync()

    def reader(self) -> "Reader":
        """A connection of its own, for a thread; it sees what is committed. Raises SetupError."""
        with self._connecting:
            return Reader(self.path)

    def log_bytes(self) -> int:
        """The size of the write-ahead log."""
        return self._log.size

    def checkpoint(self) -> None:
        """Move the log into the database, through a connection of its own; for a thread.

        The log begins anew only if nothing was written meanwhile, as where this is called once more in the loop.
        """
        if not self._may_checkpoint or self._log.failure is not None:
            return
        try:
            with self._connecting:
                connection = _attach(self.path)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            # Busy or out of space: the log stays, the next checkpoint tries again. Where the disk failed, what the
            # kernel has of the database cannot be trusted any more: the log stays until the index was written anew.
            self._may_checkpoint = not error.sqlite_errorname.startswith("SQLITE_IOERR")

    @property
    def failure(self) -> str:
        """Why nothing can be changed; empty when all is well."""
        return self._broken or str(self._log.failure or "")

    @property
    def wants_renewal(self) -> bool:
        """Whether the disk failed to write, and writing the index anew may help."""
        return not self._broken and (self._log.failure is not None or not self._may_checkpoint)

    def begin_renewal(self) -> None:
        """Refuse all changes until `end_renewal`; no transaction may be open."""
        assert not self._connection.in_transaction
        self._held = True

    def renew(self) -> None:
        """Write the index anew; for a thread. Raises SetupError, DamageError; it may be tried again then."""
        try:
            if not write_copy(self.path, self._log):
                self._broken = (
                    f"the disk that holds the index {self.path} has lost some of the last changes: check that disk, "
                    "and start syncfs again"
                )
                raise SetupError(self._broken)
            self._log.retire()
            with self._connecting:
                put_in_place(self.path)
        except OSError as error:
            raise SetupError(
                f"the disk that holds the index {self.path} refused to write ({error.strerror}): check that disk; "
                "syncfs goes on by itself once it writes again",
                error.errno or 0,
            ) from error
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        self._renewed = True

    def end_renewal(self) -> None:
        """Go on with the new index where there is one, else with the old one as before. Raises SetupError."""
        self._held = False
        if not self._renewed:
            return
        try:
            connection = _connect(self.path)
            try:
                _configure(connection, self.path)
                log = Log(self.path)
            except BaseException:
                connection.close()
                raise
        except sqlite3.OperationalError as error:
            raise translate(error, self.path) from error
        old, self._connection = self._connection, connection
        old_log, self._log = self._log, log
        self._may_checkpoint, self._renewed = True, False
        old.close()
        old_log.close()


class Reader:
    """Reads an index in a thread, while the loop goes on with it; by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises SetupError."""
        try:
            self._connection = _attach(path)
            self._connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise translate(error, path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row of a query, or None."""
        return self._connection.execute(statement, values).fetchone()

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query."""
        return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """What is read in the block is all of one moment."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")


def translate(error: sqlite3.Error, path: Path) -> SetupError | DamagedIndexError | BusyError:
    """Our error for one of SQLite's."""
    match getattr(error, "sqlite_errorname", "") or "":
        case "SQLITE_FULL":
            return SetupError(f"the disk that holds {path} is full: free some space there", errno.ENOSPC)
        case name if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return BusyError(f"another process uses the index {path}: stop it first")
        case name if name.startswith(("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            code = errno.EROFS if name.startswith("SQLITE_READONLY") else 0
            return SetupError(f"the index {path} cannot be written ({error}): check the disk that holds it", code)
        case _:
            return DamagedIndexError(f"the index {path} failed ({error}): run `syncfs check NAME` to find out more")


def _require_room(path: Path) -> None:
    """Raise SetupError where a new index finds no room: SQLite reports a disk that fails then, or SIGBUS ends us."""
    if path.exists():
        return  # which needs hardly any: it can be read on a full disk
    try:
        # What statvfs(3) calls free may be reserved for others; a file without a name leaves nothing.
        probe = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(probe, 0, _ROOM_FOR_TABLES)
        finally:
            os.close(probe)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SetupError(f"the disk that holds {path} is full: free some space there", error.errno) from error
        # A file system that knows no such files, or a folder of which opening the index will tell.


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS, timeout=2.0
    )


def _attach(path: Path) -> sqlite3.Connection:
    """A connection that has opened all files of the index, and keeps to them when others take their names."""
    connection = _connect(path)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    try:
        migrate(connection)
    except sqlite3.DatabaseError as error:
        told = translate(error, path)
        if not isinstance(told, DamagedIndexError):
            raise told from error
        raise DamagedIndexError(
            f"the index {path} is damaged ({error}): run `syncfs check NAME --rebuild` to remake it from the feeds"
        ) from error


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        for pragma in (
            "synchronous = NORMAL",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {_KEPT_LOG_BYTES}",
            f"cache_size = -{_CACHE_KIB}",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.OperationalError as error:
        raise translate(error, path) from error
    except sqlite3.DatabaseError as error:
        raise DamagedIndexError(
            f"the index {path} is damaged ({error}): run `syncfs check NAME --rebuild` to remake it from the feeds"
        ) from error
