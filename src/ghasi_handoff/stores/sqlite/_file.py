"""path -> one SQLite file for many threads and processes of one machine: opened, kept up to date, closed before a fork.

The replay store and the handoff log each have one.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final
from weakref import WeakSet

from ghasi_handoff.errors import ConfigurationError, ReplayStoreError

MIN_SQLITE_VERSION: Final = (3, 37, 0)  # STRICT tables
FULL: Final = 2  # of PRAGMA synchronous

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
    """A file in write-ahead mode with ``synchronous=FULL``, and one connection to it that threads take in turn.

    Args:
        path: The file; made at the first use.
        schema: The file of this package with its scripts.
        timeout: Seconds that a session may wait for others, unless it names a deadline.
        made_by: The command that makes the file, for the message that it is not there.

    Raises:
        ConfigurationError: `path` names no file.
        ReplayStoreError: The SQLite library of this Python is older than 3.37.
    """

    def __init__(self, path: str | os.PathLike[str], schema: str, timeout: float, *, made_by: str) -> None:
        if sqlite3.sqlite_version_info < MIN_SQLITE_VERSION:
            needed = ".".join(map(str, MIN_SQLITE_VERSION))
            raise ReplayStoreError(f"SQLite {sqlite3.sqlite_version} is too old; {needed} or newer is needed")
        self._path = os.fspath(path)
        if (
            not isinstance(self._path, str)
            or self._path in ("", ":memory:")
            or "\0" in self._path
            or self._path.startswith("file:")
        ):
            raise ConfigurationError("path must name a file: text or a path object, not :memory: and not a URI")
        self._schema = _scripts(schema)
        self._timeout = timeout
        self._made_by = made_by
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = False

    @property
    def schema_version(self) -> int:
        """The schema version that this release needs."""
        return len(self._schema)

    @contextmanager
    def session(self, deadline: float | None = None) -> Generator[sqlite3.Connection]:
        """The connection, for this thread alone; afterwards no transaction is open. Failures as `ReplayStoreError`."""
        if deadline is None:
            deadline = time.monotonic() + self._timeout
        if self._pid != os.getpid():
            self._start_over_after_fork()
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ReplayStoreError(f"other threads used the store for {self._timeout:g} s")
        try:
            if self._closed:
                raise ReplayStoreError("the store is closed")
            connection = self._opened(deadline)
            connection.execute(f"PRAGMA busy_timeout = {_milliseconds_left(deadline)}")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as exc:
            # Whatever it was, the next call starts from a fresh connection, and so from what is really on disk.
            self._discard()
            raise ReplayStoreError(f"SQLite: {_error_text(exc)}") from exc
        finally:
            self._lock.release()

    @contextmanager
    def reader(self) -> Generator[sqlite3.Connection]:
        """A connection of its own that cannot write and changes no setting."""
        if not os.path.exists(self._path):
            raise ReplayStoreError(f"SQLite: there is no such file; `{self._made_by}` or the first use makes it")
        try:
            uri = f"{Path(self._path).absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, timeout=self._timeout, uri=True)
            try:
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as exc:
            raise ReplayStoreError(f"SQLite: {_error_text(exc)}") from exc

    def synchronous(self) -> int:
        """What ``PRAGMA synchronous`` says on the open connection; FULL if none is open, for that is how one opens."""
        with self._lock:
            return FULL if self._connection is None else _one_integer(self._connection, "PRAGMA synchronous")

    def interrupt(self) -> None:
        """End whatever statement runs on the connection now."""
        connection = self._connection
        if connection is not None:
            try:
                connection.interrupt()
            except sqlite3.ProgrammingError:
                return  # it was closed meanwhile

    def close(self) -> None:
        """Close the file for good."""
        with self._lock:
            self._closed = True
            self._discard()

    def _opened(self, deadline: float) -> sqlite3.Connection:
        if self._identity is not None and _identity(self._path) != self._identity:
            # Another process would use the new file, this one the old: one handoff, two holders. Nor may this one go on
            # with a new, empty file as if nothing had been redeemed.
            raise ReplayStoreError(
                "the SQLite file was replaced or removed while in use; restart every process that uses it"
            )
        if self._connection is None:
            if _files_of_the_parent and _identity(self._path) in _files_of_the_parent:
                raise ReplayStoreError("the SQLite file was in use at the fork of this process; restart the process")
            self._connection = _open(self._path, self._schema, deadline)
            self._identity = _identity(self._path)
            _open_files.add(self)
        return self._connection

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _start_over_after_fork(self) -> None:
        if self._connection is not None:
            _of_the_parent.append(self._connection)
            if self._identity is not None:
                _files_of_the_parent.add(self._identity)
        self._connection = None
        self._lock = threading.Lock()  # the parent's may have been held at the fork
        self._pid = os.getpid()


def _before_fork() -> None:
    for file in list(_open_files):
        if file._lock.acquire(timeout=file._timeout):
            _held_for_fork.append(file)
            file._discard()


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop()._lock.release()


def _after_fork_in_child() -> None:
    _held_for_fork.clear()
    for file in list(_open_files):
        file._start_over_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def schema_version(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 if it is new."""
    return _one_integer(connection, "PRAGMA user_version")


def begin(connection: sqlite3.Connection, deadline: float) -> None:
    """Take the write lock, asking every millisecond: SQLite itself sleeps ever longer, and misses its turn."""
    connection.execute("PRAGMA busy_timeout = 1")
    while True:
        try:
            # IMMEDIATE: a transaction that begins by reading can't wait for the write lock, it fails at once.
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        else:
            return


def _open(path: str, schema: Sequence[str], deadline: float) -> sqlite3.Connection:
    while True:
        connection = sqlite3.connect(
            path, timeout=_milliseconds_left(deadline) / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, schema)
        except sqlite3.OperationalError as exc:
            connection.close()
            # Two processes that turn a new file to write-ahead mode at once: one is told "busy" without any waiting.
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _prepare(connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ReplayStoreError(f"SQLite: the file cannot be put in write-ahead mode (it stays in {mode})")
    # FULL: under NORMAL, a commit that was answered may be gone after a power failure, and the handoff could be
    # replayed.
    connection.execute("PRAGMA synchronous = FULL")
    if 0 <= schema_version(connection) < len(schema):
        connection.execute("BEGIN IMMEDIATE")
        version = schema_version(connection)  # asked again under the lock: another process may have done it meanwhile
        if 0 <= version < len(schema):
            for script in schema[version:]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(schema)}")
        connection.execute("COMMIT")
    version = schema_version(connection)
    if version != len(schema):
        raise ReplayStoreError(f"SQLite: the file has schema version {version}; this release needs {len(schema)}")


def _scripts(name: str) -> list[str]:
    """The scripts of a schema. The one at position n brings a file of schema version n to n + 1."""
    text = (files("ghasi_handoff.stores.sqlite") / name).read_text("utf-8")
    return re.split(r"^-- Version \d+\n", text, flags=re.MULTILINE)[1:]


def _one_integer(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return int(value)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _error_text(exc: sqlite3.Error | OSError) -> str:
    """The error without the path, which an OSError's own text has: a token may have been given for one by mistake."""
    if isinstance(exc, OSError):
        return f"{type(exc).__name__}: {exc.strerror}"
    return f"{getattr(exc, 'sqlite_errorname', '') or type(exc).__name__}: {exc}"


def _milliseconds_left(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))
