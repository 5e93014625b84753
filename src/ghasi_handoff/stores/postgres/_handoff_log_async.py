"""The handoff log in PostgreSQL, for an issuer on many machines. Over the psycopg 3 pools of the application."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ghasi_handoff._formats import POSTGRES_HANDOFF_LOG_SCHEMA
from ghasi_handoff._limits import DEFAULT_STORE_TIMEOUT_SECONDS
from ghasi_handoff._signing_string import as_handoff_id
from ghasi_handoff._times import read_clock
from ghasi_handoff.replay import purge_time, timeout_seconds
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffQuery, HandoffRecord, record_of, unknown
from ghasi_handoff.stores._maintained_async import AsyncClosing
from ghasi_handoff.stores._opening import HANDOFF_LOG
from ghasi_handoff.stores._shared_sql import log_change, log_cutoff, log_row
from ghasi_handoff.stores.postgres import _statements as sql
from ghasi_handoff.stores.postgres._pool_async import AsyncPostgresPool, change, create_schema, fetch, purge


class AsyncPostgresHandoffLog(AsyncClosing):
    """What an issuer issued, in PostgreSQL, each row on disk before its token is returned. For many machines.

    Args:
        pool: The application's pool. It stays the application's: the log neither opens nor closes it.
        timeout: How long an operation may take, waits for a connection included: seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read to revoke and to purge.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = AsyncPostgresPool(pool, timeout_seconds(timeout), HANDOFF_LOG)
        self._clock = clock

    async def record(self, record: HandoffRecord) -> None:
        """See `HandoffLog.record`."""
        await self._pool.change(sql.LOG_RECORD, log_row(record))

    async def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        """See `HandoffLog.consume`."""

        async def consume(connection: AsyncConnection[Any]) -> HandoffRecord | None:
            await change(connection, sql.LOG_CONSUME, log_change(call, recorded_at))
            # By a statement of its own: only that one sees what another call committed while ours waited for it.
            return await _find(connection, call.handoff_id)

        return await self._pool.run(consume)

    async def revoke(self, handoff_id: str) -> HandoffRecord:
        """See `HandoffLog.revoke`."""
        now = int(read_clock(self._clock))
        if as_handoff_id(handoff_id) is None:
            raise unknown(handoff_id)

        async def revoke(connection: AsyncConnection[Any]) -> HandoffRecord | None:
            await change(connection, sql.LOG_REVOKE, (now, handoff_id))
            return await _find(connection, handoff_id)

        record = await self._pool.run(revoke)
        if record is None:
            raise unknown(handoff_id)
        return record

    async def find(self, handoff_id: str) -> HandoffRecord | None:
        """See `HandoffLog.find`."""
        if as_handoff_id(handoff_id) is None:
            return None  # what is no id has no row; the server would call it an error, as if the log were out of order
        return await self._pool.run(lambda connection: _find(connection, handoff_id))

    async def search(self, query: HandoffQuery) -> list[HandoffRecord]:
        """See `HandoffLog.search`."""
        return [record_of(row) for row in await self._pool.fetch(*sql.SQL.log_search(query))]

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove rows whose token ended more than 48 hours ago, a chunk a transaction. Returns how many.

        Bounded by the newest row as well as the clock: a clock that jumps ahead must not empty the log.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            HandoffLogError: The server cannot be used. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)

        async def remove(connection: AsyncConnection[Any], cutoff: int, start: UUID, end: UUID) -> int:
            return await change(connection, sql.LOG_PURGE, (start, end, cutoff))

        return await purge(self._pool, "handoff_log", partial(log_cutoff, seconds), remove, progress)

    async def create_schema(self) -> None:
        """Make the tables, if they are not there. Safe to repeat, and from many processes at once.

        Raises:
            HandoffLogError: The database refused, or has a schema of another version.
        """
        await create_schema(self._pool, sql.LOG_SCHEMA, sql.READ_LOG_SCHEMA_VERSION, POSTGRES_HANDOFF_LOG_SCHEMA)


async def _find(connection: AsyncConnection[Any], handoff_id: str) -> HandoffRecord | None:
    rows = await fetch(connection, sql.SQL.log_find, (handoff_id,))
    return record_of(rows[0]) if rows else None
