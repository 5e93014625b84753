# Generated from _handoff_log_async.py by tools/sync_twins.py. Do not edit.
"""The handoff log in an SQLite file, for an issuer that runs on one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ghasi_handoff._limits import DEFAULT_STORE_TIMEOUT_SECONDS, SQLITE_PURGE_CHUNK
from ghasi_handoff._times import read_clock
from ghasi_handoff.replay import purge_time, timeout_seconds
from ghasi_handoff.stores._handoff_log import (
    ConsumeCall,
    HandoffQuery,
    HandoffRecord,
    HandoffState,
    record_of,
    unknown,
)
from ghasi_handoff.stores._maintained import Closing
from ghasi_handoff.stores._opening import HANDOFF_LOG
from ghasi_handoff.stores._shared_sql import SharedSQL, first_id, log_change, log_cutoff, log_row, seconds_of
from ghasi_handoff.stores.sqlite._connection import schema_scripts, transaction
from ghasi_handoff.stores.sqlite._file import SQLiteFile

_SCHEMA: Final = schema_scripts("handoff_log.sql")
_SQL: Final = SharedSQL("?")
_RECORD: Final = """
INSERT INTO handoff_log (handoff_id, issuer, audience, tenant, kid, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_CONSUME: Final = """
UPDATE handoff_log SET state = 'consumed', redemption_id = ?, consumed_at = ?, recorded_at = ?
WHERE handoff_id = ? AND issuer = ? AND audience = ? AND state = 'issued' AND ? < expires_at + ?
"""
_REVOKE: Final = "UPDATE handoff_log SET state = 'revoked', revoked_at = ? WHERE handoff_id = ? AND state = 'issued'"
_PURGE: Final = """
DELETE FROM handoff_log WHERE handoff_id IN (
    SELECT handoff_id FROM handoff_log WHERE handoff_id < ? AND expires_at <= ? ORDER BY handoff_id LIMIT ?)
"""


class SQLiteHandoffLog(Closing):
    """What an issuer issued, in one SQLite file, each row on disk before its token is returned, for threads.

    The file is made at the first use. Threads and processes of one machine may share it; never a network file system.

    Args:
        path: The file. Not that of a replay store.
        timeout: How long an operation may take, waiting for locks included: seconds or a timedelta, at most 60 s.
        clock: Returns Unix seconds; read to revoke and to purge.

    Raises:
        ConfigurationError: An argument is not valid.
        HandoffLogError: The SQLite library of this Python is older than 3.37.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SQLiteFile(path, _SCHEMA, timeout_seconds(timeout), HANDOFF_LOG)
        self._clock = clock

    def record(self, record: HandoffRecord) -> None:
        """See `HandoffLog.record`."""
        self._file.write(lambda connection: connection.execute(_RECORD, log_row(record)))

    def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        """See `HandoffLog.consume`."""
        return _consume(self._file, call, recorded_at)

    def revoke(self, handoff_id: str) -> HandoffRecord:
        """See `HandoffLog.revoke`."""
        now = int(read_clock(self._clock))

        def revoke(connection: sqlite3.Connection) -> HandoffRecord | None:
            connection.execute(_REVOKE, (now, handoff_id))
            return _find(connection, handoff_id)

        record = self._file.write(revoke)
        if record is None:
            raise unknown(handoff_id)
        return record

    def find(self, handoff_id: str) -> HandoffRecord | None:
        """See `HandoffLog.find`."""
        return self._file.read(lambda connection: _find(connection, handoff_id))

    def search(self, query: HandoffQuery) -> list[HandoffRecord]:
        """See `HandoffLog.search`."""
        return [record_of(row) for row in self._file.select(*_SQL.log_search(query))]

    def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove rows whose token ended more than 48 hours ago, a chunk a transaction. Returns how many.

        Bounded by the newest row as well as the clock: a clock that jumps ahead must not empty the log.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk, by the thread that removes, with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            HandoffLogError: The file cannot be used. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)

        def remove_chunk(connection: sqlite3.Connection) -> int:
            newest = seconds_of(connection.execute(_SQL.log_newest).fetchone())
            if newest is None:
                return 0
            cutoff = log_cutoff(seconds, newest)
            return connection.execute(_PURGE, (str(first_id(cutoff)), cutoff, SQLITE_PURGE_CHUNK)).rowcount

        return self._file.purge(remove_chunk, progress)

    def create_schema(self) -> None:
        """Make the file and its table now, instead of at the first use. Safe to repeat.

        Raises:
            HandoffLogError: The file cannot be made, or has a schema of another version.
        """
        self._file.make()

    def close(self) -> None:
        """Close the file once running work is done. The log cannot be used afterwards."""
        self._file.close()


def _consume(file: SQLiteFile, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
    deadline = file.deadline()
    with file.session(deadline) as connection:
        # A read first: repetitions and replays then need no write lock.
        record = _find(connection, call.handoff_id)
        if record is not None and record.state is HandoffState.ISSUED:
            with transaction(connection, deadline):
                connection.execute(_CONSUME, log_change(call, recorded_at))
                record = _find(connection, call.handoff_id)
    return record


def _find(connection: sqlite3.Connection, handoff_id: str) -> HandoffRecord | None:
    row = connection.execute(_SQL.log_find, (handoff_id,)).fetchone()
    return None if row is None else record_of(row)
