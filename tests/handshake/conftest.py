"""Both products, for what must hold on each: a log and a store with an outbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff.handshake import HandoffEvent, PostgresHandoffLog
from ghasi_handoff.stores.postgres import PostgresReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..handoff_logs import emptied_pool, made_log
from .one_pair import client, clock, keys, minted, service
from .services import UNHURRIED, Clock, quick_folder

if TYPE_CHECKING:
    from ..servers import ExistingServer, PostgresServer

__all__ = ["client", "clock", "keys", "minted", "service"]

# What a new database has after both schemas were made. A new database for each test would cost half a second.
EMPTY: Final = """
DELETE FROM handoff_log;
DELETE FROM handoff_replay_log;
DELETE FROM handoff_replay_refused;
DELETE FROM handoff_outbox;
UPDATE handoff_replay_mark SET purged_before = 0;
UPDATE handoff_log_schema SET schema_version = 1;
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def product(request: pytest.FixtureRequest) -> str:
    """Which database."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def shared_pool(postgres_server: PostgresServer | ExistingServer) -> Iterator[ConnectionPool[Any]]:
    """The application's pool of a database with both schemas, for all tests of this folder that leave the schemas alone."""
    name = f"handshake_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            shared = urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl()
            with ConnectionPool(shared, min_size=1, max_size=8, open=True) as pool:
                PostgresHandoffLog(pool).create_schema()
                PostgresReplayStore(pool, outbox=True).create_schema()
                yield pool
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def pool(product: str, request: pytest.FixtureRequest) -> ConnectionPool[Any] | None:
    """The application's pool, on PostgreSQL. Nothing is in its database yet."""
    return emptied_pool(product, request, EMPTY)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the files of SQLite are."""
    with quick_folder() as made:
        yield made


@pytest.fixture
def url(pool: ConnectionPool[Any] | None, folder: Path) -> str:
    """Where a process finds the database: a folder, or a server's URL."""
    return str(folder if pool is None else pool.conninfo)


@pytest.fixture
def log(folder: Path, pool: ConnectionPool[Any] | None, clock: Clock) -> Iterator[Any]:
    """bff-consumer's handoff log."""
    with made_log(folder, pool, clock) as log:
        yield log


@pytest.fixture
def store(folder: Path, pool: ConnectionPool[Any] | None, clock: Clock) -> Iterator[Any]:
    """The booking side's replay store, with its outbox."""
    with ExitStack() as stack:
        store: Any
        if pool is None:
            store = stack.enter_context(
                SQLiteReplayStore(folder / "replay.db", outbox=True, clock=clock, timeout=UNHURRIED)
            )
        else:
            store = stack.enter_context(PostgresReplayStore(pool, outbox=True, clock=clock, timeout=UNHURRIED))
        if pool is None:
            store.create_schema()
        yield store


@pytest.fixture
def events() -> list[HandoffEvent]:
    """What was reported."""
    return []
