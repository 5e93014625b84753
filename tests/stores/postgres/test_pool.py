"""The application's pool under a PostgreSQL store: given back as it was, and failing in time."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff import ConfigurationError, ReplayStoreError
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from tests.servers import wait_until

from ..entries import NOW, SCOPE, SLACK, assert_refused, entry, handoff_id, redemption_id
from .databases import ask

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def tables(store: PostgresReplayStore, postgres_url: str) -> str:
    """The URL of a database that has the tables."""
    return postgres_url


def test_a_connection_goes_back_as_it_was(postgres_url: str) -> None:
    """The pool stays the application's: row factory, autocommit and an open pool are as before, and rows are read rightly."""
    options = {"row_factory": dict_row}
    with ConnectionPool(postgres_url, kwargs=options, min_size=1, max_size=1, open=True) as pool:
        with PostgresReplayStore(pool) as store:
            store.create_schema()
            assert store.consume(handoff_id(NOW), **entry(1)).first
            assert not store.consume(handoff_id(NOW), **entry(2)).first
            assert store.stats().entries == 1
            assert store.check().server.startswith("PostgreSQL")
            store.purge(NOW)
        with pool.connection() as connection:
            assert connection.autocommit is False
            row: object = connection.execute("SELECT 1 AS one").fetchone()
            assert row == {"one": 1}


def test_pool_of_the_wrong_kind_is_refused(postgres_url: str) -> None:
    """A synchronous store over an asynchronous pool, or the reverse, is refused when it is made."""
    with pytest.raises(ConfigurationError, match="ConnectionPool"):
        PostgresReplayStore(AsyncConnectionPool(postgres_url, open=False))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="AsyncConnectionPool"):
        AsyncPostgresReplayStore(ConnectionPool(postgres_url, open=False))  # type: ignore[arg-type]


def test_pool_that_is_not_open_is_an_error(postgres_url: str) -> None:
    """A store may be made at import, before its pool is open; used too early it refuses."""
    store = PostgresReplayStore(ConnectionPool(postgres_url, open=False))
    assert_refused(store, handoff_id(NOW), entry(1))
    store.close()


def test_a_full_pool_ends_in_an_error_in_time(postgres_url: str) -> None:
    """When others hold every connection the consume fails at its timeout; once one is free it works."""
    with (
        ConnectionPool(postgres_url, min_size=1, max_size=1, open=True) as pool,
        PostgresReplayStore(pool, timeout=0.5) as store,
    ):
        store.create_schema()
        with pool.connection():
            began = time.monotonic()
            assert_refused(store, handoff_id(NOW), entry(1))
            assert time.monotonic() - began < 0.5 + SLACK
        assert store.consume(handoff_id(NOW), **entry(2)).first


def test_dead_connections_of_the_pool_are_passed_over(store: PostgresReplayStore, postgres_url: str) -> None:
    """After every connection was cut, as by a restart, the very next consume is answered."""
    pool = store._pool._pool
    held = [pool.getconn() for _ in range(4)]
    for connection in held:
        pool.putconn(connection)
    ask(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()",
    )
    assert store.consume(handoff_id(NOW), **entry(1)).first


def test_a_waiting_insert_ends_in_time_and_the_truth_is_found_later(
    store: PostgresReplayStore, pool: ConnectionPool[Any], postgres_url: str
) -> None:
    """Another transaction holds the row and stalls: the consume fails at its timeout, and a retry gets the true holder."""
    with PostgresReplayStore(pool, timeout=0.5) as impatient, psycopg.connect(postgres_url) as stalled:
        stalled.execute(
            "INSERT INTO handoff_replay_log VALUES (%s, %s, %s, %s)", (handoff_id(NOW), SCOPE, redemption_id(9), NOW)
        )
        began = time.monotonic()
        assert_refused(impatient, handoff_id(NOW), entry(1))
        assert time.monotonic() - began < 0.5 + SLACK
        assert store.consume(handoff_id(NOW, 1), **entry(1)).first
        stalled.commit()
        wait_until(
            lambda: holder_of(impatient, handoff_id(NOW)) == redemption_id(9), "for the store that had timed out"
        )
    assert store.consume(handoff_id(NOW), **entry(1)).holder == redemption_id(9)


def holder_of(store: PostgresReplayStore, asked: str) -> str | None:
    """Who holds the handoff; None if the store did not answer in its time, which on a busy machine is no fault."""
    try:
        return store.consume(asked, **entry(1)).holder
    except ReplayStoreError:
        return None


def test_no_password_shows_in_an_error() -> None:
    """A server that can't be reached is named without the password of its URL."""
    url = "postgresql://guest:sesame-open@127.0.0.1:1/postgres"
    with (
        ConnectionPool(url, min_size=1, open=True, reconnect_timeout=0.1) as pool,
        PostgresReplayStore(pool, timeout=0.5) as store,
    ):
        refused = assert_refused(store, handoff_id(NOW), entry(1))
    text, cause = f"{refused} {refused!r}", refused.__cause__
    while cause is not None:
        text, cause = f"{text} {cause} {cause!r}", cause.__cause__
    assert "sesame" not in text


def said_in_a_child(work: Callable[[], object]) -> str:
    """What the store's error says in a child that this process forks; empty if there is none."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            work()
        except ReplayStoreError as exc:
            os.write(writing, str(exc).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as said:
        return said.read()


@FORKS
@pytest.mark.parametrize("opened", ["before the store is made", "after it"])
@pytest.mark.parametrize("used", [True, False])
def test_pool_of_a_parent_is_refused_in_its_child(tables: str, opened: str, used: bool) -> None:
    """A child that inherited an open pool refuses, instead of writing into its parent's connection; the parent goes on.

    Servers that load the application before they fork open the pool after the store was made, and may not have used it.
    """
    with ConnectionPool(tables, min_size=1, open=opened == "before the store is made") as pool:
        store = PostgresReplayStore(pool)
        pool.open(wait=True)
        if used:
            store.consume(handoff_id(NOW), **entry(1))
        assert "before a fork" in said_in_a_child(lambda: store.consume(handoff_id(NOW, 1), **entry(2)))
        assert store.consume(handoff_id(NOW, 1), **entry(3)).first


@FORKS
@pytest.mark.parametrize("frozen", [False, True])
def test_store_that_a_child_makes_over_a_pool_of_its_parent(tables: str, frozen: bool) -> None:
    """The pool is what counts, not where the store was made; objects that are frozen before a fork are known, too."""
    with ConnectionPool(tables, min_size=1, open=True) as pool:
        if frozen:
            PostgresReplayStore(pool)
            gc.freeze()
        try:
            said = said_in_a_child(lambda: PostgresReplayStore(pool).consume(handoff_id(NOW), **entry(1)))
        finally:
            gc.unfreeze()
        assert "before a fork" in said


@FORKS
def test_pool_of_a_parent_is_refused_in_its_child_awaited(tables: str) -> None:
    """The same for asyncio: the child has an event loop of its own, and the parent's pool."""

    async def parent() -> None:
        async with AsyncConnectionPool(tables, min_size=1, open=False) as pool:
            store = AsyncPostgresReplayStore(pool)

            def child() -> None:
                asyncio._set_running_loop(None)
                asyncio.run(store.consume(handoff_id(NOW), **entry(1)))

            assert "before a fork" in said_in_a_child(child)
            assert (await store.consume(handoff_id(NOW), **entry(2))).first

    asyncio.run(parent())


@FORKS
def test_pool_that_each_process_opens_works(tables: str) -> None:
    """A store and its pool may be made before a fork, if the pool is opened after it."""
    pool = ConnectionPool(tables, min_size=1, open=False)
    store = PostgresReplayStore(pool)

    def child() -> None:
        with pool:
            store.consume(handoff_id(NOW), **entry(1))

    assert said_in_a_child(child) == ""
    with pool:
        assert store.consume(handoff_id(NOW), **entry(2)).holder == redemption_id(1)
