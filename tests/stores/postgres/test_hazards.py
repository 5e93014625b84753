"""What a PostgreSQL server can be set to, and what check and stats say of it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff.stores.postgres import PostgresReplayStore
from tests.servers import PostgresServer

from ..entries import HORIZON, NOW, assert_refused, entry, handoff_id, handoff_ids
from .databases import ask


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_other_isolation_is_refused_and_reported(pool: ConnectionPool[Any], postgres_url: str, level: str) -> None:
    """Under an isolation whose statements share a snapshot nothing is accepted, and check says why."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        PostgresReplayStore(pool).create_schema()
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} SET default_transaction_isolation = '{level}'".encode()
        )
    with ConnectionPool(postgres_url, min_size=1, max_size=2, open=True) as fresh, PostgresReplayStore(fresh) as store:
        assert "READ COMMITTED" in str(assert_refused(store, handoff_id(NOW), entry(1)))
        assert [hazard.code for hazard in store.check().hazards] == ["isolation"]


@pytest.mark.parametrize(
    "consume",
    [
        "SELECT * FROM handoff_replay_consume_v1(%s, 's', 'r', 1, 1, false)",
        "SELECT * FROM handoff_replay_consume_many_v1(ARRAY[%s]::uuid[], '{s}', '{r}', '{1}', 1, false)",
    ],
    ids=["alone", "in a batch"],
)
def test_asynchronous_commit_is_switched_on_for_a_consume_and_reported(
    pool: ConnectionPool[Any], postgres_url: str, consume: LiteralString
) -> None:
    """Where sessions commit asynchronously a consume still waits for the disk, and check reports the setting."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        PostgresReplayStore(pool).create_schema()
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off".encode())
        connection.execute("SET synchronous_commit = off")
        connection.execute("BEGIN")
        connection.execute(consume, (handoff_id(int(time.time()), 7),))
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        connection.execute("COMMIT")
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with ConnectionPool(postgres_url, min_size=1, max_size=2, open=True) as fresh, PostgresReplayStore(fresh) as store:
        assert store.consume(handoff_id(int(time.time())), **entry(1)).first
        assert [hazard.code for hazard in store.check().hazards] == ["synchronous_commit_off"]


def test_server_that_does_not_wait_for_the_disk_is_reported() -> None:
    """Fsync and full_page_writes off are settings of a server; check reports both."""
    with (
        PostgresServer({"fsync": "off", "full_page_writes": "off"}, in_memory=True) as server,
        ConnectionPool(server.url, min_size=1, max_size=2, open=True) as pool,
        PostgresReplayStore(pool) as store,
    ):
        store.create_schema()
        assert [hazard.code for hazard in store.check().hazards] == ["fsync_off", "full_page_writes_off"]


def test_replica_refuses_and_is_reported() -> None:
    """A hot standby accepts no consume, and check names it."""
    with PostgresServer(in_memory=True) as primary:
        with ConnectionPool(primary.url, min_size=1, max_size=2, open=True) as pool, PostgresReplayStore(pool) as store:
            store.create_schema()
        primary.stop()
        (primary.folder / "data" / "standby.signal").touch()
        primary.start()
        with ConnectionPool(primary.url, min_size=1, max_size=2, open=True) as pool, PostgresReplayStore(pool) as store:
            assert "ReadOnlySqlTransaction" in str(assert_refused(store, handoff_id(NOW), entry(1)))
            assert [hazard.code for hazard in store.check().hazards] == ["replica"]


def test_check_reports_clock_purge_and_unlogged_table(pool: ConnectionPool[Any], postgres_url: str) -> None:
    """A clock that differs by more than the leeway, a purge that has not run, a table that a crash empties."""
    now = time.time()
    store = PostgresReplayStore(pool, clock=lambda: now + 100)
    store.create_schema()
    store.consume(handoff_id(int(now) - HORIZON - 25 * 3600), **entry(1, at=NOW))
    ask(postgres_url, "ALTER TABLE handoff_replay_log SET UNLOGGED")
    assert {hazard.code for hazard in store.check().hazards} == {"clock_differs", "purge_overdue", "unlogged_table"}
    assert "clock_differs" not in {hazard.code for hazard in store.check(leeway=timedelta(seconds=200)).hazards}
    behind = PostgresReplayStore(pool, clock=lambda: now - 100)
    behind.consume(handoff_id(int(now)), **entry(1, at=NOW))
    assert {"clock_differs", "clock_behind"} <= {hazard.code for hazard in behind.check().hazards}
    store.close()
    behind.close()


def test_check_of_an_empty_database_says_that_the_schema_is_missing(pool: ConnectionPool[Any]) -> None:
    """Without a schema check still answers, with that as its finding."""
    with PostgresReplayStore(pool) as store:
        assert [hazard.code for hazard in store.check().hazards] == ["schema_version"]


def test_stats_count_what_is_there(store: PostgresReplayStore) -> None:
    """Entries, oldest and newest id, refusals and size are those of the tables."""
    for handoff in handoff_ids(5):
        store.consume(handoff, **entry(1))
    store.consume(handoff_id(NOW + 60), **entry(1))
    store.consume(handoff_id(NOW), **entry(2))
    stats = store.stats()
    assert (stats.entries, stats.oldest_at, stats.newest_at) == (6, NOW, NOW + 60)
    assert (stats.refused, stats.outbox, stats.purged_before) == (1, 0, 0)
    assert stats.size_bytes is not None and stats.size_bytes > 0
