"""An open replay file -> what endangers it, and how much it holds. Changes nothing."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Final

from ghasi_handoff._store_reports import Hazard, StoreReport, StoreStats, clock_hazards, purge_hazards
from ghasi_handoff.stores._shared_sql import SharedSQL, seconds_of
from ghasi_handoff.stores.sqlite._connection import FULL, one_integer, schema_version

PURGED_BEFORE: Final = "SELECT purged_before FROM handoff_replay_mark"
_SQL: Final = SharedSQL("?")


def report(connection: sqlite3.Connection, needed: int, synchronous: int, now: float, leeway: timedelta) -> StoreReport:
    """The report of `check`.

    Args:
        connection: A reader's.
        needed: The schema version of this release.
        synchronous: Of the connection that the store writes with.
        now: This machine's clock, Unix seconds.
        leeway: How far the newest id may be ahead of it.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    version = schema_version(connection)
    found: list[Hazard] = []
    if mode != "wal":
        found.append(
            Hazard(
                "not_wal",
                f"the file is in {mode} mode: readers and the writer block each other",
                "find out which program changed it; `ghasi-handoff store init` changes it back",
            )
        )
    if synchronous < FULL:
        found.append(
            Hazard(
                "not_full",
                f"synchronous is {synchronous} ({FULL} is FULL): a power failure may undo what was answered",
                "find out what changed it in this process, and restart the process",
            )
        )
    if version != needed:
        found.append(
            Hazard(
                "schema_version",
                f"the schema has version {version}; this release needs {needed}",
                "name the right file, or use the release that made this one",
            )
        )
    else:
        found += clock_hazards(now, None, seconds_of(connection.execute(_SQL.newest).fetchone()), leeway)
        found += purge_hazards(now, seconds_of(connection.execute(_SQL.oldest).fetchone()))
    settings = {"journal_mode": mode, "synchronous": str(synchronous), "schema_version": str(version)}
    return StoreReport(f"SQLite {sqlite3.sqlite_version}", settings, tuple(found))


def stats(connection: sqlite3.Connection) -> StoreStats:
    """How much the file holds."""
    return StoreStats(
        entries=one_integer(connection, "SELECT count(*) FROM handoff_replay_log"),
        oldest_at=seconds_of(connection.execute(_SQL.oldest).fetchone()),
        newest_at=seconds_of(connection.execute(_SQL.newest).fetchone()),
        purged_before=one_integer(connection, PURGED_BEFORE),
        refused=one_integer(connection, "SELECT count(*) FROM handoff_replay_refused"),
        outbox=one_integer(connection, "SELECT count(*) FROM handoff_outbox"),
        size_bytes=one_integer(connection, "PRAGMA page_count") * one_integer(connection, "PRAGMA page_size"),
    )
