"""token -> parts -> key -> MAC -> body -> addressee -> times -> payload. `Verifier`. No I/O: the clock is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, NoReturn, cast

from typing_extensions import TypeVar, override

from ghasi_handoff._limits import DEFAULT_LEEWAY, DEFAULT_MAX_LIFETIME, MAX_LEEWAY_SECONDS, MAX_LIFETIME_SECONDS
from ghasi_handoff._mac import is_mac
from ghasi_handoff._signing_string import Body, as_name, parse_body, service_name
from ghasi_handoff._times import from_seconds, read_clock, whole_seconds
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
    RetiredKeyError,
    RevokedKeyError,
    UnknownKeyError,
    WrongAudienceError,
    WrongIssuerError,
    WrongTenantError,
)
from ghasi_handoff.keys import KeyRing, SigningKey, ring_source
from ghasi_handoff.payload import BookingHandoff, HandoffPayload, payload_decoder

__all__ = ["VerifiedHandoff", "Verifier"]

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)
_PayloadT_co = TypeVar("_PayloadT_co", bound=HandoffPayload, default=BookingHandoff, covariant=True)


class VerifiedHandoff(Generic[_PayloadT_co]):
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

    __slots__ = ("_body", "_kid", "_payload")

    def __init__(self, body: Body, kid: str, payload: _PayloadT_co) -> None:
        self._body = body
        self._kid = kid
        self._payload = payload

    @property
    def payload(self) -> _PayloadT_co:
        """What was handed over."""
        return self._payload

    @property
    def handoff_id(self) -> str:
        """The token's unique id."""
        return self._body.handoff_id

    @property
    def tenant(self) -> str:
        """The hotel that the token is for."""
        return self._body.tenant

    @property
    def kid(self) -> str:
        """The name of the key that signed."""
        return self._kid

    @property
    def issuer(self) -> str:
        """The service that minted it."""
        return self._body.issuer

    @property
    def audience(self) -> str:
        """The service that it is for."""
        return self._body.audience

    @property
    def issued_at(self) -> datetime:
        """When it was minted."""
        return from_seconds(self._body.issued_at)

    @property
    def expires_at(self) -> datetime:
        """From when on it is refused, the leeway apart."""
        return from_seconds(self._body.expires_at)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VerifiedHandoff):
            return NotImplemented
        return (self._body, self._kid) == (other._body, other._kid) and self._payload == other._payload

    @override
    def __hash__(self) -> int:
        return hash((self._body, self._kid))

    @override
    def __repr__(self) -> str:
        return (
            f"VerifiedHandoff(handoff_id={self.handoff_id!r}, tenant={self.tenant!r}, kid={self._kid!r},"
            f" issued_at={self.issued_at.isoformat()}, expires_at={self.expires_at.isoformat()},"
            f" payload={self._payload!r})"
        )


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
        self._issuer = service_name(issuer, role="issuer")
        self._audience = service_name(audience, role="audience")
        # The type variable's default is BookingHandoff: where no class is given, that is what _PayloadT is.
        chosen = cast("type[_PayloadT]", BookingHandoff) if payload_type is None else payload_type
        if not isinstance(chosen, type) or not issubclass(chosen, HandoffPayload):
            raise ConfigurationError("payload_type must be a class derived from HandoffPayload")
        self._decode_payload = payload_decoder(chosen)
        self._payload_name = chosen.__name__
        self._leeway = whole_seconds(leeway, name="leeway", least=0, most=MAX_LEEWAY_SECONDS, error=ConfigurationError)
        self._max_lifetime = whole_seconds(
            max_lifetime, name="max_lifetime", least=1, most=MAX_LIFETIME_SECONDS, error=ConfigurationError
        )
        self._clock = clock

    def verify(self, token: str, *, tenant: str) -> VerifiedHandoff[_PayloadT]:
        """The handoff of `token`, if it is authentic, for this verifier and `tenant`, and current.

        Args:
            token: The text from the URL. Anything may be given: what is no token is refused.
            tenant: The hotel whose site was asked, from your own configuration (by host or path), never from the token.

        Raises:
            InvalidTokenError: One of its leaves, by the first check that fails; see docs/spec/v1.md, "Verification".
            ConfigurationError: The clock is broken.
        """
        return self._verify_at(token, tenant, int(read_clock(self._clock)), 0)

    def _verify_at(self, token: object, tenant: object, now: int, grace: int) -> VerifiedHandoff[_PayloadT]:
        """`verify` at a given time. `grace`: by how many seconds more a token may have expired."""
        kid, body_bytes, mac_text = parse_token(token)
        key = self._usable_key(kid, now)
        if not is_mac(key, body_bytes, mac_text):
            raise InvalidMACError(f"the MAC does not match under key {kid}", kid=kid)
        body = parse_body(body_bytes)
        if body is None:
            raise MalformedTokenError("the MAC matches, but the body is outside the grammar", kid=kid)
        self._check_addressee(body, tenant, kid)
        self._check_times(body, now, grace, kid)
        payload = self._decode_payload(body.payload)
        if payload is None:
            text = f"the payload is not canonical JSON, or no valid {self._payload_name}"
            _refuse(InvalidPayloadError, text, body, kid)
        return VerifiedHandoff(body, kid, payload)

    def _usable_key(self, kid: str, now: int) -> SigningKey:
        key = self._keys()._by_kid.get(kid)
        if key is None:
            raise UnknownKeyError(f"the ring has no key {kid}: is it the ring of this issuer, and up to date?", kid=kid)
        if key._revoked_at is not None:
            raise RevokedKeyError(f"key {kid} is revoked", kid=kid)
        if key._verify_until is not None and now >= key._verify_until:
            raise RetiredKeyError(f"key {kid} is retired since {now - key._verify_until} s", kid=kid)
        return key

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
            text = f"the lifetime is {lifetime} s; this verifier allows {self._max_lifetime} s"
            _refuse(LifetimeTooLongError, text, body, kid)
        if issued_at > now + leeway:
            text = f"issued {issued_at - now} s ahead of this clock, with a leeway of {leeway} s"
            _refuse(NotYetValidTokenError, text, body, kid)
        if now >= expires_at + leeway + grace:
            text = f"expired {now - expires_at} s ago, with a leeway of {leeway} s"
            _refuse(ExpiredTokenError, text, body, kid)


def _refuse(error: type[InvalidTokenError], message: str, body: Body, kid: str) -> NoReturn:
    raise error(message, handoff_id=body.handoff_id, tenant=body.tenant, kid=kid)
