"""A replay store in an SQLite file: the embedded default. Durable; safe for many threads and processes of one machine.

Never on a network file system: its locks do not hold there.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self
from weakref import WeakSet

from ghasi_handoff._encoding import read_clock
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.replay import (
    DEFAULT_LEEWAY,
    Consumption,
    Hazard,
    StoreGuarantees,
    StoreReport,
    StoreStats,
    check_entry,
    clock_hazards,
    purge_cutoff,
    purge_hazards,
    purge_time,
)
from ghasi_handoff.stores._deadline import DEFAULT_TIMEOUT_SECONDS, timeout_seconds
from ghasi_handoff.stores._group_commit import REFUSALS_NOTED_PER_HANDOFF, Entry, Outcome, ThreadedGroupCommit

__all__ = ["AsyncSQLiteReplayStore", "SQLiteReplayStore"]

MIN_SQLITE_VERSION: Final = (3, 37, 0)  # STRICT tables
SCHEMA_VERSION: Final = 1
FULL: Final = 2  # of PRAGMA synchronous
PURGE_CHUNK: Final = 500
# Between two chunks of a purge. SQLite's lock has no queue: without a pause another process seldom gets it in between.
PURGE_PAUSE_SECONDS: Final = 0.002
REFUSALS_KEPT_SECONDS: Final = 24 * 3600

_SCHEMA: Final = """
CREATE TABLE handoff_replay_log (
    handoff_id    TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    redemption_id TEXT    NOT NULL,
    consumed_at   INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_replay_refused (
    handoff_id    TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    redemption_id TEXT    NOT NULL,
    refused_at    INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope, refused_at, redemption_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_outbox (
    handoff_id    TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    redemption_id TEXT    NOT NULL,
    consumed_at   INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_replay_mark (purged_before INTEGER NOT NULL) STRICT;
INSERT INTO handoff_replay_mark VALUES (0);
PRAGMA user_version = 1;
"""

# CROSS JOIN fixes the order, so that each wanted key is looked up in the primary key.
_FIND: Final = """
SELECT handoff_id, scope, redemption_id, consumed_at FROM (VALUES {}) AS wanted
CROSS JOIN handoff_replay_log ON handoff_id = wanted.column1 AND scope = wanted.column2
"""
_INSERT: Final = "INSERT INTO handoff_replay_log VALUES {} ON CONFLICT DO NOTHING RETURNING handoff_id, scope"
_INSERT_OUTBOX: Final = "INSERT INTO handoff_outbox VALUES {} ON CONFLICT DO NOTHING"
_MARK: Final = "SELECT purged_before FROM handoff_replay_mark"
_RAISE_MARK: Final = "UPDATE handoff_replay_mark SET purged_before = max(purged_before, ?)"
_NEWEST: Final = "SELECT max(handoff_id) FROM handoff_replay_log"
_OLDEST: Final = "SELECT min(handoff_id) FROM handoff_replay_log"
_PURGE: Final = """
DELETE FROM handoff_replay_log WHERE handoff_id <= (
    SELECT max(handoff_id) FROM (
        SELECT handoff_id FROM handoff_replay_log WHERE handoff_id < ? ORDER BY handoff_id LIMIT ?))
"""
_COUNT_REFUSED: Final = "SELECT count(*) FROM handoff_replay_refused WHERE handoff_id = ? AND scope = ?"
_INSERT_REFUSED: Final = "INSERT OR IGNORE INTO handoff_replay_refused VALUES (?, ?, ?, ?)"
_PURGE_REFUSED: Final = "DELETE FROM handoff_replay_refused WHERE refused_at < ?"

# SQLite keeps in the process's memory which locks the process holds on a file. A fork copies that, not the locks: a
# child that opens the same file goes without locks, and its parent, closing, removes the write-ahead log under it. Then
# each has a file of its own, and one handoff two holders. So before a fork every file is closed.
_open_stores: Final[WeakSet[SQLiteReplayStore]] = WeakSet()
_held_for_fork: Final[list[SQLiteReplayStore]] = []
# What could not be closed in time, or was forked without a word to Python: never used again in this process, nor
# finalised.
_of_the_parent: Final[list[sqlite3.Connection]] = []
_files_of_the_parent: Final[set[tuple[int, int]]] = set()


class SQLiteReplayStore:
    """Entries in one SQLite file, each committed to disk before its consume is answered.

    Write-ahead mode with ``synchronous=FULL``. The file is made at the first use, by whichever process is first. One
    connection per store, shared by its threads; before a fork it is closed, and the child opens its own.

    Args:
        path: The file. Not ``:memory:``: use `MemoryReplayStore` for that.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take at most, waiting for locks included. Seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read only to purge.

    Raises:
        ConfigurationError: An argument is not valid.
        ReplayStoreError: The SQLite library of this Python is older than 3.37.
    """

    guarantees = StoreGuarantees(durable=True, shared=False, survives_failover=False, outbox=True)

    def __init__(
        self,
        path: str | os.PathLike[str],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
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
        self._outbox = bool(outbox)
        self._timeout = timeout_seconds(timeout)
        self._clock = clock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._closed = False
        self._commits = ThreadedGroupCommit(
            self._run, self._note, self._interrupt, timeout=self._timeout, product="SQLite"
        )

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: Locked, read-only, corrupt or full file; past its retention; older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return self._commits.consume(Entry(handoff_id, scope, redemption_id, consumed_at))

    def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove entries that no token can need any more, a chunk a transaction. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            ReplayStoreError: As for `consume`. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)
        removed = 0
        while True:
            with self._session() as connection:  # other threads get their turn between two chunks
                count = _purge_chunk(connection, seconds)
            removed += count
            if count == 0:
                break
            if progress is not None:
                progress(removed)
            time.sleep(PURGE_PAUSE_SECONDS)
        with self._session() as connection:
            connection.execute(_PURGE_REFUSED, (seconds - REFUSALS_KEPT_SECONDS,))
        return removed

    def create_schema(self) -> None:
        """Make the file and its tables now, instead of at the first use. Safe to repeat.

        Raises:
            ReplayStoreError: The file cannot be made, or has a schema of another version.
        """
        with self._session():
            return

    def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Look at the file for everything that could break the store's promises. Changes nothing.

        The file is opened a second time, as it is: the store's own connection puts right what it can.

        Args:
            leeway: How far the newest id may be ahead of this machine's clock.

        Raises:
            ReplayStoreError: The file cannot be read.
        """
        with self._lock:
            live = None if self._connection is None else self._connection.execute("PRAGMA synchronous").fetchone()[0]
        with self._reader() as connection:
            return _report(connection, FULL if live is None else live, read_clock(self._clock), leeway)

    def stats(self) -> StoreStats:
        """How much the store holds. Counting reads the whole file.

        Raises:
            ReplayStoreError: The file cannot be read, or is not a replay store.
        """
        with self._reader() as connection:
            return _stats(connection)

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        self._commits.close()
        with self._lock:
            self._closed = True
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        try:
            with self._session(deadline) as connection:
                # A read first: a replay is then decided without the write lock, so a flood of them holds up nobody.
                found = _find(connection, entries)
                new = [entry for entry in entries if entry.key not in found]
                if new:
                    _begin(connection, deadline)
                    won = self._insert(connection, new)
                    found |= _find(connection, [entry for entry in new if entry.key not in won])
                    connection.execute("COMMIT")
        except ReplayStoreError as exc:
            return exc
        return [
            found.get(entry.key) or Consumption(entry.redemption_id, first=True, consumed_at=entry.consumed_at)
            for entry in entries
        ]

    def _insert(self, connection: sqlite3.Connection, new: Sequence[Entry]) -> set[tuple[str, str]]:
        won = set(connection.execute(_INSERT.format(_values(4, new)), [value for entry in new for value in entry]))
        # After the insert: a purge that ran before it has raised the mark, one that runs later finds the rows.
        (purged_before,) = connection.execute(_MARK).fetchone()
        if any(handoff_id_seconds(handoff_id) < purged_before for handoff_id, _ in won):
            raise ReplayStoreError("a handoff is older than what was purged")  # nothing of this transaction stays
        rows = [entry for entry in new if entry.key in won]
        if rows and self._outbox:
            connection.execute(_INSERT_OUTBOX.format(_values(4, rows)), [value for entry in rows for value in entry])
        return won

    def _note(self, entries: Sequence[Entry], deadline: float) -> None:
        """For support, after the decision: who else tried. A busy or full file loses the note, not the decision."""
        try:
            with self._session(deadline) as connection:
                connection.execute("PRAGMA busy_timeout = 0")
                with suppress(sqlite3.OperationalError):
                    for entry in entries:
                        # Counted before, so that a flood of replays stops taking the write lock after the first few.
                        # Two processes at once may both count seven: a ninth note does no harm.
                        (noted,) = connection.execute(_COUNT_REFUSED, entry.key).fetchone()
                        if noted < REFUSALS_NOTED_PER_HANDOFF:
                            connection.execute(_INSERT_REFUSED, entry)
        except ReplayStoreError:
            return

    def _interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            try:
                connection.interrupt()
            except sqlite3.ProgrammingError:
                return  # it was closed meanwhile

    @contextmanager
    def _reader(self) -> Generator[sqlite3.Connection]:
        """A connection of its own that cannot write and changes no setting."""
        if not os.path.exists(self._path):
            raise ReplayStoreError(
                "SQLite: there is no such file; `ghasi-handoff store init` or the first use makes it"
            )
        try:
            uri = f"{Path(self._path).absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, timeout=self._timeout, uri=True)
            try:
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as exc:
            raise ReplayStoreError(f"SQLite: {_error_text(exc)}") from exc

    @contextmanager
    def _session(self, deadline: float | None = None) -> Generator[sqlite3.Connection]:
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

    def _opened(self, deadline: float) -> sqlite3.Connection:
        if self._file is not None and _identity(self._path) != self._file:
            # Another process would use the new file, this one the old: one handoff, two holders. Nor may this one go on
            # with a new, empty file as if nothing had been redeemed.
            raise ReplayStoreError(
                "the SQLite file was replaced or removed while in use; restart every process that uses it"
            )
        if self._connection is None:
            if _files_of_the_parent and _identity(self._path) in _files_of_the_parent:
                raise ReplayStoreError("the SQLite file was in use at the fork of this process; restart the process")
            self._connection = _open(self._path, deadline)
            self._file = _identity(self._path)
            _open_stores.add(self)
        return self._connection

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _start_over_after_fork(self) -> None:
        if self._connection is not None:
            _of_the_parent.append(self._connection)
            if self._file is not None:
                _files_of_the_parent.add(self._file)
        self._connection = None
        self._lock = threading.Lock()  # the parent's may have been held at the fork
        self._pid = os.getpid()


def _before_fork() -> None:
    for store in list(_open_stores):
        if store._lock.acquire(timeout=store._timeout):
            _held_for_fork.append(store)
            store._discard()


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop()._lock.release()


def _after_fork_in_child() -> None:
    _held_for_fork.clear()
    for store in list(_open_stores):
        store._start_over_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


class AsyncSQLiteReplayStore:
    """`SQLiteReplayStore` for asyncio: a thread of its own does the work, so the event loop never waits for the disk.

    A caller that is cancelled or times out leaves the question open, never half answered: the same call repeated gets
    the truth.

    Args:
        path: The file.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take at most. Seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read only to purge.

    Raises:
        ConfigurationError: An argument is not valid.
        ReplayStoreError: The SQLite library of this Python is older than 3.37.
    """

    guarantees = SQLiteReplayStore.guarantees

    def __init__(
        self,
        path: str | os.PathLike[str],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = SQLiteReplayStore(path, outbox, timeout=timeout, clock=clock)

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: As `SQLiteReplayStore.consume`.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return await self._store._commits.consume_async(Entry(handoff_id, scope, redemption_id, consumed_at))

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """As `SQLiteReplayStore.purge`; `progress` is called in another thread."""
        return await asyncio.to_thread(self._store.purge, now, progress=progress)

    async def create_schema(self) -> None:
        """As `SQLiteReplayStore.create_schema`."""
        await asyncio.to_thread(self._store.create_schema)

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """As `SQLiteReplayStore.check`."""
        return await asyncio.to_thread(self._store.check, leeway=leeway)

    async def stats(self) -> StoreStats:
        """As `SQLiteReplayStore.stats`."""
        return await asyncio.to_thread(self._store.stats)

    async def aclose(self) -> None:
        """Close the file once running work is done. The store cannot be used afterwards."""
        await asyncio.to_thread(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _open(path: str, deadline: float) -> sqlite3.Connection:
    while True:
        connection = sqlite3.connect(
            path, timeout=_milliseconds_left(deadline) / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection)
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


def _prepare(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ReplayStoreError(f"SQLite: the file cannot be put in write-ahead mode (it stays in {mode})")
    # FULL: under NORMAL, a commit that was answered may be gone after a power failure, and the handoff could be
    # replayed.
    connection.execute("PRAGMA synchronous = FULL")
    if _schema_version(connection) == 0:
        connection.execute("BEGIN IMMEDIATE")
        if _schema_version(connection) == 0:  # asked again under the lock: another process may have made it meanwhile
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
    version = _schema_version(connection)
    if version != SCHEMA_VERSION:
        raise ReplayStoreError(f"SQLite: the file has schema version {version}; this release needs {SCHEMA_VERSION}")


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _purge_chunk(connection: sqlite3.Connection, now: int) -> int:
    connection.execute("BEGIN IMMEDIATE")
    (newest,) = connection.execute(_NEWEST).fetchone()
    if newest is None:
        connection.execute("ROLLBACK")
        return 0
    cutoff = purge_cutoff(now, handoff_id_seconds(newest))
    # The mark and the removal in one transaction: an id that was forgotten can never be taken for a new one.
    connection.execute(_RAISE_MARK, (cutoff,))
    stamp = f"{cutoff * 1000:012x}"
    count = connection.execute(_PURGE, (f"{stamp[:8]}-{stamp[8:]}", PURGE_CHUNK)).rowcount
    connection.execute("COMMIT")
    return count


def _begin(connection: sqlite3.Connection, deadline: float) -> None:
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


def _find(connection: sqlite3.Connection, entries: Sequence[Entry]) -> dict[tuple[str, str], Consumption]:
    # One statement for all: each one lets other threads run, and waits for its turn again.
    if not entries:
        return {}
    rows = connection.execute(_FIND.format(_values(2, entries)), [part for entry in entries for part in entry.key])
    return {
        (handoff_id, scope): Consumption(holder, first=False, consumed_at=at) for handoff_id, scope, holder, at in rows
    }


def _values(columns: int, entries: Sequence[Entry]) -> str:
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * len(entries))


def _report(connection: sqlite3.Connection, synchronous: int, ours: float, leeway: timedelta) -> StoreReport:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    version = _schema_version(connection)
    found: list[Hazard] = []
    if mode != "wal":
        found.append(
            Hazard(
                "not_wal",
                f"the file is in {mode} mode: readers and the writer block each other",
                "find out which program changed it; `ghasi-handoff store init` changes it back",
            )
        )
    if synchronous < FULL:
        found.append(
            Hazard(
                "not_full",
                f"synchronous is {synchronous} ({FULL} is FULL): a power failure may undo what was answered",
                "find out what changed it in this process, and restart the process",
            )
        )
    if version != SCHEMA_VERSION:
        found.append(
            Hazard(
                "schema_version",
                f"the schema has version {version}; this release needs {SCHEMA_VERSION}",
                "name the right file, or use the release that made this one",
            )
        )
    oldest = newest = None
    if version == SCHEMA_VERSION:
        (oldest,) = connection.execute(_OLDEST).fetchone()
        (newest,) = connection.execute(_NEWEST).fetchone()
    found += clock_hazards(ours, None, None if newest is None else handoff_id_seconds(newest), leeway)
    found += purge_hazards(ours, None if oldest is None else handoff_id_seconds(oldest))
    settings = {"journal_mode": mode, "synchronous": str(synchronous), "schema_version": str(version)}
    return StoreReport(f"SQLite {sqlite3.sqlite_version}", settings, tuple(found))


def _stats(connection: sqlite3.Connection) -> StoreStats:
    def one(query: str) -> int:
        (value,) = connection.execute(query).fetchone()
        return int(value)

    (oldest,) = connection.execute(_OLDEST).fetchone()
    (newest,) = connection.execute(_NEWEST).fetchone()
    return StoreStats(
        entries=one("SELECT count(*) FROM handoff_replay_log"),
        oldest_at=None if oldest is None else handoff_id_seconds(oldest),
        newest_at=None if newest is None else handoff_id_seconds(newest),
        purged_before=one(_MARK),
        refused=one("SELECT count(*) FROM handoff_replay_refused"),
        outbox=one("SELECT count(*) FROM handoff_outbox"),
        size_bytes=one("PRAGMA page_count") * one("PRAGMA page_size"),
    )


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
