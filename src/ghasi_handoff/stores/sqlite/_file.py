"""path -> one SQLite file for many threads and processes of one machine: opened, kept up to date, closed before a fork.

The replay store and the handoff log each have one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakSet

from ghasi_handoff._limits import MIN_SQLITE_VERSION, SQLITE_PURGE_PAUSE_SECONDS
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import Owner
from ghasi_handoff.stores.sqlite._connection import FULL, connect, milliseconds_left, one_integer, transaction

_T = TypeVar("_T")

# SQLite keeps in the process's memory which locks the process holds on a file. A fork copies that, not the locks: a
# child that opens the same file goes without locks, and its parent, closing, removes the write-ahead log under it. Then
# each has a file of its own, and one handoff two holders. So before a fork every file is closed.
_open_files: Final[WeakSet[SQLiteFile]] = WeakSet()
_held_for_fork: Final[list[SQLiteFile]] = []
# What could not be closed in time, or was forked without a word to Python: never used again in this process, nor
# finalised.
_of_the_parent: Final[list[sqlite3.Connection]] = []
_files_of_the_parent: Final[set[tuple[int, int]]] = set()


class SQLiteFile:
    """A file in write-ahead mode with ``synchronous=FULL``, and one connection to it that threads take in turn."""

    def __init__(self, path: str | os.PathLike[str], schema: Sequence[str], timeout: float, owner: Owner) -> None:
        if sqlite3.sqlite_version_info < MIN_SQLITE_VERSION:
            needed = ".".join(map(str, MIN_SQLITE_VERSION))
            raise owner.error(f"SQLite {sqlite3.sqlite_version} is too old; {needed} or newer is needed")
        self._path = os.fspath(path)
        wrong = not isinstance(self._path, str) or self._path in ("", ":memory:") or "\0" in self._path
        if wrong or self._path.startswith("file:"):
            raise ConfigurationError("path must name a file: text or a path object, not :memory: and not a URI")
        self._schema = schema
        self._timeout = timeout
        self._owner = owner
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = False

    @property
    def schema_version(self) -> int:
        """The schema version that this release needs."""
        return len(self._schema)

    def deadline(self) -> float:
        """When an operation that begins now must have ended, by `time.monotonic`."""
        return time.monotonic() + self._timeout

    @contextmanager
    def session(self, deadline: float | None = None) -> Generator[sqlite3.Connection]:
        """The connection, for this thread alone; afterwards no transaction is open. Failures as the owner's error."""
        deadline = self.deadline() if deadline is None else deadline
        if self._pid != os.getpid():
            self.start_over_after_fork()
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._owner.error(f"other threads used the {self._owner.noun} for {self._timeout:g} s")
        try:
            if self._closed:
                raise self._owner.closed()
            connection = self._opened(deadline)
            connection.execute(f"PRAGMA busy_timeout = {milliseconds_left(deadline)}")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as exc:
            # Whatever it was, the next call starts from a fresh connection, and so from what is really on disk.
            self._discard()
            raise self._owner.error(f"SQLite: {_error_text(exc)}") from exc
        finally:
            self._lock.release()

    def use(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns, in a session."""
        with self.session() as connection:
            return work(connection)

    def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns, in a session that is one write transaction."""
        deadline = self.deadline()
        with self.session(deadline) as connection, transaction(connection, deadline):
            return work(connection)

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns, over a connection of its own that cannot write and changes no setting."""
        if not os.path.exists(self._path):
            raise self._owner.no_file()
        try:
            uri = f"{Path(self._path).absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, timeout=self._timeout, uri=True)) as connection:
                return work(connection)
        except (sqlite3.Error, OSError) as exc:
            raise self._owner.error(f"SQLite: {_error_text(exc)}") from exc

    def make(self) -> None:
        """Make the file, or bring it up to date."""
        self.use(lambda _: None)

    def change(self, statement: str, arguments: Sequence[Any] = ()) -> int:
        """How many rows one statement changed."""
        return self.use(lambda connection: connection.execute(statement, arguments).rowcount)

    def select(self, query: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """The rows of one query, read over a connection of its own."""
        return self.read(lambda connection: connection.execute(query, arguments).fetchall())

    def purge(self, remove_chunk: Callable[[sqlite3.Connection], int], progress: Callable[[int], None] | None) -> int:
        """How many rows were removed. `remove_chunk` is called, each time in a transaction, until it removes none."""
        removed = 0
        while True:
            with self.session() as connection:  # other threads get their turn between two chunks
                connection.execute("BEGIN IMMEDIATE")
                count = remove_chunk(connection)
                connection.execute("COMMIT")
            if count == 0:
                return removed
            removed += count
            if progress is not None:
                progress(removed)
            time.sleep(SQLITE_PURGE_PAUSE_SECONDS)

    def synchronous(self) -> int:
        """What ``PRAGMA synchronous`` says on the open connection; FULL if none is open, for that is how one opens."""
        with self._lock:
            return FULL if self._connection is None else one_integer(self._connection, "PRAGMA synchronous")

    def interrupt(self) -> None:
        """End whatever statement runs on the connection now."""
        connection = self._connection
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # it was closed meanwhile
                connection.interrupt()

    def close(self) -> None:
        """Close the file for good."""
        with self._lock:
            self._closed = True
            self._discard()

    def _opened(self, deadline: float) -> sqlite3.Connection:
        found, names = _identity(self._path)
        if names > 1:
            # Each name has a write-ahead log of its own, and who uses one does not see what is in the other's.
            raise self._owner.error("the SQLite file has a second name (a hard link); leave it one, and restart all")
        if self._identity is not None and found != self._identity:
            # Another process would use the new file, this one the old: one handoff, two holders. Nor may this one go on
            # with a new, empty file as if nothing had been redeemed.
            raise self._owner.error("the SQLite file was replaced or removed while in use; restart all that use it")
        if self._connection is None:
            if found in _files_of_the_parent:
                raise self._owner.error("the SQLite file was in use at the fork of this process; restart the process")
            self._connection = connect(self._path, self._schema, deadline, self._owner)
            self._identity, _ = _identity(self._path)
            _open_files.add(self)
        return self._connection

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def hold_for_fork(self) -> None:
        """Close the file and let no thread open it again, if that is possible within the timeout."""
        if self._lock.acquire(timeout=self._timeout):
            _held_for_fork.append(self)
            self._discard()

    def release_after_fork(self) -> None:
        """Let threads open the file again."""
        self._lock.release()

    def start_over_after_fork(self) -> None:
        """In the child: forget the parent's connection and locks."""
        if self._connection is not None:
            _of_the_parent.append(self._connection)
            if self._identity is not None:
                _files_of_the_parent.add(self._identity)
        self._connection = None
        self._lock = threading.Lock()  # the parent's may have been held at the fork
        self._pid = os.getpid()


def _before_fork() -> None:
    for file in list(_open_files):
        file.hold_for_fork()


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop().release_after_fork()


def _after_fork_in_child() -> None:
    _held_for_fork.clear()
    for file in list(_open_files):
        file.start_over_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _identity(path: str) -> tuple[tuple[int, int] | None, int]:
    """Which file is there, and how many names it has."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None, 0
    return (status.st_dev, status.st_ino), status.st_nlink


def _error_text(exc: sqlite3.Error | OSError) -> str:
    """The error without the path, which an OSError's own text has: a token may have been given for one by mistake."""
    if isinstance(exc, OSError):
        return f"{type(exc).__name__}: {exc.strerror}"
    return f"{getattr(exc, 'sqlite_errorname', '') or type(exc).__name__}: {exc}"
