# Generated from _maintenance_async.py by tools/sync_twins.py. Do not edit.
"""Tables that are made once, and rows that are purged in chunks, for the replay store and the handoff log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg import Connection

from ghasi_handoff._limits import POSTGRES_PURGE_CHUNK
from ghasi_handoff.stores._shared_sql import end_of, first_id, seconds_of
from ghasi_handoff.stores.postgres._pool import PostgresPool, fetch

# One at a time: two CREATE ... IF NOT EXISTS at once can both fail. The number is this package's own.
LOCK_SCHEMA: Final = "SELECT pg_advisory_xact_lock(6710886423)"


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
