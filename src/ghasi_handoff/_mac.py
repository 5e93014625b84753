"""key, body -> MAC text. HMAC-SHA256 (RFC 2104) over the signing string, as 43 characters of base64url."""

from __future__ import annotations

from hmac import compare_digest

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff._signing_key import SigningKey


def compute_mac(key: SigningKey, body: bytes) -> str:
    """The MAC of `body` under `key`, whose context has already taken in the signing string's fixed first lines."""
    context = key.mac_context()
    context.update(body)
    return b64u_encode(context.finalize())


def is_mac(key: SigningKey, body: bytes, mac_text: str) -> bool:
    """Whether `mac_text` is the MAC of `body`, compared as ASCII text in constant time: one MAC, one spelling."""
    return compare_digest(compute_mac(key, body), mac_text)


def compute_message_mac(key: SigningKey, message: bytes) -> str:
    """The MAC of a message of another kind than a token, whose first line must say so: one key, apart uses."""
    context = HMAC(key.secret, SHA256())
    context.update(message)
    return b64u_encode(context.finalize())


def is_message_mac(key: SigningKey, message: bytes, mac_text: str) -> bool:
    """Whether `mac_text` is the MAC of `message`, compared as ASCII text in constant time."""
    return compare_digest(compute_message_mac(key, message), mac_text)
