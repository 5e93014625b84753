"""token -> parts -> key -> MAC -> body -> addressee -> times -> payload. `Verifier`. No I/O: the clock is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, NoReturn, cast

from typing_extensions import TypeVar, override

from ghasi_handoff._handoff import Handoff
from ghasi_handoff._limits import (
    DEFAULT_LEEWAY,
    DEFAULT_MAX_LIFETIME,
    GRACE_SECONDS,
    MAX_LEEWAY_SECONDS,
    MAX_LIFETIME_SECONDS,
)
from ghasi_handoff._mac import is_mac
from ghasi_handoff._payload_bytes import payload_decoder
from ghasi_handoff._signing_string import Body, as_name, parse_body, required_name
from ghasi_handoff._times import read_clock, whole_seconds
from ghasi_handoff._token import parse_token
from ghasi_handoff.errors import (
    ConfigurationError,
    ExpiredTokenError,
    InvalidMACError,
    InvalidPayloadError,
    InvalidTokenError,
    LifetimeTooLongError,
    MalformedTokenError,
    NotYetValidTokenError,
    WrongAudienceError,
    WrongIssuerError,
    WrongTenantError,
)
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.payload import BookingHandoff, HandoffPayload

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)
_PayloadT_co = TypeVar("_PayloadT_co", bound=HandoffPayload, default=BookingHandoff, covariant=True)


class VerifiedHandoff(Handoff[_PayloadT_co]):
    """A handoff whose token is authentic, addressed to this verifier and tenant, and current. Frozen.

    Verified is not redeemed: anybody who has the token can verify it as often as they like.

    Attributes:
        payload: What was handed over.
        handoff_id: The token's unique id, for logs and joins.
        tenant: The hotel that it is for: the one that the caller named.
        kid: The key that signed.
        issuer: The service that minted it.
        audience: The service that it is for: this verifier's.
        issued_at: Aware datetime in UTC, whole seconds.
        expires_at: Aware datetime in UTC, whole seconds.
    """

    __slots__ = ()

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VerifiedHandoff):
            return NotImplemented
        return (self._body, self._kid) == (other.body, other.kid) and self._payload == other.payload

    @override
    def __hash__(self) -> int:
        return hash((self._body, self._kid))

    @override
    def _shown(self) -> str:
        return f"{super()._shown()}, payload={self._payload!r}"


class Verifier(Generic[_PayloadT]):
    """Judges tokens: authentic, addressed to us, current. Remembers nothing; `Redeemer` adds single use.

    Safe to share between threads.

    Args:
        keys: The ring of this issuer and audience, or a callable that returns the present one (for hot reload).
        issuer: The one issuer whose tokens are accepted.
        audience: The name of this service. A token for another is refused.
        payload_type: The class that the issuer mints; by default `BookingHandoff`.
        leeway: How far the two clocks may differ: whole seconds, at most 60.
        max_lifetime: The longest lifetime that a token may grant itself: whole seconds, at most an hour.
        clock: Returns Unix seconds. Its fraction is dropped.

    Raises:
        ConfigurationError: One of these does not hold.

    >>> from datetime import date
    >>> from ghasi_handoff import Minter
    >>> ring = KeyRing.generate()
    >>> minter = Minter(ring, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> stay = BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... )
    >>> verifier = Verifier(ring, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> verifier.verify(minter.mint(stay, tenant="tn_aurora").token, tenant="tn_aurora").payload.adults
    2
    """

    def __init__(
        self,
        keys: KeyRing | Callable[[], KeyRing],
        *,
        issuer: str,
        audience: str,
        payload_type: type[_PayloadT] | None = None,
        leeway: timedelta = DEFAULT_LEEWAY,
        max_lifetime: timedelta = DEFAULT_MAX_LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = ring_source(keys)
        self._issuer = required_name(issuer, "issuer", ConfigurationError)
        self._audience = required_name(audience, "audience", ConfigurationError)
        # The type variable's default is BookingHandoff: where no class is given, that is what _PayloadT is.
        chosen = cast("type[_PayloadT]", BookingHandoff) if payload_type is None else payload_type
        if not isinstance(chosen, type) or not issubclass(chosen, HandoffPayload):
            raise ConfigurationError("payload_type must be a class derived from HandoffPayload")
        self._decode_payload = payload_decoder(chosen)
        self._payload_name = chosen.__name__
        self._leeway = whole_seconds(leeway, name="leeway", least=0, most=MAX_LEEWAY_SECONDS)
        self._max_lifetime = whole_seconds(max_lifetime, name="max_lifetime", least=1, most=MAX_LIFETIME_SECONDS)
        self._clock = clock

    @property
    def key_source(self) -> Callable[[], KeyRing]:
        """Returns the present ring."""
        return self._keys

    def now(self) -> int:
        """The clock's reading, floored to Unix seconds."""
        return int(read_clock(self._clock))

    def deadline(self, handoff: Handoff[HandoffPayload]) -> int:
        """From when on `verify` refuses the handoff, in Unix seconds: its end and the leeway."""
        return handoff.body.expires_at + self._leeway

    def verify(self, token: str, *, tenant: str) -> VerifiedHandoff[_PayloadT]:
        """The handoff of `token`, if it is authentic, for this verifier and `tenant`, and current.

        Args:
            token: The text from the URL. Anything may be given: what is no token is refused.
            tenant: The hotel whose site was asked, from your own configuration (by host or path), never from the token.

        Raises:
            InvalidTokenError: One of its leaves, by the first check that fails; see docs/spec/v1.md, "Verification".
            ConfigurationError: The clock is broken.
        """
        return self.verify_at(token, tenant=tenant, now=self.now())

    def verify_at(
        self, token: object, *, tenant: object, now: int, repeated: bool = False
    ) -> VerifiedHandoff[_PayloadT]:
        """As `verify`, at a given time in Unix seconds. `repeated`: a minute more, for a browser that asks again."""
        kid, body_bytes, mac_text = parse_token(token)
        key = self._keys().verifying_key(kid, now)
        if not is_mac(key, body_bytes, mac_text):
            raise InvalidMACError(f"the MAC does not match under key {kid}", kid=kid)
        body = parse_body(body_bytes)
        if body is None:
            raise MalformedTokenError("the MAC matches, but the body is outside the grammar", kid=kid)
        self._check_addressee(body, tenant, kid)
        self._check_times(body, now, GRACE_SECONDS if repeated else 0, kid)
        payload = self._decode_payload(body.payload)
        if payload is None:
            _refuse(InvalidPayloadError, f"the payload is not canonical, or no valid {self._payload_name}", body, kid)
        return VerifiedHandoff(body, kid, payload)

    def _check_addressee(self, body: Body, tenant: object, kid: str) -> None:
        if body.issuer != self._issuer:
            _refuse(WrongIssuerError, f"the issuer is {body.issuer}, not {self._issuer}", body, kid)
        if body.audience != self._audience:
            _refuse(WrongAudienceError, f"the audience is {body.audience}, not {self._audience}", body, kid)
        # The caller's tenant may come from a Host header: it is compared, not quoted. As plain text: another object
        # might say that it equals everything.
        if body.tenant != (tenant if type(tenant) is str else as_name(tenant)):
            _refuse(WrongTenantError, f"the tenant is {body.tenant}, not the one whose site was asked", body, kid)

    def _check_times(self, body: Body, now: int, grace: int, kid: str) -> None:
        issued_at, expires_at, leeway = body.issued_at, body.expires_at, self._leeway
        lifetime = expires_at - issued_at
        if lifetime <= 0:
            _refuse(MalformedTokenError, "expires-at is not after issued-at", body, kid)
        if lifetime > self._max_lifetime:
            _refuse(LifetimeTooLongError, f"the lifetime of {lifetime} s is over {self._max_lifetime} s", body, kid)
        if issued_at > now + leeway:
            _refuse(NotYetValidTokenError, f"issued {issued_at - now} s ahead of now, leeway {leeway} s", body, kid)
        if now >= expires_at + leeway + grace:
            _refuse(ExpiredTokenError, f"expired {now - expires_at} s ago, leeway {leeway} s", body, kid)


def _refuse(error: type[InvalidTokenError], message: str, body: Body, kid: str) -> NoReturn:
    raise error(message, handoff_id=body.handoff_id, tenant=body.tenant, kid=kid)
