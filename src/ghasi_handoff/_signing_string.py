"""The six lines and the payload <-> body, and the exact bytes that the MAC covers. Specification: docs/spec/v1.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, cast

from ghasi_handoff._canonical_json import is_canonical_payload
from ghasi_handoff._formats import MAC_ALGORITHM, SIGNING_STRING
from ghasi_handoff._limits import MAX_KID_CHARACTERS, MAX_SECONDS
from ghasi_handoff.errors import HandoffError, InvalidHandoffInputError

# name       = 1*64( A-Z / a-z / 0-9 / "." / "_" / ":" / "/" / "-" )
NAME: Final = "[A-Za-z0-9._:/-]{1,64}"
# handoff-id = UUIDv7 as RFC 9562 text, lower case
HANDOFF_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
# seconds    = "0" / ( %x31-39 *11DIGIT ); the bound that an expression can't say is checked in parse_body
SECONDS: Final = "0|[1-9][0-9]{0,11}"
# body       = issuer LF audience LF tenant LF handoff-id LF issued-at LF expires-at LF payload
_BODY: Final = re.compile(f"({NAME})\n({NAME})\n({NAME})\n({HANDOFF_ID})\n({SECONDS})\n({SECONDS})\n.*", re.DOTALL)
# kid        = 1*32( A-Z / a-z / 0-9 / "_" / "-" )
KID: Final = f"[A-Za-z0-9_-]{{1,{MAX_KID_CHARACTERS}}}"


class Body(NamedTuple):
    """A body taken apart. Its lines are grammatical; nothing has been compared with anything yet."""

    issuer: str
    audience: str
    tenant: str
    handoff_id: str
    issued_at: int
    expires_at: int
    payload: bytes


# A named tuple's own constructor is a Python function, and costs twice as much.
_body: Final[Callable[[tuple[str, str, str, str, int, int, bytes]], Body]] = partial(tuple.__new__, Body)


def _plain_text(grammar: Callable[[str], object], value: object) -> str | None:
    # A subclass of str may be formatted as another text than it is compared as, as members of (str, Enum) are: the
    # tenant that was checked would not be the one that is signed. Only its own characters count.
    if not issubclass(type(value), str):
        return None
    text = str.__str__(cast("str", value))
    return text if grammar(text) else None


# A value as plain text, if it is one of these; else None. A name: an issuer, audience or tenant.
as_name: Final = partial(_plain_text, re.compile(NAME).fullmatch)
as_kid: Final = partial(_plain_text, re.compile(KID).fullmatch)
as_handoff_id: Final = partial(_plain_text, re.compile(HANDOFF_ID).fullmatch)


def required_name(value: object, role: str, error: type[HandoffError] = InvalidHandoffInputError) -> str:
    """`value` as plain text, or an `error` that names its role: issuer, audience or tenant."""
    name = as_name(value)
    if name is None:
        raise error(f"{role} must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -")
    return name


def required_kid(value: object, error: type[HandoffError] = InvalidHandoffInputError) -> str:
    """`value` as plain text, or an `error`."""
    kid = as_kid(value)
    if kid is None:
        raise error("kid must be 1 to 32 characters of A-Z a-z 0-9 _ -")
    return kid


def require_seconds(**moments: object) -> None:
    """Raise `InvalidHandoffInputError` for the first that is not whole Unix seconds up to the year 9999."""
    for name, seconds in moments.items():
        if type(seconds) is not int or not 0 <= seconds <= MAX_SECONDS:
            raise InvalidHandoffInputError(f"{name} must be whole Unix seconds from 0 to {MAX_SECONDS}")


def handoff_id_seconds(handoff_id: str) -> int:
    """The Unix seconds in a handoff id: its first 48 bits are milliseconds (RFC 9562, section 5.7)."""
    return int(handoff_id[:8] + handoff_id[9:13], 16) // 1000


def signing_string_prefix(kid: str) -> bytes:
    """The fixed first lines: they keep this use of a key apart from every other, and bind the kid."""
    return f"{SIGNING_STRING}\n{MAC_ALGORITHM}\n{kid}\n".encode("ascii")


def build_body(body: Body) -> bytes:
    """The bytes of a body, whose parts' grammar has been checked."""
    lines = f"{body.issuer}\n{body.audience}\n{body.tenant}\n{body.handoff_id}\n{body.issued_at}\n{body.expires_at}\n"
    return lines.encode("ascii") + body.payload


def parse_body(body: bytes) -> Body | None:
    """A body to its parts, or None where a line is outside the grammar or the id's time is not issued-at."""
    # Latin-1 maps each byte to one character, so positions agree; no line admits a character beyond ASCII.
    match = _BODY.fullmatch(body.decode("latin-1"))
    if match is None:
        return None
    issuer, audience, tenant, handoff_id, issued, expires = match.groups()
    issued_at, expires_at = int(issued), int(expires)
    if issued_at > MAX_SECONDS or expires_at > MAX_SECONDS or handoff_id_seconds(handoff_id) != issued_at:
        return None
    return _body((issuer, audience, tenant, handoff_id, issued_at, expires_at, body[match.end(6) + 1 :]))


def signing_string(
    *,
    kid: str,
    issuer: str,
    audience: str,
    tenant: str,
    handoff_id: str,
    issued_at: int,
    expires_at: int,
    payload: bytes,
) -> bytes:
    """The exact bytes that the MAC of a handoff token covers, for debugging and for other implementations.

    Two different handoffs, or two kids, never have the same signing string; docs/spec/v1.md has the argument.
    Do not log it.

    Args:
        kid: 1 to 32 characters of ``A-Z a-z 0-9 _ -``.
        issuer: 1 to 64 characters of ``A-Z a-z 0-9 . _ : / -``; likewise `audience` and `tenant`.
        audience: The service that verifies.
        tenant: The hotel.
        handoff_id: A UUIDv7 in lower case whose milliseconds lie in the second `issued_at`.
        issued_at: Unix seconds.
        expires_at: Unix seconds, after `issued_at`.
        payload: Canonical JSON (RFC 8785, narrowed as the specification says), at most 2048 bytes.

    Raises:
        InvalidHandoffInputError: An argument is outside the grammar. The message names it.
    """
    prefix = signing_string_prefix(required_kid(kid))
    names = (required_name(issuer, "issuer"), required_name(audience, "audience"), required_name(tenant, "tenant"))
    require_seconds(issued_at=issued_at, expires_at=expires_at)
    if expires_at <= issued_at:
        raise InvalidHandoffInputError("expires_at must be after issued_at")
    plain_id = as_handoff_id(handoff_id)
    if plain_id is None or handoff_id_seconds(plain_id) != issued_at:
        raise InvalidHandoffInputError("handoff_id must be a UUIDv7 in lower case whose time is issued_at")
    if type(payload) is not bytes or not is_canonical_payload(payload):
        raise InvalidHandoffInputError("payload must be the bytes of a canonical JSON object; see docs/spec/v1.md")
    return prefix + build_body(Body(*names, plain_id, issued_at, expires_at, payload))
