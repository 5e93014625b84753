"""Which keys make a ring."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ghasi_handoff import KeyRing, KeyRingError, SigningKey
from tests.minter_and_verifier import NOW, at, key, key_with, secret

DAY = 86_400


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([], "at least one key"),
        ([key("a"), key("a", NOW)], "two keys have this kid"),
        ([key("a"), key("b")], "same sign_from"),
        ([key("a"), key_with(kid="b", secret=secret("a"))], "same secret"),
        ([key("a"), key_with(kid="b", secret=secret("a") + b"\0")], "same secret"),
        ([key("a", verify_until=NOW + DAY)], "needs a later key"),
        ([key("a", NOW - DAY, verify_until=NOW + 3719), key("b", NOW)], "at least 3720 s after"),
        ([key("a", NOW - DAY, verify_until=NOW + DAY), key("b", NOW, revoked_at=NOW - 1)], "needs a later key"),
        (
            [key("a", NOW - DAY, verify_until=NOW + 3720), key("b", NOW, revoked_at=NOW - 1), key("c", NOW + 1)],
            "at least 3720 s",
        ),
        (["a"], "made of SigningKey"),
    ],
)
def test_what_is_no_ring_is_refused(keys: list[SigningKey], text: str) -> None:
    """Empty, ambiguous, or with an end that would cut off valid tokens: an error when the ring is built."""
    with pytest.raises(KeyRingError, match=text):
        KeyRing(keys)


def test_long_secrets_are_compared_as_hmac_sees_them() -> None:
    """HMAC hashes a key longer than its block: the long secret and its digest are one key."""
    long = b"".join(secret(str(number)) for number in range(3))
    with pytest.raises(KeyRingError, match="same secret"):
        KeyRing(
            [key_with(kid="a", secret=long), key_with(kid="b", secret=sha256(long).digest(), sign_from=at(NOW + 1))]
        )
