"""Keys <-> the JSON text of a key ring, secrets included. No message and no traceback quotes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._formats import KEY_RING
from ghasi_handoff._signing_key import KeyDates, SigningKey
from ghasi_handoff._times import iso_text
from ghasi_handoff.errors import KeyRingError

_MEMBERS: Final = ("kid", "secret", *KeyDates._fields)
_ISO_SECONDS: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


def keys_to_json(keys: Iterable[SigningKey]) -> str:
    """The keys as JSON text."""
    members = [
        {
            "kid": key.kid,
            "secret": b64u_encode(key.secret),
            **{name: None if seconds is None else iso_text(seconds) for name, seconds in key.dates._asdict().items()},
        }
        for key in keys
    ]
    return json.dumps({"format": KEY_RING, "keys": members}, indent=2) + "\n"


def keys_from_json(text: str) -> list[SigningKey]:
    """The keys of such a text. A `KeyRingError` never quotes it."""
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
        return keys
    finally:
        del text, document, member, keys  # a traceback that shows local variables must not show the secrets


def _parsed(text: str) -> object:
    problem = "not a string"
    try:
        if isinstance(text, str):
            return json.loads(text, object_pairs_hook=unique_members)
    except (ValueError, RecursionError):
        problem = "not JSON, or a member stands twice; is it whole? Take it from its source again"
    finally:
        del text
    # Raised out here: a JSONDecodeError, which carries the whole document, must not travel along as __context__.
    raise KeyRingError(f"not a key ring: {problem}")


def unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose members have different names: of two equal ones, which would count?"""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _key_from_json(member: Any, position: int) -> SigningKey:
    place = f"key number {position}"
    secret: bytes | None = None
    try:
        if not isinstance(member, dict) or set(member) != set(_MEMBERS):
            raise KeyRingError(f"{place}: its members must be {', '.join(_MEMBERS)}")
        secret = b64u_decode(member["secret"]) if isinstance(member["secret"], str) else None
        if secret is None:
            raise KeyRingError(f"{place}: the secret must be base64url without padding")
        # Which dates may be null, the key itself checks.
        dates: dict[str, Any] = {name: _date_from_json(member[name], f"{place}: {name}") for name in _MEMBERS[2:]}
        return SigningKey(kid=member["kid"], secret=secret, **dates)
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
