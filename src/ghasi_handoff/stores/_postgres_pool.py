"""The application's psycopg 3 pool -> one connection, no longer than the deadline, given back as it was.

The replay store, its outbox and the handoff log use it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, LiteralString, TypeAlias, TypeVar

import psycopg
import psycopg_pool
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff.errors import ConfigurationError, ReplayStoreError

Row: TypeAlias = tuple[Any, ...]
_T = TypeVar("_T")
# Yields a statement and its arguments, is sent the rows; so that sync and async take the same steps.
Steps: TypeAlias = Generator[tuple[LiteralString, Sequence[Any] | Mapping[str, Any]], list[Row], _T]

MAINTENANCE_SECONDS: Final = 60.0
# One at a time: two CREATE ... IF NOT EXISTS at once can both fail. The number is this package's own.
LOCK_SCHEMA: Final = "SELECT pg_advisory_xact_lock(6710886423)"


class PostgresPool:
    """The application's pool, as the stores use it.

    Args:
        pool: Stays the application's: it is neither opened nor closed here.
        timeout: Seconds that `run` may take in all.

    Raises:
        ConfigurationError: `pool` is something else.
    """

    def __init__(self, pool: ConnectionPool[Any], timeout: float) -> None:
        if not isinstance(pool, ConnectionPool):
            raise ConfigurationError(f"pool must be a psycopg_pool.ConnectionPool, not {type(pool).__name__}")
        self._pool = pool
        self._timeout = timeout
        self._owner = PoolOwner(pool)

    def run(self, steps: Callable[[], Steps[_T]]) -> _T:
        """What `steps` find out, within the timeout. Repeated on another connection if one was lost: so idempotent."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                with self._guarded(deadline, deadline) as connection:
                    return drive(steps(), connection)
            except LostConnectionError as exc:
                if time.monotonic() >= deadline:
                    raise exc.error from exc.error.__cause__
                # The pool held a connection that had died, as all of them do when a server restarts.

    @contextmanager
    def session(self) -> Generator[Connection[Any]]:
        """A connection for maintenance. Its statements may hang no longer than a minute in all."""
        now = time.monotonic()
        try:
            with self._guarded(now + self._timeout, now + max(self._timeout, MAINTENANCE_SECONDS)) as connection:
                yield connection
        except LostConnectionError as exc:
            raise exc.error from exc.error.__cause__

    def borrowed(self, deadline: float, in_use: InUse) -> Borrowed:
        """A connection until `deadline` (monotonic seconds); somebody else sees to it that its statements end."""
        self._owner.check()
        return Borrowed(self._pool, max(0.001, deadline - time.monotonic()), in_use)

    @contextmanager
    def _guarded(self, had_by: float, ended_by: float) -> Generator[Connection[Any]]:
        in_use = InUse()
        guard = threading.Timer(ended_by - time.monotonic(), in_use.cut)
        guard.daemon = True
        guard.start()
        try:
            with self.borrowed(had_by, in_use) as connection:
                yield connection
        finally:
            guard.cancel()


class AsyncPostgresPool:
    """`PostgresPool` for asyncio."""

    def __init__(self, pool: AsyncConnectionPool[Any], timeout: float) -> None:
        if not isinstance(pool, AsyncConnectionPool):
            raise ConfigurationError(f"pool must be a psycopg_pool.AsyncConnectionPool, not {type(pool).__name__}")
        self._pool = pool
        self._timeout = timeout
        self._owner = PoolOwner(pool)

    async def run(self, steps: Callable[[], Steps[_T]]) -> _T:
        """As `PostgresPool.run`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while True:
            try:
                async with self._guarded(deadline, deadline) as connection:
                    return await drive_async(steps(), connection)
            except LostConnectionError as exc:
                if loop.time() >= deadline:
                    raise exc.error from exc.error.__cause__

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncConnection[Any]]:
        """As `PostgresPool.session`."""
        now = asyncio.get_running_loop().time()
        try:
            async with self._guarded(now + self._timeout, now + max(self._timeout, MAINTENANCE_SECONDS)) as connection:
                yield connection
        except LostConnectionError as exc:
            raise exc.error from exc.error.__cause__

    def borrowed(self, deadline: float, in_use: InUse) -> AsyncBorrowed:
        """As `PostgresPool.borrowed`; `deadline` by the event loop's clock."""
        self._owner.check()
        left = max(0.001, deadline - asyncio.get_running_loop().time())
        return AsyncBorrowed(self._pool, left, in_use)

    @asynccontextmanager
    async def _guarded(self, had_by: float, ended_by: float) -> AsyncGenerator[AsyncConnection[Any]]:
        in_use = InUse()
        guard = asyncio.get_running_loop().call_at(ended_by, in_use.cut)
        try:
            async with self.borrowed(had_by, in_use) as connection:
                yield connection
        finally:
            guard.cancel()


_DRIVER_ERRORS: Final = (psycopg.Error, psycopg_pool.PoolClosed, OSError)


class LostConnectionError(Exception):
    """The connection was lost: what became of the statement is unknown, and another connection may know."""

    def __init__(self, error: ReplayStoreError) -> None:
        super().__init__(str(error))
        self.error = error


class InUse:
    """The connection that a batch uses now, and how to end its wait for a server that does not answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection[Any] | AsyncConnection[Any] | None = None

    def begin(self, connection: Connection[Any] | AsyncConnection[Any]) -> None:
        with self._lock:
            self._connection = connection

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def cut(self) -> None:
        """Shut the socket down: whoever waits on it is told at once that the connection is lost."""
        with self._lock:  # held, so that a connection that went back to the pool is never hit
            connection = self._connection
            if connection is None:
                return
            try:
                with socket.socket(fileno=os.dup(connection.fileno())) as copy:
                    copy.shutdown(socket.SHUT_RDWR)
            except (psycopg.Error, OSError):
                return  # the other side was quicker: it is lost already


class Borrowed:
    """A connection of the pool, in autocommit mode: one statement, one transaction, one round trip."""

    def __init__(self, pool: ConnectionPool[Any], seconds: float, in_use: InUse) -> None:
        self._pool = pool
        self._seconds = seconds
        self._in_use = in_use
        self._connection: Connection[Any] | None = None
        self._autocommit = True

    def __enter__(self) -> Connection[Any]:
        try:
            connection: Connection[Any] = self._pool.getconn(self._seconds)
            self._connection = connection
            self._autocommit = connection.autocommit
            if not self._autocommit:
                connection.autocommit = True
        except _DRIVER_ERRORS as exc:
            self._give_back()
            raise _translated(exc, lost=False) from exc
        self._in_use.begin(connection)
        return connection

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        connection = self._connection
        self._in_use.end()
        lost = connection is not None and connection.closed
        self._give_back()
        if isinstance(exc, _DRIVER_ERRORS):
            raise _translated(exc, lost=lost) from exc

    def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # As it was; one in the middle of a transaction is put in order, or replaced, by the pool.
            if not self._autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                with suppress(psycopg.OperationalError):  # lost in this moment; the pool will see it
                    connection.autocommit = False
            self._pool.putconn(connection)


class AsyncBorrowed:
    """`Borrowed` for asyncio."""

    def __init__(self, pool: AsyncConnectionPool[Any], seconds: float, in_use: InUse) -> None:
        self._pool = pool
        self._seconds = seconds
        self._in_use = in_use
        self._connection: AsyncConnection[Any] | None = None
        self._autocommit = True

    async def __aenter__(self) -> AsyncConnection[Any]:
        try:
            connection: AsyncConnection[Any] = await self._pool.getconn(self._seconds)
            self._connection = connection
            self._autocommit = connection.autocommit
            if not self._autocommit:
                await connection.set_autocommit(True)
        except _DRIVER_ERRORS as exc:
            await self._give_back()
            raise _translated(exc, lost=False) from exc
        self._in_use.begin(connection)
        return connection

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        connection = self._connection
        self._in_use.end()
        lost = connection is not None and connection.closed
        await self._give_back()
        if isinstance(exc, _DRIVER_ERRORS):
            raise _translated(exc, lost=lost) from exc

    async def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if not self._autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                with suppress(psycopg.OperationalError):
                    await connection.set_autocommit(False)
            await self._pool.putconn(connection)


class PoolOwner:
    """Notices that a fork copied an open pool: parent and child would write into one connection."""

    def __init__(self, pool: ConnectionPool[Any] | AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._pid = None if pool.closed else os.getpid()

    def check(self) -> None:
        if self._pid is None and not self._pool.closed:
            self._pid = os.getpid()
        if self._pid is not None and self._pid != os.getpid():
            raise ReplayStoreError("PostgreSQL: the pool was opened before a fork; open it in each process")


def drive(steps: Steps[_T], connection: Connection[Any]) -> _T:
    try:
        query, arguments = next(steps)
        while True:
            with connection.cursor(row_factory=tuple_row) as cursor:
                cursor.execute(query, arguments)
                rows = cursor.fetchall() if cursor.description is not None else [(cursor.rowcount,)]
            query, arguments = steps.send(rows)
    except StopIteration as end:
        result: _T = end.value
        return result


async def drive_async(steps: Steps[_T], connection: AsyncConnection[Any]) -> _T:
    try:
        query, arguments = next(steps)
        while True:
            async with connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(query, arguments)
                rows = await cursor.fetchall() if cursor.description is not None else [(cursor.rowcount,)]
            query, arguments = steps.send(rows)
    except StopIteration as end:
        result: _T = end.value
        return result


def _translated(exc: Exception, *, lost: bool) -> ReplayStoreError | LostConnectionError:
    """The driver's error, without what a message could carry of a connection string."""
    state = getattr(exc, "sqlstate", None)
    primary = exc.diag.message_primary if isinstance(exc, psycopg.Error) else None
    text = "PostgreSQL: " + ": ".join(part for part in (type(exc).__name__, state, primary) if part)
    if isinstance(exc, psycopg.errors.UndefinedFunction | psycopg.errors.UndefinedTable):
        group = "handoff" if primary is not None and '"handoff_log"' in primary else "store"
        text += f"; run create_schema(), `ghasi-handoff {group} init`, or the migration"
    elif isinstance(exc, psycopg_pool.PoolTimeout):
        text += ": no connection within the timeout: the server is not to be reached, or others hold the whole pool"
    error = ReplayStoreError(text)
    error.__cause__ = exc
    return LostConnectionError(error) if lost else error
