"""One key: its facts, its dates, and a secret that never shows."""

from __future__ import annotations

import base64
import copy
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ghasi_handoff import KeyRing, KeyRingError, SigningKey
from ghasi_handoff._secret_checks import secret_problem
from tests.minter_and_verifier import NOW, at, key, key_with, secret
from tests.tracebacks import own_frames


def test_a_key_keeps_its_facts_in_whole_seconds_utc() -> None:
    """Dates are floored to seconds, and given back in UTC."""
    east = timezone(timedelta(hours=3))
    made = key_with(
        created_at=datetime(2026, 11, 23, 12, 30, 0, 999999, east),
        sign_from=datetime(2026, 11, 23, 9, 45, 0, 1, UTC),
        revoked_at=datetime(2026, 11, 23, 10, 0, 0, 500000, UTC),
    )
    assert (made.kid, made.secret) == ("a", secret())
    assert made.created_at == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    assert made.sign_from == datetime(2026, 11, 23, 9, 45, tzinfo=UTC)
    assert made.verify_until is None
    assert made.revoked_at == datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    with pytest.raises(AttributeError):
        made.kid = "b"  # type: ignore[misc]


@pytest.mark.parametrize("kid", ["", "x" * 33, "a.b", "a b", "é", "a\n", None, 5, b"a"])
def test_a_kid_follows_the_grammar(kid: object) -> None:
    """1 to 32 characters of A-Z a-z 0-9 _ -; what was given is not quoted."""
    with pytest.raises(KeyRingError, match="kid must be"):
        key_with(kid=kid)


@pytest.mark.parametrize("name", ["created_at", "sign_from", "verify_until", "revoked_at"])
def test_dates_must_be_aware(name: str) -> None:
    """A naive datetime would mean another instant on another machine."""
    with pytest.raises(KeyRingError, match=f"{name} of key a must be an aware datetime"):
        key_with(**{name: datetime(2026, 11, 23)})
    with pytest.raises(KeyRingError, match=name):
        key_with(**{name: NOW})


@pytest.mark.parametrize("wrong", [secret()[:31], "x" * 32, bytes(32), secret().hex().encode()])
def test_what_cannot_be_a_secret_makes_no_key(wrong: object) -> None:
    """Too short, not bytes, one repeated byte, or text: the key is refused when it is made, with the reason."""
    with pytest.raises(KeyRingError, match=f"^key a: {re.escape(secret_problem(wrong))}"):
        key_with(secret=wrong)


def test_a_secret_never_shows() -> None:
    """Not in repr or str, of the key or the ring; not in a hash; not in a pickle; a copy is the key itself."""
    made = key()
    ring = KeyRing([made])
    for shown in (repr(made), str(made), f"{made}", repr(ring), str(ring), repr([made]), repr({"k": ring})):
        for form in (repr(secret("a"))[2:-1], secret("a").hex(), base64.b64encode(secret("a")).decode()[:20]):
            assert form not in shown
    assert hash(made) == hash(
        key_with(kid="a", secret=secret("other"), created_at=at(NOW - 1000), sign_from=at(NOW - 1000))
    )
    for thing in (made, ring):
        assert copy.copy(thing) is thing
        assert copy.deepcopy(thing) is thing
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(KeyRingError, match="not pickled"):
                pickle.dumps(thing, protocol)
    assert "verify_until=2026" in repr(key(verify_until=NOW)) and "revoked_at=2026" in repr(key(revoked_at=NOW))


@pytest.mark.parametrize("bad", [b"short", b"x" * 40, b"\x01" * 40, secret().hex().encode()])
def test_a_refused_secret_does_not_show(bad: bytes) -> None:
    """The frames of this library hold no refused secret either: it may be the right one, in the wrong form."""
    with pytest.raises(KeyRingError) as caught:
        SigningKey(kid="a", secret=bad, created_at=at(NOW), sign_from=at(NOW))
    frames = own_frames(caught.value)
    assert "in __init__" in frames
    assert repr(bad)[2:-1] not in frames
