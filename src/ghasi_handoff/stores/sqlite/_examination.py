"""A replay file -> what endangers it, and how much it holds. Changes nothing."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Final

from ghasi_handoff._store_reports import StoreReport, StoreStats, clock_hazards, present, purge_hazards
from ghasi_handoff.stores._shared_sql import SharedSQL, seconds_of
from ghasi_handoff.stores.sqlite._connection import FULL, one_integer, schema_version
from ghasi_handoff.stores.sqlite._file import SQLiteFile

PURGED_BEFORE: Final = "SELECT purged_before FROM handoff_replay_mark"
_SQL: Final = SharedSQL("?")


def report(file: SQLiteFile, now: float, leeway: timedelta) -> StoreReport:
    """The report of `check`, over a connection of its own. The open one is only asked how it is synchronised."""
    synchronous, needed = file.synchronous(), file.schema_version

    def look(connection: sqlite3.Connection) -> tuple[str, int, int | None, int | None]:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        version = schema_version(connection)
        if version != needed:
            return mode, version, None, None
        return mode, version, *_times_of_ends(connection)

    mode, version, oldest, newest = file.read(look)
    found = present(
        (
            mode != "wal",
            "not_wal",
            f"the file is in {mode} mode: readers and the writer block each other",
            "find out which program changed it; `ghasi-handoff store init` changes it back",
        ),
        (
            synchronous < FULL,
            "not_full",
            f"synchronous is {synchronous} ({FULL} is FULL): a power failure may undo what was answered",
            "find out what changed it in this process, and restart the process",
        ),
        (
            version != needed,
            "schema_version",
            f"the schema has version {version}; this release needs {needed}",
            "name the right file, or use the release that made this one",
        ),
    )
    found += clock_hazards(now, None, newest, leeway) + purge_hazards(now, oldest)
    settings = {"journal_mode": mode, "synchronous": str(synchronous), "schema_version": str(version)}
    return StoreReport(f"SQLite {sqlite3.sqlite_version}", settings, tuple(found))


def stats(connection: sqlite3.Connection) -> StoreStats:
    """How much the file holds."""
    oldest, newest = _times_of_ends(connection)
    return StoreStats(
        entries=one_integer(connection, "SELECT count(*) FROM handoff_replay_log"),
        oldest_at=oldest,
        newest_at=newest,
        purged_before=one_integer(connection, PURGED_BEFORE),
        refused=one_integer(connection, "SELECT count(*) FROM handoff_replay_refused"),
        outbox=one_integer(connection, "SELECT count(*) FROM handoff_outbox"),
        size_bytes=one_integer(connection, "PRAGMA page_count") * one_integer(connection, "PRAGMA page_size"),
    )


def _times_of_ends(connection: sqlite3.Connection) -> tuple[int | None, int | None]:
    oldest, newest = (seconds_of(connection.execute(query).fetchone()) for query in (_SQL.oldest, _SQL.newest))
    return oldest, newest
