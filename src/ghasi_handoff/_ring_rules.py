"""keys in order -> whether they make a ring: no two alike, and no token is refused within its lifetime."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from ghasi_handoff._limits import SUPERSEDED_KEY_SECONDS
from ghasi_handoff._signing_key import SigningKey
from ghasi_handoff.errors import KeyRingError

_HMAC_BLOCK_BYTES: Final = 64


def check_ring(ordered: Sequence[SigningKey]) -> None:
    """Raise `KeyRingError` unless these keys, in the order of ``sign_from``, make a ring."""
    if not ordered:
        raise KeyRingError("a key ring holds at least one key; make one: ghasi-handoff keys init")
    for position, key in enumerate(ordered):
        for earlier in ordered[:position]:
            if earlier.kid == key.kid:
                raise KeyRingError(f"key {key.kid}: two keys have this kid; take the file from its source again")
            if compare_digest(_effective_secret(earlier), _effective_secret(key)):
                raise KeyRingError(f"keys {earlier.kid} and {key.kid} have the same secret")
            if earlier.dates.sign_from == key.dates.sign_from:
                raise KeyRingError(f"keys {earlier.kid} and {key.kid} have the same sign_from; one must be newer")
    successor: SigningKey | None = None
    for key in reversed(ordered):
        if key.dates.verify_until is not None:
            if successor is None:
                raise KeyRingError(f"key {key.kid}: verify_until needs a later key in the ring that takes over")
            if key.dates.verify_until < successor.dates.sign_from + SUPERSEDED_KEY_SECONDS:
                raise KeyRingError(
                    f"key {key.kid}: verify_until must be at least {SUPERSEDED_KEY_SECONDS} s after the sign_from of"
                    f" key {successor.kid}, or tokens would be refused within their lifetime"
                )
        if key.dates.took_part:
            successor = key


def _effective_secret(key: SigningKey) -> bytes:
    """The block that HMAC makes of a secret (RFC 2104, section 2): secrets with the same block are the same key."""
    secret = key.secret
    return (sha256(secret).digest() if len(secret) > _HMAC_BLOCK_BYTES else secret).ljust(_HMAC_BLOCK_BYTES, b"\0")
