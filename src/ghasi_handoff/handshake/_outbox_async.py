"""outbox entries -> bff-consumer -> settled, tried again later, or given up after a day."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ghasi_handoff import errors
from ghasi_handoff._limits import (
    DELIVERY_BATCH,
    DELIVERY_GIVEN_UP_SECONDS,
    DELIVERY_LEASE_SECONDS,
    OUTBOX_AGE_EVERY_SECONDS,
    OUTBOX_POLL_SECONDS,
)
from ghasi_handoff._require import require
from ghasi_handoff._times import read_clock
from ghasi_handoff.handshake import _events as events
from ghasi_handoff.handshake._deliveries import Deliveries, next_try, require_mode
from ghasi_handoff.handshake._steps import Step, reached
from ghasi_handoff.replay import OutboxEntry, Scope


class AsyncOutboxWorker:
    """Delivers what waits in the store's outbox. Run one in each process, or many replicas of a process of its own.

    No two workers deliver the same entry at once; if one dies, another takes its entries over after two minutes.
    Should an entry be delivered twice all the same, bff-consumer gives the same answer.

    Args:
        store: A replay store with an outbox, of one pair of issuer and audience: whatever waits in it is delivered.
        client: Calls bff-consumer.
        mode: The handshake's. In strict mode a delivery by the worker is reported as an abandoned redemption.
        on_event: Gets each `HandoffEvent`.
        clock: Returns Unix seconds.
        randbelow: Returns a random integer from 0 to below its argument, for the jitter.

    Raises:
        ConfigurationError: The store has no outbox, or an argument has the wrong type.
    """

    def __init__(
        self,
        store: object,
        client: object,
        *,
        mode: str = "strict",
        on_event: events.OnEvent | None = None,
        clock: Callable[[], float] = time.time,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        outbox = getattr(store, "outbox", None)
        if outbox is None:
            text = f"the store has no outbox; {type(store).__name__}(…, outbox=True) of SQLite or PostgreSQL has one"
            raise errors.ConfigurationError(text)
        require_mode(mode)
        self._outbox: Any = require(outbox, "lease", awaited=True, name="outbox", kind="AsyncOutbox")
        self._client: Any = require(client, "consume", awaited=True, name="client", kind="AsyncConsumeClient")
        self._mode = mode
        self._reporter = events.Reporter(on_event)
        self._clock = clock
        self._randbelow = randbelow
        self._age_said_at = -OUTBOX_AGE_EVERY_SECONDS

    async def deliver(self, *, limit: int = DELIVERY_BATCH, whether_due: bool = True) -> Deliveries:
        """Take up to `limit` (at most 32) entries that are due and deliver them, one after the other.

        With `whether_due` False, entries are taken before their time, too.

        Raises:
            ReplayStoreError: The store cannot be used. What was taken is due again after two minutes.
        """
        entries: list[OutboxEntry] = await self._outbox.lease(
            self._now(), limit=min(limit, DELIVERY_BATCH), seconds=DELIVERY_LEASE_SECONDS, whether_due=whether_due
        )
        if entries:
            reached(Step.DELIVERY_LEASED)
        return Deliveries(**Counter([await self._deliver(entry) for entry in entries]))

    if True:  # ASYNC

        async def run(self) -> None:
            """Deliver until the task is cancelled. What fails is logged and tried again."""
            while True:
                if await self._delivered() == 0:
                    await asyncio.sleep(self._pause())

    else:

        def run(self, stop: threading.Event) -> None:
            """Deliver until `stop` is set. What fails is logged and tried again; nothing ends this but `stop`."""
            while not stop.is_set():
                if self._delivered() == 0:
                    stop.wait(self._pause())

    async def _delivered(self) -> int:
        try:
            done = await self.deliver()
            await self._age()
        except Exception as exc:  # any error: a worker that has ended delivers nothing, and nobody notices
            self._reporter.warn(exc)
            return 0
        return done.total

    def _pause(self) -> float:
        return OUTBOX_POLL_SECONDS * (0.5 + self._randbelow(1000) / 1000)

    async def _deliver(self, entry: OutboxEntry) -> str:
        """Deliver one entry. What came of it, as a field of `Deliveries`."""
        scope = Scope.parse(entry.scope)
        facts = {"handoff_id": entry.handoff_id, "redemption_id": entry.redemption_id}
        report = self._reporter.report
        try:
            # Signed by the client as it sends: what waits in the outbox may be a day old.
            await self._client.consume(
                entry.handoff_id,
                issuer=scope.issuer,
                audience=scope.audience,
                redemption_id=entry.redemption_id,
                consumed_at=entry.consumed_at,
            )
        except errors.ReplayedTokenError:
            report(events.LocalRowLost(deferred=self._mode == "deferred", **facts))
            await self._settle(entry)
            return "refused"
        except (errors.RevokedHandoffError, errors.ExpiredTokenError) as exc:
            report(events.DeliveryRefused(code=exc.code, **facts))
            await self._settle(entry)
            return "refused"
        except errors.ConfirmationUnavailableError as exc:
            if exc.reason == "status_404":
                report(events.HandoffUnknown(**facts))
            return await self._not_now(entry, exc.reason)
        except errors.KeyRingError:
            return await self._not_now(entry, "no_signing_key")
        except errors.InvalidHandoffInputError:
            # Not written by a redeemer. It can never be signed, and must not hold up the others.
            return await self._give_up(entry, "invalid_entry")
        reached(Step.DELIVERY_ANSWERED)
        await self._settle(entry)
        reached(Step.DELIVERY_SETTLED)
        if self._mode == "strict":
            report(events.RedemptionAbandoned(age_seconds=self._now() - entry.consumed_at, **facts))
        return "delivered"

    async def _not_now(self, entry: OutboxEntry, reason: str) -> str:
        now = self._now()
        if now - entry.consumed_at >= DELIVERY_GIVEN_UP_SECONDS:
            return await self._give_up(entry, reason)
        due_at = next_try(now, entry.attempts, self._randbelow)
        await self._outbox.postpone(entry, due_at=due_at, outcome=reason)
        return "postponed"

    async def _give_up(self, entry: OutboxEntry, reason: str) -> str:
        now = self._now()
        await self._outbox.bury(entry, dead_at=now, outcome=reason)
        facts = {"handoff_id": entry.handoff_id, "redemption_id": entry.redemption_id, "reason": reason}
        self._reporter.report(events.DeliveryGivenUp(age_seconds=now - entry.consumed_at, **facts))
        return "given_up"

    async def _settle(self, entry: OutboxEntry) -> None:
        await self._outbox.settle(entry.handoff_id, entry.scope, entry.redemption_id)

    async def _age(self) -> None:
        if time.monotonic() - self._age_said_at < OUTBOX_AGE_EVERY_SECONDS:
            return
        stats = await self._outbox.stats()
        oldest = stats.oldest_consumed_at
        age = 0 if oldest is None else max(0, self._now() - oldest)
        self._reporter.report(events.OutboxAge(pending=stats.pending, dead=stats.dead, age_seconds=age))
        self._age_said_at = time.monotonic()

    def _now(self) -> int:
        return int(read_clock(self._clock))
