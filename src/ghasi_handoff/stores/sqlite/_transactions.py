"""Entries that arrived together -> one transaction over the replay file -> who holds each."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from ghasi_handoff._limits import REFUSALS_NOTED_PER_HANDOFF
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._group_commit import Entry, Outcome
from ghasi_handoff.stores.sqlite._connection import transaction
from ghasi_handoff.stores.sqlite._examination import PURGED_BEFORE
from ghasi_handoff.stores.sqlite._file import SQLiteFile

# CROSS JOIN fixes the order, so that each wanted key is looked up in the primary key.
_FIND: Final = """
SELECT handoff_id, scope, redemption_id, consumed_at FROM (VALUES {}) AS wanted
CROSS JOIN handoff_replay_log ON handoff_id = wanted.column1 AND scope = wanted.column2
"""
_INSERT: Final = "INSERT INTO handoff_replay_log VALUES {} ON CONFLICT DO NOTHING RETURNING handoff_id, scope"
_INSERT_OUTBOX: Final = (
    "INSERT INTO handoff_outbox (handoff_id, scope, redemption_id, consumed_at) VALUES {} ON CONFLICT DO NOTHING"
)
_COUNT_REFUSED: Final = "SELECT count(*) FROM handoff_replay_refused WHERE handoff_id = ? AND scope = ?"
_INSERT_REFUSED: Final = "INSERT OR IGNORE INTO handoff_replay_refused VALUES (?, ?, ?, ?)"


class Transactions:
    """What the group commit runs: a transaction for a batch, and notes about replays."""

    def __init__(self, file: SQLiteFile, outbox: bool) -> None:
        self._file = file
        self._outbox = outbox

    def run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        """One transaction for all, until the deadline of `time.monotonic`: see `ghasi_handoff.stores._group_commit`."""
        try:
            with self._file.session(deadline) as connection:
                # A read first: a replay is then decided without the write lock, so a flood of them holds up nobody.
                found = _find(connection, entries)
                new = [entry for entry in entries if entry.key not in found]
                if new:
                    with transaction(connection, deadline):
                        won = self._insert(connection, new)
                        found |= _holders(connection, [entry for entry in new if entry.key not in won])
        except ReplayStoreError as exc:
            return exc
        return [
            found.get(entry.key) or Consumption(entry.redemption_id, first=True, consumed_at=entry.consumed_at)
            for entry in entries
        ]

    def _insert(self, connection: sqlite3.Connection, new: Sequence[Entry]) -> set[tuple[str, str]]:
        won = set(connection.execute(_INSERT.format(_values(4, new)), [value for entry in new for value in entry]))
        # After the insert: a purge that ran before it has raised the mark, one that runs later finds the rows.
        (purged_before,) = connection.execute(PURGED_BEFORE).fetchone()
        if any(handoff_id_seconds(handoff_id) < purged_before for handoff_id, _ in won):
            raise ReplayStoreError("a handoff is older than what was purged")  # nothing of this transaction stays
        rows = [entry for entry in new if entry.key in won]
        if rows and self._outbox:
            connection.execute(_INSERT_OUTBOX.format(_values(4, rows)), [value for entry in rows for value in entry])
        return won

    def note(self, entries: Sequence[Entry], deadline: float) -> None:
        """For support, after the decision: who else tried. A busy or full file loses the note, not the decision."""
        try:
            with self._file.session(deadline) as connection:
                connection.execute("PRAGMA busy_timeout = 0")
                with suppress(sqlite3.OperationalError):
                    for entry in entries:
                        # Counted before, so that a flood of replays stops taking the write lock after the first few.
                        # Two processes at once may both count seven: a ninth note does no harm.
                        (noted,) = connection.execute(_COUNT_REFUSED, entry.key).fetchone()
                        if noted < REFUSALS_NOTED_PER_HANDOFF:
                            connection.execute(_INSERT_REFUSED, entry)
        except ReplayStoreError:
            return


def _holders(connection: sqlite3.Connection, lost: Sequence[Entry]) -> dict[tuple[str, str], Consumption]:
    """Who holds what these entries could not be inserted for."""
    found = _find(connection, lost)
    if any(entry.key not in found for entry in lost):
        # Not inserted, and not there: nothing is known, and nothing of this transaction stays.
        raise ReplayStoreError("SQLite: an entry vanished while it was read")
    return found


def _find(connection: sqlite3.Connection, entries: Sequence[Entry]) -> dict[tuple[str, str], Consumption]:
    # One statement for all: each one lets other threads run, and waits for its turn again.
    if not entries:
        return {}
    rows = connection.execute(_FIND.format(_values(2, entries)), [part for entry in entries for part in entry.key])
    return {
        (handoff_id, scope): Consumption(holder, first=False, consumed_at=at) for handoff_id, scope, holder, at in rows
    }


def _values(columns: int, entries: Sequence[Entry]) -> str:
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * len(entries))
