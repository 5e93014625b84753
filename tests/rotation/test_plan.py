"""Changes of state that are still to come, and why a rotation should wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ghasi_handoff import KeyRing, KeyState
from ghasi_handoff.rotation import LEAST_PROPAGATION, StateChange, state_changes, waits
from tests.minter_and_verifier import NOW, at, key

OLD = KeyRing([key("old")])
NEW = OLD.rotate("new", now=at(NOW))


def test_state_changes_are_what_the_ring_will_say(ring: KeyRing) -> None:
    """At each second around each date, the states are those at the start and the changes until then."""
    changes = state_changes(ring, at(NOW))
    moments = sorted({change.at for change in changes})
    assert moments[0] > at(NOW)
    assert list(changes) == sorted(changes, key=lambda change: change.at)
    for moment in moments:
        for near in (-1, 0):
            then = moment + timedelta(seconds=near)
            told = {one.kid: ring.state(one.kid, at(NOW)) for one in ring.keys}
            told |= {change.kid: change.state for change in changes if change.at <= then}
            assert told == {one.kid: ring.state(one.kid, then) for one in ring.keys}


def test_a_settled_ring_has_no_changes() -> None:
    """One active key without an end: nothing will happen by itself."""
    assert state_changes(OLD, at(NOW)) == ()
    assert state_changes(NEW, at(NOW))[0] == StateChange(at=at(NOW + 900), kid="old", state=KeyState.VERIFY_ONLY)


def test_a_settled_ring_may_be_rotated() -> None:
    """Nothing speaks against it, also not a minute after another rotation is over."""
    assert waits(OLD, at(NOW)) == ()
    assert waits(NEW, at(NOW + 900)) == ()
    assert waits(NEW.revoke("new", at(NOW + 1)), at(NOW + 901)) == ()


@pytest.mark.parametrize(
    ("ring", "now", "propagation", "codes"),
    [
        (NEW, NOW + 899, 900, ["pending_key"]),
        (OLD, NOW - 1001, 900, ["clock_behind", "pending_key"]),
        (OLD.revoke("old", at(NOW + 5)), NOW + 4, 900, ["clock_behind"]),
        (OLD, NOW, 119, ["short_propagation"]),
        (NEW.revoke("new", at(NOW + 1)), NOW + 900, 900, ["recent_revocation"]),
        (NEW.revoke("new", at(NOW + 1)), NOW + 1, 1, ["recent_revocation", "short_propagation"]),
        (NEW, NOW - 1001, 0, ["clock_behind", "pending_key", "short_propagation"]),
    ],
)
def test_each_sign_of_danger_is_a_wait(ring: KeyRing, now: int, propagation: int, codes: list[str]) -> None:
    """A rotation that is not over, a clock that is behind, a roll-out shorter than clocks agree."""
    found = waits(ring, at(now), propagation=timedelta(seconds=propagation))
    assert [wait.code for wait in found] == codes


def test_a_wait_is_over_when_it_says() -> None:
    """At `until` the reason is gone, and a second before it is not."""
    for ring, now in ((NEW, NOW), (OLD, NOW - 5000), (NEW.revoke("new", at(NOW)), NOW)):
        until = max(wait.until for wait in waits(ring, at(now)) if wait.until is not None)
        assert waits(ring, until) == ()
        assert waits(ring, until - timedelta(seconds=1)) != ()


def test_the_least_propagation_is_enough() -> None:
    """Two minutes: the largest leeway for the clocks, and as much again for the file."""
    assert timedelta(seconds=120) == LEAST_PROPAGATION
    assert waits(OLD, at(NOW), propagation=LEAST_PROPAGATION) == ()
