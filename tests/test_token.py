"""Token text and its parts: one text for the same parts, and a refusal for every other text."""

from __future__ import annotations

import re

import pytest

from ghasi_handoff import MalformedTokenError
from ghasi_handoff._token import build_token, parse_token

MAC = "A" * 43
TOKEN = f"ghasi1.2026-11a.Ym9keQ.{MAC}"


def test_a_token_is_four_parts() -> None:
    """Version, kid, body and MAC, joined by dots; parsing gives back what it was built from."""
    assert build_token("2026-11a", b"body", MAC) == TOKEN
    assert parse_token(TOKEN) == ("2026-11a", b"body", MAC)


class Text(str):
    """Looks like a str, and could answer its methods as it likes."""

    __slots__ = ()


@pytest.mark.parametrize("wrong", [None, 5, TOKEN.encode(), bytearray(TOKEN, "ascii"), Text(TOKEN), [TOKEN]])
def test_only_a_str_itself_is_a_token(wrong: object) -> None:
    """Bytes have several readings as text, and a subclass is not what it says."""
    with pytest.raises(MalformedTokenError, match="a token is a str"):
        parse_token(wrong)


# Text, what its error says, and whether the kid was read before it was refused.
REFUSED = {
    "empty": ("", "not ghasi1.kid.body.mac", False),
    "too long": ("A" * 4097, "4097 characters; at most 4096", False),
    "three parts": (f"ghasi1.a.{MAC}", "in 3 parts", False),
    "five parts": (f"{TOKEN}.A", "in 5 parts", False),
    "not ASCII": (TOKEN.replace("a", "\u0430"), "outside the alphabet", False),
    "a space": (f" {TOKEN}", "outside the alphabet", False),
    "a line break": (f"{TOKEN}\n", "outside the alphabet", False),
    "padding": (TOKEN.replace("Q.", "Q==."), "outside the alphabet", False),
    "another version": (TOKEN.replace("ghasi1", "ghasi2"), "not of the version ghasi1", False),
    "upper case": (TOKEN.replace("ghasi1", "GHASI1"), "not of the version ghasi1", False),
    "no kid": (TOKEN.replace("2026-11a", ""), "kid has 0 characters", False),
    "a long kid": (TOKEN.replace("2026-11a", "k" * 33), "kid has 33 characters", False),
    "no body": (TOKEN.replace("Ym9keQ", ""), "has no body", True),
    "a short MAC": (TOKEN[:-1], "its MAC has not 43 characters", True),
    "a long MAC": (f"{TOKEN}A", "its MAC has not 43 characters", True),
    "another spelling of the body": (TOKEN.replace("Ym9keQ", "Ym9keR"), "not canonical base64url", True),
    "an impossible length of the body": (TOKEN.replace("Ym9keQ", "Ym9ke"), "not canonical base64url", True),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_text_is_malformed(name: str) -> None:
    """Each wrong shape is one error with a reason. Its log fields hold the kid, and only if that is well-formed."""
    text, reason, kid_was_read = REFUSED[name]
    with pytest.raises(MalformedTokenError, match=re.escape(reason)) as caught:
        parse_token(text)
    assert caught.value.log_fields == ({"kid": "2026-11a"} if kid_was_read else {})


def test_the_longest_token_is_accepted() -> None:
    """4096 characters are allowed, one more is not."""
    longest = f"ghasi1.a.{'A' * (4096 - 9 - 44)}.{MAC}"
    assert len(longest) == 4096
    assert len(parse_token(longest).body) == 3032
