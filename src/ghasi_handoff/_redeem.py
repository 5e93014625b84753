"""token, browser secret -> verify -> consume -> decide. `Redeemer` and `AsyncRedeemer`: one handoff, one browser."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, Generic, TypedDict, cast

from typing_extensions import TypeVar, override

from ghasi_handoff._formats import REDEMPTION
from ghasi_handoff._limits import BROWSER_SECRET_BYTES, GRACE_SECONDS, RETENTION_MARGIN_SECONDS
from ghasi_handoff._require import Wrapped, require
from ghasi_handoff._times import from_seconds
from ghasi_handoff._verify import VerifiedHandoff, Verifier
from ghasi_handoff.errors import ConfigurationError, ExpiredTokenError, ReplayedTokenError, ReplayStoreError
from ghasi_handoff.payload import BookingHandoff, HandoffPayload
from ghasi_handoff.replay import AsyncReplayStore, Consumption, ReplayStore, Scope

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)
_PayloadT_co = TypeVar("_PayloadT_co", bound=HandoffPayload, default=BookingHandoff, covariant=True)


class _Fresh:
    @override
    def __repr__(self) -> str:
        return "<a fresh secret>"


# No browser secret was given. Not None: None is the cookie that was not there, a mistake to be refused.
_FRESH: Final = cast("bytes", _Fresh())


@dataclass(frozen=True, slots=True)
class Redemption(Generic[_PayloadT_co]):
    """A handoff that belongs to this browser.

    Attributes:
        handoff: The verified handoff.
        first: Whether this very call redeemed it. For logs: after a lost reply, no call sees it true.
        redemption_id: Who redeemed: one browser and one handoff always give the same 64 hexadecimal digits. Key what
            you insert on it.
        redeemed_at: When it was first redeemed by this browser. Aware datetime in UTC, whole seconds.
    """

    handoff: VerifiedHandoff[_PayloadT_co]
    first: bool
    redemption_id: str
    redeemed_at: datetime


class ConsumeArguments(TypedDict):
    """What a store is told beside the handoff id; see `ReplayStore.consume`."""

    scope: str
    redemption_id: str
    consumed_at: int
    retain_until: int


class RedemptionRule(Generic[_PayloadT]):
    """What stands before and after the call of the store, for every caller of one: begin, consume, decide."""

    def __init__(self, verifier: Verifier[_PayloadT]) -> None:
        if not isinstance(verifier, Verifier):
            raise ConfigurationError(f"the first argument must be a Verifier, not {type(verifier).__name__}")
        self.verifier = verifier

    def begin(
        self, token: object, *, tenant: object, browser_secret: object
    ) -> tuple[VerifiedHandoff[_PayloadT], ConsumeArguments]:
        """Verify `token`, and say what to ask the store. Raises as `Redeemer.redeem` does."""
        fresh = browser_secret is _FRESH
        secret = secrets.token_bytes(BROWSER_SECRET_BYTES) if fresh else browser_secret
        if type(secret) is not bytes or len(secret) != BROWSER_SECRET_BYTES:
            text = f"browser_secret must be {BROWSER_SECRET_BYTES} bytes; leave it out for a fresh one each call"
            raise ConfigurationError(text)
        # Past its expiry a token may only find an earlier redemption of its own, and only a browser can have one.
        handoff = self.verifier.verify_at(token, tenant=tenant, now=self.verifier.now(), repeated=not fresh)
        return handoff, ConsumeArguments(
            scope=str(Scope(handoff.issuer, handoff.audience)),
            redemption_id=redemption_id_of(handoff.handoff_id, secret),
            consumed_at=self.verifier.now(),
            retain_until=2 * self.verifier.deadline(handoff) - handoff.body.expires_at + RETENTION_MARGIN_SECONDS,
        )

    def decide(
        self, handoff: VerifiedHandoff[_PayloadT], asked: ConsumeArguments, answer: Consumption
    ) -> Redemption[_PayloadT]:
        """Accept if and only if the holder is ours, was in time, and it is not too late to repeat."""
        facts = {"handoff_id": handoff.handoff_id, "tenant": handoff.tenant, "kid": handoff.kid}
        if not isinstance(answer, Consumption):
            raise ReplayStoreError(f"the store answered with {type(answer).__name__}, not Consumption", **facts)
        if answer.holder != asked["redemption_id"]:
            raise ReplayedTokenError("the handoff belongs to another browser", **facts)
        deadline = self.verifier.deadline(handoff)
        if answer.consumed_at >= deadline:
            raise ExpiredTokenError(f"redeemed {answer.consumed_at - deadline} s too late", **facts)
        after = self.verifier.now()  # read after the call: a store that answers late must not make a late redemption
        if after >= deadline + GRACE_SECONDS:
            raise ExpiredTokenError(f"the store answered {after - deadline} s after the last moment to redeem", **facts)
        return Redemption(handoff, answer.first, asked["redemption_id"], from_seconds(answer.consumed_at))


class Redeemer(Generic[_PayloadT]):
    """Verifies a token and gives its handoff to one browser, exactly once.

    Args:
        verifier: Judges the token. A token that it refuses never reaches the store, its own earlier redemption apart.
        store: Remembers who holds which handoff. One store for all processes that verify for this audience.

    Raises:
        ConfigurationError: An argument has the wrong type.

    >>> from datetime import date
    >>> from ghasi_handoff import KeyRing, Minter
    >>> from ghasi_handoff.stores.memory import MemoryReplayStore
    >>> ring = KeyRing.generate()
    >>> minter = Minter(ring, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> stay = BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... )
    >>> token = minter.mint(stay, tenant="tn_aurora").token
    >>> verifier = Verifier(ring, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> redeemer = Redeemer(verifier, MemoryReplayStore())
    >>> redeemer.redeem(token, tenant="tn_aurora", browser_secret=b"A" * 32).handoff.payload.adults
    2
    >>> redeemer.redeem(token, tenant="tn_aurora", browser_secret=b"B" * 32)
    Traceback (most recent call last):
        ...
    ghasi_handoff.errors.ReplayedTokenError: the handoff belongs to another browser
    """

    def __init__(self, verifier: Verifier[_PayloadT], store: ReplayStore) -> None:
        self.rule = RedemptionRule(verifier)
        self.store: ReplayStore = require(store, "consume", awaited=False, name="store", kind="a ReplayStore")

    def redeem(self, token: str, *, tenant: str, browser_secret: bytes = _FRESH) -> Redemption[_PayloadT]:
        """The handoff of `token`, if it is valid and belongs, from now on, to this browser.

        The same browser may repeat the call (a refresh, a double click, a lost reply) until 60 s after the token's end,
        and gets the same redemption.

        Args:
            token: The text from the URL.
            tenant: The hotel whose site was asked; see `Verifier.verify`.
            browser_secret: The 32 random bytes of the browser's cookie. Left out, a fresh one is used for each call, so
                every second call is a replay.

        Raises:
            InvalidTokenError: One of its leaves; `ReplayedTokenError` if the handoff belongs to another browser.
            ReplayStoreError: The store could not confirm the outcome. Nothing was accepted; the same browser may try
                again.
            ConfigurationError: `browser_secret` is not 32 bytes, or the clock is broken.
        """
        handoff, asked = self.rule.begin(token, tenant=tenant, browser_secret=browser_secret)
        with Wrapped("store", ReplayStoreError, handoff_id=handoff.handoff_id, tenant=handoff.tenant, kid=handoff.kid):
            answer = self.store.consume(handoff.handoff_id, **asked)
        return self.rule.decide(handoff, asked, answer)


class AsyncRedeemer(Generic[_PayloadT]):
    """`Redeemer` for asyncio, over an `AsyncReplayStore`."""

    def __init__(self, verifier: Verifier[_PayloadT], store: AsyncReplayStore) -> None:
        self.rule = RedemptionRule(verifier)
        self.store: AsyncReplayStore = require(store, "consume", awaited=True, name="store", kind="an AsyncReplayStore")

    async def redeem(self, token: str, *, tenant: str, browser_secret: bytes = _FRESH) -> Redemption[_PayloadT]:
        """As `Redeemer.redeem`."""
        handoff, asked = self.rule.begin(token, tenant=tenant, browser_secret=browser_secret)
        with Wrapped("store", ReplayStoreError, handoff_id=handoff.handoff_id, tenant=handoff.tenant, kid=handoff.kid):
            answer = await self.store.consume(handoff.handoff_id, **asked)
        return self.rule.decide(handoff, asked, answer)


def redemption_id_of(handoff_id: str, browser_secret: bytes) -> str:
    """Who redeems: the same browser and handoff give the same id on every machine, after any crash."""
    return sha256(f"{REDEMPTION}\n{handoff_id}\n".encode("ascii") + browser_secret).hexdigest()
