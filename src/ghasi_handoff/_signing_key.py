"""One named secret and its dates. `SigningKey`: what a ring is made of, and what a MAC is made with."""

from __future__ import annotations

import enum
import secrets
from datetime import datetime
from hmac import compare_digest
from typing import NamedTuple, NoReturn, Self, SupportsIndex

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from typing_extensions import override

from ghasi_handoff._limits import MIN_SECRET_BYTES
from ghasi_handoff._secret_checks import secret_problem
from ghasi_handoff._signing_string import required_kid, signing_string_prefix
from ghasi_handoff._times import from_seconds, iso_text, to_seconds
from ghasi_handoff.errors import KeyRingError


class KeyState(enum.StrEnum):
    """What a key may do now. It follows from the clock and the key's place in the ring."""

    PENDING = "pending"
    """Verifies already, does not sign yet."""
    ACTIVE = "active"
    """The one key that signs; verifies."""
    VERIFY_ONLY = "verify-only"
    """A newer key signs; still verifies."""
    RETIRED = "retired"
    """Its ``verify_until`` has passed: does nothing."""
    REVOKED = "revoked"
    """Taken out of use at once: does nothing."""


class KeyDates(NamedTuple):
    """A key's dates in Unix seconds. They mean what the properties of `SigningKey` say."""

    created_at: int
    sign_from: int
    verify_until: int | None
    revoked_at: int | None

    @property
    def took_part(self) -> bool:
        """Not revoked before it could sign (rule 1 of a ring)."""
        return self.revoked_at is None or self.revoked_at >= self.sign_from

    def is_retired(self, now: int) -> bool:
        """Whether ``verify_until`` has passed."""
        return self.verify_until is not None and now >= self.verify_until


class NeverPickled:
    """Holds secrets. A copy is the same object, and there is no pickle: the secrets would travel in it."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise KeyRingError(f"{self!r} is not pickled, its secrets would travel; load the key file in each process")


class SigningKey(NeverPickled):
    """One named secret and its dates. Frozen; dates are floored to whole seconds, in UTC.

    The secret shows in no repr, and a key refuses to be pickled.

    Args:
        kid: The key's name: 1 to 32 characters of ``A-Z a-z 0-9 _ -``.
        secret: 32 bytes or more from a secure random source, raw. Text of any kind (hex, base64, a pass-phrase, PEM,
            JWK) and one repeated byte are refused: they are what ends up here by mistake.
        created_at: Aware datetime.
        sign_from: Aware datetime: from then on the key may sign.
        verify_until: Aware datetime, or None: from then on the key is retired.
        revoked_at: Aware datetime, or None. A key with this date is revoked, whatever the clock says.

    Raises:
        KeyRingError: One of these does not hold.
    """

    __slots__ = ("_context", "_dates", "_kid", "_secret")

    def __init__(
        self,
        *,
        kid: str,
        secret: bytes,
        created_at: datetime,
        sign_from: datetime,
        verify_until: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> None:
        try:
            kid = required_kid(kid, KeyRingError)
            problem = secret_problem(secret)
            if problem:
                raise KeyRingError(f"key {kid}: {problem}")
            self._kid = kid
            self._dates = KeyDates(
                _seconds(created_at, "created_at", kid),
                _seconds(sign_from, "sign_from", kid),
                None if verify_until is None else _seconds(verify_until, "verify_until", kid),
                None if revoked_at is None else _seconds(revoked_at, "revoked_at", kid),
            )
            self._secret = secret
            # Key set-up costs more than the MAC of a token: done once here, and copied for each token.
            self._context = HMAC(secret, SHA256())
            self._context.update(signing_string_prefix(kid))
        finally:
            del secret  # a traceback that shows local variables must not show it

    @property
    def kid(self) -> str:
        """The key's name."""
        return self._kid

    @property
    def secret(self) -> bytes:
        """The raw secret. Never log it."""
        return self._secret

    @property
    def dates(self) -> KeyDates:
        """The key's dates in Unix seconds."""
        return self._dates

    @property
    def created_at(self) -> datetime:
        """When the key was made; informative."""
        return from_seconds(self._dates.created_at)

    @property
    def sign_from(self) -> datetime:
        """From when on the key may sign."""
        return from_seconds(self._dates.sign_from)

    @property
    def verify_until(self) -> datetime | None:
        """From when on the key is retired, or None: not known yet."""
        return _optional_datetime(self._dates.verify_until)

    @property
    def revoked_at(self) -> datetime | None:
        """When the key was revoked, or None."""
        return _optional_datetime(self._dates.revoked_at)

    def mac_context(self) -> HMAC:
        """A new HMAC context that has taken in the fixed first lines of the signing string."""
        return self._context.copy()

    def replaced(self, *, verify_until: int | None, revoked_at: int | None) -> SigningKey:
        """The same key with other dates, in Unix seconds."""
        return SigningKey(
            kid=self._kid,
            secret=self._secret,
            created_at=self.created_at,
            sign_from=self.sign_from,
            verify_until=_optional_datetime(verify_until),
            revoked_at=_optional_datetime(revoked_at),
        )

    @override
    def __repr__(self) -> str:
        if not hasattr(self, "_context"):
            return "SigningKey(refused)"  # seen in the traceback of its own refusal
        named = zip(KeyDates._fields[1:], self._dates[1:], strict=True)
        dates = [f"{name}={iso_text(seconds)}" for name, seconds in named if seconds is not None]
        return f"SigningKey(kid={self._kid!r}, {', '.join(dates)})"

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SigningKey):
            return NotImplemented
        same = (self._kid, self._dates) == (other.kid, other.dates)
        return same and compare_digest(self._secret, other.secret)

    @override
    def __hash__(self) -> int:
        return hash((self._kid, self._dates))  # not of the secret: a hash is shown and stored freely


def new_key(kid: str | None, created_at: int, sign_from: int) -> SigningKey:
    """A key with a new random secret. Dates in Unix seconds. By default named by date and four random characters."""
    created = from_seconds(created_at)
    return SigningKey(
        kid=f"{created:%Y-%m-%d}-{secrets.token_hex(2)}" if kid is None else kid,
        secret=secrets.token_bytes(MIN_SECRET_BYTES),
        created_at=created,
        sign_from=from_seconds(sign_from),
    )


def _seconds(moment: datetime, name: str, kid: str) -> int:
    return to_seconds(moment, name=f"{name} of key {kid}", error=KeyRingError)


def _optional_datetime(seconds: int | None) -> datetime | None:
    return None if seconds is None else from_seconds(seconds)
