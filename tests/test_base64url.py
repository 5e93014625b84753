"""Strict base64url: one spelling for the same bytes."""

from __future__ import annotations

import base64

import pytest

from ghasi_handoff._base64url import b64u_decode, b64u_encode


def test_encoding_is_base64url_without_padding() -> None:
    """Every length modulo 3 is encoded as RFC 4648, section 5, says, without the padding."""
    data = bytes(range(256))
    for length in range(257):
        text = b64u_encode(data[:length])
        assert text == base64.urlsafe_b64encode(data[:length]).decode().rstrip("=")
        assert b64u_decode(text) == data[:length]


@pytest.mark.parametrize(
    "text",
    [
        "A", "AAAAA", "QQ==", "QQ=", "QR", "QUK", "QUJ=", "QUJD=", "QUJ\n", " QUJ", "QU J", "QU+D", "QU/D", "Q\u0391==", "QU\u212aD", "\ud800AAA",
        "QUJD\x00", "QUJDé", "====", "=",
    ],
)  # fmt: skip
def test_other_spellings_are_not_decoded(text: str) -> None:
    """Padding, white space, the other alphabet, letters that look alike, unused bits: none of them decodes."""
    assert b64u_decode(text) is None


def test_last_character_must_leave_no_bits_over() -> None:
    """A partial group decodes only if its last character is one that the encoder would write."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [last for last in alphabet if b64u_decode("A" + last) is not None] == list("AQgw")
    assert [last for last in alphabet if b64u_decode("AA" + last) is not None] == list("AEIMQUYcgkosw048")
