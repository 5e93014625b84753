"""kid, clock -> key. `SigningKey` and `KeyRing`: states that follow from dates, and rotation that loses no token.

The rules, for a ring whose keys stand in the order of ``sign_from``:

1. A key revoked before its ``sign_from`` never took part: every other rule skips it.
2. The newest key whose ``sign_from`` has come signs. If it is revoked, none signs: an older one never signs again.
3. Every key that is neither retired (``now >= verify_until``) nor revoked verifies, from the moment it is in the ring.
4. ``verify_until`` is at least the next key's ``sign_from`` + `SUPERSEDED_KEY_SECONDS`, so that every token that a key
   signed can live to its end.
"""

from __future__ import annotations

import enum
import json
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from types import MappingProxyType
from typing import Any, Final, NoReturn, SupportsIndex

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from typing_extensions import override

from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._formats import KEY_RING
from ghasi_handoff._limits import DEFAULT_PROPAGATION, MAX_SECONDS, MIN_SECRET_BYTES, SUPERSEDED_KEY_SECONDS
from ghasi_handoff._secret_checks import secret_problem
from ghasi_handoff._signing_string import as_kid, signing_string_prefix
from ghasi_handoff._times import from_seconds, iso_text, to_seconds, whole_seconds
from ghasi_handoff.errors import ConfigurationError, KeyRingError

__all__ = ["KeyRing", "KeyState", "SigningKey"]

_HMAC_BLOCK_BYTES: Final = 64
_KEY_MEMBERS: Final = ("kid", "secret", "created_at", "sign_from", "verify_until", "revoked_at")
_ISO_SECONDS: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


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


class SigningKey:
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

    __slots__ = ("_context", "_created_at", "_kid", "_revoked_at", "_secret", "_sign_from", "_verify_until")

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
            plain_kid = as_kid(kid)
            if plain_kid is None:
                raise KeyRingError("a key's kid must be 1 to 32 characters of A-Z a-z 0-9 _ -")
            kid = plain_kid
            problem = secret_problem(secret)
            if problem:
                raise KeyRingError(f"key {kid}: {problem}")
            self._kid = kid
            self._created_at = to_seconds(created_at, name=f"created_at of key {kid}", error=KeyRingError)
            self._sign_from = to_seconds(sign_from, name=f"sign_from of key {kid}", error=KeyRingError)
            self._verify_until = _optional_seconds(verify_until, f"verify_until of key {kid}")
            self._revoked_at = _optional_seconds(revoked_at, f"revoked_at of key {kid}")
            self._secret = secret
            # Key set-up costs more than the MAC of a token: done once here; _mac.py copies this context for each token.
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
    def created_at(self) -> datetime:
        """When the key was made; informative."""
        return from_seconds(self._created_at)

    @property
    def sign_from(self) -> datetime:
        """From when on the key may sign."""
        return from_seconds(self._sign_from)

    @property
    def verify_until(self) -> datetime | None:
        """From when on the key is retired, or None: not known yet."""
        return None if self._verify_until is None else from_seconds(self._verify_until)

    @property
    def revoked_at(self) -> datetime | None:
        """When the key was revoked, or None."""
        return None if self._revoked_at is None else from_seconds(self._revoked_at)

    @override
    def __repr__(self) -> str:
        if not hasattr(self, "_context"):
            return "SigningKey(refused)"  # seen in the traceback of its own refusal
        dates = [f"sign_from={iso_text(self._sign_from)}"]
        dates += [f"verify_until={iso_text(self._verify_until)}"] if self._verify_until is not None else []
        dates += [f"revoked_at={iso_text(self._revoked_at)}"] if self._revoked_at is not None else []
        return f"SigningKey(kid={self._kid!r}, {', '.join(dates)})"

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SigningKey):
            return NotImplemented
        same_dates = self._dates() == other._dates()
        return self._kid == other._kid and same_dates and compare_digest(self._secret, other._secret)

    @override
    def __hash__(self) -> int:
        return hash((self._kid, self._dates()))  # not of the secret: a hash is shown and stored freely

    def __copy__(self) -> SigningKey:
        return self

    def __deepcopy__(self, memo: object) -> SigningKey:
        return self

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise KeyRingError(
            f"key {self._kid}: a key is not pickled, its secret would travel; load the key file in each process"
        )

    def _dates(self) -> tuple[int, int, int | None, int | None]:
        return (self._created_at, self._sign_from, self._verify_until, self._revoked_at)

    def _replaced(self, *, verify_until: int | None, revoked_at: int | None) -> SigningKey:
        return SigningKey(
            kid=self._kid,
            secret=self._secret,
            created_at=self.created_at,
            sign_from=self.sign_from,
            verify_until=None if verify_until is None else from_seconds(verify_until),
            revoked_at=None if revoked_at is None else from_seconds(revoked_at),
        )

    @property
    def _took_part(self) -> bool:
        """Not revoked before it could sign (rule 1)."""
        return self._revoked_at is None or self._revoked_at >= self._sign_from


class KeyRing:
    """All keys of one issuer and audience, on both sides. Frozen: what would change it returns a new ring.

    Args:
        keys: The keys, in any order. At least one; no two of one kid, secret or ``sign_from``.

    Raises:
        KeyRingError: The keys do not make a ring, for example because ``verify_until`` stands on a key without a
            successor, or lies less than 3720 s after the successor's ``sign_from``.

    >>> ring = KeyRing.generate(kid="2026-11")
    >>> ring.state("2026-11").value
    'active'
    >>> [key.kid for key in ring.rotate(kid="2026-12").keys]
    ['2026-11', '2026-12']
    """

    __slots__ = ("_by_kid", "_keys")

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        ordered = list(keys)
        if not all(isinstance(key, SigningKey) for key in ordered):
            raise KeyRingError("a key ring is made of SigningKey objects")
        ordered.sort(key=lambda key: key._sign_from)
        _check_ring(ordered)
        self._keys = tuple(ordered)
        self._by_kid = MappingProxyType({key.kid: key for key in ordered})

    @classmethod
    def generate(cls, kid: str | None = None, now: datetime | None = None) -> KeyRing:
        """A ring with one new random key that signs from `now` on.

        Args:
            kid: The key's name; by default the date and four random characters.
            now: Aware datetime; by default the present.
        """
        seconds = _now(now)
        return cls([_new_key(kid, seconds, seconds)])

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """The keys in the order of ``sign_from``."""
        return self._keys

    def state(self, kid: str, now: datetime | None = None) -> KeyState:
        """What the key may do at `now` (aware datetime; by default the present).

        Raises:
            KeyRingError: The ring has no such key.
        """
        key = self._key(kid)
        seconds = _now(now)
        if key._revoked_at is not None:
            return KeyState.REVOKED
        if key._verify_until is not None and seconds >= key._verify_until:
            return KeyState.RETIRED
        if seconds < key._sign_from:
            return KeyState.PENDING
        return KeyState.ACTIVE if key is self._newest_started(seconds) else KeyState.VERIFY_ONLY

    def rotate(
        self, kid: str | None = None, now: datetime | None = None, propagation: timedelta = DEFAULT_PROPAGATION
    ) -> KeyRing:
        """A ring with one more key, which signs once `propagation` is over.

        Bring the new ring to every process of both services within `propagation`. The predecessor then verifies for
        another 3720 s, or `propagation` if that is longer: until the last token that it signed has ended.

        Args:
            kid: The new key's name; by default the date and four random characters.
            now: Aware datetime; by default the present.
            propagation: How long it takes at most until every process has the new ring. Whole seconds.

        Raises:
            KeyRingError: The kid is taken, or an argument is not valid.
        """
        seconds = _now(now)
        delay = whole_seconds(propagation, name="propagation", least=0, most=MAX_SECONDS, error=KeyRingError)
        # Later than every key that takes part. One that was revoked while pending does not: a start that was set a
        # year ahead by mistake, and revoked, must not hold back every rotation until then. Just an equal date is
        # avoided.
        sign_from = max([seconds + delay, *(key._sign_from + 1 for key in self._keys if key._took_part)])
        while any(key._sign_from == sign_from for key in self._keys):
            sign_from += 1
        if sign_from + max(SUPERSEDED_KEY_SECONDS, delay) > MAX_SECONDS:
            raise KeyRingError("the new key would sign after the year 9999")
        if kid is not None and kid in self._by_kid:
            raise KeyRingError(f"key {kid}: this kid is taken; a kid is never used again")
        new = _new_key(kid, seconds, sign_from)
        # The predecessor's end is known now. So is that of a key whose next one was revoked while it was pending. It
        # does not come before all older copies are gone: when a pending key is revoked its predecessor signs on, and a
        # verifier with an older copy would retire it.
        kept_for = max(SUPERSEDED_KEY_SECONDS, delay)
        superseded = [self._ending(key, sign_from, kept_for) if key._took_part else key for key in self._keys]
        return KeyRing([*superseded, new])

    def revoke(self, kid: str, now: datetime | None = None) -> KeyRing:
        """A ring in which the key neither signs nor verifies. Never refused for a key in the ring.

        It takes effect in each process once that has the new ring. If the key was active, no key signs until a
        successor does: `rotate` first, or with ``propagation=timedelta(0)`` after. If it was pending, its predecessor
        goes on as if it had never been there. A key that is revoked already stays as it is.

        Args:
            kid: The key's name.
            now: Aware datetime; by default the present.

        Raises:
            KeyRingError: The ring has no such key.
        """
        revoked = self._key(kid)
        seconds = _now(now)
        if revoked._revoked_at is not None:
            return self
        was_pending = seconds < revoked._sign_from
        keys = []
        for key in self._keys:
            if key is revoked:
                keys.append(key._replaced(verify_until=key._verify_until, revoked_at=seconds))
            elif was_pending and key._verify_until is not None and self._successor(key) is revoked:
                # Its end was counted from a start that will never be.
                keys.append(key._replaced(verify_until=None, revoked_at=key._revoked_at))
            else:
                keys.append(key)
        return KeyRing(keys)

    def prune(self, now: datetime | None = None) -> KeyRing:
        """A ring without the keys that no token within its lifetime can name any more. The newest key always stays.

        Args:
            now: Aware datetime; by default the present.
        """
        seconds = _now(now)
        kept: list[SigningKey] = []
        older_remain = False
        for key in self._keys[:-1]:
            successor = self._successor(key)
            if key._took_part:
                retired = key._revoked_at is not None or (
                    key._verify_until is not None and seconds >= key._verify_until
                )
                # An older key that stays needs this one: it is what keeps the older one from signing again.
                gone = (
                    retired and not older_remain and successor is not None and _is_over(successor._sign_from, seconds)
                )
                older_remain = older_remain or not gone
            else:
                gone = _is_over(key._sign_from, seconds)
            if not gone:
                kept.append(key)
        return KeyRing([*kept, self._keys[-1]])

    def to_json(self) -> str:
        """The ring as JSON text, secrets included: keep it as you keep them. `from_json` reads it without loss."""
        keys = [
            {
                "kid": key._kid,
                "secret": b64u_encode(key._secret),
                "created_at": iso_text(key._created_at),
                "sign_from": iso_text(key._sign_from),
                "verify_until": None if key._verify_until is None else iso_text(key._verify_until),
                "revoked_at": None if key._revoked_at is None else iso_text(key._revoked_at),
            }
            for key in self._keys
        ]
        return json.dumps({"format": KEY_RING, "keys": keys}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> KeyRing:
        """The ring that `to_json` wrote.

        Raises:
            KeyRingError: Not such text. The message never quotes it.
        """
        document: Any = None
        member: object = None
        keys: list[SigningKey] = []
        try:
            document = _parsed(text)
            if not isinstance(document, dict) or set(document) != {"format", "keys"} or document["format"] != KEY_RING:
                raise KeyRingError(
                    f"not a key ring: a JSON object with the format {KEY_RING!r} and keys was expected; if it is of a"
                    " later version, update ghasi-handoff here"
                )
            if not isinstance(document["keys"], list):
                raise KeyRingError("not a key ring: keys must be a list")
            for position, member in enumerate(document["keys"], start=1):
                keys.append(_key_from_json(member, position))
            return cls(keys)
        finally:
            del text, document, member  # a traceback that shows local variables must not show the secrets

    @override
    def __repr__(self) -> str:
        return f"KeyRing(kids={[key._kid for key in getattr(self, '_keys', ())]})"

    @override
    def __eq__(self, other: object) -> bool:
        return self._keys == other._keys if isinstance(other, KeyRing) else NotImplemented

    @override
    def __hash__(self) -> int:
        return hash(self._keys)

    def __copy__(self) -> KeyRing:
        return self

    def __deepcopy__(self, memo: object) -> KeyRing:
        return self

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise KeyRingError("a key ring is not pickled, its secrets would travel; load the key file in each process")

    def _ending(self, key: SigningKey, new_sign_from: int, kept_for: int) -> SigningKey:
        if key._verify_until is not None:
            return key
        successor = self._successor(key)
        taken_over_at = new_sign_from if successor is None else successor._sign_from
        return key._replaced(verify_until=taken_over_at + kept_for, revoked_at=key._revoked_at)

    def _key(self, kid: str) -> SigningKey:
        key = self._by_kid.get(kid) if isinstance(kid, str) else None
        if key is None:
            plain_kid = as_kid(kid)
            raise KeyRingError("the ring has no such key" if plain_kid is None else f"the ring has no key {plain_kid}")
        return key

    def _signer(self, seconds: int) -> SigningKey:
        """The key that signs at `seconds`.

        Raises:
            KeyRingError: None does.
        """
        key = self._newest_started(seconds)
        if key is None:
            raise KeyRingError("no key can sign yet: the sign_from of every key lies ahead; check the clock, or wait")
        if key._revoked_at is not None:
            raise KeyRingError(
                f"no key can sign: key {key._kid} is revoked and has no active successor; rotate the ring"
            )
        return key

    def _newest_started(self, seconds: int) -> SigningKey | None:
        return next((key for key in reversed(self._keys) if key._sign_from <= seconds and key._took_part), None)

    def _successor(self, key: SigningKey) -> SigningKey | None:
        return next((later for later in self._keys if later._sign_from > key._sign_from and later._took_part), None)


def ring_source(keys: KeyRing | Callable[[], KeyRing]) -> Callable[[], KeyRing]:
    """A ring, or a callable that returns the present one, as such a callable.

    Raises:
        ConfigurationError: Neither.
    """
    if isinstance(keys, KeyRing):
        return lambda: keys
    if not callable(keys):
        raise ConfigurationError(f"keys must be a KeyRing, or a callable that returns one, not {type(keys).__name__}")
    return keys


def _check_ring(ordered: list[SigningKey]) -> None:
    if not ordered:
        raise KeyRingError("a key ring holds at least one key; make one: ghasi-handoff keys init")
    for position, key in enumerate(ordered):
        for earlier in ordered[:position]:
            if earlier._kid == key._kid:
                raise KeyRingError(f"key {key._kid}: two keys have this kid; take the file from its source again")
            if compare_digest(_effective_secret(earlier), _effective_secret(key)):
                raise KeyRingError(f"keys {earlier._kid} and {key._kid} have the same secret")
            if earlier._sign_from == key._sign_from:
                raise KeyRingError(f"keys {earlier._kid} and {key._kid} have the same sign_from; one must be newer")
    successor: SigningKey | None = None
    for key in reversed(ordered):
        if key._verify_until is not None:
            if successor is None:
                raise KeyRingError(f"key {key.kid}: verify_until needs a later key in the ring that takes over")
            if key._verify_until < successor._sign_from + SUPERSEDED_KEY_SECONDS:
                raise KeyRingError(
                    f"key {key.kid}: verify_until must be at least {SUPERSEDED_KEY_SECONDS} s after the sign_from of"
                    f" key {successor.kid}, or tokens would be refused within their lifetime"
                )
        if key._took_part:
            successor = key


def _effective_secret(key: SigningKey) -> bytes:
    """The block that HMAC makes of a secret (RFC 2104, section 2): secrets with the same block are the same key."""
    secret = key._secret
    return (sha256(secret).digest() if len(secret) > _HMAC_BLOCK_BYTES else secret).ljust(_HMAC_BLOCK_BYTES, b"\0")


def _is_over(sign_from: int, seconds: int) -> bool:
    return seconds >= sign_from + SUPERSEDED_KEY_SECONDS


def _new_key(kid: str | None, created_at: int, sign_from: int) -> SigningKey:
    created = from_seconds(created_at)
    return SigningKey(
        kid=f"{created:%Y-%m-%d}-{secrets.token_hex(2)}" if kid is None else kid,
        secret=secrets.token_bytes(MIN_SECRET_BYTES),
        created_at=created,
        sign_from=from_seconds(sign_from),
    )


def _now(now: datetime | None) -> int:
    return to_seconds(datetime.now(UTC) if now is None else now, name="now", error=KeyRingError)


def _optional_seconds(moment: datetime | None, name: str) -> int | None:
    return None if moment is None else to_seconds(moment, name=name, error=KeyRingError)


def _parsed(text: str) -> object:
    problem = "not a string"
    try:
        if isinstance(text, str):
            return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        problem = "not JSON, or a member stands twice; is it whole? Take it from its source again"
    finally:
        del text
    # Raised out here: a JSONDecodeError, which carries the whole document, must not travel along as __context__.
    raise KeyRingError(f"not a key ring: {problem}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _key_from_json(member: Any, position: int) -> SigningKey:
    place = f"key number {position}"
    secret: bytes | None = None
    try:
        if not isinstance(member, dict) or set(member) != set(_KEY_MEMBERS):
            raise KeyRingError(f"{place}: its members must be {', '.join(_KEY_MEMBERS)}")
        secret = b64u_decode(member["secret"]) if isinstance(member["secret"], str) else None
        if secret is None:
            raise KeyRingError(f"{place}: the secret must be base64url without padding")
        dates = {name: _date_from_json(member[name], f"{place}: {name}") for name in _KEY_MEMBERS[2:]}
        created_at, sign_from = dates["created_at"], dates["sign_from"]
        if created_at is None or sign_from is None:
            raise KeyRingError(f"{place}: created_at and sign_from must be dates")
        return SigningKey(
            kid=member["kid"],
            secret=secret,
            created_at=created_at,
            sign_from=sign_from,
            verify_until=dates["verify_until"],
            revoked_at=dates["revoked_at"],
        )
    finally:
        del secret, member  # a traceback that shows local variables must not show them


def _date_from_json(value: object, place: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str) and _ISO_SECONDS.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # the thirtieth of February: said below like every other text that is no date
    raise KeyRingError(f"{place} must be a date such as 2026-11-23T09:30:00Z, or null where that is allowed")
