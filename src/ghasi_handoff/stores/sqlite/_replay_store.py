"""A replay store in an SQLite file: the embedded default. Durable; safe for many threads and processes of one machine.

Never on a network file system: its locks do not hold there.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Self

from ghasi_handoff._limits import (
    DEFAULT_LEEWAY,
    DEFAULT_STORE_TIMEOUT_SECONDS,
    REFUSALS_KEPT_SECONDS,
    REFUSALS_NOTED_PER_HANDOFF,
    SQLITE_PURGE_CHUNK,
)
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff._times import read_clock
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import (
    Consumption,
    ReplayTrace,
    StoreGuarantees,
    StoreReport,
    StoreStats,
    check_entry,
    purge_cutoff,
    purge_time,
)
from ghasi_handoff.stores._deadline import timeout_seconds
from ghasi_handoff.stores._group_commit import Entry, Outcome
from ghasi_handoff.stores._owners import REPLAY_STORE
from ghasi_handoff.stores._shared_sql import SharedSQL, first_id, seconds_of, trace_of
from ghasi_handoff.stores._thread_commit import ThreadedGroupCommit
from ghasi_handoff.stores.sqlite._connection import schema_scripts, transaction
from ghasi_handoff.stores.sqlite._examination import PURGED_BEFORE, report, stats
from ghasi_handoff.stores.sqlite._file import SQLiteFile
from ghasi_handoff.stores.sqlite._outbox import SQLiteOutbox

_SCHEMA: Final = schema_scripts("schema.sql")
_SQL: Final = SharedSQL("?")
# CROSS JOIN fixes the order, so that each wanted key is looked up in the primary key.
_FIND: Final = """
SELECT handoff_id, scope, redemption_id, consumed_at FROM (VALUES {}) AS wanted
CROSS JOIN handoff_replay_log ON handoff_id = wanted.column1 AND scope = wanted.column2
"""
_INSERT: Final = "INSERT INTO handoff_replay_log VALUES {} ON CONFLICT DO NOTHING RETURNING handoff_id, scope"
_INSERT_OUTBOX: Final = (
    "INSERT INTO handoff_outbox (handoff_id, scope, redemption_id, consumed_at) VALUES {} ON CONFLICT DO NOTHING"
)
_PURGE: Final = """
DELETE FROM handoff_replay_log WHERE handoff_id <= (
    SELECT max(handoff_id) FROM (
        SELECT handoff_id FROM handoff_replay_log WHERE handoff_id < ? ORDER BY handoff_id LIMIT ?))
"""
_COUNT_REFUSED: Final = "SELECT count(*) FROM handoff_replay_refused WHERE handoff_id = ? AND scope = ?"
_INSERT_REFUSED: Final = "INSERT OR IGNORE INTO handoff_replay_refused VALUES (?, ?, ?, ?)"


class SQLiteReplayStore:
    """Entries in one SQLite file, each committed to disk before its consume is answered.

    Write-ahead mode with ``synchronous=FULL``. The file is made at the first use, by whichever process is first. One
    connection per store, shared by its threads; before a fork it is closed, and the child opens its own.

    Args:
        path: The file. Not ``:memory:``: use `MemoryReplayStore` for that.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take at most, waiting for locks included. Seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read only to purge.

    Raises:
        ConfigurationError: An argument is not valid.
        ReplayStoreError: The SQLite library of this Python is older than 3.37.
    """

    guarantees = StoreGuarantees(durable=True, shared=False, survives_failover=False, outbox=True)

    def __init__(
        self,
        path: str | os.PathLike[str],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = timeout_seconds(timeout)
        self._file = SQLiteFile(path, _SCHEMA, self._timeout, REPLAY_STORE)
        self._outbox = SQLiteOutbox(self._file) if outbox else None
        self._clock = clock
        self._commits = ThreadedGroupCommit(
            self._run, self._note, self._file.interrupt, timeout=self._timeout, product="SQLite"
        )

    @property
    def outbox(self) -> SQLiteOutbox | None:
        """The outbox, if this store writes one."""
        return self._outbox

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: Locked, read-only, corrupt or full file; past its retention; older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return self._commits.consume(Entry(handoff_id, scope, redemption_id, consumed_at))

    def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove entries that no token can need any more, a chunk a transaction. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            ReplayStoreError: As for `consume`. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)

        def remove_chunk(connection: sqlite3.Connection) -> int:
            newest = seconds_of(connection.execute(_SQL.newest).fetchone())
            if newest is None:
                return 0
            cutoff = purge_cutoff(seconds, newest)
            # The mark and the removal in one transaction: an id that was forgotten can never be taken for a new one.
            connection.execute(_SQL.raise_mark, (cutoff, cutoff))
            return connection.execute(_PURGE, (str(first_id(cutoff)), SQLITE_PURGE_CHUNK)).rowcount

        removed = self._file.purge(remove_chunk, progress)
        with self._file.session() as connection:
            connection.execute(_SQL.purge_refused, (seconds - REFUSALS_KEPT_SECONDS,))
        return removed

    def create_schema(self) -> None:
        """Make the file and its tables now, instead of at the first use. Safe to repeat.

        Raises:
            ReplayStoreError: The file cannot be made, or has a schema of another version.
        """
        with self._file.session():
            return

    def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Look at the file for everything that could break the store's promises. Changes nothing.

        The file is opened a second time, as it is: the store's own connection puts right what it can.

        Args:
            leeway: How far the newest id may be ahead of this machine's clock.

        Raises:
            ReplayStoreError: The file cannot be read.
        """
        synchronous = self._file.synchronous()
        with self._file.reader() as connection:
            return report(connection, self._file.schema_version, synchronous, read_clock(self._clock), leeway)

    def stats(self) -> StoreStats:
        """How much the store holds. Counting reads the whole file.

        Raises:
            ReplayStoreError: The file cannot be read, or is not a replay store.
        """
        with self._file.reader() as connection:
            return stats(connection)

    def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace:
        """Everything that the file holds of one handoff, for support. Changes nothing.

        Args:
            handoff_id: The handoff.
            scope: Not needed here: every scope is reported.

        Raises:
            ReplayStoreError: The file cannot be read, or is not a replay store.
        """
        with self._file.reader() as connection:
            return trace_of(
                connection.execute(_SQL.records_of_one, (handoff_id,)),
                connection.execute(_SQL.refusals_of_one, (handoff_id,)),
                connection.execute(_SQL.outbox_of_one, (handoff_id,)),
            )

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        self._commits.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
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
        if rows and self._outbox is not None:
            connection.execute(_INSERT_OUTBOX.format(_values(4, rows)), [value for entry in rows for value in entry])
        return won

    def _note(self, entries: Sequence[Entry], deadline: float) -> None:
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


def _find(connection: sqlite3.Connection, entries: Sequence[Entry]) -> dict[tuple[str, str], Consumption]:
    # One statement for all: each one lets other threads run, and waits for its turn again.
    if not entries:
        return {}
    rows = connection.execute(_FIND.format(_values(2, entries)), [part for entry in entries for part in entry.key])
    return {
        (handoff_id, scope): Consumption(holder, first=False, consumed_at=at) for handoff_id, scope, holder, at in rows
    }


def _holders(connection: sqlite3.Connection, lost: Sequence[Entry]) -> dict[tuple[str, str], Consumption]:
    """Who holds what these entries could not be inserted for."""
    found = _find(connection, lost)
    if any(entry.key not in found for entry in lost):
        # Not inserted, and not there: nothing is known, and nothing of this transaction stays.
        raise ReplayStoreError("SQLite: an entry vanished while it was read")
    return found


def _values(columns: int, entries: Sequence[Entry]) -> str:
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * len(entries))
