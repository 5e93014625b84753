"""The handoff log in an SQLite file, for an issuer that runs on one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final, Self

from ghasi_handoff._limits import (
    DEFAULT_STORE_TIMEOUT_SECONDS,
    HANDOFF_LOG_KEPT_SECONDS,
    MAX_LATENESS_SECONDS,
    SQLITE_PURGE_CHUNK,
    SQLITE_PURGE_PAUSE_SECONDS,
)
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff._times import read_clock
from ghasi_handoff.replay import purge_time
from ghasi_handoff.stores._deadline import timeout_seconds
from ghasi_handoff.stores._handoff_log import (
    ConsumeCall,
    HandoffQuery,
    HandoffRecord,
    HandoffState,
    record_of,
    unknown,
)
from ghasi_handoff.stores.sqlite._file import SQLiteFile, begin

_COLUMNS: Final = (
    "handoff_id, issuer, audience, tenant, kid, issued_at, expires_at, state, redemption_id, consumed_at, recorded_at,"
    " revoked_at"
)
_RECORD: Final = """
INSERT INTO handoff_log (handoff_id, issuer, audience, tenant, kid, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_CONSUME: Final = """
UPDATE handoff_log SET state = 'consumed', redemption_id = ?, consumed_at = ?, recorded_at = ?
WHERE handoff_id = ? AND issuer = ? AND audience = ? AND state = 'issued' AND ? < expires_at + ?
"""
_REVOKE: Final = "UPDATE handoff_log SET state = 'revoked', revoked_at = ? WHERE handoff_id = ? AND state = 'issued'"
_FIND: Final = f"SELECT {_COLUMNS} FROM handoff_log WHERE handoff_id = ?"  # noqa: S608 - constants only
_SEARCH: Final = f"""
SELECT {_COLUMNS} FROM handoff_log
WHERE (:tenant IS NULL OR tenant = :tenant) AND (:since IS NULL OR issued_at >= :since)
  AND (:until IS NULL OR issued_at < :until) AND (:state IS NULL OR state = :state)
ORDER BY handoff_id DESC LIMIT :limit
"""  # noqa: S608
_NEWEST: Final = "SELECT max(handoff_id) FROM handoff_log"
_PURGE: Final = """
DELETE FROM handoff_log WHERE handoff_id IN (
    SELECT handoff_id FROM handoff_log WHERE handoff_id < ? AND expires_at <= ? ORDER BY handoff_id LIMIT ?)
"""


class SQLiteHandoffLog:
    """What an issuer issued, in one SQLite file, each row on disk before its token is returned.

    The file is made at the first use. Threads and processes of one machine may share it; never a network file system.

    Args:
        path: The file. Not that of a replay store.
        timeout: How long an operation may take at most, waiting for locks included. Seconds or a timedelta, up to
            60 s.
        clock: Returns Unix seconds; read to revoke and to purge.

    Raises:
        ConfigurationError: An argument is not valid.
        ReplayStoreError: The SQLite library of this Python is older than 3.37.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = timeout_seconds(timeout)
        self._file = SQLiteFile(path, "handoff_log.sql", self._timeout, made_by="ghasi-handoff handoff init")
        self._clock = clock

    def record(self, record: HandoffRecord) -> None:
        """See `HandoffLog.record`."""
        row = (record.handoff_id, record.issuer, record.audience, record.tenant, record.kid)
        deadline = time.monotonic() + self._timeout
        with self._file.session(deadline) as connection:
            begin(connection, deadline)
            connection.execute(_RECORD, (*row, record.issued_at, record.expires_at))
            connection.execute("COMMIT")

    def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        """See `HandoffLog.consume`."""
        deadline = time.monotonic() + self._timeout
        with self._file.session(deadline) as connection:
            row = connection.execute(_FIND, (call.handoff_id,)).fetchone()
            # A read first: repetitions and replays then need no write lock.
            if row is None or record_of(row).state is not HandoffState.ISSUED:
                return None if row is None else record_of(row)
            begin(connection, deadline)
            change = (call.redemption_id, call.consumed_at, recorded_at)
            guard = (call.handoff_id, call.issuer, call.audience, call.consumed_at, MAX_LATENESS_SECONDS)
            connection.execute(_CONSUME, (*change, *guard))
            row = connection.execute(_FIND, (call.handoff_id,)).fetchone()
            connection.execute("COMMIT")
        return None if row is None else record_of(row)

    def revoke(self, handoff_id: str) -> HandoffRecord:
        """See `HandoffLog.revoke`."""
        now = int(read_clock(self._clock))
        deadline = time.monotonic() + self._timeout
        with self._file.session(deadline) as connection:
            begin(connection, deadline)
            connection.execute(_REVOKE, (now, handoff_id))
            row = connection.execute(_FIND, (handoff_id,)).fetchone()
            connection.execute("COMMIT")
        if row is None:
            raise unknown(handoff_id)
        return record_of(row)

    def find(self, handoff_id: str) -> HandoffRecord | None:
        """See `HandoffLog.find`."""
        with self._file.reader() as connection:
            row = connection.execute(_FIND, (handoff_id,)).fetchone()
        return None if row is None else record_of(row)

    def search(self, query: HandoffQuery) -> list[HandoffRecord]:
        """See `HandoffLog.search`."""
        with self._file.reader() as connection:
            return [record_of(row) for row in connection.execute(_SEARCH, asdict(query))]

    def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove rows whose token ended more than 48 hours ago, a chunk a transaction. Returns how many.

        Bounded by the newest row as well as the clock: a clock that jumps ahead must not empty the log.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            ReplayStoreError: The file cannot be used. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)
        removed = 0
        while True:
            with self._file.session() as connection:
                count = _purge_chunk(connection, seconds)
            if count == 0:
                return removed
            removed += count
            if progress is not None:
                progress(removed)
            time.sleep(SQLITE_PURGE_PAUSE_SECONDS)

    def create_schema(self) -> None:
        """Make the file and its table now, instead of at the first use. Safe to repeat.

        Raises:
            ReplayStoreError: The file cannot be made, or has a schema of another version.
        """
        with self._file.session():
            return

    def close(self) -> None:
        """Close the file. The log cannot be used afterwards."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _purge_chunk(connection: sqlite3.Connection, now: int) -> int:
    connection.execute("BEGIN IMMEDIATE")
    (newest,) = connection.execute(_NEWEST).fetchone()
    if newest is None:
        connection.execute("ROLLBACK")
        return 0
    cutoff = max(0, min(now, handoff_id_seconds(newest)) - HANDOFF_LOG_KEPT_SECONDS)
    stamp = f"{cutoff * 1000:012x}"
    count = connection.execute(_PURGE, (f"{stamp[:8]}-{stamp[8:]}", cutoff, SQLITE_PURGE_CHUNK)).rowcount
    connection.execute("COMMIT")
    return count
