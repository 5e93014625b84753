"""ring -> what two services may compare: kids, states, dates and a keyed hash. No secret, and nothing to find one by.

    hash = the first 16 bytes of HMAC-SHA256(secret, "ghasi-fingerprint/v1" LF "HMAC-SHA256" LF kid), in hex

Its first line is that of no token and no consume call, so a hash is never a MAC of either (docs/spec).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ghasi_handoff._formats import FINGERPRINT_DOCUMENT, KEY_FINGERPRINT, KEY_RING, MAC_ALGORITHM
from ghasi_handoff._limits import MAX_FINGERPRINT_CHARACTERS
from ghasi_handoff._signing_string import as_kid
from ghasi_handoff._times import iso
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keys import KeyRing, KeyState, SigningKey
from ghasi_handoff.rotation._plan import floored

_PROBLEM: Final = f"not a fingerprint: a JSON object with the format {FINGERPRINT_DOCUMENT!r} was expected"

_OPTIONAL_DATES: Final = ("verify_until", "revoked_at", "last_used_at")

_is_hash: Final = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch
_is_date: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFingerprint:
    """What may be shown of one key. Dates are aware datetimes, or None.

    Attributes:
        kid: The key's name.
        state: At the fingerprint's time, by the clock of the machine that made it.
        created_at: When it was made.
        sign_from: From then on it may sign.
        verify_until: From then on it is retired.
        revoked_at: When it was revoked.
        hash: 32 hex digits that are equal where kid and secret are.
        last_used_at: When that process last saw an authentic handoff of this key, if it keeps count (`LastUse`).
    """

    kid: str
    state: KeyState
    created_at: datetime
    sign_from: datetime
    verify_until: datetime | None
    revoked_at: datetime | None
    hash: str
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What may be shown of a ring.

    Attributes:
        at: When it was made, by the clock of the machine that made it.
        keys: In the order of ``sign_from``.
    """

    at: datetime
    keys: tuple[KeyFingerprint, ...]

    @property
    def ring(self) -> str:
        """16 hex digits in groups, to read out on the telephone: equal where keys and dates are."""
        lines = []
        for key in self.keys:
            dates = (key.sign_from, key.verify_until, key.revoked_at)
            lines.append(f"{key.kid} {key.hash} " + " ".join(iso(date) if date else "None" for date in dates))
        digits = sha256("\n".join(lines).encode("ascii")).hexdigest()[:16]
        return "-".join(digits[place : place + 4] for place in range(0, 16, 4))

    def as_dict(self) -> dict[str, Any]:
        """What `to_json` writes, as a dict."""
        # The members of a key are the fields of `KeyFingerprint`, in their order.
        keys = [
            {name: iso(value) if isinstance(value, datetime) else value for name, value in asdict(key).items()}
            | {"state": key.state.value}
            for key in self.keys
        ]
        return {"format": FINGERPRINT_DOCUMENT, "at": iso(self.at), "ring": self.ring, "keys": keys}

    def to_json(self) -> str:
        """The fingerprint as one line of JSON, for a file or an internal endpoint."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """The fingerprint that `to_json` wrote, maybe in a later release: members it does not know are left out.

        Raises:
            KeyRingError: Not such text. The message does not quote it.
        """
        document: object = None
        try:
            if isinstance(text, str) and len(text) <= MAX_FINGERPRINT_CHARACTERS:
                with suppress(ValueError, RecursionError):
                    document = json.loads(text)
            if not isinstance(document, dict):
                raise KeyRingError(_PROBLEM)
            if document.get("format") == KEY_RING:
                raise KeyRingError("this is a key file, with secrets; where it is, run: ghasi-handoff keys fingerprint")
            keys = document.get("keys")
            if document.get("format") != FINGERPRINT_DOCUMENT or not isinstance(keys, list):
                raise KeyRingError(_PROBLEM)
            return cls(at=_date(document.get("at")), keys=tuple(_key(member) for member in keys))
        finally:
            del text, document  # it may be a key file: a traceback that shows local variables must not show it


def fingerprint(
    keys: KeyRing, now: datetime | None = None, *, last_use: Mapping[str, datetime] | None = None
) -> Fingerprint:
    """What may be shown of the ring: to a monitor, an internal endpoint, or the people of the other service.

    Args:
        keys: The ring.
        now: Aware datetime; by default the present.
        last_use: When each kid was last seen, of a `LastUse` for example.

    Raises:
        KeyRingError: An argument is not valid.
    """
    if not isinstance(keys, KeyRing):
        raise KeyRingError(f"a fingerprint is of a KeyRing, not of {type(keys).__name__}")
    at = floored(now)
    seen = {} if last_use is None else last_use
    return Fingerprint(
        at=at,
        keys=tuple(
            KeyFingerprint(
                kid=key.kid,
                state=keys.state(key.kid, at),
                created_at=key.created_at,
                sign_from=key.sign_from,
                verify_until=key.verify_until,
                revoked_at=key.revoked_at,
                hash=_hash(key),
                last_used_at=seen.get(key.kid),
            )
            for key in keys.keys
        ),
    )


def _hash(key: SigningKey) -> str:
    mac = HMAC(key.secret, SHA256())
    mac.update(f"{KEY_FINGERPRINT}\n{MAC_ALGORITHM}\n{key.kid}".encode("ascii"))
    return mac.finalize()[:16].hex()


def _key(member: Any) -> KeyFingerprint:
    wrong = KeyRingError("not a fingerprint: a key has no kid, state and hash of the right form")
    if not isinstance(member, dict):
        raise wrong
    kid, state, digits = as_kid(member.get("kid")), member.get("state"), member.get("hash")
    if kid is None or state not in list(KeyState) or not isinstance(digits, str) or not _is_hash(digits):
        raise wrong
    return KeyFingerprint(
        kid=kid,
        state=KeyState(state),
        created_at=_date(member.get("created_at")),
        sign_from=_date(member.get("sign_from")),
        hash=digits,
        **{name: None if member.get(name) is None else _date(member[name]) for name in _OPTIONAL_DATES},
    )


def _date(value: object) -> datetime:
    with suppress(ValueError):  # such as the thirtieth of February
        if isinstance(value, str) and _is_date(value):
            return datetime.fromisoformat(value)
    raise KeyRingError("not a fingerprint: a date must be such as 2026-11-23T09:30:00Z")
