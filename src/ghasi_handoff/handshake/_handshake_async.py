"""token, browser -> redeemed here -> confirmed by bff-consumer -> the guest goes on. In two modes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from ghasi_handoff import errors
from ghasi_handoff._redeem import AsyncRedeemer, Redemption
from ghasi_handoff._require import Wrapped, require
from ghasi_handoff._verify import VerifiedHandoff
from ghasi_handoff.handshake import _events as events
from ghasi_handoff.handshake._deliveries import Mode, require_mode
from ghasi_handoff.handshake._steps import Step, reached
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.payload import BookingHandoff, HandoffPayload
from ghasi_handoff.replay import Consumption, StoreGuarantees

if TYPE_CHECKING:
    from ghasi_handoff.handshake._client_async import AsyncConsumeClient

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)


class AsyncHandshake(Generic[_PayloadT]):
    """Redeems a handoff on the booking side, and has bff-consumer confirm it.

    In strict mode the guest goes on after bff-consumer's 200. In deferred mode they go on after the local commit,
    and an `AsyncOutboxWorker` tells bff-consumer; a store that could lose a commit would then give one handoff to two
    guests, so only SQLite and PostgreSQL with their outbox are accepted.

    Args:
        redeemer: Verifies, and records who holds the handoff.
        client: Calls bff-consumer.
        mode: ``"strict"`` or ``"deferred"``.
        on_event: Gets each `HandoffEvent`; the logger ``ghasi_handoff`` has them in any case.

    Raises:
        ConfigurationError: The store cannot carry the mode, or an argument has the wrong type.
    """

    def __init__(
        self,
        redeemer: AsyncRedeemer[_PayloadT],
        client: AsyncConsumeClient,
        mode: Mode = "strict",
        *,
        on_event: events.OnEvent | None = None,
    ) -> None:
        if not isinstance(redeemer, AsyncRedeemer):
            raise errors.ConfigurationError(f"the first argument must be AsyncRedeemer, not {type(redeemer).__name__}")
        require_mode(mode)
        self._rule = redeemer.rule
        self._store: Any = redeemer.store
        self._client: Any = require(client, "consume", awaited=True, name="client", kind="AsyncConsumeClient")
        self._mode = mode
        outbox: Any = getattr(self._store, "outbox", None)
        # A store of somebody's own may mean another thing by that name.
        self._outbox: Any = outbox if callable(getattr(outbox, "settle", None)) else None
        self.reporter = events.Reporter(on_event)
        if mode == "deferred":
            self._check_deferred()

    @property
    def key_source(self) -> Callable[[], KeyRing]:
        """Returns the present ring of the verifier."""
        return self._rule.verifier.key_source

    def now(self) -> int:
        """The verifier's clock, floored to Unix seconds."""
        return self._rule.verifier.now()

    async def redeem(self, token: str, *, tenant: str, browser_secret: bytes) -> Redemption[_PayloadT]:
        """The handoff of `token`, if it belongs, from now on, to this browser, and bff-consumer knows it.

        The same browser may repeat the call until 60 s after the token's end, and gets the same redemption.

        Args:
            token: The text from the URL.
            tenant: The hotel whose site was asked; see `Verifier.verify`.
            browser_secret: The 32 random bytes of the browser's cookie.

        Raises:
            InvalidTokenError: One of its leaves; `ReplayedTokenError` if the handoff belongs to another browser,
                `RevokedHandoffError` if it was revoked at bff-consumer.
            ReplayStoreError: The store could not confirm the outcome. Nothing was accepted; the same browser may try
                again.
            ConfirmationUnavailableError: bff-consumer did not confirm (strict mode). The handoff stays with
                this browser, which may try again.
            ConfigurationError: `browser_secret` is not 32 bytes, or the clock is broken.
            KeyRingError: No key can sign the call to bff-consumer.
        """
        try:
            return await self._redeemed(token, tenant, browser_secret)
        except errors.ReplayedTokenError:
            raise  # reported where the gap is known
        except (errors.InvalidTokenError, errors.ReplayStoreError) as exc:
            self.reporter.report(events.HandoffRefused(code=exc.code, reason=str(exc), **exc.log_fields))
            raise

    def _check_deferred(self) -> None:
        """In deferred mode nobody but the store remembers a redemption, until the outbox has delivered it."""
        name = type(self._store).__name__
        guarantees = getattr(self._store, "guarantees", None)
        if not isinstance(guarantees, StoreGuarantees):
            raise errors.ConfigurationError(f"deferred mode needs a store that states its guarantees; {name} does not")
        if not guarantees.durable or not guarantees.outbox:
            raise errors.ConfigurationError(
                f"deferred mode needs a store with durable commits and an outbox, which {name} is not; use strict mode"
            )
        if self._outbox is None:
            raise errors.ConfigurationError(f"deferred mode needs the store's outbox: {name}(…, outbox=True)")

    def look(self, token: object, tenant: object, *, browser_known: bool) -> VerifiedHandoff[_PayloadT]:
        """Verify for a page that only shows a form. A browser with a secret may come a little late: see `redeem`."""
        try:
            verifier = self._rule.verifier
            return verifier.verify_at(token, tenant=tenant, now=verifier.now(), repeated=browser_known)
        except errors.InvalidTokenError as exc:
            self.reporter.report(events.HandoffRefused(code=exc.code, reason=str(exc), **exc.log_fields))
            raise

    async def _redeemed(self, token: object, tenant: object, browser_secret: object) -> Redemption[_PayloadT]:
        handoff, asked = self._rule.begin(token, tenant=tenant, browser_secret=browser_secret)
        facts = {"handoff_id": handoff.handoff_id, "tenant": handoff.tenant, "kid": handoff.kid}
        redemption_id = asked["redemption_id"]
        known = {**facts, "redemption_id": redemption_id}
        reached(Step.REDEEM_VERIFIED)
        # Here first: losers and floods never reach bff-consumer, and the outbox entry is in the same transaction.
        with Wrapped("store", errors.ReplayStoreError, **facts):
            answer: Consumption = await self._store.consume(handoff.handoff_id, **asked)
        reached(Step.REDEEM_CONSUMED)
        try:
            redemption = self._rule.decide(handoff, asked, answer)
        except errors.ReplayedTokenError:
            gap = asked["consumed_at"] - answer.consumed_at
            self.reporter.report(events.HandoffReplayed(holder=answer.holder, gap_seconds=gap, **known))
            raise
        except errors.ExpiredTokenError:
            if answer.consumed_at >= self._rule.verifier.deadline(handoff):
                # Ours, but never in time: there is nothing to tell bff-consumer, now or later.
                await self._settle(handoff.handoff_id, asked["scope"], redemption_id)
            raise
        if self._mode == "strict":
            await self._confirm(redemption, asked["scope"], answer.consumed_at)
        self.reporter.report(events.HandoffRedeemed(first=redemption.first, mode=self._mode, **known))
        return redemption

    async def _confirm(self, redemption: Redemption[_PayloadT], scope: str, consumed_at: int) -> None:
        handoff, redemption_id = redemption.handoff, redemption.redemption_id
        facts = {"handoff_id": handoff.handoff_id, "tenant": handoff.tenant, "kid": handoff.kid}
        try:
            await self._client.consume(
                handoff.handoff_id,
                issuer=handoff.issuer,
                audience=handoff.audience,
                redemption_id=redemption_id,
                consumed_at=consumed_at,
            )
        except errors.ReplayedTokenError:
            # Our store names this browser and the log names another: our store has lost the other browser's row.
            self.reporter.report(events.LocalRowLost(redemption_id=redemption_id, deferred=False, **facts))
            await self._settle(handoff.handoff_id, scope, redemption_id)
            raise errors.ReplayedTokenError("bff-consumer's log names another browser", **facts) from None
        except (errors.RevokedHandoffError, errors.ExpiredTokenError) as exc:
            await self._settle(handoff.handoff_id, scope, redemption_id)
            raise type(exc)(str(exc), **facts) from None
        except errors.ConfirmationUnavailableError as exc:
            if exc.reason == "status_404":
                self.reporter.report(events.HandoffUnknown(redemption_id=redemption_id, **facts))
            self.reporter.report(events.ConfirmationFailed(redemption_id=redemption_id, reason=exc.reason, **facts))
            raise errors.ConfirmationUnavailableError(str(exc), reason=exc.reason, **facts) from None
        reached(Step.REDEEM_CONFIRMED)
        await self._settle(handoff.handoff_id, scope, redemption_id)
        reached(Step.REDEEM_SETTLED)

    async def _settle(self, handoff_id: str, scope: str, redemption_id: str) -> None:
        if self._outbox is not None:
            # If it fails, a worker delivers the entry once more, and gets the same final answer.
            with suppress(errors.ReplayStoreError), Wrapped("outbox", errors.ReplayStoreError):
                await self._outbox.settle(handoff_id, scope, redemption_id)
