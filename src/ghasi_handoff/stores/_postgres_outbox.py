"""The outbox of the PostgreSQL store: leased, settled, postponed, given up. The winning consume writes its entries."""

from __future__ import annotations

from typing import Final

from ghasi_handoff.replay import OutboxEntry, OutboxStats
from ghasi_handoff.stores._postgres_pool import AsyncPostgresPool, PostgresPool, Steps

_COLUMNS: Final = "handoff_id::text, scope, redemption_id, consumed_at, attempts, due_at, dead_at, outcome"
_KEY: Final = "handoff_id = %s AND scope = %s AND redemption_id = %s"
# A lease is a new due_at: when its worker dies, the entry is due again, and nobody has to notice. SKIP LOCKED: two
# workers at once take different entries instead of waiting for each other.
_LEASE: Final = """
WITH due AS MATERIALIZED (
    SELECT handoff_id, scope FROM handoff_outbox
    WHERE dead_at IS NULL AND due_at <= %s AND consumed_at <= %s ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE handoff_outbox o SET due_at = %s, attempts = o.attempts + 1
FROM due WHERE o.handoff_id = due.handoff_id AND o.scope = due.scope
RETURNING o.handoff_id::text, o.scope, o.redemption_id, o.consumed_at, o.attempts, o.due_at, o.dead_at, o.outcome
"""
_SETTLE: Final = f"DELETE FROM handoff_outbox WHERE {_KEY}"  # noqa: S608
_POSTPONE: Final = f"UPDATE handoff_outbox SET due_at = %s, outcome = %s WHERE dead_at IS NULL AND {_KEY}"  # noqa: S608
_BURY: Final = f"UPDATE handoff_outbox SET dead_at = %s, outcome = %s WHERE dead_at IS NULL AND {_KEY}"  # noqa: S608
_REVIVE: Final = "UPDATE handoff_outbox SET dead_at = NULL, due_at = 0 WHERE dead_at IS NOT NULL"
_ENTRIES: Final = f"SELECT {_COLUMNS} FROM handoff_outbox ORDER BY dead_at IS NULL, consumed_at LIMIT %s"  # noqa: S608
_STATS: Final = """
SELECT count(*) - count(dead_at), count(dead_at), min(consumed_at) FILTER (WHERE dead_at IS NULL) FROM handoff_outbox
"""
OF_ONE: Final = f"SELECT {_COLUMNS} FROM handoff_outbox WHERE handoff_id = %s"  # noqa: S608
_ANY_TIME: Final = 2**62


class PostgresOutbox:
    """See `ghasi_handoff.replay.Outbox`.

    Args:
        pool: The store's pool.
        delay: Seconds after its redemption before an entry can be leased.
    """

    def __init__(self, pool: PostgresPool, delay: int) -> None:
        self._pool = pool
        self._delay = delay

    def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        return self._pool.run(lambda: _lease(now, self._delay, limit, seconds, whether_due))

    def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return self._pool.run(lambda: _settle(handoff_id, scope, redemption_id)) > 0

    def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        self._pool.run(lambda: _postpone(entry, due_at, outcome))

    def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        self._pool.run(lambda: _bury(entry, dead_at, outcome))

    def revive(self) -> int:
        """See `Outbox.revive`."""
        return self._pool.run(_revive)

    def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        return self._pool.run(lambda: _entries(limit))

    def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        return self._pool.run(_stats)


class AsyncPostgresOutbox:
    """`PostgresOutbox` for asyncio."""

    def __init__(self, pool: AsyncPostgresPool, delay: int) -> None:
        self._pool = pool
        self._delay = delay

    async def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        return await self._pool.run(lambda: _lease(now, self._delay, limit, seconds, whether_due))

    async def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return await self._pool.run(lambda: _settle(handoff_id, scope, redemption_id)) > 0

    async def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        await self._pool.run(lambda: _postpone(entry, due_at, outcome))

    async def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        await self._pool.run(lambda: _bury(entry, dead_at, outcome))

    async def revive(self) -> int:
        """See `Outbox.revive`."""
        return await self._pool.run(_revive)

    async def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        return await self._pool.run(lambda: _entries(limit))

    async def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        return await self._pool.run(_stats)


def _lease(now: int, delay: int, limit: int, seconds: int, whether_due: bool) -> Steps[list[OutboxEntry]]:
    latest = (now, now - delay) if whether_due else (_ANY_TIME, _ANY_TIME)
    rows = yield _LEASE, (*latest, limit, now + seconds)
    return sorted((OutboxEntry(*row) for row in rows), key=lambda entry: entry.consumed_at)


def _settle(handoff_id: str, scope: str, redemption_id: str) -> Steps[int]:
    ((count,),) = yield _SETTLE, (handoff_id, scope, redemption_id)
    return int(count)


def _postpone(entry: OutboxEntry, due_at: int, outcome: str) -> Steps[None]:
    yield _POSTPONE, (due_at, outcome, entry.handoff_id, entry.scope, entry.redemption_id)


def _bury(entry: OutboxEntry, dead_at: int, outcome: str) -> Steps[None]:
    yield _BURY, (dead_at, outcome, entry.handoff_id, entry.scope, entry.redemption_id)


def _revive() -> Steps[int]:
    ((count,),) = yield _REVIVE, ()
    return int(count)


def _entries(limit: int) -> Steps[list[OutboxEntry]]:
    rows = yield _ENTRIES, (limit,)
    return [OutboxEntry(*row) for row in rows]


def _stats() -> Steps[OutboxStats]:
    ((pending, dead, oldest),) = yield _STATS, ()
    return OutboxStats(pending, dead, oldest)
