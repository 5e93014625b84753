"""Token text <-> its parts, none of them verified. ``ghasi1.kid.body.mac``, ASCII, at most 4096 characters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from ghasi_handoff._base64url import b64u_encode, decode_b64u_characters
from ghasi_handoff._formats import TOKEN_VERSION
from ghasi_handoff._limits import MAC_CHARACTERS, MAX_KID_CHARACTERS, MAX_TOKEN_CHARACTERS
from ghasi_handoff.errors import MalformedTokenError

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # of kid, body and MAC alike


class UnverifiedToken(NamedTuple):
    """The parts of a well-shaped token. Anybody can make one: `body` means nothing before the MAC has matched."""

    kid: str
    body: bytes
    mac_text: str


# A named tuple's own constructor is a Python function, and costs three times as much.
_unverified: Final[Callable[[tuple[str, bytes, str]], UnverifiedToken]] = partial(tuple.__new__, UnverifiedToken)


def build_token(kid: str, body: bytes, mac_text: str) -> str:
    """The one text of a token."""
    return f"{TOKEN_VERSION}.{kid}.{b64u_encode(body)}.{mac_text}"


def parse_token(token: object) -> UnverifiedToken:
    """A token's text to its parts.

    Raises:
        MalformedTokenError: Not text of this shape.
    """
    # Only str itself: bytes have several readings as text, and a subclass may answer these methods as it likes.
    if type(token) is not str:
        raise MalformedTokenError("a token is a str; this is something else")
    if len(token) > MAX_TOKEN_CHARACTERS:  # before anything that costs time by length
        raise MalformedTokenError(f"the token has {len(token)} characters; at most {MAX_TOKEN_CHARACTERS} are allowed")
    # token = "ghasi1" "." kid "." b64u(body) "." b64u(mac): without their alphabet, just three dots are left.
    if not token.isascii() or token.encode("ascii").translate(None, _ALPHABET) != b"...":
        raise MalformedTokenError(
            f"not {TOKEN_VERSION}.kid.body.mac: {len(token)} characters in {token.count('.') + 1} parts, or some"
            " outside the alphabet"
        )
    version, kid, body_text, mac_text = token.split(".")
    if version != TOKEN_VERSION:
        raise MalformedTokenError(f"the token is not of the version {TOKEN_VERSION}")
    if not 1 <= len(kid) <= MAX_KID_CHARACTERS:
        raise MalformedTokenError(f"the token's kid has {len(kid)} characters; 1 to {MAX_KID_CHARACTERS} are allowed")
    if not body_text or len(mac_text) != MAC_CHARACTERS:
        raise MalformedTokenError(f"the token has no body, or its MAC has not {MAC_CHARACTERS} characters", kid=kid)
    body = decode_b64u_characters(body_text)
    if body is None:
        raise MalformedTokenError("the token's body is not canonical base64url", kid=kid)
    return _unverified((kid, body, mac_text))
