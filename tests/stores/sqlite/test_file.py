"""The file of an SQLite store: which paths and time-outs it takes, when it is made, and what is in it."""

from __future__ import annotations

import math
import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from ghasi_handoff import ConfigurationError, ReplayStoreError
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from ..entries import NOW, assert_held, entry, handoff_id
from ..sqlite_files import rows, stored_ids

KINDS = pytest.mark.parametrize("kind", [SQLiteReplayStore, AsyncSQLiteReplayStore])
Kind = type[SQLiteReplayStore | AsyncSQLiteReplayStore]

DAY = 24 * 3600


@KINDS
def test_constructor_touches_no_file(kind: Kind, tmp_path: Path) -> None:
    """Making a store makes no file, reads none and needs no folder."""
    kind(tmp_path / "replay.db")
    kind(tmp_path / "no such folder" / "replay.db")
    kind(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_first_consume_makes_the_file(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """The file appears when the store is first asked to remember something."""
    sqlite_store.consume(handoff_id(NOW), **entry())
    assert os.path.isfile(path)


def test_purge_makes_the_file(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """A purge may be the first use of a file."""
    assert sqlite_store.purge(NOW) == 0
    assert stored_ids(path) == []


def test_path_may_be_a_path_object(tmp_path: Path) -> None:
    """A path object names the same file as its text."""
    with SQLiteReplayStore(tmp_path / "replay.db") as one, SQLiteReplayStore(str(tmp_path / "replay.db")) as other:
        one.consume(handoff_id(NOW), **entry(1))
        assert_held(other, [handoff_id(NOW)], 1)


@KINDS
@pytest.mark.parametrize(
    "no_file", ["", ":memory:", "file:replay.db", "file:replay.db?mode=memory", b"replay.db", "replay\0.db"]
)
def test_path_must_name_a_file(kind: Kind, no_file: object) -> None:
    """A database in memory, a URI or bytes are refused: each would be another store than was meant."""
    with pytest.raises(ConfigurationError, match="path"):
        kind(cast("str", no_file))


@KINDS
@pytest.mark.parametrize(
    "timeout", [0, -1, 60.1, math.nan, math.inf, True, "2", None, timedelta(0), timedelta(minutes=2)]
)
def test_timeout_is_limited(kind: Kind, timeout: object) -> None:
    """A timeout is more than nothing and at most a minute."""
    with pytest.raises(ConfigurationError, match="timeout"):
        kind("replay.db", timeout=cast("float", timeout))


@KINDS
@pytest.mark.parametrize("timeout", [0.001, 1, 60, timedelta(milliseconds=1), timedelta(minutes=1)])
def test_timeout_is_seconds_or_a_timedelta(kind: Kind, timeout: float | timedelta) -> None:
    """Seconds and timedeltas are both taken."""
    kind("replay.db", timeout=timeout)


@KINDS
def test_old_sqlite_is_refused(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python whose SQLite is older than 3.37 has no strict tables: a store cannot be made."""
    # A fake, because no supported Python on a supported system has so old a library.
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(ReplayStoreError, match=r"3\.37\.0"):
        kind("replay.db")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 0))
    kind("replay.db")


def test_commits_are_durable(sqlite_store: SQLiteReplayStore) -> None:
    """The store's connection is in write-ahead mode and waits for the disk at each commit (synchronous=FULL)."""
    sqlite_store.consume(handoff_id(NOW), **entry())
    connection = sqlite_store._file._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_tables_are_strict_and_keyed(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """The log is a strict table without row ids, its primary key is id and scope, and it has no other index to maintain."""
    sqlite_store.purge(NOW)
    kinds = rows(path, "SELECT name, wr, strict FROM pragma_table_list WHERE name GLOB 'handoff_*'")
    assert sorted(kinds) == [
        ("handoff_outbox", 1, 1),
        ("handoff_replay_log", 1, 1),
        ("handoff_replay_mark", 0, 1),
        ("handoff_replay_refused", 1, 1),
    ]
    columns = rows(path, "SELECT name, type, pk FROM pragma_table_info('handoff_replay_log')")
    assert columns == [
        ("handoff_id", "TEXT", 1),
        ("scope", "TEXT", 2),
        ("redemption_id", "TEXT", 0),
        ("consumed_at", "INTEGER", 0),
    ]
    assert rows(path, "SELECT origin FROM pragma_index_list('handoff_replay_log')") == [("pk",)]


def test_file_states_its_version(path: str, sqlite_store: SQLiteReplayStore) -> None:
    """The file says which version of the tables it has, for a later release to know."""
    sqlite_store.purge(NOW)
    assert rows(path, "PRAGMA user_version") == [(2,)]
