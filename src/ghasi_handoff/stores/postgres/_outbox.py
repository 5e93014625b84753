# Generated from _outbox_async.py by tools/sync_twins.py. Do not edit.
"""The outbox of the PostgreSQL store: leased, settled, postponed, given up. The winning consume writes its entries."""

from __future__ import annotations

from typing import Final

from ghasi_handoff.replay import OutboxEntry, OutboxStats
from ghasi_handoff.stores._shared_sql import lease_bounds, leased, outbox_key
from ghasi_handoff.stores.postgres._pool import PostgresPool
from ghasi_handoff.stores.postgres._statements import SQL

# A lease is a new due_at: when its worker dies, the entry is due again, and nobody has to notice. SKIP LOCKED: two
# workers at once take different entries instead of waiting for each other.
LEASE: Final = f"""
WITH due (id, of_scope) AS MATERIALIZED (
    SELECT handoff_id, scope FROM handoff_outbox
    WHERE dead_at IS NULL AND due_at <= %s AND consumed_at <= %s ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE handoff_outbox SET due_at = %s, attempts = attempts + 1
FROM due WHERE handoff_id = id AND scope = of_scope
RETURNING {SQL.outbox_columns}
"""  # noqa: S608 - constants only


class PostgresOutbox:
    """See `ghasi_handoff.replay.Outbox`. In the database of its replay store."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        return leased(self._pool.fetch(LEASE, (*lease_bounds(now, whether_due), limit, now + seconds)))

    def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return self._pool.change(SQL.settle, (handoff_id, scope, redemption_id)) > 0

    def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        self._pool.change(SQL.postpone, (due_at, outcome, *outbox_key(entry)))

    def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        self._pool.change(SQL.bury, (dead_at, outcome, *outbox_key(entry)))

    def revive(self) -> int:
        """See `Outbox.revive`."""
        return self._pool.change(SQL.revive)

    def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        return [OutboxEntry(*row) for row in self._pool.fetch(SQL.outbox_entries, (limit,))]

    def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        (row,) = self._pool.fetch(SQL.outbox_stats)
        return OutboxStats(*row)
