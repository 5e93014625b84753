"""The PostgreSQL stores, and the group commit under them, keep every promise of the conformance kit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from typing_extensions import override

from ghasi_handoff import Consumption
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from ghasi_handoff.testing import AsyncReplayStoreConformance, ReplayStoreConformance

# Where other processes of a test find the database of this run.
DATABASE = "GHASI_TEST_CONFORMANCE_URL"


@pytest.fixture(autouse=True)
def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of each test's own."""
    monkeypatch.setenv(DATABASE, postgres_url)
    with ConnectionPool(postgres_url, min_size=1, max_size=1, open=True) as pool, PostgresReplayStore(pool) as store:
        store.create_schema()


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


class TestPostgres(ReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> PostgresReplayStore:
        return WithItsPool(ConnectionPool(os.environ[DATABASE], min_size=1, max_size=4, open=True), timeout=10)

    @override
    def make_failing_store(self, place: Path) -> PostgresReplayStore:
        unreachable = make_conninfo(os.environ[DATABASE], host="127.0.0.1", hostaddr="", port=1)
        return WithItsPool(ConnectionPool(unreachable, min_size=1, max_size=1, open=True), timeout=1)


class TestAsyncPostgres(AsyncReplayStoreConformance):
    @override
    def make_store(self, place: Path) -> AsyncPostgresReplayStore:
        return AsyncWithItsPool(
            AsyncConnectionPool(os.environ[DATABASE], min_size=1, max_size=4, open=False), timeout=10
        )

    @override
    def make_failing_store(self, place: Path) -> AsyncPostgresReplayStore:
        unreachable = make_conninfo(os.environ[DATABASE], host="127.0.0.1", hostaddr="", port=1)
        return AsyncWithItsPool(AsyncConnectionPool(unreachable, min_size=1, max_size=1, open=False), timeout=1)
