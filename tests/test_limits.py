"""The caps and defaults that others rely on: the specification states them, and both services must agree."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ghasi_handoff import _limits

# A verifier with other caps would refuse what a minter makes, or a store forget what a verifier still accepts.
PROMISED = {
    "MAX_TOKEN_CHARACTERS": 4096,
    "MAX_KID_CHARACTERS": 32,
    "MAX_PAYLOAD_BYTES": 2048,
    "MAX_PAYLOAD_DEPTH": 8,
    "MAX_INTEGER": 2**53 - 1,
    "MAX_SECONDS": 253402300799,
    "DEFAULT_LIFETIME": timedelta(seconds=300),
    "DEFAULT_MAX_LIFETIME": timedelta(seconds=600),
    "MAX_LIFETIME_SECONDS": 3600,
    "DEFAULT_LEEWAY": timedelta(seconds=10),
    "MAX_LEEWAY_SECONDS": 60,
    "GRACE_SECONDS": 60,
    "MIN_SECRET_BYTES": 32,
    "DEFAULT_PROPAGATION": timedelta(minutes=15),
    "SUPERSEDED_KEY_SECONDS": 3720,
    "BROWSER_SECRET_BYTES": 32,
    "HORIZON_SECONDS": 3840,
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_limit_does_not_change_by_accident(name: str) -> None:
    """The value is the one that the specification and the design state."""
    assert getattr(_limits, name) == PROMISED[name]


def test_a_purge_keeps_whatever_a_token_can_still_need() -> None:
    """The longest life of a token, both leeways and the grace of a retry end before a purge may remove its id."""
    longest = _limits.MAX_LIFETIME_SECONDS + 2 * _limits.MAX_LEEWAY_SECONDS + _limits.GRACE_SECONDS
    assert longest < _limits.HORIZON_SECONDS


def test_a_superseded_key_verifies_every_token_it_has_signed() -> None:
    """A key signs until its successor starts; its last token, and that token's retry, end before the key retires."""
    last_token = _limits.MAX_LIFETIME_SECONDS + _limits.MAX_LEEWAY_SECONDS + _limits.GRACE_SECONDS
    assert last_token <= _limits.SUPERSEDED_KEY_SECONDS
