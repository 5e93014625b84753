"""The MAC: HMAC-SHA256, checked against the RFC's own values and the standard library, and compared as text."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import pytest

from ghasi_handoff import SigningKey
from ghasi_handoff._mac import compute_mac, compute_message_mac, is_mac, is_message_mac
from tests.minter_and_verifier import NOW, at, key, secret

# RFC 4231, sections 4.7 and 4.8. The other cases have secrets that are too short here, or one repeated byte.
LONG_SECRET: Final = b"\xaa" * 131
MESSAGES: Final = {
    b"Test Using Larger Than Block-Size Key - Hash Key First": (
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    ),
    b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed"
    b" before being used by the HMAC algorithm.": "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
}


def text(mac: bytes) -> str:
    """A MAC as it stands in a token."""
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_has_the_mac_of_the_rfc(message: bytes) -> None:
    """The values of RFC 4231 come out, in base64url. HMAC takes a long secret by its hash, which is used here."""
    rfc_key = SigningKey(kid="a", secret=hashlib.sha256(LONG_SECRET).digest(), created_at=at(NOW), sign_from=at(NOW))
    assert compute_message_mac(rfc_key, message) == text(bytes.fromhex(MESSAGES[message]))


def test_a_token_has_the_mac_of_its_signing_string() -> None:
    """The fixed first lines, with the kid, are covered before the body."""
    covered = b"ghasi-handoff/v1\nHMAC-SHA256\na\nbody"
    assert compute_mac(key("a"), b"body") == text(hmac.digest(secret("a"), covered, "sha256"))


def test_two_macs_of_one_key_do_not_disturb_each_other() -> None:
    """A key is used again and again: what it has signed before does not count."""
    signing = key("a")
    first = compute_mac(signing, b"body")
    compute_mac(signing, b"another body")
    assert compute_mac(signing, b"body") == first


@pytest.mark.parametrize("change", ["", "A", "a" * 43, "last character", "padding"])
def test_another_text_is_not_the_mac(change: str) -> None:
    """Exactly one text is the MAC of a body, and of a message: no other length, spelling or padding."""
    for compute, is_it in ((compute_mac, is_mac), (compute_message_mac, is_message_mac)):
        right = compute(key("a"), b"body")
        # The last character carries two unused bits, which base64 readers ignore.
        other_bits = right[:-1] + chr(ord(right[-1]) + 1)
        wrong = {"last character": other_bits, "padding": f"{right}="}.get(change, change)
        assert is_it(key("a"), b"body", right)
        assert not is_it(key("a"), b"body", wrong)
        assert not is_it(key("b"), b"body", right)
