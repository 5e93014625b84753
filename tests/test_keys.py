"""Keys and rings: states, rotation, revocation, pruning, JSON; and secrets that never show."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest

from ghasi_handoff import ConfigurationError, KeyRing, KeyRingError, KeyState, SigningKey
from ghasi_handoff._secret_checks import secret_problem
from ghasi_handoff.keys import ring_source
from tests.minter_and_verifier import NOW, at, key, secret

DAY = 86_400


def make(**changes: Any) -> SigningKey:
    facts: dict[str, Any] = {"kid": "a", "secret": secret(), "created_at": at(NOW), "sign_from": at(NOW)}
    return SigningKey(**(facts | changes))


# Keys


def test_a_key_keeps_its_facts_in_whole_seconds_utc() -> None:
    """Dates are floored to seconds, and given back in UTC."""
    east = timezone(timedelta(hours=3))
    made = make(
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
        make(kid=kid)


@pytest.mark.parametrize("name", ["created_at", "sign_from", "verify_until", "revoked_at"])
def test_dates_must_be_aware(name: str) -> None:
    """A naive datetime would mean another instant on another machine."""
    with pytest.raises(KeyRingError, match=f"{name} of key a must be an aware datetime"):
        make(**{name: datetime(2026, 11, 23)})
    with pytest.raises(KeyRingError, match=name):
        make(**{name: NOW})


@pytest.mark.parametrize("wrong", [secret()[:31], "x" * 32, bytes(32), secret().hex().encode()])
def test_what_cannot_be_a_secret_makes_no_key(wrong: object) -> None:
    """Too short, not bytes, one repeated byte, or text: the key is refused when it is made, with the reason."""
    with pytest.raises(KeyRingError, match=f"^key a: {re.escape(secret_problem(wrong))}"):
        make(secret=wrong)


def test_a_secret_never_shows() -> None:
    """Not in repr or str, of the key or the ring; not in a hash; not in a pickle; a copy is the key itself."""
    made = key()
    ring = KeyRing([made])
    for shown in (repr(made), str(made), f"{made}", repr(ring), str(ring), repr([made]), repr({"k": ring})):
        for form in (repr(secret("a"))[2:-1], secret("a").hex(), base64.b64encode(secret("a")).decode()[:20]):
            assert form not in shown
    assert hash(made) == hash(
        make(kid="a", secret=secret("other"), created_at=at(NOW - 1000), sign_from=at(NOW - 1000))
    )
    for thing in (made, ring):
        assert copy.copy(thing) is thing
        assert copy.deepcopy(thing) is thing
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(KeyRingError, match="not pickled"):
                pickle.dumps(thing, protocol)
    assert "verify_until=2026" in repr(key(verify_until=NOW)) and "revoked_at=2026" in repr(key(revoked_at=NOW))


def shown(error: BaseException) -> str:
    """A traceback as the most talkative formatter prints it: with the local variables of every frame, and of every cause."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


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
    own_frames = str(error) + repr(error) + "".join(shown(error).split("ghasi_handoff/keys.py")[1:])
    for made in (secret("a"), secret("b")):
        for form in (repr(made)[2:-1], made.hex(), base64.urlsafe_b64encode(made).decode()[:20]):
            assert form not in own_frames
    assert error.__context__ is None


@pytest.mark.parametrize("bad", [b"short", b"x" * 40, b"\x01" * 40, secret().hex().encode()])
def test_a_refused_secret_does_not_show(bad: bytes) -> None:
    """The frames of this library hold no refused secret either: it may be the right one, in the wrong form."""
    with pytest.raises(KeyRingError) as caught:
        SigningKey(kid="a", secret=bad, created_at=at(NOW), sign_from=at(NOW))
    frames = shown(caught.value).split("ghasi_handoff/keys.py")[1:]
    assert frames
    assert repr(bad)[2:-1] not in "".join(frames)


# Rings


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([], "at least one key"),
        ([key("a"), key("a", NOW)], "two keys have this kid"),
        ([key("a"), key("b")], "same sign_from"),
        ([key("a"), make(kid="b", secret=secret("a"))], "same secret"),
        ([key("a"), make(kid="b", secret=secret("a") + b"\0")], "same secret"),
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
        KeyRing([make(kid="a", secret=long), make(kid="b", secret=sha256(long).digest(), sign_from=at(NOW + 1))])


def test_a_ring_has_no_order_of_its_own() -> None:
    """Any order of the keys gives the same ring: which key signs follows from dates (CVE-2025-47278)."""
    keys = [key("a", NOW - 2), key("b", NOW - 1), key("c", NOW + 1)]
    assert KeyRing(keys) == KeyRing(reversed(keys))
    assert hash(KeyRing(keys)) == hash(KeyRing(reversed(keys)))
    assert KeyRing(reversed(keys)).keys == tuple(keys)
    assert KeyRing(keys) != KeyRing(keys[:2])
    assert KeyRing(keys) != "ring" and keys[0] != "key"


def test_states_follow_from_the_clock() -> None:
    """pending, active, verify-only, retired, each from its first second on; revoked at any time."""
    ring = KeyRing(
        [key("a", NOW, verify_until=NOW + 100 + 3720), key("b", NOW + 100), key("r", NOW + 1, revoked_at=NOW + DAY)]
    )
    timeline = [
        (NOW - 1, "pending"),
        (NOW, "active"),
        (NOW + 99, "verify-only"),
        (NOW + 3819, "verify-only"),
        (NOW + 3820, "retired"),
    ]
    assert [(moment, ring.state("a", at(moment)).value) for moment, _ in timeline] == timeline
    assert ring.state("b", at(NOW + 99)) is KeyState.PENDING
    assert ring.state("b", at(NOW + 100)) is KeyState.ACTIVE
    assert {ring.state("r", at(moment)) for moment in (0, NOW, NOW + 2 * DAY)} == {KeyState.REVOKED}
    assert KeyRing.generate("now").state("now") is KeyState.ACTIVE


@pytest.mark.parametrize("kid", ["z", "a\n", None, 5])
def test_an_unknown_key_is_an_error(kid: str) -> None:
    """A mistyped kid in a key command is told, not ignored."""
    ring = KeyRing([key()])
    for call in (ring.state, ring.revoke):
        with pytest.raises(KeyRingError, match="no (such )?key"):
            call(kid)


def test_rotation_keeps_its_distance() -> None:
    """The new key signs after the propagation delay; the old one verifies for 3720 s from there."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW + DAY))
    old, new = ring.keys
    assert (new.created_at, new.sign_from) == (at(NOW + DAY), at(NOW + DAY + 900))
    assert old.verify_until == at(NOW + DAY + 900 + 3720)
    assert [ring._signer(moment).kid for moment in (NOW, NOW + DAY + 899, NOW + DAY + 900)] == ["a", "a", "b"]
    at_once = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW + DAY), propagation=timedelta(0))
    assert at_once.keys[1].sign_from == at(NOW + DAY)


def test_rotating_twice_at_once_keeps_the_order() -> None:
    """A key's sign_from is later than every other, also when two rotations come together or the clock stepped back."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW + 10)).rotate("c", at(NOW + 10)).rotate("d", at(NOW - DAY))
    starts = [made.sign_from for made in ring.keys]
    assert [made.kid for made in ring.keys] == ["a", "b", "c", "d"]
    assert starts == sorted(set(starts))


def test_a_key_revoked_while_pending_holds_no_rotation_back() -> None:
    """A start set a year ahead by mistake, and taken back, does not keep the next key, or an emergency, waiting."""
    mistaken = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW), timedelta(days=365)).revoke("b", at(NOW))
    ring = mistaken.rotate("c", at(NOW + 60))
    assert [made.kid for made in ring.keys] == ["a", "c", "b"]
    assert ring._signer(NOW + 60 + 900).kid == "c"
    assert ring.keys[0].verify_until == at(NOW + 60 + 900 + 3720)
    emergency = mistaken.rotate("d", at(NOW + 60), timedelta(0))
    assert emergency._signer(NOW + 60).kid == "d"
    same_second = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).revoke("b", at(NOW)).rotate("c", at(NOW))
    assert [made.sign_from for made in same_second.keys] == [at(NOW), at(NOW + 900), at(NOW + 901)]


def test_default_kids_differ() -> None:
    """A kid that nobody chose carries the date, and something random."""
    ring = KeyRing.generate(now=at(NOW)).rotate(now=at(NOW))
    first, second = (made.kid for made in ring.keys)
    assert first != second
    assert first.startswith("2026-11-23-")


@pytest.mark.parametrize(
    "change",
    [
        {"kid": "a"}, {"kid": "x y"}, {"now": datetime(2026, 11, 23)}, {"propagation": timedelta(seconds=-1)}, {"propagation": timedelta(seconds=0.5)},
        {"propagation": 900}, {"now": at(253402300799)},
    ],
)  # fmt: skip
def test_a_rotation_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    """A kid that is taken, a naive or impossible time, a negative delay: refused, and the ring is as it was."""
    ring = KeyRing.generate("a", at(NOW))
    with pytest.raises(KeyRingError):
        ring.rotate(**change)
    assert len(ring.keys) == 1


def test_a_superseded_key_never_signs_again() -> None:
    """When the active key is revoked none signs, until a successor does."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).revoke("b", at(NOW + 1000))
    assert ring._signer(NOW + 899).kid == "a"
    with pytest.raises(KeyRingError, match="key b is revoked"):
        ring._signer(NOW + 1000)
    again = ring.rotate("c", at(NOW + 1000), propagation=timedelta(0))
    assert again._signer(NOW + 1000).kid == "c"


def test_a_ring_without_a_started_key_does_not_sign() -> None:
    """A minter whose clock is behind says so."""
    with pytest.raises(KeyRingError, match="lies ahead"):
        KeyRing([key("a", NOW)])._signer(NOW - 1)


def test_revoking_a_pending_key_gives_its_predecessor_back() -> None:
    """It never took part: the old key goes on, without an end."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).revoke("b", at(NOW + 899))
    assert ring.keys[0].verify_until is None
    assert ring._signer(NOW + DAY).kid == "a"
    started = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).revoke("b", at(NOW + 900))
    assert started.keys[0].verify_until == at(NOW + 900 + 3720)


def test_revoking_in_the_middle_of_two_pending_keys_keeps_a_valid_ring() -> None:
    """Every end that was counted from the revoked key's start goes; the next rotation counts anew."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).rotate("c", at(NOW))
    without_b = ring.revoke("b", at(NOW))
    assert [made.verify_until for made in without_b.keys] == [None, at(NOW + 901 + 3720), None]
    without_both = without_b.revoke("c", at(NOW))
    assert [made.verify_until for made in without_both.keys] == [None, None, None]
    assert without_both._signer(NOW + DAY).kid == "a"
    healed = without_b.rotate("d", at(NOW + DAY))
    assert healed.keys[0].verify_until == at(NOW + 901 + 3720)
    assert healed.keys[2].verify_until == at(NOW + DAY + 900 + 3720)


def test_revoking_is_never_refused_and_happens_once() -> None:
    """The only key, a key that is revoked already, a clock before everything: always a ring, and the first date stays."""
    ring = KeyRing.generate("a", at(NOW)).revoke("a", at(NOW + 5))
    assert ring.keys[0].revoked_at == at(NOW + 5)
    assert ring.revoke("a", at(NOW + 9)) is ring
    assert KeyRing.generate("a", at(NOW)).revoke("a", at(0)).state("a", at(NOW)) is KeyState.REVOKED
    assert KeyRing.generate("a").revoke("a").state("a") is KeyState.REVOKED
    lone = KeyRing.generate("a", at(NOW)).revoke("a", at(0)).rotate("b", at(NOW))
    assert lone.keys[0].verify_until is None


def test_pruning_removes_what_no_token_can_name() -> None:
    """Retired keys go, and revoked ones once every token of theirs has ended; the newest key stays whatever it is."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).rotate("c", at(NOW + DAY)).revoke("b", at(NOW + 2 * DAY))
    kids = {
        moment: [made.kid for made in ring.prune(at(moment)).keys]
        for moment in (NOW + 4619, NOW + 4620, NOW + DAY + 4619, NOW + DAY + 4620)
    }
    assert list(kids.values()) == [["a", "b", "c"], ["b", "c"], ["b", "c"], ["c"]]
    assert ring.prune().keys == ring.prune(datetime.now(UTC)).keys
    lonely = KeyRing.generate("a", at(NOW)).revoke("a", at(NOW))
    assert lonely.prune(at(NOW + 9 * DAY)) == lonely


def test_pruning_keeps_what_holds_an_older_key_back() -> None:
    """A revoked successor stays while its predecessor is there: without it, the old key would sign again."""
    ring = KeyRing([key("a", NOW), key("b", NOW + 1, revoked_at=NOW + DAY), key("c", NOW + 2)])
    assert [made.kid for made in ring.prune(at(NOW + 9 * DAY)).keys] == ["a", "b", "c"]
    never = KeyRing([key("p", NOW + 1, revoked_at=NOW), key("c", NOW + 2)])
    assert [made.kid for made in never.prune(at(NOW + 3720)).keys] == ["p", "c"]
    assert [made.kid for made in never.prune(at(NOW + 3721)).keys] == ["c"]


def test_json_is_lossless() -> None:
    """What to_json writes, from_json reads, dates and secrets and all."""
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


def test_a_source_of_rings_is_a_ring_or_a_callable() -> None:
    """Anything else is refused when a minter or verifier is made."""
    ring = KeyRing([key()])
    assert ring_source(ring)() is ring
    assert ring_source(lambda: ring)() is ring
    with pytest.raises(ConfigurationError, match="must be a KeyRing"):
        ring_source("ring")  # type: ignore[arg-type]
