"""A database of PostgreSQL, asked from outside the store, and asynchronous stores over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool

from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore

T = TypeVar("T")
# For calls whose time is not what is tested: far more than they take on the busiest machine.
PATIENCE: Final = 20


def ask(url: str, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    """What the database says, over a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, arguments)
        return cursor.fetchall() if cursor.description else []


def waits_for_a_lock(url: str) -> bool:
    """Whether a session of this database waits for another's transaction."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return ask(url, waits) != [(0,)]


def run_async(url: str, main: Callable[[AsyncPostgresReplayStore], Awaitable[T]], **options: Any) -> T:
    """Run `main` with an asynchronous store whose schema is made."""

    async def whole() -> T:
        async with (
            AsyncConnectionPool(url, min_size=1, max_size=8, timeout=PATIENCE, open=False) as pool,
            AsyncPostgresReplayStore(pool, **{"timeout": PATIENCE, **options}) as store,
        ):
            await store.create_schema()
            return await main(store)

    return asyncio.run(whole())
