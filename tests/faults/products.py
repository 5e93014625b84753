"""URL -> an open store, with whatever pool or client it needs. For the processes of a trial.

Only the driver that a store needs is imported: a trial starts many processes.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

SCOPE = "bff-consumer\nbff-tenant-booking"
TIMEOUT = 2.0


@contextmanager
def opened(url: str, *, timeout: float = TIMEOUT) -> Generator[Any]:
    """A store of its own, closed afterwards with all that was opened for it."""
    with ExitStack() as stack:
        store: Any
        if url.startswith("postgresql://"):
            from psycopg_pool import ConnectionPool

            from ghasi_handoff.stores.postgres import PostgresReplayStore

            pool = ConnectionPool(
                url, min_size=1, max_size=4, open=False, reconnect_timeout=300, kwargs={"connect_timeout": 2}
            )
            pool.open()
            stack.callback(pool.close, timeout=1)
            store = PostgresReplayStore(pool, timeout=timeout)
        elif url.startswith("redis://"):
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            from ghasi_handoff.stores.redis import RedisReplayStore

            client = redis.Redis.from_url(
                url, socket_timeout=timeout / 2, socket_connect_timeout=timeout / 2, retry=Retry(NoBackoff(), 0)
            )
            stack.callback(client.close)
            store = RedisReplayStore(client, timeout=timeout)
        else:
            from ghasi_handoff.stores.sqlite import SQLiteReplayStore

            store = SQLiteReplayStore(url, timeout=timeout)
        stack.callback(store.close)
        yield store
