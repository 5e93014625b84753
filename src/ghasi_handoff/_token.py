"""Token text <-> its parts, none of them verified. ``ghasi1.kid.body.mac``, ASCII, at most 4096 characters."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ghasi_handoff._encoding import b64u_decode, b64u_encode
from ghasi_handoff._signing_string import is_kid
from ghasi_handoff.errors import MalformedTokenError

VERSION: Final = "ghasi1"
MAX_TOKEN_CHARACTERS: Final = 4096

# mac = 43( A-Z / a-z / 0-9 / "-" / "_" )
_is_mac_text: Final = re.compile("[A-Za-z0-9_-]{43}").fullmatch


class UnverifiedToken(NamedTuple):
    """The parts of a well-shaped token. Anybody can make one: `body` must not be interpreted before the MAC has matched."""

    kid: str
    body: bytes
    mac_text: str


def build_token(kid: str, body: bytes, mac_text: str) -> str:
    """The one text of a token."""
    return f"{VERSION}.{kid}.{b64u_encode(body)}.{mac_text}"


def parse_token(token: object) -> UnverifiedToken:
    """A token's text to its parts.

    Raises:
        MalformedTokenError: Not text of this shape.
    """
    # Only str itself: bytes have several readings as text, and a subclass may answer these methods as it likes.
    if type(token) is not str:
        raise MalformedTokenError(f"a token is a str, not {type(token).__name__}")
    if len(token) > MAX_TOKEN_CHARACTERS:  # before anything that costs time by length
        raise MalformedTokenError(f"the token has {len(token)} characters; at most {MAX_TOKEN_CHARACTERS} are allowed")
    parts = token.split(".")
    if len(parts) != 4:
        raise MalformedTokenError(f"the token has {len(parts)} parts, not 4")
    version, kid, body_text, mac_text = parts
    if version != VERSION:
        raise MalformedTokenError("the token is not of version 1")
    if not is_kid(kid):
        raise MalformedTokenError("the token's kid is outside the grammar")
    body = b64u_decode(body_text)
    if not body:
        raise MalformedTokenError("the token's body is empty or not canonical base64url", kid=kid)
    if not _is_mac_text(mac_text):
        raise MalformedTokenError("the token's MAC is not 43 characters of base64url", kid=kid)
    return UnverifiedToken(kid, body, mac_text)
