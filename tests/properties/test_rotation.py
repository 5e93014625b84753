"""Keys rotate without a failed handoff, and never back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from ghasi_handoff import HandoffError, KeyRing, KeyRingError, KeyState, Minter, SigningKey, UnknownKeyError, Verifier
from ghasi_handoff.testing.strategies import key_rings

from . import oracle
from .strategies import NOW, STAY, aware, secret_of, share

# A token lives an hour at most, and a verifier's clock may differ by a minute: these are the caps of the design.
LIFETIME: Final = oracle.MAX_LIFETIME
LEEWAY: Final = oracle.MAX_LEEWAY
# The largest difference of any two clocks, operator's, minters' and verifiers', is twice this: the leeway.
SKEW: Final = LEEWAY // 2

_gaps: Final = st.one_of(
    st.sampled_from(
        [0, 1, 59, 60, 61, 899, 900, 901, 3599, 3600, 3660, 3661, 3719, 3720, 3721, 4619, 4620, 4621, 7440, 8340]
    ),
    st.integers(0, 1000),
    st.integers(0, 10_000),
)


@dataclass(frozen=True)
class Step:
    """One thing that an operator does, so long after the one before, by a clock that is so much ahead."""

    delays: int  # so many propagation delays after the one before,
    gap: int  # and so many seconds
    what: str
    which: int
    ahead: int


def steps(ahead: st.SearchStrategy[int]) -> st.SearchStrategy[list[Step]]:
    """Up to eight things that an operator does."""
    what = st.sampled_from(["rotate", "rotate", "rotate", "rotate far", "revoke", "revoke", "prune", "prune"])
    rest = {"what": what, "which": st.integers(0, 7), "ahead": ahead}
    soon = st.builds(Step, delays=st.just(0), gap=_gaps, **rest)
    later = st.builds(Step, delays=st.just(1), gap=st.integers(-2, 1) | _gaps, **rest)
    return st.lists(soon | later, max_size=8)


def key_of(number: int, sign_from: int) -> SigningKey:
    """The first key of a ring."""
    return SigningKey(
        kid=f"k{number}", secret=secret_of(("ring", number)), created_at=aware(sign_from), sign_from=aware(sign_from)
    )


def seconds(ring: KeyRing, kid: str, name: str) -> int | None:
    """A date of a key in Unix seconds."""
    moment = getattr(next(key for key in ring.keys if key.kid == kid), name)
    return None if moment is None else int(moment.timestamp())


def done(ring: KeyRing, step: Step, number: int, now: int, propagation: int) -> KeyRing:
    """The ring after the step."""
    if step.what == "rotate":
        return ring.rotate(kid=f"k{number}", now=aware(now), propagation=timedelta(seconds=propagation))
    if step.what == "rotate far":  # a slip: the key would sign in weeks
        return ring.rotate(kid=f"k{number}", now=aware(now), propagation=timedelta(seconds=propagation + 10**6))
    if step.what == "revoke":
        return ring.revoke(ring.keys[step.which % len(ring.keys)].kid, now=aware(now))
    return ring.prune(now=aware(now))


def signer(ring: KeyRing, now: int) -> str | None:
    """The kid that a minter signs with."""
    minter = Minter(ring, issuer="i", audience="a", clock=lambda: now, lifetime=timedelta(seconds=LIFETIME))
    try:
        return minter.mint(STAY, tenant="t").kid
    except KeyRingError:
        return None


def expected_signer(ring: KeyRing, now: int) -> str | None:
    """The signing key by the rules of the design, computed independently: the newest that has started and took part, unless it is revoked."""
    started = []
    for key in ring.keys:
        starts, revoked = int(key.sign_from.timestamp()), seconds(ring, key.kid, "revoked_at")
        if starts <= now and (revoked is None or revoked >= starts):
            started.append((starts, key.kid, revoked))
    if not started or max(started)[2] is not None:
        return None
    return max(started)[1]


@dataclass
class History:
    """Every version of a ring, with the true time at which it was made."""

    propagation: int
    versions: list[tuple[int, KeyRing]]

    def copies(self, moment: int, delay: int) -> list[KeyRing]:
        """The versions that somebody may have at that true time, when each arrives within `delay`: the oldest and the newest."""
        newest = max(index for index, (made, _) in enumerate(self.versions) if made <= moment)
        oldest = max((index for index, (made, _) in enumerate(self.versions) if made <= moment - delay), default=0)
        return [self.versions[index][1] for index in sorted({oldest, (oldest + newest) // 2, newest})]

    def revoked(self, kid: str) -> bool:
        """Whether the key is revoked in any version."""
        return any(key.kid == kid and key.revoked_at is not None for _, ring in self.versions for key in ring.keys)

    def moments(self) -> list[int]:
        """When something changes, or has arrived everywhere."""
        found = {made + delay for made, _ in self.versions for delay in (0, self.propagation)}
        for _, ring in self.versions:
            for key in ring.keys:
                dates = (key.sign_from, key.verify_until, key.revoked_at)
                found |= {int(date.timestamp()) for date in dates if date is not None}
        return sorted(found)


def history(plan: list[Step], propagation: int) -> History:
    """Run the plan from a ring of one key."""
    now = NOW
    ring = KeyRing([key_of(0, NOW - 10)])
    versions = [(NOW - 10, ring)]
    for number, step in enumerate(plan, start=1):
        now += max(0, step.delays * propagation + step.gap)
        ring = done(ring, step, number, now + step.ahead, propagation)
        versions.append((now, ring))
    return History(propagation, versions)


def minted_around(past: History, delay: int, skew: int) -> Iterator[tuple[int, str, str]]:
    """Tokens by every key, from the first second that it signs to the last: true time, kid, text."""
    last = past.versions[-1][0]
    seen = set()
    for moment in past.moments():
        for near in (-1, 0, 1):
            for ahead in {-skew, 0, skew}:
                true = moment + near - ahead
                if not NOW - 10 <= true <= last + past.propagation + 3 * LIFETIME:
                    continue
                for ring in past.copies(true, delay):
                    minter = Minter(
                        ring,
                        issuer="i",
                        audience="a",
                        lifetime=timedelta(seconds=LIFETIME),
                        clock=lambda reading=true + ahead: reading,  # type: ignore[misc]
                    )
                    try:
                        minted = minter.mint(STAY, tenant="t")
                    except KeyRingError:
                        continue
                    if (minted.kid, true, minted.issued_at) not in seen:
                        seen.add((minted.kid, true, minted.issued_at))
                        yield true, minted.kid, minted.token


def refusals(past: History, delay: int, skew: int) -> list[tuple[str, int, int]]:
    """Tokens that some verifier refuses within their life, though nobody revoked their key."""
    lost = []
    for true, kid, token in minted_around(past, delay, skew):
        if past.revoked(kid):
            continue
        issued_at = int(oracle.body_of(token).split(b"\n")[4])
        end = issued_at + LIFETIME + LEEWAY  # the first reading of a verifier's clock at which the token has expired
        between = [moment for moment in past.moments() if true < moment < end]
        for ahead in {-skew, 0, skew}:
            for moment in {true, *between, end - 1 - ahead}:
                if moment < true or moment + ahead >= end:
                    continue
                for ring in past.copies(moment, delay):
                    if not accepts(ring, token, moment + ahead):
                        lost.append((kid, issued_at, moment + ahead))
    return lost


def verifier_with_caps(ring: KeyRing, now: int) -> Verifier:
    """The verifier that accepts a token for the longest time."""
    return Verifier(
        ring,
        issuer="i",
        audience="a",
        leeway=timedelta(seconds=LEEWAY),
        max_lifetime=timedelta(seconds=LIFETIME),
        clock=lambda: now,
    )


def accepts(ring: KeyRing, token: str, now: int) -> bool:
    """Whether a verifier with the caps takes the token. Only its key may be a reason against it."""
    try:
        verifier_with_caps(ring, now).verify(token, tenant="t")
    except UnknownKeyError:
        return False
    return True


@share(0.7)
@given(
    plan=steps(ahead=st.sampled_from([-SKEW, 0, SKEW]) | st.integers(-SKEW, SKEW)),
    propagation=st.sampled_from([2 * SKEW, 900, 3600]) | st.integers(2 * SKEW, 3720),
)
@example(plan=[Step(0, 0, "rotate", 0, SKEW), Step(1, 3720, "prune", 0, SKEW)], propagation=900)
@example(
    plan=[Step(0, 0, "rotate", 0, -SKEW), Step(0, 0, "rotate", 0, SKEW), Step(1, 3720, "prune", 0, SKEW)],
    propagation=2 * SKEW,
)
def test_no_token_is_lost(plan: list[Step], propagation: int) -> None:
    """A token whose key nobody revokes is never refused for its key while it lives.

    Whatever is rotated, revoked and pruned meanwhile, by clocks that differ by the leeway at most and step back and forth within
    it, while each copy of the ring arrives late, by the propagation delay less that difference.
    """
    assert refusals(history(plan, propagation), propagation - 2 * SKEW, SKEW) == []


@given(plan=steps(ahead=st.just(0)), propagation=st.sampled_from([0, 1, 900, 3600, 3720]) | st.integers(0, 3720))
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(1, 3720, "prune", 0, 0)], propagation=900)
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(1, -1, "revoke", 1, 0), Step(0, 5000, "prune", 0, 0)], propagation=3720)
@example(
    plan=[
        Step(0, 0, "rotate", 0, 0),
        Step(0, 1, "rotate", 0, 0),
        Step(0, 1, "revoke", 1, 0),
        Step(1, 3720, "prune", 0, 0),
    ],
    propagation=900,
)
def test_no_token_is_lost_with_one_clock(plan: list[Step], propagation: int) -> None:
    """Where all clocks agree, copies may arrive as late as the propagation delay says."""
    assert refusals(history(plan, propagation), propagation, 0) == []


@given(plan=steps(ahead=st.just(0)), propagation=st.sampled_from([3721, 7200, 86400]) | st.integers(3721, 10**6))
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(1, -1, "revoke", 1, 0)], propagation=7200)
def test_no_token_is_lost_with_a_long_propagation(plan: list[Step], propagation: int) -> None:
    """The same where copies take longer than a superseded key still verifies, as when a nightly job brings them."""
    assert refusals(history(plan, propagation), propagation, 0) == []


def test_the_schedules_tried_reach_the_last_second() -> None:
    """The properties above try the hardest token: minted in a key's last second, verified in its own last second."""
    past = history([Step(0, 0, "rotate", 0, 0), Step(1, 3720, "prune", 0, 0)], 900)
    handover = NOW + 900
    issued = {(kid, int(oracle.body_of(token).split(b"\n")[4])) for _, kid, token in minted_around(past, 900, 0)}
    assert ("k0", handover - 1) in issued
    assert ("k1", handover) in issued
    assert [key.kid for key in past.versions[-1][1].keys] == ["k1"]


_any_clock: Final = st.sampled_from([-(10**6), -3721, -900, 0, 900, 3721, 10**6]) | st.integers(-(10**7), 10**7)


@share(2)
@given(plan=steps(ahead=_any_clock), propagation=st.sampled_from([0, 1, 900, 86400]) | st.integers(0, 10**6))
def test_every_step_makes_a_valid_ring(plan: list[Step], propagation: int) -> None:
    """No step is refused at any time, even long ago, and each makes a ring that survives JSON."""
    for _, ring in history(plan, propagation).versions:
        again = KeyRing.from_json(ring.to_json())
        assert KeyRing(ring.keys) == ring == again
        assert [key.secret for key in again.keys] == [key.secret for key in ring.keys]
        assert again.to_json() == ring.to_json()


@share(2)
@given(
    plan=steps(ahead=_any_clock),
    propagation=st.integers(0, 10**6),
    moments=st.lists(st.integers(0, 2 * NOW), max_size=3),
)
def test_the_states_say_who_signs(plan: list[Step], propagation: int, moments: list[int]) -> None:
    """At any time at most one key is active, it is the one that signs, and each state is what the key's dates say."""
    past = history(plan, propagation)
    for _, ring in past.versions:
        # A state changes only at a date of the ring's own.
        own = History(0, [(past.versions[0][0], ring)]).moments()
        for now in {*moments, *(moment + near for moment in own for near in (-1, 0))}:
            states = {key.kid: ring.state(key.kid, now=aware(now)) for key in ring.keys}
            active = [kid for kid, state in states.items() if state is KeyState.ACTIVE]
            assert active == [kid for kid in [signer(ring, now)] if kid is not None]
            assert active == [kid for kid in [expected_signer(ring, now)] if kid is not None]
            for kid, state in states.items():
                until = seconds(ring, kid, "verify_until")
                starts = seconds(ring, kid, "sign_from")
                assert starts is not None
                assert (state is KeyState.REVOKED) is (seconds(ring, kid, "revoked_at") is not None)
                if state is not KeyState.REVOKED:
                    assert (state is KeyState.RETIRED) is (until is not None and now >= until)
                    assert (state is KeyState.PENDING) is (now < starts)


@share(3)
@given(plan=steps(ahead=st.just(0)), propagation=st.sampled_from([0, 1, 900]) | st.integers(0, 5000), pause=_gaps)
def test_a_superseded_key_never_signs_again(plan: list[Step], propagation: int, pause: int) -> None:
    """While time goes on and a ring is rotated, revoked in and pruned, the signer changes only to a newer key."""
    past = history(plan, propagation)
    order = [f"k{number}" for number in range(len(plan) + 1)]
    newest = 0
    ends = [made for made, _ in past.versions[1:]] + [past.versions[-1][0] + 10**5]
    for (made, ring), end in zip(past.versions, ends, strict=True):
        inside = {moment for moment in (*past.moments(), made + pause, end - 1) if made <= moment < end}
        for now in sorted({made, *inside}):
            kid = signer(ring, now)
            if kid is not None:
                assert order.index(kid) >= newest
                newest = order.index(kid)


@share(3)
@given(plan=steps(ahead=_any_clock), now=st.sampled_from([0, oracle.MAX_SECONDS]) | st.integers(0, oracle.MAX_SECONDS))
def test_a_key_of_the_ring_can_always_be_revoked(plan: list[Step], now: int) -> None:
    """Revoking is never refused for a key in the ring, in any ring, at any time, and it ends that key's tokens."""
    ring = history(plan, 900).versions[-1][1]
    for key in ring.keys:
        without = ring.revoke(key.kid, now=aware(now))
        assert without.state(key.kid, now=aware(now)) is KeyState.REVOKED
        assert signer(without, NOW) != key.kid
        for other in ring.keys:
            without = without.revoke(other.kid, now=aware(now))
        assert all(without.state(other.kid) is KeyState.REVOKED for other in ring.keys)
        assert signer(without, NOW) is None


@share(3)
@given(plan=steps(ahead=st.just(0)), propagation=st.integers(0, 5000), pause=_gaps)
@example(plan=[], propagation=0, pause=0)
@example(
    plan=[Step(0, 0, "rotate", 0, 0), Step(0, 1, "rotate", 0, 0), Step(0, 1, "revoke", 1, 0)], propagation=900, pause=0
)
def test_revoking_a_pending_key_undoes_the_rotation(plan: list[Step], propagation: int, pause: int) -> None:
    """A key that is revoked before it could sign changes nothing for the others: who signs, and what verifies, stays."""
    made, ring = history(plan, propagation).versions[-1]
    now = made + pause
    undone = ring.rotate(kid="new", now=aware(now), propagation=timedelta(seconds=propagation + 1)).revoke(
        "new", now=aware(now)
    )
    for later in (now, now + propagation, now + propagation + 1, now + propagation + 3721, now + 10**6):
        assert signer(undone, later) == signer(ring, later)
        for key in ring.keys:
            before = ring.state(key.kid, now=aware(later))
            after = undone.state(key.kid, now=aware(later))
            # A successor that was revoked in turn takes the end off its predecessor: it may verify longer, never shorter.
            assert before is after or before is KeyState.RETIRED or after is KeyState.RETIRED


@share(2)
@given(plan=steps(ahead=st.just(0)), propagation=st.sampled_from([0, 900]) | st.integers(0, 5000), pause=_gaps)
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(0, 60, "revoke", 1, 0)], propagation=900, pause=0)
def test_pruning_never_changes_who_signs(plan: list[Step], propagation: int, pause: int) -> None:
    """From the time of a prune on, the pruned ring signs with the same keys at the same times."""
    past = history(plan, propagation)
    made, ring = past.versions[-1]
    now = made + pause
    pruned = ring.prune(now=aware(now))
    assert pruned.keys[-1] == ring.keys[-1]
    assert set(pruned.keys) <= set(ring.keys)
    for later in {
        now,
        now + 1,
        now + 10**6,
        *(max(now, moment + near) for moment in past.moments() for near in (-1, 0, 1)),
    }:
        assert signer(pruned, later) == signer(ring, later)
    # And so it does when a key is added, or revoked, afterwards.
    for change in changes(ring, now):
        for later in (now, now + 900, now + 901, now + 10**6):
            assert signer(change(pruned), later) == signer(change(ring), later)


def changes(ring: KeyRing, now: int) -> list[Callable[[KeyRing], KeyRing]]:
    """A step that is possible for a ring and for its pruned copy."""
    return [
        lambda before: before.rotate(kid="next", now=aware(now)),
        lambda before: before.revoke(ring.keys[-1].kid, now=aware(now)),
        lambda before: before.rotate(kid="next", now=aware(now)).revoke("next", now=aware(now)),
    ]


@given(plan=steps(ahead=st.just(0)), propagation=st.sampled_from([0, 900]) | st.integers(0, 5000), pause=_gaps)
def test_pruning_changes_no_verdict_on_a_living_token(plan: list[Step], propagation: int, pause: int) -> None:
    """For each token that was signed before a prune, the pruned ring and the whole ring agree until the token has expired."""
    past = history(plan, propagation)
    made, ring = past.versions[-1]
    now = made + pause
    pruned = ring.prune(now=aware(now))
    for true, _, token in minted_around(past, 0, 0):
        last = true + LIFETIME + LEEWAY - 1
        if true <= now <= last:
            for later in (now, (now + last) // 2, last):
                assert verdict(pruned, token, later) == verdict(ring, token, later)


def verdict(ring: KeyRing, token: str, now: int) -> str:
    """The code of a refusal by a verifier with the caps, or nothing."""
    try:
        verifier_with_caps(ring, now).verify(token, tenant="t")
    except HandoffError as exc:
        return exc.code
    return ""


@share(3)
@given(ring=key_rings(now=aware(NOW)), now=_gaps, propagation=st.integers(0, 5000))
def test_every_step_from_any_ring_makes_a_ring(ring: KeyRing, now: int, propagation: int) -> None:
    """From any valid ring, also such as no rotation makes, rotating, pruning and revoking any of its keys are not refused, and JSON carries what they make."""
    made = [
        ring.rotate(kid="new", now=aware(NOW + now), propagation=timedelta(seconds=propagation)),
        ring.prune(now=aware(NOW + now)),
        *(ring.revoke(key.kid, now=aware(NOW + now)) for key in ring.keys),
    ]
    for after in made:
        assert KeyRing(after.keys) == after == KeyRing.from_json(after.to_json())


@share(3)
@given(ring=key_rings(now=aware(NOW)), pause=_gaps)
def test_pruning_lets_no_old_key_sign_even_if_the_clock_goes_back(ring: KeyRing, pause: int) -> None:
    """A pruned ring signs as before from the time of the prune on; before that time it may sign with no key, but with no other."""
    now = NOW + pause
    pruned = ring.prune(now=aware(now))
    starts = [int(key.sign_from.timestamp()) for key in ring.keys]
    for moment in {now, now + 10**6, *starts, *(start - 1 for start in starts)}:
        before, after = signer(ring, moment), signer(pruned, moment)
        assert after == before or (moment < now and after is None)


@given(plan=steps(ahead=st.just(0)), propagation=st.sampled_from([0, 900]) | st.integers(0, 5000))
@example(plan=[Step(0, 0, "rotate", 0, 0), Step(0, 1, "rotate", 0, 0), Step(0, 1, "revoke", 1, 0)], propagation=900)
def test_pruning_keeps_no_key_for_ever(plan: list[Step], propagation: int) -> None:
    """Long after a rotation a prune leaves the newest key alone, and a second prune has nothing to do."""
    made, ring = history(plan, propagation).versions[-1]
    end = made + 3 * (propagation + 10**6)
    pruned = ring.rotate(kid="next", now=aware(end)).prune(now=aware(end + 86400))
    assert [key.kid for key in pruned.keys] == ["next"]
    assert pruned.prune(now=aware(end + 86400)) == pruned


@share(2)
@given(now=st.integers(0, oracle.MAX_SECONDS), propagation=st.integers(0, oracle.MAX_SECONDS))
def test_rotation_at_any_time(now: int, propagation: int) -> None:
    """A ring can be made and rotated at any time of which the new key's end is still a date; else it is refused as a ring."""
    ring = KeyRing.generate(kid="k", now=aware(now))
    try:
        rotated = ring.rotate(kid="l", now=aware(now), propagation=timedelta(seconds=propagation))
    except KeyRingError:
        assert max(now + propagation, now + 1) + max(3720, propagation) > oracle.MAX_SECONDS
        return
    assert KeyRing.from_json(rotated.to_json()) == rotated
    starts, ends = seconds(rotated, "l", "sign_from"), seconds(rotated, "k", "verify_until")
    assert starts is not None
    assert ends is not None
    assert starts == max(now + propagation, now + 1)
    assert ends >= starts + 3720
