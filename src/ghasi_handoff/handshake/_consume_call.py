"""redemption -> signed consume call -> header, body -> checked call. Specification: docs/spec/consume-v1.md. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ghasi_handoff._formats import CONSUME_CALL, MAC_ALGORITHM
from ghasi_handoff._limits import (
    CONSUME_CALL_CLOCK_DIFFERENCE_SECONDS,
    MAC_CHARACTERS,
    MAX_CONSUME_BODY_BYTES,
    MAX_SECONDS,
)
from ghasi_handoff._mac import compute_message_mac, is_message_mac
from ghasi_handoff._signing_string import (
    HANDOFF_ID,
    KID,
    NAME,
    SECONDS,
    as_handoff_id,
    require_seconds,
    required_kid,
    required_name,
)
from ghasi_handoff.errors import InvalidHandoffInputError, UnknownKeyError
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.stores._handoff_log import ConsumeCall

SCHEME: Final = "GHASI-CONSUME"

_REDEMPTION_ID: Final = "[0-9a-f]{64}"
_is_redemption_id: Final = re.compile(_REDEMPTION_ID).fullmatch
# authorization = %s"GHASI-CONSUME kid=" kid %s", mac=" mac-text
_parse_authorization: Final = re.compile(f"{SCHEME} kid=({KID}), mac=([A-Za-z0-9_-]{{{MAC_CHARACTERS}}})").fullmatch
# body: the one canonical spelling, so that no JSON is parsed before the MAC has matched, and no two parsers disagree.
_parse_body: Final = re.compile(
    rf'{{"audience":"({NAME})","consumed_at":({SECONDS}),"handoff_id":"({HANDOFF_ID})","issuer":"({NAME})",'
    rf'"redemption_id":"({_REDEMPTION_ID})","sent_at":({SECONDS})}}'
).fullmatch


class RefusedCall(NamedTuple):
    """Why a call is not authentic. For logs only: outsiders are told nothing but 401."""

    reason: str  # malformed_authorization, malformed_body, stale, or an error's code
    kid: str | None = None


def consume_signing_string(
    *, kid: str, issuer: str, audience: str, handoff_id: str, redemption_id: str, consumed_at: int, sent_at: int
) -> bytes:
    r"""The exact bytes that the MAC of a consume call covers, for debugging and for other implementations.

    Do not log it.

    Args:
        kid: 1 to 32 characters of ``A-Z a-z 0-9 _ -``.
        issuer: 1 to 64 characters of ``A-Z a-z 0-9 . _ : / -``; likewise `audience`.
        audience: The service that redeemed.
        handoff_id: A UUIDv7 in lower case.
        redemption_id: 64 lower-case hexadecimal digits.
        consumed_at: Unix seconds.
        sent_at: Unix seconds.

    Raises:
        InvalidHandoffInputError: An argument is outside the grammar. The message names it.

    >>> text = consume_signing_string(
    ...     kid="2026-11a",
    ...     issuer="bff-consumer",
    ...     audience="bff-tenant-booking",
    ...     handoff_id="01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71",
    ...     redemption_id="0" * 64,
    ...     consumed_at=1795426260,
    ...     sent_at=1795426261,
    ... )
    >>> text.count(b"\n")
    8
    """
    call = ConsumeCall(issuer, audience, handoff_id, redemption_id, consumed_at, sent_at)
    plain_kid = required_kid(kid)
    check_call(call)
    return _signing_string(plain_kid, call)


def check_call(call: ConsumeCall) -> None:
    """Refuse a call outside the grammar, and name its first bad part: two calls must never have one signing string."""
    required_name(call.issuer, "issuer")
    required_name(call.audience, "audience")
    if as_handoff_id(call.handoff_id) is None:
        raise InvalidHandoffInputError("handoff_id must be a UUIDv7 in lower case")
    if type(call.redemption_id) is not str or not _is_redemption_id(call.redemption_id):
        raise InvalidHandoffInputError("redemption_id must be 64 lower-case hexadecimal digits")
    require_seconds(consumed_at=call.consumed_at, sent_at=call.sent_at)


def sign_call(call: ConsumeCall, keys: KeyRing) -> tuple[str, bytes]:
    """The ``Authorization`` header's value and the body of a call; `KeyRingError` where no key signs at ``sent_at``."""
    check_call(call)
    key = keys.signing_key(call.sent_at)
    mac = compute_message_mac(key, _signing_string(key.kid, call))
    body = (
        f'{{"audience":"{call.audience}","consumed_at":{call.consumed_at},"handoff_id":"{call.handoff_id}",'
        f'"issuer":"{call.issuer}","redemption_id":"{call.redemption_id}","sent_at":{call.sent_at}}}'
    )
    return f"{SCHEME} kid={key.kid}, mac={mac}", body.encode("ascii")


def named_kid(authorization: Sequence[str]) -> str | None:
    """The key that a call names; None if the header is malformed."""
    parts = _parsed(authorization)
    return None if parts is None else parts[1]


def verify_call(authorization: Sequence[str], body: bytes, keys: KeyRing, now: int) -> ConsumeCall | RefusedCall:
    """The call, if it is authentic and was signed within the last minute; otherwise why not. Steps 1 to 4."""
    parts = _parsed(authorization)
    if parts is None:
        return RefusedCall("malformed_authorization")
    kid, mac_text = parts.groups()
    # Latin-1 maps each byte to one character; no part admits a character beyond ASCII.
    fits = type(body) is bytes and len(body) <= MAX_CONSUME_BODY_BYTES
    fields = _parse_body(body.decode("latin-1")) if fits else None
    if fields is None:
        return RefusedCall("malformed_body", kid)
    audience, consumed_text, handoff_id, issuer, redemption_id, sent_text = fields.groups()
    call = ConsumeCall(issuer, audience, handoff_id, redemption_id, int(consumed_text), int(sent_text))
    if call.consumed_at > MAX_SECONDS or call.sent_at > MAX_SECONDS:
        return RefusedCall("malformed_body", kid)
    try:
        key = keys.verifying_key(kid, now)
    except UnknownKeyError as exc:  # or its kinds: revoked, retired
        return RefusedCall(exc.code, kid)
    if not is_message_mac(key, _signing_string(kid, call), mac_text):
        return RefusedCall("invalid_mac", kid)
    if abs(now - call.sent_at) > CONSUME_CALL_CLOCK_DIFFERENCE_SECONDS:
        return RefusedCall("stale", kid)
    return call


def _parsed(authorization: Sequence[str]) -> re.Match[str] | None:
    # Exactly one: a proxy and this service might each take another of two.
    header = authorization[0] if len(authorization) == 1 else None
    return _parse_authorization(header) if type(header) is str else None


def _signing_string(kid: str, call: ConsumeCall) -> bytes:
    # consume-call = "ghasi-consume/v1" LF "HMAC-SHA256" LF kid LF issuer LF audience LF handoff-id LF redemption-id LF
    #                consumed-at LF sent-at
    # The first line keeps this use of a key apart from tokens: no text is both.
    return (
        f"{CONSUME_CALL}\n{MAC_ALGORITHM}\n{kid}\n{call.issuer}\n{call.audience}\n{call.handoff_id}\n"
        f"{call.redemption_id}\n{call.consumed_at}\n{call.sent_at}"
    ).encode("ascii")
