"""A replay store in PostgreSQL: durable, shared by many machines. Over the psycopg 3 pools of the application.

A consume is one call of an SQL function that `create_schema` makes, so one round trip, one transaction, and nothing
that a stalled client could hold open in the middle of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, Self
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff._encoding import read_clock
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import (
    DEFAULT_LEEWAY,
    OUTBOX_DELAY_SECONDS,
    Consumption,
    Hazard,
    OutboxEntry,
    ReplayRecord,
    ReplayRefusal,
    ReplayTrace,
    StoreGuarantees,
    StoreReport,
    StoreStats,
    check_entry,
    clock_hazards,
    purge_cutoff,
    purge_hazards,
    purge_time,
)
from ghasi_handoff.stores._deadline import DEFAULT_TIMEOUT_SECONDS, timeout_seconds
from ghasi_handoff.stores._group_commit import Entry, Outcome, TaskGroupCommit, ThreadedGroupCommit
from ghasi_handoff.stores._postgres_outbox import OF_ONE, AsyncPostgresOutbox, PostgresOutbox
from ghasi_handoff.stores._postgres_pool import (
    LOCK_SCHEMA,
    AsyncPostgresPool,
    InUse,
    LostConnectionError,
    PostgresPool,
    Row,
    Steps,
    drive,
    drive_async,
)

__all__ = ["SCHEMA", "AsyncPostgresReplayStore", "PostgresReplayStore"]

SCHEMA_VERSION: Final = 2
PURGE_CHUNK: Final = 2000
REFUSALS_KEPT_SECONDS: Final = 24 * 3600
COUNTED_EXACTLY: Final = 100_000
PURGED: Final = "GH001"
WRONG_ISOLATION: Final = "GH002"

SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS handoff_replay_log (
    handoff_id    uuid   NOT NULL,
    scope         text   NOT NULL,
    redemption_id text   NOT NULL,
    consumed_at   bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope)
);
CREATE TABLE IF NOT EXISTS handoff_replay_refused (
    handoff_id    uuid   NOT NULL,
    scope         text   NOT NULL,
    redemption_id text   NOT NULL,
    refused_at    bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope, refused_at, redemption_id)
);
CREATE TABLE IF NOT EXISTS handoff_outbox (
    handoff_id    uuid   NOT NULL,
    scope         text   NOT NULL,
    redemption_id text   NOT NULL,
    consumed_at   bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope)
);
-- When to deliver an entry next, and what became of the last try. An entry with dead_at is delivered no more.
ALTER TABLE handoff_outbox
    ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS due_at   bigint  NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS dead_at  bigint,
    ADD COLUMN IF NOT EXISTS outcome  text    NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS handoff_outbox_due ON handoff_outbox (due_at) WHERE dead_at IS NULL;
CREATE TABLE IF NOT EXISTS handoff_replay_mark (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schema_version integer NOT NULL,
    purged_before  bigint  NOT NULL
);
INSERT INTO handoff_replay_mark (schema_version, purged_before) VALUES (2, 0) ON CONFLICT DO NOTHING;
UPDATE handoff_replay_mark SET schema_version = 2 WHERE schema_version = 1;

-- One handoff: who holds it from now on.
CREATE OR REPLACE FUNCTION handoff_replay_consume_v1(
    id uuid, of_scope text, by_redemption_id text, at bigint, id_seconds bigint, with_outbox boolean,
    OUT holder text, OUT holder_at bigint, OUT first boolean
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- Under any other isolation the later statements would not see what others committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the transaction must be READ COMMITTED' USING ERRCODE = 'GH002';
    END IF;
    -- A commit that is answered before it is on disk could be forgotten, and the handoff replayed.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    INSERT INTO handoff_replay_log (handoff_id, scope, redemption_id, consumed_at)
    VALUES (id, of_scope, by_redemption_id, at) ON CONFLICT DO NOTHING;
    first := FOUND;
    -- Read after the insert, by a statement of its own: a purge that removed the id has raised the mark by then.
    IF id_seconds < (SELECT purged_before FROM handoff_replay_mark) THEN
        RAISE EXCEPTION 'the handoff is older than what was purged' USING ERRCODE = 'GH001';
    END IF;
    IF first THEN
        holder := by_redemption_id;
        holder_at := at;
        IF with_outbox THEN
            INSERT INTO handoff_outbox (handoff_id, scope, redemption_id, consumed_at)
            VALUES (id, of_scope, by_redemption_id, at) ON CONFLICT DO NOTHING;
        END IF;
    ELSE
        -- By a statement of its own: only that one sees the row of a winner that was not yet committed above.
        SELECT redemption_id, consumed_at INTO STRICT holder, holder_at
        FROM handoff_replay_log WHERE handoff_id = id AND scope = of_scope;
    END IF;
END
$$;

-- Many handoffs, sorted by id: a row for each that was held already. Whatever it does not return, it has inserted.
CREATE OR REPLACE FUNCTION handoff_replay_consume_many_v1(
    ids uuid[], scopes text[], redemption_ids text[], times bigint[], oldest_seconds bigint, with_outbox boolean
) RETURNS TABLE (held_id text, held_scope text, holder text, holder_at bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    inserted bigint;
    held bigint := 0;
BEGIN
    -- Each step for the same reason as above.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the transaction must be READ COMMITTED' USING ERRCODE = 'GH002';
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    INSERT INTO handoff_replay_log (handoff_id, scope, redemption_id, consumed_at)
    SELECT * FROM unnest(ids, scopes, redemption_ids, times) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF oldest_seconds < (SELECT purged_before FROM handoff_replay_mark) THEN
        RAISE EXCEPTION 'a handoff is older than what was purged' USING ERRCODE = 'GH001';
    END IF;
    -- A row with this transaction's xmin was inserted just now.
    IF with_outbox AND inserted > 0 THEN
        INSERT INTO handoff_outbox (handoff_id, scope, redemption_id, consumed_at)
        SELECT l.handoff_id, l.scope, l.redemption_id, l.consumed_at
        FROM unnest(ids, scopes) AS w (id, of_scope)
        JOIN handoff_replay_log l ON l.handoff_id = w.id AND l.scope = w.of_scope
        WHERE l.xmin = pg_current_xact_id()::xid
        ON CONFLICT DO NOTHING;
    END IF;
    IF inserted < cardinality(ids) THEN
        RETURN QUERY
            SELECT l.handoff_id::text, l.scope, l.redemption_id, l.consumed_at
            FROM unnest(ids, scopes) AS w (id, of_scope)
            JOIN handoff_replay_log l ON l.handoff_id = w.id AND l.scope = w.of_scope
            WHERE l.xmin IS DISTINCT FROM pg_current_xact_id_if_assigned()::xid;
        GET DIAGNOSTICS held = ROW_COUNT;
    END IF;
    -- A purge can remove a row between two statements; then nothing is known, and nothing may be inserted.
    IF inserted + held <> cardinality(ids) THEN
        RAISE EXCEPTION 'an entry vanished while it was read' USING ERRCODE = 'GH003';
    END IF;
END
$$;
"""

_SCHEMA_VERSION: Final = "SELECT schema_version FROM handoff_replay_mark"
_CONSUME: Final = "SELECT holder, holder_at, first FROM handoff_replay_consume_v1(%s, %s, %s, %s, %s, %s)"
_CONSUME_MANY: Final = (
    "SELECT held_id, held_scope, holder, holder_at"
    " FROM handoff_replay_consume_many_v1(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s, %s)"
)
_NOTE: Final = """
INSERT INTO handoff_replay_refused (handoff_id, scope, redemption_id, refused_at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) AS r (id, of_scope, by, at)
WHERE (SELECT count(*) FROM handoff_replay_refused x WHERE x.handoff_id = r.id AND x.scope = r.of_scope) < 8
ON CONFLICT DO NOTHING
"""
# Qualified: ORDER BY handoff_id would mean the text that is put out, and would sort the whole table.
_NEWEST: Final = "SELECT l.handoff_id::text FROM handoff_replay_log l ORDER BY l.handoff_id DESC LIMIT 1"
_OLDEST: Final = "SELECT l.handoff_id::text FROM handoff_replay_log l ORDER BY l.handoff_id LIMIT 1"
_RAISE_MARK: Final = "UPDATE handoff_replay_mark SET purged_before = %s WHERE purged_before < %s"
# A chunk begins where the last one ended, and its end is a value, not a subquery: otherwise each chunk would read the
# whole table, and all that was removed before it.
_CHUNK_END: Final = """
SELECT handoff_id FROM handoff_replay_log WHERE handoff_id >= %s AND handoff_id < %s
ORDER BY handoff_id OFFSET %s LIMIT 1
"""
_PURGE: Final = "DELETE FROM handoff_replay_log WHERE handoff_id >= %s AND handoff_id < %s"
_RECORDS_OF_ONE: Final = "SELECT scope, redemption_id, consumed_at FROM handoff_replay_log WHERE handoff_id = %s"
_REFUSALS_OF_ONE: Final = (
    "SELECT scope, redemption_id, refused_at FROM handoff_replay_refused WHERE handoff_id = %s ORDER BY refused_at"
)
_PURGE_REFUSED: Final = "DELETE FROM handoff_replay_refused WHERE refused_at < %s"
_SETTINGS: Final = """
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_commit'), current_setting('default_transaction_isolation'),
       pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8,
       (SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass('handoff_replay_log')),
       to_regprocedure('handoff_replay_consume_v1(uuid,text,text,bigint,bigint,boolean)') IS NOT NULL
       AND to_regprocedure('handoff_replay_consume_many_v1(uuid[],text[],text[],bigint[],bigint,boolean)') IS NOT NULL
"""
_STATS: Final = """
SELECT (SELECT reltuples::bigint FROM pg_class WHERE oid = 'handoff_replay_log'::regclass),
       (SELECT count(*) FROM (SELECT FROM handoff_replay_log LIMIT %s) AS first_rows),
       (SELECT purged_before FROM handoff_replay_mark),
       (SELECT count(*) FROM handoff_replay_refused),
       (SELECT count(*) FROM handoff_outbox),
       (SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(
            ARRAY['handoff_replay_log', 'handoff_replay_refused', 'handoff_outbox', 'handoff_replay_mark']) AS name)
"""


class PostgresReplayStore:
    """Entries in PostgreSQL, each committed to disk before its consume is answered. For many machines.

    Consumes that come while another is in flight share the next transaction. The store takes one connection of the pool
    at a time, for the length of one statement, and gives it back as it was.

    Args:
        pool: The application's pool. It stays the application's: the store neither opens nor closes it.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take at most, waiting for a connection included. Seconds or a timedelta, up to
            60 s.
        clock: Returns Unix seconds; read only to purge and to check.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    guarantees = StoreGuarantees(durable=True, shared=True, survives_failover=False, outbox=True)

    def __init__(
        self,
        pool: ConnectionPool[Any],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = timeout_seconds(timeout)
        self._pool = PostgresPool(pool, self._timeout)
        self._outbox = PostgresOutbox(self._pool, OUTBOX_DELAY_SECONDS) if outbox else None
        self._clock = clock
        self._in_use = InUse()
        self._commits = ThreadedGroupCommit(
            self._run, self._note, self._in_use.cut, timeout=self._timeout, product="PostgreSQL"
        )

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: No sure answer within the timeout; past its retention; older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return self._commits.consume(Entry(handoff_id, scope, redemption_id, consumed_at))

    @property
    def outbox(self) -> PostgresOutbox | None:
        """The outbox, if this store writes one."""
        return self._outbox

    def create_schema(self) -> None:
        """Make the tables and the function, if they are not there. Safe to repeat, and from many processes at once.

        Raises:
            ReplayStoreError: The database refused, or has a schema of another version.
        """
        with self._pool.session() as connection, connection.transaction():
            connection.execute(LOCK_SCHEMA)
            connection.execute(SCHEMA)
            _require_version(connection.execute(_SCHEMA_VERSION).fetchone())

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
        removed = 0
        start: UUID | None = UUID(int=0)
        while start is not None:
            with self._pool.session() as connection, connection.transaction():
                count, start = drive(_purge_steps(seconds, start), connection)
            removed += count
            if progress is not None:
                progress(removed)
        with self._pool.session() as connection:
            connection.execute(_PURGE_REFUSED, (seconds - REFUSALS_KEPT_SECONDS,))
        return removed

    def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """Ask the live server for everything that could break the store's promises.

        Args:
            leeway: How far its clock may be from ours.

        Raises:
            ReplayStoreError: The server cannot be asked.
        """
        with self._pool.session() as connection:
            return drive(_check_steps(self._clock, leeway), connection)

    def stats(self) -> StoreStats:
        """How much the store holds.

        Raises:
            ReplayStoreError: The server cannot be asked, or has no schema.
        """
        with self._pool.session() as connection:
            return drive(_stats_steps(), connection)

    def trace(self, handoff_id: str) -> ReplayTrace:
        """Everything that the tables hold of one handoff, for support. Changes nothing.

        Raises:
            ReplayStoreError: The server cannot be asked, or has no schema.
        """
        return self._pool.run(lambda: _trace_steps(handoff_id))

    def close(self) -> None:
        """End the batch in flight. The pool stays open. The store cannot be used afterwards."""
        self._commits.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        while True:
            try:
                with self._pool.borrowed(deadline, self._in_use) as connection:
                    cursor = connection.cursor(row_factory=tuple_row)
                    return _outcomes(entries, cursor.execute(*_statement(entries, self._outbox is not None)).fetchall())
            except LostConnectionError as exc:
                if time.monotonic() >= deadline:
                    return exc.error
                # The pool held a connection that had died, as all of them do when a server restarts. The next one is
                # another, and consuming is idempotent.
            except ReplayStoreError as exc:
                return [exc] if len(entries) == 1 and _is_refusal(exc) else exc

    def _note(self, entries: Sequence[Entry], deadline: float) -> None:
        try:
            with self._pool.borrowed(deadline, self._in_use) as connection:
                connection.execute(_NOTE, _columns(entries))
        except (ReplayStoreError, LostConnectionError):
            return  # best effort: the decision stands without the note


class AsyncPostgresReplayStore:
    """`PostgresReplayStore` for asyncio, over an `AsyncConnectionPool`.

    A caller that is cancelled or times out leaves the question open, never half answered: the same call repeated gets
    the truth.

    Args:
        pool: The application's pool. It stays the application's: the store neither opens nor closes it.
        outbox: Also write an outbox entry, in the transaction of the consume that wins.
        timeout: How long a consume may take at most. Seconds or a timedelta, up to 60 s.
        clock: Returns Unix seconds; read only to purge and to check.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    guarantees = PostgresReplayStore.guarantees

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        outbox: bool = False,
        *,
        timeout: float | timedelta = DEFAULT_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = timeout_seconds(timeout)
        self._pool = AsyncPostgresPool(pool, self._timeout)
        self._outbox = AsyncPostgresOutbox(self._pool, OUTBOX_DELAY_SECONDS) if outbox else None
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
            ReplayStoreError: As `PostgresReplayStore.consume`.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        return await self._commits.consume(Entry(handoff_id, scope, redemption_id, consumed_at))

    @property
    def outbox(self) -> AsyncPostgresOutbox | None:
        """The outbox, if this store writes one."""
        return self._outbox

    async def create_schema(self) -> None:
        """As `PostgresReplayStore.create_schema`."""
        async with self._pool.session() as connection, connection.transaction():
            await connection.execute(LOCK_SCHEMA)
            await connection.execute(SCHEMA)
            _require_version(await (await connection.execute(_SCHEMA_VERSION)).fetchone())

    async def purge(self, now: int | datetime | None = None, *, progress: Callable[[int], None] | None = None) -> int:
        """As `PostgresReplayStore.purge`."""
        seconds = purge_time(now, self._clock)
        removed = 0
        start: UUID | None = UUID(int=0)
        while start is not None:
            async with self._pool.session() as connection, connection.transaction():
                count, start = await drive_async(_purge_steps(seconds, start), connection)
            removed += count
            if progress is not None:
                progress(removed)
        async with self._pool.session() as connection:
            await connection.execute(_PURGE_REFUSED, (seconds - REFUSALS_KEPT_SECONDS,))
        return removed

    async def check(self, *, leeway: timedelta = DEFAULT_LEEWAY) -> StoreReport:
        """As `PostgresReplayStore.check`."""
        async with self._pool.session() as connection:
            return await drive_async(_check_steps(self._clock, leeway), connection)

    async def stats(self) -> StoreStats:
        """As `PostgresReplayStore.stats`."""
        async with self._pool.session() as connection:
            return await drive_async(_stats_steps(), connection)

    async def trace(self, handoff_id: str) -> ReplayTrace:
        """As `PostgresReplayStore.trace`."""
        return await self._pool.run(lambda: _trace_steps(handoff_id))

    async def aclose(self) -> None:
        """End this event loop's batch in flight. The pool stays open. The store cannot be used afterwards."""
        await self._commits.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        while True:
            try:
                async with self._pool.borrowed(deadline, self._in_use) as connection:
                    cursor = connection.cursor(row_factory=tuple_row)
                    await cursor.execute(*_statement(entries, self._outbox is not None))
                    return _outcomes(entries, await cursor.fetchall())
            except LostConnectionError as exc:
                if asyncio.get_running_loop().time() >= deadline:
                    return exc.error
            except ReplayStoreError as exc:
                return [exc] if len(entries) == 1 and _is_refusal(exc) else exc

    async def _note(self, entries: Sequence[Entry], deadline: float) -> None:
        try:
            async with self._pool.borrowed(deadline, self._in_use) as connection:
                await connection.execute(_NOTE, _columns(entries))
        except (ReplayStoreError, LostConnectionError):
            return  # best effort: the decision stands without the note


def _purge_steps(now: int, start: UUID) -> Steps[tuple[int, UUID | None]]:
    """How many were removed, and where the next chunk begins; None if this was the last."""
    newest = yield _NEWEST, ()
    if not newest:
        return 0, None
    cutoff = purge_cutoff(now, handoff_id_seconds(newest[0][0]))
    # The mark and the removal in one transaction: an id that was forgotten can never be taken for a new one.
    yield _RAISE_MARK, (cutoff, cutoff)
    end = UUID(int=(cutoff * 1000) << 80)
    chunk_end = yield _CHUNK_END, (start, end, PURGE_CHUNK)
    upto: UUID | None = chunk_end[0][0] if chunk_end else None
    removed = yield _PURGE, (start, upto or end)
    return int(removed[0][0]), upto


def _check_steps(clock: Callable[[], float], leeway: timedelta) -> Steps[StoreReport]:
    ((version, fsync, full_pages, commit, isolation, replica, theirs, persistence, function),) = yield _SETTINGS, ()
    ours = read_clock(clock)
    found = [
        Hazard(code, text, remedy)
        for present, code, text, remedy in (
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
        )
        if present
    ]
    schema = "none"
    oldest: list[Row] = []
    newest: list[Row] = []
    if persistence is not None:
        versions = yield _SCHEMA_VERSION, ()
        schema = str(versions[0][0]) if versions else "none"
        oldest = yield _OLDEST, ()
        newest = yield _NEWEST, ()
    if schema != str(SCHEMA_VERSION) or not function:
        found.append(
            Hazard(
                "schema_version",
                f"the schema has version {schema}{'' if function else ', without its function'}; this release needs"
                f" {SCHEMA_VERSION}",
                "run `ghasi-handoff store init`, or the migration of this release",
            )
        )
    found += clock_hazards(ours, theirs, handoff_id_seconds(newest[0][0]) if newest else None, leeway)
    found += purge_hazards(ours, handoff_id_seconds(oldest[0][0]) if oldest else None)
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


def _stats_steps() -> Steps[StoreStats]:
    ((estimate, counted, mark, refused, outbox, size),) = yield _STATS, (COUNTED_EXACTLY,)
    oldest = yield _OLDEST, ()
    newest = yield _NEWEST, ()
    return StoreStats(
        entries=counted if counted < COUNTED_EXACTLY else max(estimate, counted),
        oldest_at=handoff_id_seconds(oldest[0][0]) if oldest else None,
        newest_at=handoff_id_seconds(newest[0][0]) if newest else None,
        purged_before=mark,
        refused=refused,
        outbox=outbox,
        size_bytes=size,
    )


def _trace_steps(handoff_id: str) -> Steps[ReplayTrace]:
    records = yield _RECORDS_OF_ONE, (handoff_id,)
    refusals = yield _REFUSALS_OF_ONE, (handoff_id,)
    waiting = yield OF_ONE, (handoff_id,)
    return ReplayTrace(
        tuple(ReplayRecord(*row) for row in records),
        tuple(ReplayRefusal(*row) for row in refusals),
        tuple(OutboxEntry(*row) for row in waiting),
    )


def _require_version(row: Row | None) -> None:
    version = next(iter(row.values()) if isinstance(row, dict) else iter(row)) if row else None
    if version != SCHEMA_VERSION:
        raise ReplayStoreError(f"PostgreSQL: the schema has version {version}; this release needs {SCHEMA_VERSION}")


def _statement(entries: Sequence[Entry], outbox: bool) -> tuple[LiteralString, tuple[Any, ...]]:
    first = entries[0]  # they are sorted by id, so also the oldest
    seconds = handoff_id_seconds(first.handoff_id)
    if len(entries) == 1:
        return _CONSUME, (*first, seconds, outbox)
    return _CONSUME_MANY, (*_columns(entries), seconds, outbox)


def _columns(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(_array(column) for column in zip(*entries, strict=True))


def _array(values: Sequence[object]) -> str:
    r"""A PostgreSQL array literal. The driver's own way through a list costs as much as the commit of the batch.

    >>> print(_array(["a", 'b"c', "NULL", "", 7]))
    {"a","b\"c","NULL","","7"}
    """
    return "{" + ",".join('"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values) + "}"


def _outcomes(entries: Sequence[Entry], rows: Sequence[Row]) -> list[Outcome]:
    if len(entries) == 1:
        ((holder, consumed_at, first),) = rows
        return [Consumption(holder, first=first, consumed_at=consumed_at)]
    held = {(handoff_id, scope): (holder, at) for handoff_id, scope, holder, at in rows}
    outcomes: list[Outcome] = []
    for entry in entries:
        holder, consumed_at = held.get(entry.key, entry[2:])
        outcomes.append(Consumption(holder, first=entry.key not in held, consumed_at=consumed_at))
    return outcomes


def _is_refusal(error: ReplayStoreError) -> bool:
    """Whether the server judged the entry, so that asking again gives the same."""
    return getattr(error.__cause__, "sqlstate", None) in (PURGED, WRONG_ISOLATION)
