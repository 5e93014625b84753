"""`ghasi_handoff.rotation`: fingerprints that tell nothing, comparisons that miss nothing, waits and changes of state."""

from __future__ import annotations

import dataclasses
import hmac
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ghasi_handoff import KeyRing, KeyRingError, KeyState, SigningKey, signing_string
from ghasi_handoff.handshake import consume_signing_string
from ghasi_handoff.rotation import (
    LEAST_PROPAGATION,
    Fingerprint,
    StateChange,
    compare,
    fingerprint,
    state_changes,
    waits,
)
from tests.minter_and_verifier import NOW, at, key, secret


@pytest.fixture
def ring() -> KeyRing:
    """Keys of every state at `NOW`."""
    ring = KeyRing([key("retired", NOW - 300_000)])
    ring = ring.rotate("revoked", now=at(NOW - 200_000))
    ring = ring.rotate("verify-only", now=at(NOW - 7200))
    ring = ring.rotate("active", now=at(NOW - 1800))
    return ring.rotate("pending", now=at(NOW)).revoke("revoked", now=at(NOW))


# Fingerprint


def test_the_hash_is_a_mac_of_the_kid_by_the_secret(ring: KeyRing) -> None:
    """Counted anew with the standard library: who has the secret can check it, and nobody else."""
    for made, true in zip(fingerprint(ring, at(NOW)).keys, ring.keys, strict=True):
        message = f"ghasi-fingerprint/v1\nHMAC-SHA256\n{true.kid}".encode()
        assert made.hash == hmac.new(true.secret, message, "sha256").hexdigest()[:32]


def test_no_token_or_call_has_the_hash_as_its_mac() -> None:
    """The first lines differ, so a hash that is shown never helps to sign: no string of the three formats is another's."""
    issued_at = 0x01A207BDAABA // 1000
    names = {"issuer": "i", "audience": "a", "handoff_id": "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"}
    token = signing_string(kid="k", tenant="t", issued_at=issued_at, expires_at=issued_at + 300, payload=b"{}", **names)
    call = consume_signing_string(kid="k", redemption_id="0" * 64, consumed_at=1, sent_at=1, **names)
    firsts = {token.split(b"\n")[0], call.split(b"\n")[0], b"ghasi-fingerprint/v1"}
    assert len(firsts) == 3


def test_a_fingerprint_says_states_and_dates(ring: KeyRing) -> None:
    """Kids, states and dates are those of the ring at that time, in its order."""
    made = fingerprint(ring, at(NOW))
    assert made.at == at(NOW)
    assert [one.kid for one in made.keys] == [one.kid for one in ring.keys]
    for said, true in zip(made.keys, ring.keys, strict=True):
        assert said.state is ring.state(true.kid, at(NOW))
        dates = ("created_at", "sign_from", "verify_until", "revoked_at")
        assert [getattr(said, name) for name in dates] == [getattr(true, name) for name in dates]


def test_equal_rings_have_equal_fingerprints_and_others_do_not(ring: KeyRing) -> None:
    """The line to read out is equal for a copy at any time, and differs with any change that `KeyRing` can make."""
    here = fingerprint(ring, at(NOW)).ring
    assert here == fingerprint(KeyRing.from_json(ring.to_json()), at(NOW + 5)).ring
    changed = [ring.revoke("active"), ring.prune(at(NOW)), ring.rotate(now=at(NOW + 1000)), KeyRing([key("active")])]
    assert here not in {fingerprint(one, at(NOW)).ring for one in changed}
    assert len(here) == 19


def test_another_secret_of_the_same_name_is_another_hash() -> None:
    """The same kid and dates with another secret: that is what the hash is for."""
    one = key("a")
    other = SigningKey(kid="a", secret=secret("b"), created_at=one.created_at, sign_from=one.sign_from)
    assert fingerprint(KeyRing([one])).keys[0].hash != fingerprint(KeyRing([other])).keys[0].hash


def test_json_carries_a_fingerprint(ring: KeyRing) -> None:
    """What is written is read, to the last date; members that a later release adds are left out."""
    last_use = {"active": at(NOW - 5), "pending": datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=1)))}
    made = fingerprint(ring, at(NOW), last_use=last_use)
    assert Fingerprint.from_json(made.to_json()) == made
    document = json.loads(made.to_json())
    document["more"] = document["keys"][0]["more"] = 1
    assert Fingerprint.from_json(json.dumps(document)) == made


def changed(**members: object) -> str:
    document = json.loads(fingerprint(KeyRing([key("a")]), at(NOW)).to_json())
    in_key = {name: value for name, value in members.items() if name in document["keys"][0]}
    document["keys"][0].update(in_key)
    document.update({name: value for name, value in members.items() if name not in in_key})
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        " " * 300_000 + "{}",
        changed(format="ghasi-handoff-fingerprint/v2"),
        changed(keys={}),
        changed(keys=[None]),
        changed(at=None),
        changed(at=5),
        changed(kid="a b"),
        changed(kid=5),
        changed(state="asleep"),
        changed(state=["active"]),
        changed(hash="0" * 31),
        changed(hash="Z" * 32),
        changed(hash=5),
        changed(sign_from=None),
        changed(sign_from="2026-02-30T00:00:00Z"),
        changed(verify_until="tomorrow"),
        5,
    ],
    ids=lambda text: str(text)[-60:],
)
def test_what_is_no_fingerprint_is_refused(text: Any) -> None:
    """Whatever another machine sends ends in a fingerprint or in this error."""
    with pytest.raises(KeyRingError, match="not a fingerprint"):
        Fingerprint.from_json(text)


def test_a_fingerprint_is_of_a_ring() -> None:
    """Not of a callable that gives one: which of its rings would it be of?"""
    with pytest.raises(KeyRingError, match="of a KeyRing, not of function"):
        fingerprint(lambda: KeyRing.generate())  # type: ignore[arg-type]


# Compare

OLD = KeyRing([key("old")])
NEW = OLD.rotate("new", now=at(NOW))
# A key that was taken back while it was pending has no end: only its revocation says that it does not count.
TAKEN_BACK = NEW.revoke("new", at(NOW + 1)).rotate("third", now=at(NOW + 2000))
RUN = {
    # name: (ours, theirs, seconds after NOW, the code, its level, the kid)
    "same": (NEW, NEW, 0, "same", "ok", None),
    "same, pruned there": (NEW, NEW.prune(at(NOW + 9000)), 9000, "same", "ok", None),
    "same, pruned here": (NEW.prune(at(NOW + 9000)), NEW, 9000, "same", "ok", None),
    "revoked there and pruned here": (NEW.revoke("old").prune(at(NOW + 9000)), NEW.revoke("old"), 9000, "same", "ok", None),
    "taken back, pruned there": (TAKEN_BACK, TAKEN_BACK.prune(at(NOW + 9000)), 9000, "same", "ok", None),
    "taken back, pruned here": (TAKEN_BACK.prune(at(NOW + 9000)), TAKEN_BACK, 9000, "same", "ok", None),
    "not there yet": (NEW, OLD, 0, "not_there_yet", "wait", "new"),
    "not there, last second": (NEW, OLD, 899, "not_there_yet", "wait", "new"),
    "not there, and it signs": (NEW, OLD, 900, "missing_there", "alarm", "new"),
    "not here": (OLD, NEW, 0, "missing_here", "alarm", "new"),
    "revoked at other times": (OLD.revoke("old", at(NOW)), OLD.revoke("old", at(NOW + 1)), 5, "older_copy", "wait", "old"),
    "revoked here": (OLD.revoke("old"), OLD, 0, "not_revoked_there", "alarm", "old"),
    "revoked there": (OLD, OLD.revoke("old"), 0, "not_revoked_here", "alarm", "old"),
    "taken back here": (NEW.revoke("new", now=at(NOW)), NEW, 0, "not_revoked_there", "alarm", "new"),
    "nothing in common": (KeyRing([key("x")]), KeyRing([key("y")]), 0, "missing_there", "alarm", "x"),
}  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_the_worst_is_found_and_comes_first(name: str) -> None:
    """Each way in which two copies may differ has its code, level and key, and the text says what to do."""
    ours, theirs, later, code, level, kid = RUN[name]
    first = compare(fingerprint(ours, at(NOW + later)), fingerprint(theirs, at(NOW)))[0]
    assert (first.code, first.level, first.kid) == (code, level, kid)
    assert level == "ok" or any(word in first.text for word in ("bring", "take theirs"))


def test_another_secret_is_an_alarm() -> None:
    """Two files that share names and not secrets, as when both sides ran `keys init`: said as what it is."""
    one = key("a")
    other = SigningKey(kid="a", secret=secret("b"), created_at=one.created_at, sign_from=one.sign_from)
    (found,) = compare(fingerprint(KeyRing([one])), fingerprint(KeyRing([other])))
    assert (found.code, found.level) == ("other_secret", "alarm")
    assert "invalid_mac" in found.text


def test_the_line_to_read_out_is_said_only_if_it_is_theirs() -> None:
    """After a prune at one side the rings' lines differ: doctor says that the keys are the same, and no line that is not."""
    now = at(NOW + 9000)
    ours, theirs = fingerprint(NEW, now), fingerprint(NEW.prune(now), now)
    assert ours.ring in compare(ours, ours)[0].text
    assert compare(ours, theirs)[0].text == "the other side has the same keys, but for some that are over"


def test_another_start_is_an_alarm() -> None:
    """A file that was changed by hand: one side would sign before the other."""
    (found,) = compare(fingerprint(KeyRing([key("a")])), fingerprint(KeyRing([key("a", NOW - 999)])))
    assert (found.code, found.level) == ("other_dates", "alarm")


def test_comparing_the_other_way_round_finds_something_too(ring: KeyRing) -> None:
    """Whichever side runs the doctor learns that the copies differ."""
    for other in (ring.rotate("x", now=at(NOW + 1000)), ring.revoke("active"), ring.revoke("pending", at(NOW))):
        here, there = fingerprint(ring, at(NOW + 1000)), fingerprint(other, at(NOW + 1000))
        assert compare(here, there)[0].level != "ok"
        assert compare(there, here)[0].level != "ok"


@pytest.mark.parametrize(("ahead", "alarm"), [(60, False), (61, True), (-60, False), (-61, True)])
def test_clocks_that_differ_by_more_than_any_leeway_are_an_alarm(ahead: int, alarm: bool) -> None:
    """A minute is what a leeway may bridge; told only of a fingerprint that was made now."""
    ours, theirs = fingerprint(OLD, at(NOW)), fingerprint(OLD, at(NOW + ahead))
    assert [one.code for one in compare(ours, theirs, made_now=True)] == (["clocks_differ"] if alarm else ["same"])
    assert [one.code for one in compare(ours, theirs)] == ["same"]


# Changes of state


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


# Waits


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


def test_values_are_frozen(ring: KeyRing) -> None:
    """What was found stays as it was found."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        fingerprint(ring).at = at(0)  # type: ignore[misc]


def test_a_key_file_is_not_taken_for_a_fingerprint() -> None:
    """Who sends a key file where its fingerprint is asked for is told how to make one; nothing of the file is repeated."""
    with pytest.raises(KeyRingError, match="this is a key file.*keys fingerprint") as caught:
        Fingerprint.from_json(OLD.to_json())
    assert "old" not in str(caught.value)
