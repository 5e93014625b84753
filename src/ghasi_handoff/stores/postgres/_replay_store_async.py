"""A replay store in PostgreSQL: durable, shared by many machines. Over the psycopg 3 pools of the application.

A consume is one call of an SQL function that `create_schema` makes, so one round trip, one transaction, and nothing
that a stalled client could hold open in the middle of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ghasi_handoff._formats import POSTGRES_REPLAY_SCHEMA
from ghasi_handoff._limits import (
    DEFAULT_LEEWAY,
    DEFAULT_STORE_TIMEOUT_SECONDS,
    POSTGRES_COUNTED_EXACTLY,
    REFUSALS_KEPT_SECONDS,
    REFUSALS_NOTED_PER_HANDOFF,
)
from ghasi_handoff._store_reports import ReplayTrace, StoreReport, StoreStats
from ghasi_handoff._times import read_clock
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption, StoreGuarantees, check_entry, purge_cutoff, purge_time, timeout_seconds
from ghasi_handoff.stores._group_commit import Entry, Outcome
from ghasi_handoff.stores._maintained_async import AsyncClosing
from ghasi_handoff.stores._opening import REPLAY_STORE
from ghasi_handoff.stores._shared_sql import seconds_of, trace_of
from ghasi_handoff.stores._task_commit import TaskGroupCommit
from ghasi_handoff.stores.postgres import _statements as sql
from ghasi_handoff.stores.postgres._guards import InUse, LostConnectionError
from ghasi_handoff.stores.postgres._hazards import report
from ghasi_handoff.stores.postgres._outbox_async import AsyncPostgresOutbox
from ghasi_handoff.stores.postgres._pool_async import AsyncPostgresPool, change, clock, create_schema, fetch, purge


class AsyncPostgresReplayStore(AsyncClosing):
    """Entries in PostgreSQL, each committed to disk before its consume is answered. For many machines, for asyncio.

    Consumes that come while another is in flight share the next transaction. The store takes one connection of the pool
    at a time, for the length of one statement, and gives it back as it was. A caller that gives up leaves the question
    open, never half answered: the same call repeated gets the truth.

    Args:
        pool: The application's pool. It stays the application's: the store neither opens nor closes it.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take, waiting for a connection included: seconds or a timedelta, at most 60 s.
        clock: Returns Unix seconds; read only to purge and to check.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    guarantees = StoreGuarantees(durable=True, shared=True, survives_failover=False, outbox=True)

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_STORE_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = timeout_seconds(timeout)
        self._pool = AsyncPostgresPool(pool, self._timeout, REPLAY_STORE)
        self._outbox = AsyncPostgresOutbox(self._pool) if outbox else None
        self._clock = clock
        self._in_use = InUse()
        self._commits = TaskGroupCommit(
            self._run, self._note, self._in_use.cut, timeout=self._timeout, product="PostgreSQL"
        )

    async def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: The outcome is unknown after the timeout; past its retention; older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return await self._commits.consume(Entry(handoff_id, scope, redemption_id, consumed_at))

    @property
    def outbox(self) -> AsyncPostgresOutbox | None:
        """The outbox, if this store writes one."""
        return self._outbox

    async def create_schema(self) -> None:
        """Make the tables and the functions, if they are not there. Safe to repeat, and from many processes at once.

        Raises:
            ReplayStoreError: The database refused, or has a schema of another version.
        """
        await create_schema(self._pool, sql.SCHEMA, sql.READ_SCHEMA_VERSION, POSTGRES_REPLAY_SCHEMA)

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove entries that no token can need any more, a chunk a transaction. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.
            progress: Called after each chunk with the number removed so far.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
            ReplayStoreError: As for `consume`. What was removed before stays removed.
        """
        seconds = purge_time(now, self._clock)

        async def remove(connection: AsyncConnection[Any], cutoff: int, start: UUID, end: UUID) -> int:
            # The mark and the removal in one transaction: an id that was forgotten can never be taken for a new one.
            await change(connection, sql.SQL.raise_mark, (cutoff, cutoff))
            return await change(connection, sql.PURGE, (start, end))

        cutoff_of = partial(purge_cutoff, seconds)
        removed = await purge(self._pool, "handoff_replay_log", cutoff_of, remove, progress)
        async with self._pool.session() as connection:
            await change(connection, sql.SQL.purge_refused, (seconds - REFUSALS_KEPT_SECONDS,))
        return removed

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Ask the live server for everything that could break the store's promises.

        Args:
            leeway: How far its clock may be from ours.

        Raises:
            ReplayStoreError: The server cannot be asked.
        """
        async with self._pool.session() as connection:
            (settings,) = await fetch(connection, sql.SETTINGS)
            ours = read_clock(self._clock)
            schema, oldest, newest = "none", None, None
            if settings[sql.PERSISTENCE] is not None:
                versions = await fetch(connection, sql.READ_SCHEMA_VERSION)
                schema = str(versions[0][0]) if versions else "none"
                oldest, newest = await _times_of_ends(connection)
        return report(settings, schema=schema, oldest=oldest, newest=newest, ours=ours, leeway=leeway)

    async def stats(self) -> StoreStats:
        """How much the store holds.

        Raises:
            ReplayStoreError: The server cannot be asked, or has no schema.
        """
        async with self._pool.session() as connection:
            ((estimate, counted, *others),) = await fetch(connection, sql.STATS, (POSTGRES_COUNTED_EXACTLY,))
            oldest, newest = await _times_of_ends(connection)
        entries = counted if counted < POSTGRES_COUNTED_EXACTLY else max(estimate, counted)
        return StoreStats(entries, oldest, newest, *others)

    async def trace(self, handoff_id: str, scope: str | None = None) -> ReplayTrace:
        """Everything that the tables hold of one handoff, in every scope, for support. Changes nothing.

        Raises:
            ReplayStoreError: The server cannot be asked, or has no schema.
        """

        async def read(connection: AsyncConnection[Any]) -> ReplayTrace:
            statements = (sql.SQL.records_of_one, sql.SQL.refusals_of_one, sql.SQL.outbox_of_one)
            return trace_of(*[await fetch(connection, statement, (handoff_id,)) for statement in statements])

        return await self._pool.run(read)

    async def aclose(self) -> None:
        """End the batch in flight. The pool stays open. The store cannot be used afterwards."""
        await self._commits.aclose()

    async def _run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        statement = sql.consume_statement(entries, self._outbox is not None)
        while True:
            try:
                async with self._pool.borrowed(deadline, self._in_use) as connection:
                    return sql.outcomes_of(entries, await fetch(connection, *statement))
            except LostConnectionError as exc:
                if clock() >= deadline:
                    return exc.error
                # The pool held a connection that had died, as all of them do when a server restarts. The next one is
                # another, and consuming is idempotent.
            except ReplayStoreError as exc:
                return [exc] if len(entries) == 1 and sql.is_refusal(exc) else exc

    async def _note(self, entries: Sequence[Entry], deadline: float) -> None:
        try:
            async with self._pool.borrowed(deadline, self._in_use) as connection:
                await change(connection, sql.NOTE, (*sql.columns(entries), REFUSALS_NOTED_PER_HANDOFF))
        except (ReplayStoreError, LostConnectionError):
            return  # best effort: the decision stands without the note


async def _times_of_ends(connection: AsyncConnection[Any]) -> tuple[int | None, int | None]:
    oldest, newest = await fetch(connection, sql.SQL.oldest), await fetch(connection, sql.SQL.newest)
    return seconds_of(oldest[0] if oldest else None), seconds_of(newest[0] if newest else None)
