"""The signing string as a public function: exact bytes, and every argument checked."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from ghasi_handoff import InvalidHandoffInputError, signing_string
from ghasi_handoff._base64url import b64u_decode
from ghasi_handoff._signing_string import parse_body
from tests.minter_and_verifier import MinterAndVerifier, secret

FACTS: dict[str, Any] = {
    "kid": "2026-11a",
    "issuer": "bff-consumer",
    "audience": "bff-tenant-booking",
    "tenant": "tn_aurora",
    "handoff_id": "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71",
    "issued_at": 1795426200,
    "expires_at": 1795426500,
    "payload": b'{"adults":2}',
}


def test_it_is_ten_lines_without_an_end() -> None:
    """The bytes are those of the specification, line by line."""
    assert signing_string(**FACTS) == (
        b"ghasi-handoff/v1\nHMAC-SHA256\n2026-11a\nbff-consumer\nbff-tenant-booking\ntn_aurora\n"
        b'01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71\n1795426200\n1795426500\n{"adults":2}'
    )


def test_it_is_what_the_mac_covers() -> None:
    """HMAC-SHA256 over it, computed by the standard library, is the token's MAC."""
    minted = MinterAndVerifier().mint()
    _, kid, body_text, mac_text = minted.token.split(".")
    body = b64u_decode(body_text)
    assert body is not None
    parts = parse_body(body)
    assert parts is not None
    covered = signing_string(kid=kid, **parts._asdict())
    assert b64u_decode(mac_text) == hmac.new(secret("a"), covered, hashlib.sha256).digest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kid", ""), ("kid", "a.b"), ("kid", "a\n"), ("kid", None), ("issuer", ""), ("issuer", "a\nb"), ("issuer", "x" * 65), ("audience", "a b"),
        ("audience", None), ("tenant", "é"), ("tenant", b"tn"), ("issued_at", -1), ("issued_at", 1795426200.0), ("issued_at", True),
        ("issued_at", 253402300800), ("expires_at", 253402300800), ("expires_at", "1795426500"), ("expires_at", 1795426200), ("expires_at", 5),
        ("handoff_id", "01A207BD-aaba-7c3a-9f12-5b6e0d4a8c71"), ("handoff_id", "01a207bd-aaba-4c3a-9f12-5b6e0d4a8c71"), ("handoff_id", None),
        ("handoff_id", "01a207bd-aaba-7c3a-cf12-5b6e0d4a8c71"), ("handoff_id", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71\n"),
        ("payload", b""), ("payload", b"{} "), ("payload", "{}"), ("payload", bytearray(b"{}")), ("payload", b'{"a":1.0}'),
    ],
)  # fmt: skip
def test_each_argument_is_checked(name: str, value: Any) -> None:
    """An argument outside the grammar is named and refused: no string is made that no token can have."""
    with pytest.raises(InvalidHandoffInputError, match=f"^{name} must"):
        signing_string(**(FACTS | {name: value}))


def test_the_id_must_be_of_the_second_of_issue() -> None:
    """An id from another second is refused: verifiers check it, and purging relies on it."""
    with pytest.raises(InvalidHandoffInputError, match="^handoff_id must"):
        signing_string(**{**FACTS, "issued_at": 1795426201})
