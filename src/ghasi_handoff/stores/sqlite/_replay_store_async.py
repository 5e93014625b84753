"""A replay store in an SQLite file: the embedded default. Durable; safe for many threads and processes of one machine.

Never on a network file system: its locks do not hold there.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ghasi_handoff._limits import (
    DEFAULT_LEEWAY,
    DEFAULT_STORE_TIMEOUT_SECONDS,
    REFUSALS_KEPT_SECONDS,
    SQLITE_PURGE_CHUNK,
)
from ghasi_handoff._store_reports import ReplayTrace, StoreReport, StoreStats
from ghasi_handoff._times import read_clock
from ghasi_handoff.replay import Consumption, StoreGuarantees, check_entry, purge_cutoff, purge_time, timeout_seconds
from ghasi_handoff.stores._group_commit import Entry
from ghasi_handoff.stores._maintained_async import AsyncClosing
from ghasi_handoff.stores._opening import REPLAY_STORE
from ghasi_handoff.stores._shared_sql import SharedSQL, first_id, seconds_of, trace_of
from ghasi_handoff.stores._thread_commit import ThreadedGroupCommit
from ghasi_handoff.stores.sqlite._connection import schema_scripts
from ghasi_handoff.stores.sqlite._examination import report, stats
from ghasi_handoff.stores.sqlite._file import SQLiteFile
from ghasi_handoff.stores.sqlite._outbox_async import AsyncSQLiteOutbox
from ghasi_handoff.stores.sqlite._transactions import Transactions

_SCHEMA: Final = schema_scripts("schema.sql")
_SQL: Final = SharedSQL("?")
_PURGE: Final = """
DELETE FROM handoff_replay_log WHERE handoff_id <= (
    SELECT max(handoff_id) FROM (
        SELECT handoff_id FROM handoff_replay_log WHERE handoff_id < ? ORDER BY handoff_id LIMIT ?))
"""


class AsyncSQLiteReplayStore(AsyncClosing):
    """Entries in one SQLite file, each committed to disk before its consume is answered, for asyncio.

    Write-ahead mode with ``synchronous=FULL``. The file is made at the first use, by whichever process is first. One
    connection per store, used by one thread at a time; before a fork it is closed, and the
    child opens its own. A caller that gives up leaves the question open, never half answered: the same call repeated
    gets the truth.

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
        seconds = timeout_seconds(timeout)
        self._file = SQLiteFile(path, _SCHEMA, seconds, REPLAY_STORE)
        self._outbox = AsyncSQLiteOutbox(self._file) if outbox else None
        self._clock = clock
        transactions = Transactions(self._file, outbox)
        self._commits = ThreadedGroupCommit(
            transactions.run, transactions.note, self._file.interrupt, timeout=seconds, product="SQLite"
        )

    @property
    def outbox(self) -> AsyncSQLiteOutbox | None:
        """The outbox, if this store writes one."""
        return self._outbox

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.AsyncReplayStore.consume`.

        Raises:
            ReplayStoreError: Locked, read-only, corrupt or full file; past its retention; older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return await self._commits.consume_async(Entry(handoff_id, scope, redemption_id, consumed_at))

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove entries that no token can need any more, a chunk a transaction. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk, by the thread that removes, with the number removed so far.

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

        def remove() -> int:
            removed = self._file.purge(remove_chunk, progress)
            self._file.change(_SQL.purge_refused, (seconds - REFUSALS_KEPT_SECONDS,))
            return removed

        return await asyncio.to_thread(remove)

    async def create_schema(self) -> None:
        """Make the file and its tables now, instead of at the first use. Safe to repeat.

        Raises:
            ReplayStoreError: The file cannot be made, or has a schema of another version.
        """
        await asyncio.to_thread(self._file.make)

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Look at the file for everything that could break the store's promises. Changes nothing.

        The file is opened a second time, as it is: the store's own connection puts right what it can.

        Args:
            leeway: How far the newest id may be ahead of this machine's clock.

        Raises:
            ReplayStoreError: The file cannot be read.
        """
        return await asyncio.to_thread(report, self._file, read_clock(self._clock), leeway)

    async def stats(self) -> StoreStats:
        """How much the store holds. Counting reads the whole file.

        Raises:
            ReplayStoreError: The file cannot be read, or is not a replay store.
        """
        return await asyncio.to_thread(self._file.read, stats)

    async def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace:
        """Everything that the file holds of one handoff, in every scope, for support. Changes nothing.

        Raises:
            ReplayStoreError: The file cannot be read, or is not a replay store.
        """
        statements = (_SQL.records_of_one, _SQL.refusals_of_one, _SQL.outbox_of_one)

        def read(connection: sqlite3.Connection) -> ReplayTrace:
            return trace_of(*(connection.execute(statement, (handoff_id,)) for statement in statements))

        return await asyncio.to_thread(self._file.read, read)

    async def aclose(self) -> None:
        """Close the file once running work is done. The store cannot be used afterwards."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        # One call in the thread for the whole: a caller that is cancelled must not leave the file open.
        self._commits.close()
        self._file.close()
