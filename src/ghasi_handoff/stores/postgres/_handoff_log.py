# Generated from _handoff_log_async.py by tools/sync_twins.py. Do not edit.
"""The handoff log in PostgreSQL, for an issuer on many machines. Over the psycopg 3 pools of the application."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Final, LiteralString, Self, cast
from uuid import UUID

from psycopg import Connection
from psycopg_pool import ConnectionPool

from ghasi_handoff._formats import POSTGRES_HANDOFF_LOG_SCHEMA
from ghasi_handoff._limits import (
    DEFAULT_STORE_TIMEOUT_SECONDS,
    HANDOFF_LOG_KEPT_SECONDS,
    MAX_LATENESS_SECONDS,
    POSTGRES_PURGE_CHUNK,
)
from ghasi_handoff._signing_string import as_handoff_id, handoff_id_seconds
from ghasi_handoff._times import read_clock
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import purge_time
from ghasi_handoff.stores._deadline import timeout_seconds
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffQuery, HandoffRecord, record_of, unknown
from ghasi_handoff.stores.postgres._pool import PostgresPool, change, fetch
from ghasi_handoff.stores.postgres._statements import LOCK_SCHEMA

# For type checkers a literal, as psycopg wants: it is a file of this package. mypy does not know the difference.
LOG_SCHEMA: Final = cast(  # type: ignore[redundant-cast]
    LiteralString, (files("ghasi_handoff.stores.postgres") / "handoff_log.sql").read_text("utf-8")
)
_SCHEMA_VERSION: Final = "SELECT schema_version FROM handoff_log_schema"
# A commit that is answered before it is on disk could be forgotten: a token in the world that the log does not know, or
# a consumed flag that comes off again.
_DURABLE: Final = """
WITH durable AS MATERIALIZED (SELECT CASE WHEN current_setting('synchronous_commit') = 'off'
                                          THEN set_config('synchronous_commit', 'on', true) END AS setting)
"""
_COLUMNS: Final = (
    "handoff_id::text, issuer, audience, tenant, kid, issued_at, expires_at, state, redemption_id, consumed_at,"
    " recorded_at, revoked_at"
)
_RECORD: Final = f"""{_DURABLE}
INSERT INTO handoff_log (handoff_id, issuer, audience, tenant, kid, issued_at, expires_at)
SELECT %s, %s, %s, %s, %s, %s, %s FROM durable ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants only
_CONSUME: Final = f"""{_DURABLE}
UPDATE handoff_log SET state = 'consumed', redemption_id = %s, consumed_at = %s, recorded_at = %s FROM durable
WHERE handoff_id = %s AND issuer = %s AND audience = %s AND state = 'issued' AND %s < expires_at + %s
"""  # noqa: S608
_REVOKE: Final = f"""{_DURABLE}
UPDATE handoff_log SET state = 'revoked', revoked_at = %s FROM durable WHERE handoff_id = %s AND state = 'issued'
"""  # noqa: S608 - constants only
_FIND: Final = f"SELECT {_COLUMNS} FROM handoff_log WHERE handoff_id = %s"  # noqa: S608
_SEARCH: Final = f"""
SELECT {_COLUMNS} FROM handoff_log l
WHERE (%(tenant)s::text IS NULL OR tenant = %(tenant)s) AND (%(since)s::bigint IS NULL OR issued_at >= %(since)s)
  AND (%(until)s::bigint IS NULL OR issued_at < %(until)s) AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY l.handoff_id DESC LIMIT %(limit)s
"""  # noqa: S608
_NEWEST: Final = "SELECT l.handoff_id::text FROM handoff_log l ORDER BY l.handoff_id DESC LIMIT 1"
_CHUNK_END: Final = """
SELECT handoff_id FROM handoff_log WHERE handoff_id >= %s AND handoff_id < %s ORDER BY handoff_id OFFSET %s LIMIT 1
"""
_PURGE: Final = "DELETE FROM handoff_log WHERE handoff_id >= %s AND handoff_id < %s AND expires_at <= %s"


class PostgresHandoffLog:
    """What an issuer issued, in PostgreSQL, each row on disk before its token is returned. For many machines.

    Args:
        pool: The application's pool. It stays the application's: the log neither opens nor closes it.
        timeout: How long an operation may take at most, waiting for a connection included. Seconds or a timedelta, up
            to 60 s.
        clock: Returns Unix seconds; read to revoke and to purge.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    def __init__(
        self,
        pool: ConnectionPool[Any],
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = PostgresPool(pool, timeout_seconds(timeout))
        self._clock = clock

    def record(self, record: HandoffRecord) -> None:
        """See `HandoffLog.record`."""
        names = (record.handoff_id, record.issuer, record.audience, record.tenant, record.kid)
        self._pool.change(_RECORD, (*names, record.issued_at, record.expires_at))

    def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        """See `HandoffLog.consume`."""
        change_to = (call.redemption_id, call.consumed_at, recorded_at)
        guard = (call.handoff_id, call.issuer, call.audience, call.consumed_at, MAX_LATENESS_SECONDS)

        def consume(connection: Connection[Any]) -> HandoffRecord | None:
            change(connection, _CONSUME, (*change_to, *guard))
            # By a statement of its own: only that one sees what another call committed while ours waited for it.
            return _find(connection, call.handoff_id)

        return self._pool.run(consume)

    def revoke(self, handoff_id: str) -> HandoffRecord:
        """See `HandoffLog.revoke`."""
        now = int(read_clock(self._clock))
        if as_handoff_id(handoff_id) is None:
            raise unknown(handoff_id)

        def revoke(connection: Connection[Any]) -> HandoffRecord | None:
            change(connection, _REVOKE, (now, handoff_id))
            return _find(connection, handoff_id)

        record = self._pool.run(revoke)
        if record is None:
            raise unknown(handoff_id)
        return record

    def find(self, handoff_id: str) -> HandoffRecord | None:
        """See `HandoffLog.find`."""
        if as_handoff_id(handoff_id) is None:
            return None  # what is no id has no row; the server would call it an error, as if the log were out of order
        return self._pool.run(lambda connection: _find(connection, handoff_id))

    def search(self, query: HandoffQuery) -> list[HandoffRecord]:
        """See `HandoffLog.search`."""
        narrowed = {"tenant": query.tenant, "since": query.since, "until": query.until, "limit": query.limit}
        state = None if query.state is None else str(query.state)
        return [record_of(row) for row in self._pool.fetch(_SEARCH, {**narrowed, "state": state})]

    def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove rows whose token ended more than 48 hours ago, a chunk a transaction. Returns how many.

        Bounded by the newest row as well as the clock: a clock that jumps ahead must not empty the log.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            ReplayStoreError: The server cannot be used. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)
        removed = 0
        start: UUID | None = UUID(int=0)
        while start is not None:
            with self._pool.session() as connection, connection.transaction():
                count, start = _purge_chunk(connection, seconds, start)
            removed += count
            if progress is not None:
                progress(removed)
        return removed

    def create_schema(self) -> None:
        """Make the tables, if they are not there. Safe to repeat, and from many processes at once.

        Raises:
            ReplayStoreError: The database refused, or has a schema of another version.
        """
        with self._pool.session() as connection, connection.transaction():
            connection.execute(LOCK_SCHEMA)
            connection.execute(LOG_SCHEMA)
            rows = fetch(connection, _SCHEMA_VERSION)
            version = rows[0][0] if rows else None
            # Inside the transaction: nothing of a later release's tables may be changed.
            if version != POSTGRES_HANDOFF_LOG_SCHEMA:
                text = f"the log's schema has version {version}; this release needs {POSTGRES_HANDOFF_LOG_SCHEMA}"
                raise ReplayStoreError(f"PostgreSQL: {text}")

    def close(self) -> None:
        """Nothing to do: the pool stays open. Here so that every log can be closed alike."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _find(connection: Connection[Any], handoff_id: str) -> HandoffRecord | None:
    rows = fetch(connection, _FIND, (handoff_id,))
    return record_of(rows[0]) if rows else None


def _purge_chunk(connection: Connection[Any], now: int, start: UUID) -> tuple[int, UUID | None]:
    """How many were removed, and where the next chunk begins; None if this was the last."""
    newest = fetch(connection, _NEWEST)
    if not newest:
        return 0, None
    cutoff = max(0, min(now, handoff_id_seconds(newest[0][0])) - HANDOFF_LOG_KEPT_SECONDS)
    end = UUID(int=(cutoff * 1000) << 80)
    chunk_end = fetch(connection, _CHUNK_END, (start, end, POSTGRES_PURGE_CHUNK))
    upto: UUID | None = chunk_end[0][0] if chunk_end else None
    return change(connection, _PURGE, (start, upto or end, cutoff)), upto
