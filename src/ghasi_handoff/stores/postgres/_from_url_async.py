"""postgresql://… -> a replay store or a handoff log over a pool of its own, and what opens both, for asyncio.

A pool of its own: a handoff must not wait for the application's slow queries, nor they for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from ghasi_handoff._limits import POOL_CLOSE_SECONDS, POOL_CONNECTIONS
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.stores._opening import Opening
from ghasi_handoff.stores.postgres import AsyncPostgresHandoffLog, AsyncPostgresReplayStore


def make_store(url: str, opening: Opening) -> tuple[AsyncPostgresReplayStore, AbstractAsyncContextManager[None]]:
    """The replay store in a database."""
    pool = _pool(url, opening.timeout)
    store = AsyncPostgresReplayStore(pool, opening.outbox, timeout=opening.timeout, clock=opening.clock)
    return store, _opened(pool, store)


def make_log(url: str, opening: Opening) -> tuple[AsyncPostgresHandoffLog, AbstractAsyncContextManager[None]]:
    """The handoff log in a database."""
    pool = _pool(url, opening.timeout)
    log = AsyncPostgresHandoffLog(pool, timeout=opening.timeout, clock=opening.clock)
    return log, _opened(pool, log)


@asynccontextmanager
async def _opened(
    pool: AsyncConnectionPool[Any], over_it: AsyncPostgresReplayStore | AsyncPostgresHandoffLog
) -> AsyncGenerator[None]:
    await pool.open()
    try:
        async with over_it:
            yield
    finally:
        await pool.close(POOL_CLOSE_SECONDS)


def _pool(url: str, timeout: float) -> AsyncConnectionPool[Any]:
    try:
        conninfo_to_dict(url)
    except ProgrammingError:  # the pool would log the URL again and again, and the password with it
        raise ConfigurationError("the URL is no valid PostgreSQL URL") from None
    # A server that accepts and never answers is given up: closing the pool would wait for it. libpq's least is 2 s.
    connecting = {"connect_timeout": max(2, int(timeout))}
    return AsyncConnectionPool(url, kwargs=connecting, min_size=1, max_size=POOL_CONNECTIONS, open=False)
