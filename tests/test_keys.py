"""Key rings: states, rotation, revocation, pruning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ghasi_handoff import ConfigurationError, KeyRing, KeyRingError, KeyState
from ghasi_handoff.keys import ring_source
from tests.minter_and_verifier import NOW, at, key

DAY = 86_400


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
    assert [ring.signing_key(moment).kid for moment in (NOW, NOW + DAY + 899, NOW + DAY + 900)] == ["a", "a", "b"]
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
    assert ring.signing_key(NOW + 60 + 900).kid == "c"
    assert ring.keys[0].verify_until == at(NOW + 60 + 900 + 3720)
    emergency = mistaken.rotate("d", at(NOW + 60), timedelta(0))
    assert emergency.signing_key(NOW + 60).kid == "d"
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
    assert ring.signing_key(NOW + 899).kid == "a"
    with pytest.raises(KeyRingError, match="key b is revoked"):
        ring.signing_key(NOW + 1000)
    again = ring.rotate("c", at(NOW + 1000), propagation=timedelta(0))
    assert again.signing_key(NOW + 1000).kid == "c"


def test_a_ring_without_a_started_key_does_not_sign() -> None:
    """A minter whose clock is behind says so."""
    with pytest.raises(KeyRingError, match="lies ahead"):
        KeyRing([key("a", NOW)]).signing_key(NOW - 1)


def test_revoking_a_pending_key_gives_its_predecessor_back() -> None:
    """It never took part: the old key goes on, without an end."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).revoke("b", at(NOW + 899))
    assert ring.keys[0].verify_until is None
    assert ring.signing_key(NOW + DAY).kid == "a"
    started = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).revoke("b", at(NOW + 900))
    assert started.keys[0].verify_until == at(NOW + 900 + 3720)


def test_revoking_in_the_middle_of_two_pending_keys_keeps_a_valid_ring() -> None:
    """Every end that was counted from the revoked key's start goes; the next rotation counts anew."""
    ring = KeyRing.generate("a", at(NOW)).rotate("b", at(NOW)).rotate("c", at(NOW))
    without_b = ring.revoke("b", at(NOW))
    assert [made.verify_until for made in without_b.keys] == [None, at(NOW + 901 + 3720), None]
    without_both = without_b.revoke("c", at(NOW))
    assert [made.verify_until for made in without_both.keys] == [None, None, None]
    assert without_both.signing_key(NOW + DAY).kid == "a"
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


def test_a_source_of_rings_is_a_ring_or_a_callable() -> None:
    """Anything else is refused when a minter or verifier is made."""
    ring = KeyRing([key()])
    assert ring_source(ring)() is ring
    assert ring_source(lambda: ring)() is ring
    with pytest.raises(ConfigurationError, match="must be a KeyRing"):
        ring_source("ring")  # type: ignore[arg-type]
