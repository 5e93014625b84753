# Generated from _pool_async.py by tools/sync_twins.py. Do not edit.
"""The application's psycopg 3 pool -> one connection, no longer than the deadline, given back as it was.

The replay store, its outbox and the handoff log use it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from ghasi_handoff._limits import POSTGRES_MAINTENANCE_SECONDS
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import Owner
from ghasi_handoff.stores.postgres._guards import DRIVER_ERRORS, InUse, LostConnectionError, translated

Row: TypeAlias = tuple[Any, ...]
Arguments: TypeAlias = Sequence[Any] | Mapping[str, Any]
_T = TypeVar("_T")


class PostgresPool:
    """The application's pool, as the stores use it: neither opened nor closed here. Failures as the owner's error."""

    def __init__(self, pool: ConnectionPool[Any], timeout: float, owner: Owner) -> None:
        if not isinstance(pool, ConnectionPool):
            raise ConfigurationError(f"pool must be a psycopg_pool.ConnectionPool, not {type(pool).__name__}")
        self._pool = pool
        self._timeout = timeout
        self.owner = owner
        self._pid = None if pool.closed else os.getpid()

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
        if self._pid is None and not self._pool.closed:
            self._pid = os.getpid()
        # A fork copies an open pool: parent and child would write into one connection.
        if self._pid not in (None, os.getpid()):
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
