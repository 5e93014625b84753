"""The outbox of the SQLite store: leased, settled, postponed, given up. The winning consume writes its entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ghasi_handoff.replay import OutboxEntry, OutboxStats
from ghasi_handoff.stores._shared_sql import SharedSQL, lease_bounds, leased, outbox_entries, outbox_key
from ghasi_handoff.stores.sqlite._file import SQLiteFile

_SQL: Final = SharedSQL("?")
# A lease is a new due_at: when its worker dies, the entry is due again, and nobody has to notice.
_LEASE: Final = f"""
UPDATE handoff_outbox SET due_at = ?, attempts = attempts + 1 WHERE (handoff_id, scope) IN (
    SELECT handoff_id, scope FROM handoff_outbox
    WHERE dead_at IS NULL AND due_at <= ? AND consumed_at <= ? ORDER BY due_at LIMIT ?)
RETURNING {_SQL.outbox_columns}
"""  # noqa: S608 - constants only


class SQLiteOutbox:
    """See `ghasi_handoff.replay.Outbox`. In the file of its replay store."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        with self._file.session() as connection:
            rows = connection.execute(_LEASE, (now + seconds, *lease_bounds(now, whether_due), limit)).fetchall()
        return leased(rows)

    def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        return self._change(_SQL.settle, (handoff_id, scope, redemption_id)) > 0

    def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        self._change(_SQL.postpone, (due_at, outcome, *outbox_key(entry)))

    def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        self._change(_SQL.bury, (dead_at, outcome, *outbox_key(entry)))

    def revive(self) -> int:
        """See `Outbox.revive`."""
        return self._change(_SQL.revive)

    def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        with self._file.reader() as connection:
            return outbox_entries(connection.execute(_SQL.outbox_entries, (limit,)))

    def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        with self._file.reader() as connection:
            return OutboxStats(*connection.execute(_SQL.outbox_stats).fetchone())

    def _change(self, statement: str, arguments: Sequence[Any] = ()) -> int:
        with self._file.session() as connection:
            return connection.execute(statement, arguments).rowcount
