"""The application's psycopg 3 pool -> one connection, no longer than the deadline, given back as it was.

The replay store, its outbox and the handoff log use it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from ghasi_handoff._limits import POSTGRES_MAINTENANCE_SECONDS
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import Owner
from ghasi_handoff.stores.postgres._guards import DRIVER_ERRORS, InUse, LostConnectionError, translated

Row: TypeAlias = tuple[Any, ...]
Arguments: TypeAlias = Sequence[Any] | Mapping[str, Any]
_T = TypeVar("_T")


class AsyncPostgresPool:
    """The application's pool, as the stores use it: neither opened nor closed here. Failures as the owner's error."""

    def __init__(self, pool: AsyncConnectionPool[Any], timeout: float, owner: Owner) -> None:
        if not isinstance(pool, AsyncConnectionPool):
            raise ConfigurationError(f"pool must be a psycopg_pool.AsyncConnectionPool, not {type(pool).__name__}")
        self._pool = pool
        self._timeout = timeout
        self.owner = owner
        self._pid = None if pool.closed else os.getpid()

    async def run(self, work: Callable[[AsyncConnection[Any]], Awaitable[_T]]) -> _T:
        """The result of `work`, within the timeout. Repeated on another connection if one was lost: so idempotent."""
        deadline = clock() + self._timeout
        while True:
            try:
                async with self._guarded(deadline, deadline) as connection:
                    return await work(connection)
            except LostConnectionError as exc:
                if clock() >= deadline:
                    raise exc.error from exc.error.__cause__
                # The pool held a connection that had died, as all of them do when a server restarts.

    async def fetch(self, query: LiteralString, arguments: Arguments = ()) -> list[Row]:
        """The rows of one statement; as `run`."""
        return await self.run(lambda connection: fetch(connection, query, arguments))

    async def change(self, query: LiteralString, arguments: Arguments = ()) -> int:
        """How many rows one statement changed; as `run`."""
        return await self.run(lambda connection: change(connection, query, arguments))

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncConnection[Any]]:
        """A connection for maintenance. Its statements may hang no longer than a minute in all."""
        had_by = clock() + self._timeout
        ended_by = max(had_by, clock() + POSTGRES_MAINTENANCE_SECONDS)
        try:
            async with self._guarded(had_by, ended_by) as connection:
                yield connection
        except LostConnectionError as exc:
            raise exc.error from exc.error.__cause__

    @asynccontextmanager
    async def borrowed(self, deadline: float, in_use: InUse) -> AsyncGenerator[AsyncConnection[Any]]:
        """A connection until `deadline`, in autocommit mode. The caller ends statements that hang."""
        if self._pid is None and not self._pool.closed:
            self._pid = os.getpid()
        # A fork copies an open pool: parent and child would write into one connection.
        if self._pid not in (None, os.getpid()):
            raise self.owner.error("PostgreSQL: the pool was opened before a fork; open it in each process")
        try:
            connection: AsyncConnection[Any] = await self._pool.getconn(max(0.001, deadline - clock()))
        except DRIVER_ERRORS as exc:
            raise translated(exc, self.owner, lost=False) from exc
        autocommit = connection.autocommit
        try:
            if not autocommit:
                await connection.set_autocommit(True)
            in_use.begin(connection)
            yield connection
        except DRIVER_ERRORS as exc:
            raise translated(exc, self.owner, lost=connection.closed) from exc
        finally:
            in_use.end()
            # As it was; one in the middle of a transaction is put in order, or replaced, by the pool.
            if not autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                with suppress(psycopg.OperationalError):  # lost in this moment; the pool will see it
                    await connection.set_autocommit(False)
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def _guarded(self, had_by: float, ended_by: float) -> AsyncGenerator[AsyncConnection[Any]]:
        in_use = InUse()
        if True:  # ASYNC
            guard = asyncio.get_running_loop().call_at(ended_by, in_use.cut)
        else:
            guard = threading.Timer(ended_by - clock(), in_use.cut)
            guard.daemon = True
            guard.start()
        try:
            async with self.borrowed(had_by, in_use) as connection:
                yield connection
        finally:
            guard.cancel()


async def fetch(connection: AsyncConnection[Any], query: LiteralString, arguments: Arguments = ()) -> list[Row]:
    """The rows of one statement, as tuples whatever the application's connections are set to."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query, arguments)
        return await cursor.fetchall()


async def change(connection: AsyncConnection[Any], query: LiteralString, arguments: Arguments = ()) -> int:
    """How many rows one statement changed."""
    async with connection.cursor() as cursor:
        await cursor.execute(query, arguments)
        return cursor.rowcount


def clock() -> float:
    """The clock of deadlines, in seconds."""
    return asyncio.get_running_loop().time()
