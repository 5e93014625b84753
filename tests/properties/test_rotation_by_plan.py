"""An operator who waits as the plan says, and watches key files, loses no token, even if copies overtake each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from ghasi_handoff import KeyRing
from ghasi_handoff.rotation import compare, fingerprint, waits

from . import oracle
from .strategies import NOW, aware, share
from .test_rotation import LEEWAY, LIFETIME, History, Step, accepts, done, key_of, minted_around, steps

PROPAGATION: Final = 900


@dataclass
class Overtaken(History):
    """A history whose copies may arrive in any order, each within the propagation; readers are watched rings."""

    def copies(self, moment: int, delay: int) -> list[KeyRing]:
        """Every version that somebody may have in use at that time."""
        return [
            ring
            for number, (made, ring) in enumerate(self.versions)
            if made <= moment
            and all(
                # A later one that must be there by now may have come before this one, but then this one must have been
                # on its way when the later one was made, and a watched ring must have let it take the later one's place.
                later < made + delay and not heals(self.versions[after][1], ring)
                for after, (later, _) in enumerate(self.versions)
                if after > number and later + delay <= moment
            )
        ]


def heals(newer: KeyRing, older: KeyRing) -> bool:
    """Whether a key that is revoked in one is well in the other: a watched ring does not go from the one to the other."""
    revoked = {key.kid for key in newer.keys if key.revoked_at is not None}
    return any(key.kid in revoked and key.revoked_at is None for key in older.keys)


def by_plan(plan: list[Step], *, careless: bool = False) -> Overtaken:
    """Run the plan; a rotation that should wait is left out, unless the operator is careless."""
    now = NOW
    ring = KeyRing([key_of(0, NOW - 10)])
    # The first file has long arrived when the first change is made.
    versions = [(NOW - 10 - PROPAGATION, ring)]
    pruned = NOW - PROPAGATION
    for number, step in enumerate(plan, start=1):
        now += max(0, step.delays * PROPAGATION + step.gap)
        # The slip of a start that lies weeks ahead is another test's; here every rotation is as planned.
        what = "rotate" if step.what == "rotate far" else step.what
        if what == "rotate" and not careless:
            # A prune leaves no date in the ring: that its file must have arrived, too, is in the operator's guide.
            wait = waits(ring, aware(now), propagation=timedelta(seconds=PROPAGATION))
            if wait or now < pruned + PROPAGATION:
                continue
        new = done(ring, Step(0, 0, what, step.which, 0), number, now, PROPAGATION)
        if new != ring:  # else there is no new file
            pruned = now if what == "prune" else pruned
            ring = new
            versions.append((now, ring))
    return Overtaken(PROPAGATION, versions)


def lost(past: Overtaken) -> list[tuple[str, int, int]]:
    """Tokens that some reader refuses within their life, though nobody revoked their key."""
    found = []
    for true, kid, token in minted_around(past, past.propagation, 0):
        if past.revoked(kid):
            continue
        issued_at = int(oracle.body_of(token).split(b"\n")[4])
        end = issued_at + LIFETIME + LEEWAY
        between = [moment for moment in past.moments() if true < moment < end]
        for moment in {true, *between, end - 1}:
            for ring in past.copies(moment, past.propagation):
                if not accepts(ring, token, moment):
                    found.append((kid, issued_at, moment))
    return found


@share(0.7)
@given(plan=steps(ahead=st.just(0)))
# A revocation's file may still be on its way, and take the place of the next rotation's.
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(0, 60, "revoke", 1, 0), Step(0, 60, "rotate", 0, 0)])
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(0, 60, "rotate", 0, 0)])
def test_no_token_is_lost_by_plan(plan: list[Step]) -> None:
    """Random rotations, revocations and prunes, copies that are late and overtake each other: no token of a good key is refused."""
    assert lost(by_plan(plan)) == []


def test_without_the_plan_a_token_can_be_lost() -> None:
    """The test above can fail: two rotations in a row, the second one's copy overtaken by the first's, and the new key is unknown."""
    plan = [Step(0, 0, "rotate", 0, 0), Step(0, 60, "rotate", 0, 0)]
    assert lost(by_plan(plan)) == []
    assert any(kid == "k2" for kid, _, _ in lost(by_plan(plan, careless=True)))


def test_without_the_watched_rings_rule_a_token_can_be_lost() -> None:
    """Nor is that rule for nothing: a copy from before a revocation, taken for new, would sign with the revoked key and retire the good one."""
    past = by_plan([Step(0, 0, "rotate", 0, 0), Step(0, 60, "revoke", 1, 0)])
    before, after = (ring for _, ring in past.versions[1:])
    assert heals(after, before)
    assert before.state("k0", aware(NOW + 900 + 3720)).value == "retired"
    assert after.state("k0", aware(NOW + 900 + 3720)).value == "active"


@share(2)
@given(plan=steps(ahead=st.just(0)), when=st.integers(0, 20_000))
def test_the_doctor_misses_no_difference_that_matters(plan: list[Step], when: int) -> None:
    """If one side's ring refuses a token of the other for its key, comparing the two finds it, from either side."""
    past = by_plan(plan)
    now = past.versions[-1][0] + when
    newest = past.versions[-1][1]
    for _, ring in past.versions:
        here, there = fingerprint(newest, aware(now)), fingerprint(ring, aware(now))
        if {key.kid: (key.verify_until, key.revoked_at) for key in newest.keys} == {
            key.kid: (key.verify_until, key.revoked_at) for key in ring.keys
        }:
            assert [finding.code for finding in compare(here, there)] == ["same"]
            continue
        refuses = any(
            verifies(one, key.kid, now) and not verifies(other, key.kid, now)
            for one, other in ((newest, ring), (ring, newest))
            for key in one.keys
        )
        if refuses:
            assert compare(here, there)[0].level != "ok"
            assert compare(there, here)[0].level != "ok"


def verifies(ring: KeyRing, kid: str, now: int) -> bool:
    """Whether a token of that key is not refused for its key."""
    return any(key.kid == kid for key in ring.keys) and ring.state(kid, aware(now)).value not in ("retired", "revoked")
