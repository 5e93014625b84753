# Generated from _pool_async.py by tools/sync_twins.py. Do not edit.
"""The application's psycopg 3 pool -> one connection, no longer than the deadline, given back as it was.

The replay store, its outbox and the handoff log use it.
"""

from __future__ import annotations

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
from ghasi_handoff.stores._owners import Owner
from ghasi_handoff.stores.postgres._guards import DRIVER_ERRORS, ForkGuard, InUse, LostConnectionError, translated

Row: TypeAlias = tuple[Any, ...]
Arguments: TypeAlias = Sequence[Any] | Mapping[str, Any]
_T = TypeVar("_T")


class PostgresPool:
    """The application's pool, as the stores use it.

    Args:
        pool: Stays the application's: it is neither opened nor closed here.
        timeout: Seconds that `run` may take in all.
        owner: Who uses it. Each failure is raised as the owner's error.
    """

    def __init__(self, pool: ConnectionPool[Any], timeout: float, owner: Owner) -> None:
        if not isinstance(pool, ConnectionPool):
            raise ConfigurationError(f"pool must be a psycopg_pool.ConnectionPool, not {type(pool).__name__}")
        self._pool = pool
        self._timeout = timeout
        self.owner = owner
        self._forks = ForkGuard(pool, owner)

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
        now = clock()
        try:
            with self._guarded(
                now + self._timeout, now + max(self._timeout, POSTGRES_MAINTENANCE_SECONDS)
            ) as connection:
                yield connection
        except LostConnectionError as exc:
            raise exc.error from exc.error.__cause__

    def borrowed(self, deadline: float, in_use: InUse) -> Borrowed:
        """A connection until `deadline`, by `clock`. The caller ends statements that hang."""
        self._forks.check()
        return Borrowed(self._pool, max(0.001, deadline - clock()), in_use, self.owner)

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


class Borrowed:
    """A connection of the pool, in autocommit mode: one statement, one transaction, one round trip."""

    def __init__(self, pool: ConnectionPool[Any], seconds: float, in_use: InUse, owner: Owner) -> None:
        self._pool = pool
        self._seconds = seconds
        self._in_use = in_use
        self._owner = owner
        self._connection: Connection[Any] | None = None
        self._autocommit = True

    def __enter__(self) -> Connection[Any]:
        try:
            connection: Connection[Any] = self._pool.getconn(self._seconds)
            self._connection = connection
            self._autocommit = connection.autocommit
            if not self._autocommit:
                connection.set_autocommit(True)
        except DRIVER_ERRORS as exc:
            self._give_back()
            raise translated(exc, self._owner, lost=False) from exc
        self._in_use.begin(connection)
        return connection

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        connection = self._connection
        self._in_use.end()
        lost = connection is not None and connection.closed
        self._give_back()
        if isinstance(exc, DRIVER_ERRORS):
            raise translated(exc, self._owner, lost=lost) from exc

    def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # As it was; one in the middle of a transaction is put in order, or replaced, by the pool.
            if not self._autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                with suppress(psycopg.OperationalError):  # lost in this moment; the pool will see it
                    connection.set_autocommit(False)
            self._pool.putconn(connection)


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
