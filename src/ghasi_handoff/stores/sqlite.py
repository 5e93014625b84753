"""A replay store in an SQLite file: the embedded default. Durable; safe for many threads and processes of one machine.

Never on a network file system: its locks do not hold there.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, Self

from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.replay import Consumption, StoreGuarantees, check_entry, purge_cutoff, purge_time

__all__ = ["AsyncSQLiteReplayStore", "SQLiteReplayStore"]

MIN_SQLITE_VERSION: Final = (3, 37, 0)  # STRICT tables
SCHEMA_VERSION: Final = 1
PURGE_CHUNK: Final = 500
REFUSALS_KEPT_PER_HANDOFF: Final = 8
REFUSALS_KEPT_SECONDS: Final = 24 * 3600
DEFAULT_TIMEOUT_SECONDS: Final = 2.0

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

_FIND: Final = "SELECT redemption_id, consumed_at FROM handoff_replay_log WHERE handoff_id = ? AND scope = ?"
_INSERT: Final = "INSERT INTO handoff_replay_log VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_INSERT_OUTBOX: Final = "INSERT INTO handoff_outbox VALUES (?, ?, ?, ?)"
_MARK: Final = "SELECT purged_before FROM handoff_replay_mark"
_RAISE_MARK: Final = "UPDATE handoff_replay_mark SET purged_before = max(purged_before, ?)"
_NEWEST: Final = "SELECT max(handoff_id) FROM handoff_replay_log"
_PURGE: Final = """
DELETE FROM handoff_replay_log WHERE handoff_id <= (
    SELECT max(handoff_id) FROM (
        SELECT handoff_id FROM handoff_replay_log WHERE handoff_id < ? ORDER BY handoff_id LIMIT ?))
"""
_COUNT_REFUSED: Final = "SELECT count(*) FROM handoff_replay_refused WHERE handoff_id = ? AND scope = ?"
_INSERT_REFUSED: Final = "INSERT OR IGNORE INTO handoff_replay_refused VALUES (?, ?, ?, ?)"
_PURGE_REFUSED: Final = "DELETE FROM handoff_replay_refused WHERE refused_at < ?"

# Connections of a parent process, found after a fork. SQLite forbids even closing them here: that could remove the
# parent's locks and its write-ahead log. Kept, so that they are never finalised.
_of_the_parent: Final[list[sqlite3.Connection]] = []


class SQLiteReplayStore:
    """Entries in one SQLite file, each committed to disk before its consume is answered.

    Write-ahead mode with ``synchronous=FULL``. The file is made at the first use, by whichever process is first. One
    connection per store, shared by its threads; a fork is detected and the child opens its own.

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
        self._timeout = _timeout_seconds(timeout)
        self._clock = clock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._closed = False

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: Locked, read-only, corrupt or full file; past its retention; older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        with self._session(handoff_id) as connection:
            # A read first: a replay is then decided without the write lock, so a flood of them holds up nobody.
            entry = connection.execute(_FIND, (handoff_id, scope)).fetchone()
            if entry is None:
                row = (handoff_id, scope, redemption_id, consumed_at)
                # IMMEDIATE: a transaction that begins by reading can't wait for the write lock, it fails at once.
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute(_INSERT, row).rowcount == 1:
                    # After the insert: a purge that ran before it has raised the mark, one that runs later finds the
                    # row.
                    (purged_before,) = connection.execute(_MARK).fetchone()
                    if handoff_id_seconds(handoff_id) < purged_before:
                        raise ReplayStoreError("the handoff is older than what was purged", handoff_id=handoff_id)
                    if self._outbox:
                        connection.execute(_INSERT_OUTBOX, row)
                    connection.execute("COMMIT")
                    return Consumption(redemption_id, first=True, consumed_at=consumed_at)
                entry = connection.execute(_FIND, (handoff_id, scope)).fetchone()
                connection.execute("ROLLBACK")
            if entry[0] != redemption_id:
                _record_refusal(connection, handoff_id, scope, redemption_id, consumed_at)
            return Consumption(entry[0], first=False, consumed_at=entry[1])

    def purge(self, now: int | datetime | None = None) -> int:
        """Remove entries that no token can need any more, a chunk a transaction. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.

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
        with self._session() as connection:
            connection.execute(_PURGE_REFUSED, (seconds - REFUSALS_KEPT_SECONDS,))
        return removed

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            self._closed = True
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextmanager
    def _session(self, handoff_id: str | None = None) -> Generator[sqlite3.Connection]:
        """The connection, for this thread alone; afterwards no transaction is open. Failures as `ReplayStoreError`."""
        deadline = time.monotonic() + self._timeout
        if self._pid != os.getpid():
            self._start_over_after_fork()
        if not self._lock.acquire(timeout=self._timeout):
            raise ReplayStoreError(f"other threads used the store for {self._timeout:g} s", handoff_id=handoff_id)
        try:
            if self._closed:
                raise ReplayStoreError("the store is closed", handoff_id=handoff_id)
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
            raise ReplayStoreError(f"SQLite: {_error_name(exc)}: {exc}", handoff_id=handoff_id) from exc
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
            self._connection = _open(self._path, deadline)
            self._file = _identity(self._path)
        return self._connection

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _start_over_after_fork(self) -> None:
        if self._connection is not None:
            _of_the_parent.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()  # the parent's may have been held at the fork
        self._pid = os.getpid()


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
        self._timeout = _timeout_seconds(timeout)
        self._pid = os.getpid()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: As `SQLiteReplayStore.consume`, or no answer within the timeout.
        """
        consume = functools.partial(
            self._store.consume,
            handoff_id,
            scope=scope,
            redemption_id=redemption_id,
            consumed_at=consumed_at,
            retain_until=retain_until,
        )
        if self._closed:
            raise ReplayStoreError("the store is closed", handoff_id=handoff_id)
        work = asyncio.wrap_future(self._worker().submit(consume))
        try:
            # On a time-out, work that has not begun is dropped; work that has begun ends by itself.
            return await asyncio.wait_for(work, self._timeout)
        except TimeoutError:
            pass
        raise ReplayStoreError(f"SQLite: no answer within {self._timeout:g} s", handoff_id=handoff_id)

    async def purge(self, now: int | datetime | None = None) -> int:
        """As `SQLiteReplayStore.purge`."""
        return await asyncio.to_thread(self._store.purge, now)

    async def aclose(self) -> None:
        """Close the file once running work is done. The store cannot be used afterwards."""
        self._closed = True
        if self._executor is not None and self._pid == os.getpid():
            await asyncio.to_thread(self._executor.shutdown)
        await asyncio.to_thread(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _worker(self) -> ThreadPoolExecutor:
        # One thread: SQLite has one writer anyway. A forked child has none of its parent's threads.
        if self._executor is None or self._pid != os.getpid():
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ghasi-handoff-sqlite")
            self._pid = os.getpid()
        return self._executor


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


def _record_refusal(
    connection: sqlite3.Connection, handoff_id: str, scope: str, redemption_id: str, refused_at: int
) -> None:
    """For support, after the decision: who else tried. A file that is busy or full loses the note, not the decision."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        # Counted before, so that a flood of replays stops taking the write lock after the first few. Two processes at
        # once may both count seven: a ninth note does no harm.
        (noted,) = connection.execute(_COUNT_REFUSED, (handoff_id, scope)).fetchone()
        if noted < REFUSALS_KEPT_PER_HANDOFF:
            connection.execute(_INSERT_REFUSED, (handoff_id, scope, redemption_id, refused_at))
    except sqlite3.OperationalError:
        return


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _error_name(exc: sqlite3.Error | OSError) -> str:
    return getattr(exc, "sqlite_errorname", "") or type(exc).__name__


def _milliseconds_left(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))


def _timeout_seconds(timeout: float | timedelta) -> float:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= 60:
        raise ConfigurationError("timeout must be more than 0 and at most 60 seconds")
    return float(seconds)
