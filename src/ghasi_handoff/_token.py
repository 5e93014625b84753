"""Token text <-> its parts, none of them verified. ``ghasi1.kid.body.mac``, ASCII, at most 4096 characters."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from ghasi_handoff._encoding import b64u_encode, decode_b64u_characters
from ghasi_handoff.errors import MalformedTokenError

VERSION: Final = "ghasi1"
MAX_TOKEN_CHARACTERS: Final = 4096

# token = "ghasi1." kid "." b64u(body) "." b64u(mac)
_is_token: Final = re.compile(rf"{VERSION}\.([A-Za-z0-9_-]{{1,32}})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{{43}})").fullmatch


class UnverifiedToken(NamedTuple):
    """The parts of a well-shaped token. Anybody can make one: `body` means nothing before the MAC has matched."""

    kid: str
    body: bytes
    mac_text: str


# A named tuple's own constructor is a Python function, and costs three times as much.
_unverified: Final[Callable[[tuple[str, bytes, str]], UnverifiedToken]] = partial(tuple.__new__, UnverifiedToken)


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
    match = _is_token(token)
    if match is None:
        raise MalformedTokenError(
            f"not of the shape {VERSION}.kid.body.mac: {len(token)} characters in {token.count('.') + 1} parts"
        )
    kid, body_text, mac_text = match.groups()
    body = decode_b64u_characters(body_text)
    if body is None:
        raise MalformedTokenError("the token's body is not canonical base64url", kid=kid)
    return _unverified((kid, body, mac_text))
