"""Two fingerprints: every difference is found, with what to do, the worst first."""

from __future__ import annotations

import pytest

from ghasi_handoff import KeyRing, SigningKey
from ghasi_handoff.rotation import compare, fingerprint
from tests.minter_and_verifier import NOW, at, key, secret

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
