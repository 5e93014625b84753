"""The protocol of an outbox, for asyncio: redemptions wait in it until the issuer has been told. No I/O."""

from __future__ import annotations

from typing import Protocol

from ghasi_handoff._store_reports import OutboxEntry, OutboxStats


class AsyncOutbox(Protocol):
    """The redemptions of which the issuer is still to be told. A store writes each in the consume's transaction."""

    async def lease(self, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> list[OutboxEntry]:
        """Take up to `limit` entries that are due; no other worker gets them for `seconds`, unless settled before.

        Args:
            now: Unix seconds.
            limit: At most so many, the longest due first.
            seconds: A worker that dies gives its entries back after this time.
            whether_due: False takes entries before their time, too.
        """
        ...

    async def settle(self, handoff_id: str, scope: str, redemption_id: str) -> bool:
        """Remove an entry: the issuer has given its final answer. Whether it was there."""
        ...

    async def postpone(self, entry: OutboxEntry, *, due_at: int, outcome: str) -> None:
        """Try `entry` again at `due_at`."""
        ...

    async def bury(self, entry: OutboxEntry, *, dead_at: int, outcome: str) -> None:
        """Give up on `entry`, but keep it: an operator decides."""
        ...

    async def revive(self) -> int:
        """Make every entry that was given up due again. How many there were."""
        ...

    async def entries(self, *, limit: int) -> list[OutboxEntry]:
        """Up to `limit` entries, the dead ones first, then the oldest. Changes nothing."""
        ...

    async def stats(self) -> OutboxStats:
        """How much waits."""
        ...
