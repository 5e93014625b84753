"""A ring as JSON text: lossless, strict, and quiet about what it refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from ghasi_handoff import KeyRing, KeyRingError
from tests.minter_and_verifier import NOW, at, key, secret
from tests.tracebacks import own_frames

DAY = 86_400


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-3],
        lambda text: text.replace('"kid": "a"', '"kid": "a", "kid": "a"'),
        lambda text: text.replace("verify_until", "verify_til"),
        lambda text: text.replace("keys/v1", "keys/v2"),
        lambda text: text.replace("Z", "", 1),
        lambda text: text.replace('"kid": "a"', '"kid": "a b"'),
        lambda text: text.replace('"kid": "b"', '"kid": "a"'),
        lambda text: text.replace('"revoked_at": null', '"revoked_at": "2026-02-30T00:00:00Z"'),
        lambda text: text.replace('"revoked_at": null', '"revoked_at": 5'),
        lambda text: text.replace('"sign_from": "2026-11-23T09:30:00Z"', '"sign_from": null'),
        lambda text: json.dumps(json.loads(text)["keys"]),
        lambda text: json.dumps({"format": "ghasi-handoff-keys/v1", "keys": json.loads(text)["keys"][0]}),
    ],
)
def test_a_refused_key_file_shows_no_secret(change: Callable[[str], str]) -> None:
    """However a ring's text is broken, neither the message nor a traceback with local variables shows a secret in it."""
    with pytest.raises(KeyRingError) as caught:
        KeyRing.from_json(change(KeyRing([key("a"), key("b", NOW)]).to_json()))
    error = caught.value
    frames = own_frames(error)
    assert "in from_json" in frames
    for made in (secret("a"), secret("b")):
        for form in (repr(made)[2:-1], made.hex(), base64.urlsafe_b64encode(made).decode()[:20]):
            assert form not in f"{error} {error!r} {frames}"
    assert error.__context__ is None


def test_json_is_lossless() -> None:
    """from_json reads what to_json writes, with all dates and secrets."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).rotate("c", at(NOW + DAY)).revoke("b", at(NOW + 2 * DAY))
    assert KeyRing.from_json(ring.to_json()) == ring
    assert KeyRing.from_json(ring.to_json()).to_json() == ring.to_json()


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "5", "{", '{"format": "ghasi-handoff-keys/v1"}', "[" * 100_000, b"{}", None]
)
def test_other_text_is_no_ring(text: str) -> None:
    """Anything else is one error that says what was expected."""
    with pytest.raises(KeyRingError, match="not a key ring"):
        KeyRing.from_json(text)


def test_json_keys_must_be_whole() -> None:
    """A key without its secret, or with one that is not base64url, is refused by its number."""
    document = json.loads(KeyRing([key()]).to_json())
    for wrong in ("AA==", "A", 5, None):
        document["keys"][0]["secret"] = wrong
        with pytest.raises(KeyRingError, match="key number 1: the secret must be base64url"):
            KeyRing.from_json(json.dumps(document))
    document["keys"] = [5]
    with pytest.raises(KeyRingError, match="key number 1: its members"):
        KeyRing.from_json(json.dumps(document))
