"""kid, clock -> key. `SigningKey` and `KeyRing`: states that follow from dates, and rotation that loses no token.

The rules, for a ring whose keys stand in the order of ``sign_from``:

1. A key revoked before its ``sign_from`` never took part: every other rule skips it.
2. The newest key whose ``sign_from`` has come signs. If it is revoked, none signs: an older one never signs again.
3. Every key that is neither retired (``now >= verify_until``) nor revoked verifies, from the moment it is in the ring.
4. ``verify_until`` is at least the next key's ``sign_from`` + `SUPERSEDED_KEY_SECONDS`, so that every token that a key
   signed can live to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from typing_extensions import override

from ghasi_handoff._key_ring_json import keys_from_json, keys_to_json
from ghasi_handoff._limits import DEFAULT_PROPAGATION, MAX_SECONDS, SUPERSEDED_KEY_SECONDS
from ghasi_handoff._ring_rules import check_ring
from ghasi_handoff._signing_key import KeyState, NeverPickled, SigningKey, new_key
from ghasi_handoff._signing_string import as_kid
from ghasi_handoff._times import to_seconds, whole_seconds
from ghasi_handoff.errors import ConfigurationError, KeyRingError, RetiredKeyError, RevokedKeyError, UnknownKeyError

__all__ = ["KeyRing", "KeyState", "SigningKey"]


class KeyRing(NeverPickled):
    """All keys of one issuer and audience, on both sides. Frozen: what would change it returns a new ring.

    Each ``now`` is an aware datetime, by default the present, unless its method says otherwise.

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
        ordered.sort(key=lambda key: key.dates.sign_from)
        check_ring(ordered)
        self._keys = tuple(ordered)
        self._by_kid = MappingProxyType({key.kid: key for key in ordered})

    @classmethod
    def generate(cls, kid: str | None = None, now: datetime | None = None) -> KeyRing:
        """A ring with one new random key that signs from `now` on, by default named by date and four characters."""
        seconds = _now(now)
        return cls([new_key(kid, seconds, seconds)])

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """The keys in the order of ``sign_from``."""
        return self._keys

    def state(self, kid: str, now: datetime | None = None) -> KeyState:
        """What the key may do at `now`. `KeyRingError` if the ring has no such key."""
        key = self._key(kid)
        seconds = _now(now)
        if key.dates.revoked_at is not None:
            return KeyState.REVOKED
        if key.dates.is_retired(seconds):
            return KeyState.RETIRED
        if seconds < key.dates.sign_from:
            return KeyState.PENDING
        return KeyState.ACTIVE if key is self._newest_started(seconds) else KeyState.VERIFY_ONLY

    def signing_key(self, now: int) -> SigningKey:
        """The one key that signs at `now`, in Unix seconds. `KeyRingError` if none does."""
        key = self._newest_started(now)
        if key is None:
            raise KeyRingError("no key can sign yet: the sign_from of every key lies ahead; check the clock, or wait")
        if key.dates.revoked_at is not None:
            raise KeyRingError(f"no key can sign: key {key.kid} is revoked and none has taken over; rotate the ring")
        return key

    def verifying_key(self, kid: str, now: int) -> SigningKey:
        """The key that may verify what names `kid`, at `now` in Unix seconds.

        Raises:
            UnknownKeyError: The ring has no such key.
            RevokedKeyError: It is revoked.
            RetiredKeyError: Its ``verify_until`` has passed.
        """
        key = self._by_kid.get(kid)
        if key is None:
            raise UnknownKeyError(f"the ring has no key {kid}: is it the ring of this issuer, and up to date?", kid=kid)
        dates = key.dates
        if dates.revoked_at is not None:
            raise RevokedKeyError(f"key {kid} is revoked", kid=kid)
        if dates.verify_until is not None and now >= dates.verify_until:
            raise RetiredKeyError(f"key {kid} is retired since {now - dates.verify_until} s", kid=kid)
        return key

    def __contains__(self, kid: object) -> bool:
        return kid in self._by_kid

    def rotate(
        self, kid: str | None = None, now: datetime | None = None, propagation: timedelta = DEFAULT_PROPAGATION
    ) -> KeyRing:
        """A ring with one more key, which signs once `propagation` is over.

        Bring the new ring to every process of both services within `propagation`. The predecessor then verifies for
        another 3720 s, or `propagation` if that is longer: until the last token that it signed has ended.

        Args:
            kid: The new key's name; by default the date and four random characters.
            now: When.
            propagation: How long it takes at most until every process has the new ring. Whole seconds.

        Raises:
            KeyRingError: The kid is taken, or an argument is not valid.
        """
        seconds = _now(now)
        delay = whole_seconds(propagation, name="propagation", least=0, most=MAX_SECONDS, error=KeyRingError)
        # Later than every key that takes part. One that was revoked while pending does not: a start that was set a
        # year ahead by mistake, and revoked, must not hold back every rotation until then. Just an equal date is
        # avoided.
        sign_from = max([seconds + delay, *(key.dates.sign_from + 1 for key in self._keys if key.dates.took_part)])
        while any(key.dates.sign_from == sign_from for key in self._keys):
            sign_from += 1
        # An end does not come before all older copies are gone: when a pending key is revoked its predecessor signs on,
        # and a verifier with an older copy would retire it.
        kept_for = max(SUPERSEDED_KEY_SECONDS, delay)
        if sign_from + kept_for > MAX_SECONDS:
            raise KeyRingError("the new key would sign after the year 9999")
        if kid is not None and kid in self._by_kid:
            raise KeyRingError(f"key {kid}: this kid is taken; a kid is never used again")
        new = new_key(kid, seconds, sign_from)
        # The predecessor's end is known now. So is that of a key whose next one was revoked while it was pending.
        superseded = [self._ending(key, sign_from, kept_for) if key.dates.took_part else key for key in self._keys]
        return KeyRing([*superseded, new])

    def revoke(self, kid: str, now: datetime | None = None) -> KeyRing:
        """A ring in which the key neither signs nor verifies. Never refused for a key in the ring.

        It takes effect in each process once that has the new ring. If the key was active, no key signs until a
        successor does: `rotate` first, or with ``propagation=timedelta(0)`` after. If it was pending, its predecessor
        goes on as if it had never been there. A key that is revoked already stays as it is. `KeyRingError` if the ring
        has no such key.
        """
        revoked = self._key(kid)
        seconds = _now(now)
        if revoked.dates.revoked_at is not None:
            return self
        was_pending = seconds < revoked.dates.sign_from
        keys = []
        for key in self._keys:
            if key is revoked:
                keys.append(key.replaced(verify_until=key.dates.verify_until, revoked_at=seconds))
            elif was_pending and key.dates.verify_until is not None and self._successor(key) is revoked:
                # Its end was counted from a start that will never be.
                keys.append(key.replaced(verify_until=None, revoked_at=key.dates.revoked_at))
            else:
                keys.append(key)
        return KeyRing(keys)

    def prune(self, now: datetime | None = None) -> KeyRing:
        """A ring without the keys that no token within its lifetime can name any more. The newest key always stays."""
        seconds = _now(now)
        kept: list[SigningKey] = []
        older_remain = False
        for key in self._keys[:-1]:
            if key.dates.took_part:
                ended = key.dates.revoked_at is not None or key.dates.is_retired(seconds)
                successor = self._successor(key)
                over = successor is not None and _is_over(successor.dates.sign_from, seconds)
                # An older key that stays needs this one: it is what keeps the older one from signing again.
                gone = ended and over and not older_remain
                older_remain = older_remain or not gone
            else:
                gone = _is_over(key.dates.sign_from, seconds)
            if not gone:
                kept.append(key)
        return KeyRing([*kept, self._keys[-1]])

    def to_json(self) -> str:
        """The ring as JSON text, secrets included: keep it as you keep them. `from_json` reads it without loss."""
        return keys_to_json(self._keys)

    @classmethod
    def from_json(cls, text: str) -> KeyRing:
        """The ring that `to_json` wrote. `KeyRingError` if this is no such text; the message never quotes it."""
        try:
            return cls(keys_from_json(text))
        finally:
            del text  # a traceback that shows local variables must not show the secrets

    @override
    def __repr__(self) -> str:
        return f"KeyRing(kids={[key.kid for key in getattr(self, '_keys', ())]})"

    @override
    def __eq__(self, other: object) -> bool:
        return self._keys == other._keys if isinstance(other, KeyRing) else NotImplemented

    @override
    def __hash__(self) -> int:
        return hash(self._keys)

    def _ending(self, key: SigningKey, new_sign_from: int, kept_for: int) -> SigningKey:
        if key.dates.verify_until is not None:
            return key
        successor = self._successor(key)
        taken_over_at = new_sign_from if successor is None else successor.dates.sign_from
        return key.replaced(verify_until=taken_over_at + kept_for, revoked_at=key.dates.revoked_at)

    def _key(self, kid: str) -> SigningKey:
        plain_kid = as_kid(kid)
        key = None if plain_kid is None else self._by_kid.get(plain_kid)
        if key is None:
            raise KeyRingError("the ring has no such key" if plain_kid is None else f"the ring has no key {plain_kid}")
        return key

    def _newest_started(self, seconds: int) -> SigningKey | None:
        started = (key for key in reversed(self._keys) if key.dates.sign_from <= seconds and key.dates.took_part)
        return next(started, None)

    def _successor(self, key: SigningKey) -> SigningKey | None:
        later = (other for other in self._keys if other.dates.sign_from > key.dates.sign_from and other.dates.took_part)
        return next(later, None)


def ring_source(keys: KeyRing | Callable[[], KeyRing]) -> Callable[[], KeyRing]:
    """A ring, or a callable that returns the present one, as such a callable."""
    if isinstance(keys, KeyRing):
        return lambda: keys
    if not callable(keys):
        raise ConfigurationError(f"keys must be a KeyRing, or a callable that returns one, not {type(keys).__name__}")
    return keys


def _is_over(sign_from: int, seconds: int) -> bool:
    return seconds >= sign_from + SUPERSEDED_KEY_SECONDS


def _now(now: datetime | None) -> int:
    return to_seconds(datetime.now(UTC) if now is None else now, name="now", error=KeyRingError)
