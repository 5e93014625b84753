"""The outbox of the SQLite store: leased, settled, postponed, given up. The winning consume writes its entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ghasi_handoff._limits import OUTBOX_DELAY_SECONDS
from ghasi_handoff.replay import OutboxEntry, OutboxStats
from ghasi_handoff.stores.sqlite._file import SQLiteFile

_COLUMNS: Final = "handoff_id, scope, redemption_id, consumed_at, attempts, due_at, dead_at, outcome"
_KEY: Final = "handoff_id = ? AND scope = ? AND redemption_id = ?"
# A lease is a new due_at: when its worker dies, the entry is due again, and nobody has to notice.
_LEASE: Final = f"""
UPDATE handoff_outbox SET due_at = ?, attempts = attempts + 1 WHERE (handoff_id, scope) IN (
    SELECT handoff_id, scope FROM handoff_outbox
    WHERE dead_at IS NULL AND due_at <= ? AND consumed_at <= ? ORDER BY due_at LIMIT ?)
RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_SETTLE: Final = f"DELETE FROM handoff_outbox WHERE {_KEY}"  # noqa: S608
_POSTPONE: Final = f"UPDATE handoff_outbox SET due_at = ?, outcome = ? WHERE dead_at IS NULL AND {_KEY}"  # noqa: S608
_BURY: Final = f"UPDATE handoff_outbox SET dead_at = ?, outcome = ? WHERE dead_at IS NULL AND {_KEY}"  # noqa: S608
_REVIVE: Final = "UPDATE handoff_outbox SET dead_at = NULL, due_at = 0 WHERE dead_at IS NOT NULL"
_ENTRIES: Final = f"SELECT {_COLUMNS} FROM handoff_outbox ORDER BY dead_at IS NULL, consumed_at LIMIT ?"  # noqa: S608
_STATS: Final = (
    "SELECT count(*) - count(dead_at), count(dead_at), min(iif(dead_at IS NULL, consumed_at, NULL)) FROM handoff_outbox"
)
OF_ONE: Final = f"SELECT {_COLUMNS} FROM handoff_outbox WHERE handoff_id = ?"  # noqa: S608
ANY_TIME: Final = 2**62


class SQLiteOutbox:
    """See `ghasi_handoff.replay.Outbox`. In the file of its replay store."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """See `Outbox.lease`."""
        latest = (now, now - OUTBOX_DELAY_SECONDS) if whether_due else (ANY_TIME, ANY_TIME)
        rows = self._write(_LEASE, (now + seconds, *latest, limit))
        return sorted((OutboxEntry(*row) for row in rows), key=lambda entry: entry.consumed_at)

    def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """See `Outbox.settle`."""
        with self._file.session() as connection:
            return connection.execute(_SETTLE, (handoff_id, scope, redemption_id)).rowcount > 0

    def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """See `Outbox.postpone`."""
        self._write(_POSTPONE, (due_at, outcome, entry.handoff_id, entry.scope, entry.redemption_id))

    def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """See `Outbox.bury`."""
        self._write(_BURY, (dead_at, outcome, entry.handoff_id, entry.scope, entry.redemption_id))

    def revive(self) -> int:
        """See `Outbox.revive`."""
        with self._file.session() as connection:
            return connection.execute(_REVIVE).rowcount

    def entries(self, *, limit: int) -> list[OutboxEntry]:
        """See `Outbox.entries`."""
        with self._file.reader() as connection:
            return [OutboxEntry(*row) for row in connection.execute(_ENTRIES, (limit,))]

    def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        with self._file.reader() as connection:
            return OutboxStats(*connection.execute(_STATS).fetchone())

    def _write(self, statement: str, arguments: Sequence[Any]) -> list[Any]:
        with self._file.session() as connection:
            return connection.execute(statement, arguments).fetchall()
