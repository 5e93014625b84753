"""minter, payload -> a token that is refused, each for one reason. Minted by the library's own `Minter`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from ghasi_handoff._limits import GRACE_SECONDS, MAX_LEEWAY_SECONDS, MIN_SECRET_BYTES
from ghasi_handoff._mint import Minter
from ghasi_handoff._times import from_seconds, read_clock
from ghasi_handoff._token import build_token, parse_token
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import KeyRing, SigningKey
from ghasi_handoff.payload import HandoffPayload

AHEAD_SECONDS: Final = 3600


def expired_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token that ended so long ago that nobody accepts it: ``expired``.

    It is over by the largest leeway, and by the minute that its own browser has for a repetition.

    Args:
        minter: The application's minter. Its names, lifetime, clock and the key that signs now are taken.
        payload: What the token carries.
        tenant: The tenant whose site the token is shown to.

    Raises:
        ConfigurationError: `minter` is no `Minter`.
        InvalidHandoffInputError: As `Minter.mint`.
        KeyRingError: No key can sign now.

    >>> from datetime import date
    >>> from ghasi_handoff import BookingHandoff, HandoffError, Verifier
    >>> keys = KeyRing.generate()
    >>> minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> stay = BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... )
    >>> token = expired_token(minter, stay, tenant="tn_aurora")
    >>> try:
    ...     Verifier(keys, issuer="bff-consumer", audience="bff-tenant-booking").verify(token, tenant="tn_aurora")
    ... except HandoffError as exc:
    ...     print(exc.code)
    expired
    """
    over = _checked(minter)._lifetime + MAX_LEEWAY_SECONDS + GRACE_SECONDS
    return _like(minter, moved_by=-over).mint(payload, tenant=tenant).token


def not_yet_valid_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token from an hour ahead, as of an issuer whose clock is wrong: ``not_yet_valid``.

    Arguments and errors are those of `expired_token`.
    """
    return _like(minter, moved_by=AHEAD_SECONDS).mint(payload, tenant=tenant).token


def tampered_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A good token with another handoff id in its body, under the old MAC: ``invalid_mac``.

    Nothing but the MAC is wrong with it. It is what somebody needs who wants to use one handoff twice.

    Arguments and errors are those of `expired_token`.
    """
    same_moment = _like(minter)
    kid, _, mac_text = parse_token(same_moment.mint(payload, tenant=tenant).token)
    return build_token(kid, parse_token(same_moment.mint(payload, tenant=tenant).token).body, mac_text)


def foreign_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token signed with a secret that nobody has, under the kid of the key that signs now: ``invalid_mac``.

    Arguments and errors are those of `expired_token`.
    """
    return _like(minter, secret=secrets.token_bytes(MIN_SECRET_BYTES)).mint(payload, tenant=tenant).token


def unknown_key_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token that names a key of no ring, as of a ring that has not reached this service: ``unknown_key``.

    Arguments and errors are those of `expired_token`.
    """
    # A kid that the application's rings do not have, by chance either.
    stranger = _like(minter, kid=f"nobody-{secrets.token_hex(8)}", secret=secrets.token_bytes(MIN_SECRET_BYTES))
    return stranger.mint(payload, tenant=tenant).token


def wrong_issuer_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token of another issuer, signed with our key, as if two pairs shared a ring: ``wrong_issuer``.

    Arguments and errors are those of `expired_token`.
    """
    return _like(minter, issuer=_another(_checked(minter)._issuer)).mint(payload, tenant=tenant).token


def wrong_audience_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token for another service, signed with our key, as if two pairs shared a ring: ``wrong_audience``.

    Arguments and errors are those of `expired_token`.
    """
    return _like(minter, audience=_another(_checked(minter)._audience)).mint(payload, tenant=tenant).token


def wrong_tenant_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A good token for another hotel than `tenant`: ``wrong_tenant``.

    Arguments and errors are those of `expired_token`.
    """
    return _like(minter).mint(payload, tenant=_another(tenant)).token


def malformed_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A good token that lost its last character, as in a link that a mail program cut: ``malformed``.

    Arguments and errors are those of `expired_token`.
    """
    return _like(minter).mint(payload, tenant=tenant).token[:-1]


def _like(
    minter: Minter, *, moved_by: int = 0, kid: str | None = None, secret: bytes | None = None, **names: Any
) -> Minter:
    """A minter as `minter` is at this moment, but for what is said."""
    reading = read_clock(_checked(minter)._clock)
    signer = minter._keys().signing_key(int(reading))
    moment = from_seconds(int(reading) + moved_by)
    # The key that signs now, as if it had done so then: a ring that is younger than the token must not be in the way.
    key = SigningKey(
        kid=signer.kid if kid is None else kid,
        secret=signer.secret if secret is None else secret,
        created_at=moment,
        sign_from=moment,
    )
    clock: Callable[[], float] = lambda: reading + moved_by  # noqa: E731 - mypy wants its type
    lifetime = timedelta(seconds=minter._lifetime)
    pair = {"issuer": minter._issuer, "audience": minter._audience, **names}
    return Minter(KeyRing([key]), lifetime=lifetime, clock=clock, **pair)


def _checked(minter: object) -> Minter:
    if not isinstance(minter, Minter):
        raise ConfigurationError(f"minter must be a Minter, not {type(minter).__name__}")
    return minter


def _another(name: str) -> str:
    return "another" if name != "another" else "yet-another"
