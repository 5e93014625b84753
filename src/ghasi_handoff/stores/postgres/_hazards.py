"""What a live server says of itself -> the hazards in it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ghasi_handoff._formats import POSTGRES_REPLAY_SCHEMA
from ghasi_handoff._store_reports import StoreReport, clock_hazards, present, purge_hazards


def report(
    settings_row: Sequence[Any], *, schema: str, oldest: int | None, newest: int | None, ours: float, leeway: timedelta
) -> StoreReport:
    """The report of `check`, from what `SETTINGS` asks for, the schema's version, and the times of ids and clock."""
    version, fsync, full_pages, commit, isolation, replica, theirs, persistence, function = settings_row
    outdated = schema != str(POSTGRES_REPLAY_SCHEMA) or not function
    found = present(
        (fsync != "on", "fsync_off", "fsync is off: a crash may lose or corrupt anything", "set fsync = on"),
        (
            full_pages != "on",
            "full_page_writes_off",
            "full_page_writes is off: a crash may corrupt the tables",
            "set full_page_writes = on",
        ),
        (
            commit == "off",
            "synchronous_commit_off",
            "synchronous_commit is off: other writes of these sessions may be lost after they were answered"
            " (a consume switches it on for itself)",
            "set synchronous_commit = on for this role or database",
        ),
        (
            isolation != "read committed",
            "isolation",
            f"default_transaction_isolation is {isolation}: every consume is refused",
            "set default_transaction_isolation = 'read committed' for this role or database",
        ),
        (replica, "replica", "the server is a read-only replica", "name the primary"),
        (
            persistence == "u",
            "unlogged_table",
            "handoff_replay_log is UNLOGGED: a crash empties it",
            "ALTER TABLE handoff_replay_log SET LOGGED",
        ),
        (
            outdated,
            "schema_version",
            f"the schema has version {schema}{'' if function else ', without its function'}; this release needs"
            f" {POSTGRES_REPLAY_SCHEMA}",
            "run `ghasi-handoff store init`, or the migration of this release",
        ),
    )
    found += clock_hazards(ours, theirs, newest, leeway) + purge_hazards(ours, oldest)
    settings = {
        "synchronous_commit": commit,
        "fsync": fsync,
        "full_page_writes": full_pages,
        "default_transaction_isolation": isolation,
        "in_recovery": "yes" if replica else "no",
        "schema_version": schema,
        "clock_offset_seconds": f"{theirs - ours:+.3f}",
    }
    return StoreReport(f"PostgreSQL {version}", settings, tuple(found))
