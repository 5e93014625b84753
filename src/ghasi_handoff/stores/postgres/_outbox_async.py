"""The outbox of the PostgreSQL store: leased, settled, postponed, given up. The winning consume writes its entries."""

from __future__ import annotations

from typing import Final

from ghasi_handoff._limits import OUTBOX_DELAY_SECONDS
from ghasi_handoff.replay import OutboxEntry, OutboxStats
from ghasi_handoff.stores.postgres._pool_async import AsyncPostgresPool

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


class AsyncPostgresOutbox:
    """See `ghasi_handoff.replay.AsyncOutbox`. In the database of its replay store."""

    def __init__(self, pool: AsyncPostgresPool) -> None:
        self._pool = pool

    async def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        latest = (now, now - OUTBOX_DELAY_SECONDS) if whether_due else (_ANY_TIME, _ANY_TIME)
        rows = await self._pool.fetch(_LEASE, (*latest, limit, now + seconds))
        return sorted((OutboxEntry(*row) for row in rows), key=lambda entry: entry.consumed_at)

    async def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return await self._pool.change(_SETTLE, (handoff_id, scope, redemption_id)) > 0

    async def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        await self._pool.change(_POSTPONE, (due_at, outcome, entry.handoff_id, entry.scope, entry.redemption_id))

    async def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        await self._pool.change(_BURY, (dead_at, outcome, entry.handoff_id, entry.scope, entry.redemption_id))

    async def revive(self) -> int:
        """See `Outbox.revive`."""
        return await self._pool.change(_REVIVE)

    async def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        return [OutboxEntry(*row) for row in await self._pool.fetch(_ENTRIES, (limit,))]

    async def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        ((pending, dead, oldest),) = await self._pool.fetch(_STATS)
        return OutboxStats(pending, dead, oldest)
