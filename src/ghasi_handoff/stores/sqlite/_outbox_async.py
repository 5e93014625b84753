"""The outbox of the SQLite store: leased, settled, postponed, given up. The winning consume writes its entries."""

from __future__ import annotations

import asyncio
from typing import Final

from ghasi_handoff.replay import OutboxEntry, OutboxStats
from ghasi_handoff.stores._shared_sql import SharedSQL, lease_bounds, leased, outbox_key
from ghasi_handoff.stores.sqlite._file import SQLiteFile

_SQL: Final = SharedSQL("?")
# A lease is a new due_at: when its worker dies, the entry is due again, and nobody has to notice.
_LEASE: Final = f"""
UPDATE handoff_outbox SET due_at = ?, attempts = attempts + 1 WHERE (handoff_id, scope) IN (
    SELECT handoff_id, scope FROM handoff_outbox
    WHERE dead_at IS NULL AND due_at <= ? AND consumed_at <= ? ORDER BY due_at LIMIT ?)
RETURNING {_SQL.outbox_columns}
"""  # noqa: S608 - constants only


class AsyncSQLiteOutbox:
    """See `ghasi_handoff.replay.AsyncOutbox`. In the file of its replay store."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    async def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        arguments = (now + seconds, *lease_bounds(now, whether_due), limit)
        return await asyncio.to_thread(self._file.use, lambda connection: leased(connection.execute(_LEASE, arguments)))

    async def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return await asyncio.to_thread(self._file.change, _SQL.settle, (handoff_id, scope, redemption_id)) > 0

    async def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        await asyncio.to_thread(self._file.change, _SQL.postpone, (due_at, outcome, *outbox_key(entry)))

    async def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        await asyncio.to_thread(self._file.change, _SQL.bury, (dead_at, outcome, *outbox_key(entry)))

    async def revive(self) -> int:
        """See `Outbox.revive`."""
        return await asyncio.to_thread(self._file.change, _SQL.revive)

    async def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        rows = await asyncio.to_thread(self._file.select, _SQL.outbox_entries, (limit,))
        return [OutboxEntry(*row) for row in rows]

    async def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        (row,) = await asyncio.to_thread(self._file.select, _SQL.outbox_stats)
        return OutboxStats(*row)
