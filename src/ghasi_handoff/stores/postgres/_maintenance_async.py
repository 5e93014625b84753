"""Tables that are made once, and rows that are purged in chunks, for the replay store and the handoff log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg import AsyncConnection

from ghasi_handoff._limits import POSTGRES_PURGE_CHUNK
from ghasi_handoff.stores._shared_sql import end_of, first_id, seconds_of
from ghasi_handoff.stores.postgres._pool_async import AsyncPostgresPool, fetch

# One at a time: two CREATE ... IF NOT EXISTS at once can both fail. The number is this package's own.
LOCK_SCHEMA: Final = "SELECT pg_advisory_xact_lock(6710886423)"


async def create_schema(
    pool: AsyncPostgresPool, script: LiteralString, read_version: LiteralString, needed: int
) -> None:
    """Run a script that makes tables, and see that they are those of this release: else the owner's error."""
    async with pool.session() as connection, connection.transaction():
        await connection.execute(LOCK_SCHEMA)
        await connection.execute(script)
        rows = await fetch(connection, read_version)
        version = rows[0][0] if rows else None
        # Inside the transaction: nothing of a later release's tables and functions may be changed.
        if version != needed:
            raise pool.owner.wrong_version("PostgreSQL", version, needed)


def chunk_end(table: LiteralString) -> LiteralString:
    """Selects the first id after a chunk: from an id, below an id, after a number of rows."""
    wanted = f"SELECT handoff_id FROM {table} WHERE handoff_id >= %s AND handoff_id < %s"  # noqa: S608 - a constant
    return f"{wanted} ORDER BY handoff_id OFFSET %s LIMIT 1"


async def purge(
    pool: AsyncPostgresPool,
    table: LiteralString,
    cutoff_of: Callable[[int], int],
    remove: Callable[[AsyncConnection[Any], int, UUID, UUID], Awaitable[int]],
    progress: Callable[[int], None] | None,
) -> int:
    """How many rows were removed. `cutoff_of` takes the time of the newest id.

    A chunk begins where the last one ended, and its end is a value, not a subquery: otherwise each chunk would read the
    whole table, and all that was removed before it.
    """
    removed = 0
    start: UUID | None = UUID(int=0)
    while start is not None:
        async with pool.session() as connection, connection.transaction():
            rows = await fetch(connection, end_of(table, "DESC"))
            newest_at = seconds_of(rows[0] if rows else None)
            if newest_at is None:
                return removed
            cutoff = cutoff_of(newest_at)
            end = first_id(cutoff)
            rows = await fetch(connection, chunk_end(table), (start, end, POSTGRES_PURGE_CHUNK))
            after: UUID | None = rows[0][0] if rows else None
            removed += await remove(connection, cutoff, start, after or end)
            start = after
        if progress is not None:
            progress(removed)
    return removed
