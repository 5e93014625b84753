# Generated from _pool_async.py by tools/sync_twins.py. Do not edit.
"""The application's psycopg 3 pool -> one connection, no longer than the deadline, given back as it was.

The replay store, its outbox and the handoff log use it, and make their tables and purge their rows over it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString, TypeAlias, TypeVar
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from ghasi_handoff._limits import POSTGRES_MAINTENANCE_SECONDS, POSTGRES_PURGE_CHUNK
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import Owner
from ghasi_handoff.stores._shared_sql import end_of, first_id, seconds_of
from ghasi_handoff.stores.postgres._guards import (
    DRIVER_ERRORS,
    InUse,
    LostConnectionError,
    know,
    translated,
    was_open_at_fork,
)

Row: TypeAlias = tuple[Any, ...]
Arguments: TypeAlias = Sequence[Any] | Mapping[str, Any]
_T = TypeVar("_T")
# One at a time: two CREATE ... IF NOT EXISTS at once can both fail. The number is this package's own.
LOCK_SCHEMA: Final = "SELECT pg_advisory_xact_lock(6710886423)"


class PostgresPool:
    """The application's pool, as the stores use it: neither opened nor closed here. Failures as the owner's error."""

    def __init__(self, pool: ConnectionPool[Any], timeout: float, owner: Owner) -> None:
        if not isinstance(pool, ConnectionPool):
            raise ConfigurationError(f"pool must be a psycopg_pool.ConnectionPool, not {type(pool).__name__}")
        self._pool = pool
        self._timeout = timeout
        self.owner = owner
        know(pool)

    def run(self, work: Callable[[Connection[Any]], _T]) -> _T:
        """The result of `work`, within the timeout. Repeated on another connection if one was lost: so idempotent."""
        deadline = clock() + self._timeout
        while True:
            try:
                with self._guarded(deadline, deadline) as connection:
                    return work(connection)
            except LostConnectionError as exc:
                if clock() >= deadline:
                    raise exc.error from exc.error.__cause__
                # The pool held a connection that had died, as all of them do when a server restarts.

    def fetch(self, query: LiteralString, arguments: Arguments = ()) -> list[Row]:
        """The rows of one statement; as `run`."""
        return self.run(lambda connection: fetch(connection, query, arguments))

    def change(self, query: LiteralString, arguments: Arguments = ()) -> int:
        """How many rows one statement changed; as `run`."""
        return self.run(lambda connection: change(connection, query, arguments))

    @contextmanager
    def session(self) -> Generator[Connection[Any]]:
        """A connection for maintenance. Its statements may hang no longer than a minute in all."""
        had_by = clock() + self._timeout
        ended_by = max(had_by, clock() + POSTGRES_MAINTENANCE_SECONDS)
        try:
            with self._guarded(had_by, ended_by) as connection:
                yield connection
        except LostConnectionError as exc:
            raise exc.error from exc.error.__cause__

    @contextmanager
    def borrowed(self, deadline: float, in_use: InUse) -> Generator[Connection[Any]]:
        """A connection until `deadline`, in autocommit mode. The caller ends statements that hang."""
        if was_open_at_fork(self._pool):
            raise self.owner.error("PostgreSQL: the pool was opened before a fork; open it in each process")
        try:
            connection: Connection[Any] = self._pool.getconn(max(0.001, deadline - clock()))
        except DRIVER_ERRORS as exc:
            raise translated(exc, self.owner, lost=False) from exc
        autocommit = connection.autocommit
        try:
            if not autocommit:
                connection.set_autocommit(True)
            in_use.begin(connection)
            yield connection
        except DRIVER_ERRORS as exc:
            raise translated(exc, self.owner, lost=connection.closed) from exc
        finally:
            in_use.end()
            # As it was; one in the middle of a transaction is put in order, or replaced, by the pool.
            if not autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                with suppress(psycopg.OperationalError):  # lost in this moment; the pool will see it
                    connection.set_autocommit(False)
            self._pool.putconn(connection)

    @contextmanager
    def _guarded(self, had_by: float, ended_by: float) -> Generator[Connection[Any]]:
        in_use = InUse()
        guard = threading.Timer(ended_by - clock(), in_use.cut)
        guard.daemon = True
        guard.start()
        try:
            with self.borrowed(had_by, in_use) as connection:
                yield connection
        finally:
            guard.cancel()


def fetch(connection: Connection[Any], query: LiteralString, arguments: Arguments = ()) -> list[Row]:
    """The rows of one statement, as tuples whatever the application's connections are set to."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def change(connection: Connection[Any], query: LiteralString, arguments: Arguments = ()) -> int:
    """How many rows one statement changed."""
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.rowcount


def clock() -> float:
    """The clock of deadlines, in seconds."""
    return time.monotonic()


def create_schema(pool: PostgresPool, script: LiteralString, read_version: LiteralString, needed: int) -> None:
    """Run a script that makes tables, and see that they are those of this release: else the owner's error."""
    with pool.session() as connection, connection.transaction():
        connection.execute(LOCK_SCHEMA)
        connection.execute(script)
        rows = fetch(connection, read_version)
        version = rows[0][0] if rows else None
        # Inside the transaction: nothing of a later release's tables and functions may be changed.
        if version != needed:
            raise pool.owner.wrong_version("PostgreSQL", version, needed)


def chunk_end(table: LiteralString) -> LiteralString:
    """Selects the first id after a chunk: from an id, below an id, after a number of rows."""
    wanted = f"SELECT handoff_id FROM {table} WHERE handoff_id >= %s AND handoff_id < %s"  # noqa: S608 - a constant
    return f"{wanted} ORDER BY handoff_id OFFSET %s LIMIT 1"


def purge(
    pool: PostgresPool,
    table: LiteralString,
    cutoff_of: Callable[[int], int],
    remove: Callable[[Connection[Any], int, UUID, UUID], int],
    progress: Callable[[int], None] | None,
) -> int:
    """How many rows were removed. `cutoff_of` takes the time of the newest id.

    A chunk begins where the last one ended, and its end is a value, not a subquery: otherwise each chunk would read the
    whole table, and all that was removed before it.
    """
    removed = 0
    start: UUID | None = UUID(int=0)
    while start is not None:
        with pool.session() as connection, connection.transaction():
            rows = fetch(connection, end_of(table, "DESC"))
            newest_at = seconds_of(rows[0] if rows else None)
            if newest_at is None:
                return removed
            cutoff = cutoff_of(newest_at)
            end = first_id(cutoff)
            rows = fetch(connection, chunk_end(table), (start, end, POSTGRES_PURGE_CHUNK))
            after: UUID | None = rows[0][0] if rows else None
            removed += remove(connection, cutoff, start, after or end)
            start = after
        if progress is not None:
            progress(removed)
    return removed
