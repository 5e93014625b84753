"""Both products, for what must hold on each: a log and a store with an outbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff import KeyRing
from ghasi_handoff.handshake import PostgresHandoffLog, SQLiteHandoffLog
from ghasi_handoff.stores.postgres import PostgresReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from .services import Clock


@pytest.fixture
def clock() -> Clock:
    """The clock of everything in a test."""
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> KeyRing:
    """The ring of the pair."""
    return KeyRing.generate(now=datetime.fromtimestamp(clock.now - 60, UTC))


@pytest.fixture(params=["sqlite", "postgresql"])
def product(request: pytest.FixtureRequest) -> str:
    """Which database."""
    name: str = request.param
    return name


@pytest.fixture
def url(product: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Where a process finds the database: a folder, or a server's URL."""
    return str(tmp_path) if product == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def pool(product: str, url: str) -> Iterator[ConnectionPool[Any] | None]:
    """The application's pool, on PostgreSQL."""
    if product == "sqlite":
        yield None
        return
    with ConnectionPool(url, min_size=1, max_size=8, open=True) as opened:
        yield opened


@pytest.fixture
def log(url: str, pool: ConnectionPool[Any] | None, clock: Clock) -> Iterator[Any]:
    """bff-consumer's handoff log."""
    made = SQLiteHandoffLog(f"{url}/log.db", clock=clock) if pool is None else PostgresHandoffLog(pool, clock=clock)
    with made as log:
        log.create_schema()
        yield log


@pytest.fixture
def store(url: str, pool: ConnectionPool[Any] | None, clock: Clock) -> Iterator[Any]:
    """The booking side's replay store, with its outbox."""
    with ExitStack() as stack:
        store: Any
        if pool is None:
            store = stack.enter_context(SQLiteReplayStore(f"{url}/replay.db", outbox=True, clock=clock))
        else:
            store = stack.enter_context(PostgresReplayStore(pool, outbox=True, clock=clock))
        store.create_schema()
        yield store
