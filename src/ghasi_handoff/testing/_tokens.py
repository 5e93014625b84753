"""minter, payload -> a good token -> a token that is refused, for one reason."""

from __future__ import annotations

import secrets
from typing import Final

from ghasi_handoff._limits import GRACE_SECONDS, MAX_LEEWAY_SECONDS, MAX_SECONDS, MIN_SECRET_BYTES
from ghasi_handoff._mac import compute_mac
from ghasi_handoff._mint import Minter
from ghasi_handoff._signing_string import Body, build_body
from ghasi_handoff._token import build_token, parse_token
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import SigningKey
from ghasi_handoff.payload import HandoffPayload

AHEAD_SECONDS: Final = 3600


def expired_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token that ended so long ago that nobody accepts it: ``expired``. The others are called as this one.

    It is over by the largest leeway, and by the minute that its own browser has for a repetition.

    Args:
        minter: The application's minter. The bad token is made of one that it mints.
        payload: What the token carries.
        tenant: The tenant whose site the token is shown to.

    Raises:
        ConfigurationError: `minter` is no `Minter`.
        InvalidHandoffInputError: As `Minter.mint`.
        KeyRingError: No key can sign now.

    >>> from datetime import date
    >>> import pytest
    >>> from ghasi_handoff import BookingHandoff, ExpiredTokenError, KeyRing, Verifier
    >>> keys = KeyRing.generate()
    >>> minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> stay = BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... )
    >>> token = expired_token(minter, stay, tenant="tn_aurora")
    >>> verifier = Verifier(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> with pytest.raises(ExpiredTokenError):
    ...     verifier.verify(token, tenant="tn_aurora")
    """
    good = GoodToken(minter, payload, tenant)
    lifetime = good.body.expires_at - good.body.issued_at
    return good.moved_by(-(lifetime + MAX_LEEWAY_SECONDS + GRACE_SECONDS))


def not_yet_valid_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token from an hour ahead, as of an issuer whose clock is wrong: ``not_yet_valid``."""
    return GoodToken(minter, payload, tenant).moved_by(AHEAD_SECONDS)


def tampered_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A good token with another handoff id, under the old MAC, to use one handoff twice: ``invalid_mac``."""
    good = GoodToken(minter, payload, tenant)
    handoff_id = good.body.handoff_id
    other_id = handoff_id[:-1] + ("0" if handoff_id[-1] != "0" else "1")
    mac_text = parse_token(good.token).mac_text
    return build_token(good.kid, build_body(good.body._replace(handoff_id=other_id)), mac_text)


def foreign_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token signed with a secret that nobody has, under the kid of the key that signs now: ``invalid_mac``."""
    good = GoodToken(minter, payload, tenant)
    return good.signed(good.body, key=good.strangers_key(good.kid))


def unknown_key_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token that names a key of no ring, as of a ring that has not reached this service: ``unknown_key``."""
    good = GoodToken(minter, payload, tenant)
    # A random kid: the application's rings do not have it by chance either.
    return good.signed(good.body, key=good.strangers_key(f"nobody-{secrets.token_hex(8)}"))


def wrong_issuer_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token of another issuer, signed with our key, as if two pairs shared a ring: ``wrong_issuer``."""
    good = GoodToken(minter, payload, tenant)
    return good.signed(good.body._replace(issuer=_another(good.body.issuer)))


def wrong_audience_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A token for another service, signed with our key, as if two pairs shared a ring: ``wrong_audience``."""
    good = GoodToken(minter, payload, tenant)
    return good.signed(good.body._replace(audience=_another(good.body.audience)))


def wrong_tenant_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A good token for another hotel than `tenant`: ``wrong_tenant``."""
    good = GoodToken(minter, payload, tenant)
    return good.signed(good.body._replace(tenant=_another(tenant)))


def malformed_token(minter: Minter, payload: HandoffPayload, *, tenant: str) -> str:
    """A good token that lost its last character, as in a link that a mail program cut: ``malformed``."""
    return GoodToken(minter, payload, tenant).token[:-1]


class GoodToken:
    """A token that was just minted: its text, kid and signed lines, and what it takes to make a bad one of it."""

    def __init__(self, minter: Minter, payload: HandoffPayload, tenant: str) -> None:
        self.minter = check_minter(minter)
        self.payload = payload
        self.tenant = tenant
        minted = minter.mint(payload, tenant=tenant)
        self.token, self.kid, self.body = minted.token, minted.kid, minted.body
        self._key = minter.key_source().verifying_key(self.kid, self.body.issued_at)
        self._now = minted.issued_at

    def signed(self, body: Body | bytes, *, key: SigningKey | None = None) -> str:
        """A token with another body and the right MAC, by default of the same key."""
        key = key or self._key
        lines = build_body(body) if isinstance(body, Body) else body
        return build_token(key.kid, lines, compute_mac(key, lines))

    def moved_by(self, seconds: int) -> str:
        """The same token as if it had been minted so many seconds later; not before 1970, or after the year 9999."""
        issued_at, expires_at = self.body.issued_at + seconds, self.body.expires_at + seconds
        if issued_at < 0 or expires_at > MAX_SECONDS:
            raise ConfigurationError("the minter's clock stands too close to 1970, or to the end of the year 9999")
        handoff_id = self.body.handoff_id
        stamp = f"{int(handoff_id[:8] + handoff_id[9:13], 16) + seconds * 1000:012x}"
        moved_id = f"{stamp[:8]}-{stamp[8:]}{handoff_id[13:]}"
        return self.signed(self.body._replace(handoff_id=moved_id, issued_at=issued_at, expires_at=expires_at))

    def strangers_key(self, kid: str) -> SigningKey:
        secret = secrets.token_bytes(MIN_SECRET_BYTES)
        return SigningKey(kid=kid, secret=secret, created_at=self._now, sign_from=self._now)


def check_minter(minter: object) -> Minter:
    if not isinstance(minter, Minter):
        raise ConfigurationError(f"minter must be a Minter, not {type(minter).__name__}")
    return minter


def _another(name: str) -> str:
    return "another" if name != "another" else "yet-another"
