"""outbox entries -> bff-consumer -> settled, tried again later, or given up after a day. `OutboxWorker`."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from ghasi_handoff._encoding import read_clock
from ghasi_handoff.errors import (
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    InvalidHandoffInputError,
    KeyRingError,
    ReplayedTokenError,
    RevokedHandoffError,
)
from ghasi_handoff.handshake._course import Course, drive, drive_async
from ghasi_handoff.handshake._events import (
    DeliveryGivenUp,
    DeliveryRefused,
    HandoffUnknown,
    LocalRowLost,
    OnEvent,
    OutboxAge,
    RedemptionAbandoned,
    Reporter,
)
from ghasi_handoff.handshake._steps import Step, reached
from ghasi_handoff.replay import OutboxEntry

GIVEN_UP_SECONDS: Final = 24 * 3600
LEASE_SECONDS: Final = 120
BATCH: Final = 32  # a lease's time is enough for so many calls that all time out
FIRST_WAIT_SECONDS: Final = 1
LONGEST_WAIT_SECONDS: Final = 300
POLL_SECONDS: Final = 1.0
AGE_EVERY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What a worker did.

    Attributes:
        delivered: Entries that bff-consumer confirmed.
        refused: Entries that it refused for good: revoked, too late, or another's.
        postponed: Entries to be tried again later.
        given_up: Entries that are kept, but tried no more.
    """

    delivered: int = 0
    refused: int = 0
    postponed: int = 0
    given_up: int = 0

    @property
    def total(self) -> int:
        """How many entries were taken."""
        return self.delivered + self.refused + self.postponed + self.given_up


def next_try(now: int, attempts: int, randbelow: Callable[[int], int]) -> int:
    """When to try again, Unix seconds: full jitter, from 1 s to at most 5 min as the attempts go on.

    Full jitter: after an outage a thousand entries must not come back in the same second.
    """
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempts, 16))
    return now + FIRST_WAIT_SECONDS + randbelow(longest)


class _WorkerCore:
    """What both workers share: what becomes of an entry."""

    def __init__(
        self,
        store: object,
        client: object,
        mode: str,
        on_event: OnEvent | None,
        clock: Callable[[], float],
        randbelow: Callable[[int], int],
        *,
        awaited: bool,
    ) -> None:
        outbox = getattr(store, "outbox", None)
        if outbox is None:
            name = type(store).__name__
            raise ConfigurationError(f"the store has no outbox: {name}(…, outbox=True) of SQLite or PostgreSQL has one")
        for part, method, kind in ((outbox, "lease", "outbox"), (client, "consume", "client")):
            call = getattr(part, method, None)
            if not callable(call) or inspect.iscoroutinefunction(call) is not awaited:
                wanted = "asyncio" if awaited else "threads"
                raise ConfigurationError(f"the {kind} is none for {wanted}: {type(part).__name__}")
        if mode not in ("strict", "deferred"):
            raise ConfigurationError('mode must be "strict" or "deferred"')
        self._outbox: Any = outbox
        self._client: Any = client
        self._mode = mode
        self._reporter = Reporter(on_event)
        self._clock = clock
        self._randbelow = randbelow
        self._age_said_at = -AGE_EVERY_SECONDS

    def _batch(self, limit: int, whether_due: bool) -> Course[Deliveries]:
        now = int(read_clock(self._clock))
        entries: list[OutboxEntry] = yield lambda: self._outbox.lease(
            now, limit=min(limit, BATCH), seconds=LEASE_SECONDS, whether_due=whether_due
        )
        if entries:
            reached(Step.DELIVERY_LEASED)
        done = Deliveries()
        for entry in entries:
            done = yield from self._deliver(entry, done)
        return done

    def _deliver(self, entry: OutboxEntry, done: Deliveries) -> Course[Deliveries]:
        issuer, _, audience = entry.scope.partition("\n")
        try:
            # Signed by the client as it sends: what waits in the outbox may be a day old.
            yield lambda: self._client.consume(
                entry.handoff_id,
                issuer=issuer,
                audience=audience,
                redemption_id=entry.redemption_id,
                consumed_at=entry.consumed_at,
            )
        except ReplayedTokenError:
            deferred = self._mode == "deferred"
            self._reporter.report(
                LocalRowLost(handoff_id=entry.handoff_id, redemption_id=entry.redemption_id, deferred=deferred)
            )
            yield from self._settle(entry)
            return replace(done, refused=done.refused + 1)
        except (RevokedHandoffError, ExpiredTokenError) as exc:
            self._reporter.report(
                DeliveryRefused(handoff_id=entry.handoff_id, redemption_id=entry.redemption_id, code=exc.code)
            )
            yield from self._settle(entry)
            return replace(done, refused=done.refused + 1)
        except ConfirmationUnavailableError as exc:
            if exc.reason == "status_404":
                self._reporter.report(HandoffUnknown(handoff_id=entry.handoff_id, redemption_id=entry.redemption_id))
            return (yield from self._not_now(entry, exc.reason, done))
        except KeyRingError:
            return (yield from self._not_now(entry, "no_signing_key", done))
        except InvalidHandoffInputError:
            # Written by something else than a redeemer. It can never be signed, and must not hold up the others.
            return (yield from self._give_up(entry, "invalid_entry", done))
        reached(Step.DELIVERY_ANSWERED)
        yield from self._settle(entry)
        reached(Step.DELIVERY_SETTLED)
        if self._mode == "strict":
            age = int(read_clock(self._clock)) - entry.consumed_at
            event = RedemptionAbandoned(handoff_id=entry.handoff_id, redemption_id=entry.redemption_id, age_seconds=age)
            self._reporter.report(event)
        return replace(done, delivered=done.delivered + 1)

    def _not_now(self, entry: OutboxEntry, reason: str, done: Deliveries) -> Course[Deliveries]:
        now = int(read_clock(self._clock))
        if now - entry.consumed_at >= GIVEN_UP_SECONDS:
            return (yield from self._give_up(entry, reason, done))
        due_at = next_try(now, entry.attempts, self._randbelow)
        yield lambda: self._outbox.postpone(entry, due_at=due_at, outcome=reason)
        return replace(done, postponed=done.postponed + 1)

    def _give_up(self, entry: OutboxEntry, reason: str, done: Deliveries) -> Course[Deliveries]:
        now = int(read_clock(self._clock))
        yield lambda: self._outbox.bury(entry, dead_at=now, outcome=reason)
        age = now - entry.consumed_at
        event = DeliveryGivenUp(
            handoff_id=entry.handoff_id, redemption_id=entry.redemption_id, age_seconds=age, reason=reason
        )
        self._reporter.report(event)
        return replace(done, given_up=done.given_up + 1)

    def _settle(self, entry: OutboxEntry) -> Course[None]:
        yield lambda: self._outbox.settle(entry.handoff_id, entry.scope, entry.redemption_id)

    def _age(self) -> Course[None]:
        if time.monotonic() - self._age_said_at < AGE_EVERY_SECONDS:
            return
        stats = yield lambda: self._outbox.stats()
        oldest = stats.oldest_consumed_at
        age = 0 if oldest is None else max(0, int(read_clock(self._clock)) - oldest)
        self._reporter.report(OutboxAge(pending=stats.pending, dead=stats.dead, age_seconds=age))
        self._age_said_at = time.monotonic()


class OutboxWorker(_WorkerCore):
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
        ConfigurationError: The store has no outbox, or an argument is something else.
    """

    def __init__(
        self,
        store: object,
        client: object,
        *,
        mode: str = "strict",
        on_event: OnEvent | None = None,
        clock: Callable[[], float] = time.time,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        super().__init__(store, client, mode, on_event, clock, randbelow, awaited=False)

    def deliver(self, *, limit: int = BATCH, whether_due: bool = True) -> Deliveries:
        """Take up to `limit` (at most 32) entries that are due and deliver them, one after the other.

        Args:
            limit: At most so many.
            whether_due: False takes entries before their time, too.

        Raises:
            ReplayStoreError: The store cannot be used. What was taken is due again after two minutes.
        """
        return drive(self._batch(limit, whether_due))

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set. What fails is logged and tried again; nothing ends this but `stop`."""
        while not stop.is_set():
            try:
                done = self.deliver()
                drive(self._age())
            except Exception as exc:  # whatever it is: a worker that has ended delivers nothing, and nobody notices
                self._reporter.warn(exc)
                done = Deliveries()
            if done.total == 0:
                stop.wait(POLL_SECONDS * (0.5 + self._randbelow(1000) / 1000))


class AsyncOutboxWorker(_WorkerCore):
    """`OutboxWorker` for asyncio.

    Args:
        store: An asyncio replay store with an outbox.
        client: An `AsyncConsumeClient`.
        mode: See `OutboxWorker`.
        on_event: Gets each `HandoffEvent`.
        clock: Returns Unix seconds.
        randbelow: See `OutboxWorker`.

    Raises:
        ConfigurationError: The store has no outbox, or an argument is something else.
    """

    def __init__(
        self,
        store: object,
        client: object,
        *,
        mode: str = "strict",
        on_event: OnEvent | None = None,
        clock: Callable[[], float] = time.time,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        super().__init__(store, client, mode, on_event, clock, randbelow, awaited=True)

    async def deliver(self, *, limit: int = BATCH, whether_due: bool = True) -> Deliveries:
        """As `OutboxWorker.deliver`."""
        return await drive_async(self._batch(limit, whether_due))

    async def run(self) -> None:
        """Deliver until the task is cancelled. What fails is logged and tried again."""
        while True:
            try:
                done = await self.deliver()
                await drive_async(self._age())
            except Exception as exc:  # whatever it is: a worker that has ended delivers nothing, and nobody notices
                self._reporter.warn(exc)
                done = Deliveries()
            if done.total == 0:
                await asyncio.sleep(POLL_SECONDS * (0.5 + self._randbelow(1000) / 1000))
