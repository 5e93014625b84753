"""The PostgreSQL stores, and the group commit under them, keep every promise of the conformance kit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from typing_extensions import override

from ghasi_handoff import Consumption
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from ghasi_handoff.testing import AsyncReplayStoreConformance, ReplayStoreConformance

from ..kit_tiers import CRASH, PROCESSES, PURGE_RACE, RETENTION, only, without

# Where other processes of a test find the database of this run.
DATABASE = "GHASI_TEST_CONFORMANCE_URL"


SLOW = RETENTION | PROCESSES | PURGE_RACE
EMPTY = """
TRUNCATE handoff_replay_log, handoff_replay_refused, handoff_outbox;
UPDATE handoff_replay_mark SET purged_before = 0;
"""


@pytest.fixture(scope="module")
def database(new_postgres_url: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database with the store's schema."""
    with new_postgres_url() as url:
        with ConnectionPool(url, min_size=1, max_size=1, open=True) as pool, PostgresReplayStore(pool) as store:
            store.create_schema()
        yield url


@pytest.fixture(autouse=True)
def empty_database(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database of the module, with nothing in it."""
    monkeypatch.setenv(DATABASE, database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(EMPTY)


class WithItsPool(PostgresReplayStore):
    """A store that closes its pool, which nobody else uses."""

    @override
    def close(self) -> None:
        super().close()
        self._pool._pool.close()


class AsyncWithItsPool(AsyncPostgresReplayStore):
    """A store that opens its pool at the first use and closes it."""

    @override
    async def consume(self, *args: Any, **kwargs: Any) -> Consumption:
        if self._pool._pool.closed:
            await self._pool._pool.open()
        return await super().consume(*args, **kwargs)

    @override
    async def aclose(self) -> None:
        await super().aclose()
        await self._pool._pool.close()


class PostgresKit(ReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> PostgresReplayStore:
        return WithItsPool(ConnectionPool(os.environ[DATABASE], min_size=1, max_size=4, open=True), timeout=10)

    @override
    def make_failing_store(self, place: Path) -> PostgresReplayStore:
        unreachable = make_conninfo(os.environ[DATABASE], host="127.0.0.1", hostaddr="", port=1)
        return WithItsPool(ConnectionPool(unreachable, min_size=1, max_size=1, open=True), timeout=0.4)


class AsyncPostgresKit(AsyncReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> AsyncPostgresReplayStore:
        return AsyncWithItsPool(
            AsyncConnectionPool(os.environ[DATABASE], min_size=1, max_size=4, open=False), timeout=10
        )

    @override
    def make_failing_store(self, place: Path) -> AsyncPostgresReplayStore:
        unreachable = make_conninfo(os.environ[DATABASE], host="127.0.0.1", hostaddr="", port=1)
        return AsyncWithItsPool(AsyncConnectionPool(unreachable, min_size=1, max_size=1, open=False), timeout=0.4)


@without(SLOW)
class TestPostgres(PostgresKit):
    pass


@without(SLOW | CRASH)
class TestAsyncPostgres(AsyncPostgresKit):
    pass


@pytest.mark.thorough
@only(SLOW)
class TestPostgresForLong(PostgresKit):
    pass


@pytest.mark.thorough
@only(SLOW | CRASH)
class TestAsyncPostgresForLong(AsyncPostgresKit):
    pass
