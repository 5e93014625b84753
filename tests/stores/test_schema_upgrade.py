"""Stores of schema version 1, from before the handshake, are brought up to this release's."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff import ReplayStoreError
from ghasi_handoff.replay import OutboxEntry
from ghasi_handoff.stores.postgres import PostgresReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from .entries import NOW, entry, handoff_id

SCOPE, WHO = "bff-consumer\nbff-tenant-booking", "a" * 64
VERSION_1_SQLITE = """
CREATE TABLE handoff_replay_log (
    handoff_id TEXT NOT NULL, scope TEXT NOT NULL, redemption_id TEXT NOT NULL, consumed_at INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_replay_refused (
    handoff_id TEXT NOT NULL, scope TEXT NOT NULL, redemption_id TEXT NOT NULL, refused_at INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope, refused_at, redemption_id)) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_outbox (
    handoff_id TEXT NOT NULL, scope TEXT NOT NULL, redemption_id TEXT NOT NULL, consumed_at INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_replay_mark (purged_before INTEGER NOT NULL) STRICT;
INSERT INTO handoff_replay_mark VALUES (7);
PRAGMA user_version = 1;
"""
VERSION_1_POSTGRESQL = """
CREATE TABLE handoff_outbox (
    handoff_id uuid NOT NULL, scope text NOT NULL, redemption_id text NOT NULL, consumed_at bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope));
CREATE TABLE handoff_replay_mark (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), schema_version integer NOT NULL,
    purged_before bigint NOT NULL);
INSERT INTO handoff_replay_mark (schema_version, purged_before) VALUES (1, 7);
"""


def test_a_sqlite_file_is_brought_up_to_date_once(tmp_path: Path) -> None:
    """Eight stores open an old file at once: its rows stay, its outbox can be delivered, and it says version 2."""
    path, old = tmp_path / "replay.db", handoff_id(NOW)
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1_SQLITE)
        for table in ("handoff_replay_log", "handoff_outbox"):
            connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", (old, SCOPE, WHO, NOW))
    connection.close()
    barrier, failures = threading.Barrier(8), []

    def open_one() -> None:
        barrier.wait()
        try:
            with SQLiteReplayStore(path, outbox=True) as store:
                store.create_schema()
        except ReplayStoreError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with SQLiteReplayStore(path, outbox=True) as store:
        assert store.outbox is not None
        assert store.outbox.entries(limit=9) == [OutboxEntry(old, SCOPE, WHO, NOW, 0, 0, None, "")]
        assert [row.redemption_id for row in store.trace(old).records] == [WHO]
        assert store.stats().purged_before == 7
        assert store.check().settings["schema_version"] == "2"
        assert store.consume(handoff_id(NOW + 1), **entry(1)).first
        assert store.outbox.stats().pending == 2


def test_a_postgresql_schema_is_brought_up_to_date(postgres_url: str) -> None:
    """`create_schema` adds what is missing, keeps the rows, and the check is content; before it, the check says what to do."""
    old = handoff_id(NOW)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(VERSION_1_POSTGRESQL)
        connection.execute("INSERT INTO handoff_outbox VALUES (%s, %s, %s, %s)", (old, SCOPE, WHO, NOW))
    with ConnectionPool(postgres_url, min_size=1, open=True) as pool:
        store = PostgresReplayStore(pool, outbox=True)
        assert "schema_version" in {hazard.code for hazard in store.check().hazards}
        for _ in range(2):
            store.create_schema()
        assert store.outbox is not None
        assert store.outbox.entries(limit=9) == [OutboxEntry(old, SCOPE, WHO, NOW, 0, 0, None, "")]
        assert store.check().settings["schema_version"] == "2"
        assert store.stats().purged_before == 7


def test_a_newer_file_is_not_taken_back(tmp_path: Path) -> None:
    """An older release refuses a file of a newer one, and leaves it as it is."""
    path = tmp_path / "replay.db"
    with SQLiteReplayStore(path) as store:
        store.create_schema()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with SQLiteReplayStore(path) as store, pytest.raises(ReplayStoreError, match="version 3"):
        store.create_schema()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()
