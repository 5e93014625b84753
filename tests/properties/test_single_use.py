"""A handoff opens one booking session: redeemer, store and clock against a model of the design's rule."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest
from hypothesis import currently_in_test_context, event, note
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ghasi_handoff import AsyncRedeemer, HandoffError, KeyRing, Redeemer, Redemption, SigningKey, Verifier
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from . import oracle
from .strategies import NOW, STAY, aware, lifetimes, secret_of, share

ISSUERS: Final = ("bff-consumer", "bff-other")
AUDIENCE: Final = "bff-tenant-booking"
TENANT: Final = "tn_aurora"
BROWSERS: Final = {"browser A": secret_of("browser A"), "browser B": secret_of("browser B")}
STAY_TEXT: Final = oracle.canonical_json(oracle.json_value(STAY))
# Two keys that verify: a handoff can have a token under each, and is one handoff all the same.
RING: Final = KeyRing(
    [
        SigningKey(kid=kid, secret=secret_of(kid), created_at=aware(0), sign_from=aware(at))
        for at, kid in enumerate(("k1", "k2"))
    ]
)

_ResultT = TypeVar("_ResultT")
# Differences of time at which something changes: leeway, grace, retention, horizon, and their neighbours.
_small: Final = st.sampled_from([0, 0, 0, 0.25, 0.75, 1, -1, 59, 60, 61, -60, 119, 120, 121, 600, -600])
_steps: Final = st.one_of(
    _small,
    st.sampled_from([oracle.HORIZON, oracle.HORIZON + 1, 3600, 7200, -3600, -oracle.HORIZON, -7200, 10**5, -(10**5)]),
    st.integers(-5000, 5000),
)
_between_readings: Final = st.one_of(
    st.just((0, 0)),
    st.just((0, 0)),
    st.sampled_from([(0, 5000), (5000, 0), (0, -5000), (-5000, 0), (0, 61), (61, 0), (200, -200), (-200, 200)]),
    st.tuples(_steps, _steps),
)
_moments: Final = st.tuples(
    st.sampled_from(
        ["issued", "half-way", "half-way", "half-way", "expired", "expired", "repeated", "retained", "horizon"]
    ),
    st.sampled_from([-1, -0.25, 0, 1]),
)


class Clock:
    """A clock that steps when it is told to, between two readings of one call, too."""

    def __init__(self, reading: float) -> None:
        self.reading = reading
        self.coming: list[float] = []

    def __call__(self) -> float:
        reading = self.reading
        if self.coming:
            self.step(self.coming.pop(0))
        return reading

    def step(self, by: float) -> None:
        """Forth or back, within the years that a clock may tell."""
        self.reading = min(max(self.reading + by, 0), oracle.MAX_SECONDS)


@dataclass(frozen=True)
class Handoff:
    """A handoff, and its tokens under both keys."""

    handoff_id: str
    issuer: str
    issued_at: int
    expires_at: int

    @property
    def tokens(self) -> list[str]:
        """One token a key."""
        lines = (self.issuer, AUDIENCE, TENANT, self.handoff_id, str(self.issued_at), str(self.expires_at))
        body = "\n".join(lines).encode() + b"\n" + STAY_TEXT
        return [oracle.signed(kid, secret_of(kid), body) for kid in ("k1", "k2")]

    @property
    def name(self) -> tuple[str, str]:
        """The handoff's id and scope, which make it one handoff."""
        return (self.handoff_id, self.issuer)


@dataclass
class Model:
    """The rules of a store and a redeemer, written from the design."""

    leeway: int
    capacity: int | None
    entries: dict[tuple[str, str], tuple[str, int]]
    purged_before: int = 0

    def redeem(self, handoff: Handoff, browser: str, fresh: bool, readings: list[int]) -> tuple[str, bool, int]:
        """The code of the refusal, or nothing; whether this call was the first; when it was redeemed."""
        verified_at, consumed_at, after = readings
        deadline = handoff.expires_at + self.leeway
        if handoff.issued_at > verified_at + self.leeway:
            return "not_yet_valid", False, 0
        if verified_at >= deadline + (0 if fresh else oracle.GRACE):
            return "expired", False, 0
        if consumed_at >= handoff.expires_at + 2 * self.leeway + 120:
            return "store_unavailable", False, 0
        first = handoff.name not in self.entries
        if first:
            if self.capacity is not None and len(self.entries) >= self.capacity:
                self.purge(after)  # the store reads the clock after the redeemer's second reading
                if len(self.entries) >= self.capacity:
                    return "store_unavailable", False, 0
            if seconds_of(handoff.handoff_id) < self.purged_before:
                return "store_unavailable", False, 0
            self.entries[handoff.name] = (browser, consumed_at)
        holder, since = self.entries[handoff.name]
        if holder != browser:
            return "replayed", False, 0
        if since >= deadline or after >= deadline + oracle.GRACE:
            return "expired", False, 0
        return "", first, since

    def purge(self, now: int) -> int:
        """Forget what is older than the horizon by the clock and by the newest id."""
        newest = max((handoff_id for handoff_id, _ in self.entries), default=None)
        if newest is None:
            return 0
        cutoff = max(0, min(now, seconds_of(newest)) - oracle.HORIZON)
        self.purged_before = max(self.purged_before, cutoff)
        old = [name for name in self.entries if seconds_of(name[0]) < cutoff]
        for name in old:
            del self.entries[name]
        return len(old)


def seconds_of(handoff_id: str) -> int:
    """The time in an id."""
    return int(handoff_id.replace("-", "")[:12], 16) // 1000


class SingleUse(RuleBasedStateMachine):
    """Two browsers and callers without one redeem handoffs while the clock steps and the store is purged."""

    capacity: ClassVar[int | None] = None
    handoffs: ClassVar[Bundle[Handoff]] = Bundle("handoffs")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(NOW)
        self.accepted: dict[tuple[str, str], set[str]] = {}
        self.calls = itertools.count()

    def open_store(self) -> None:
        """Make the store, or two on one file."""
        raise NotImplementedError

    def ask(self, verifier: Verifier, call: int, token: str, secret: dict[str, bytes]) -> Redemption:
        """Redeem with the store."""
        raise NotImplementedError

    def ask_to_purge(self, now: int | None) -> int:
        """Purge the store."""
        raise NotImplementedError

    @initialize(target=handoffs, leeway=st.sampled_from([0, 10, 60]), start=st.sampled_from([NOW, NOW + 0.5, 5000, 0]))
    def begin(self, leeway: int, start: float) -> Any:
        """Somewhere in time, with some leeway and two handoffs of one id."""
        self.clock.reading = start
        self.model = Model(leeway, self.capacity, {})
        self.verifiers = {
            issuer: Verifier(
                RING,
                issuer=issuer,
                audience=AUDIENCE,
                leeway=timedelta(seconds=leeway),
                max_lifetime=timedelta(seconds=oracle.MAX_LIFETIME),
                clock=self.clock,
            )
            for issuer in ISSUERS
        }
        self.open_store()
        return self.mint(0, 300, 0, 0, True)

    @rule(
        target=handoffs,
        offset=st.sampled_from([0, 0, 0, -10, 10, 11, 60, 61, -3000]),
        lifetime=st.sampled_from([1, 300, 3600]) | lifetimes,
        millisecond=st.integers(0, 999),
        free_bits=st.integers(0, 3) | st.integers(0, 2**74 - 1),
        twin=st.booleans(),
    )
    def mint(self, offset: int, lifetime: int, millisecond: int, free_bits: int, twin: bool) -> Any:
        """Somebody gets a handoff, minted by a clock near ours; another issuer may give out the same id."""
        issued_at = min(max(int(self.clock.reading) + offset, 0), oracle.MAX_SECONDS - lifetime)
        handoff_id = oracle.handoff_id(issued_at * 1000 + millisecond, free_bits)
        made = [Handoff(handoff_id, issuer, issued_at, issued_at + lifetime) for issuer in ISSUERS[: 1 + twin]]
        return multiple(*made)

    @rule(
        handoff=handoffs,
        browser=st.sampled_from([*BROWSERS, *BROWSERS, None]),
        which=st.integers(0, 1),
        moment=st.none() | _moments,
        steps=_between_readings,
    )
    def redeem(
        self,
        handoff: Handoff,
        browser: str | None,
        which: int,
        moment: tuple[str, float] | None,
        steps: tuple[float, float],
    ) -> None:
        """A browser redeems, or a caller without one; the clock may step between the three readings of the call."""
        if moment is not None:
            self.go_to(handoff, moment)
        # Without browser secret each call is somebody new.
        self.check(handoff, which, browser or f"call {next(self.calls)}", steps)

    @rule(
        handoff=handoffs,
        which=st.integers(0, 1),
        others=st.lists(st.sampled_from([*BROWSERS, None]), min_size=1, max_size=3),
    )
    def redeem_in_a_row(self, handoff: Handoff, which: int, others: list[str | None]) -> None:
        """Several redeem in time, one after the other."""
        self.go_to(handoff, ("half-way", 0))
        for browser in others:
            self.check(handoff, which, browser or f"call {next(self.calls)}", (0, 0))

    @rule(by=_steps)
    def let_time_pass(self, by: float) -> None:
        """Forth or back."""
        self.clock.step(by)

    def go_to(self, handoff: Handoff, moment: tuple[str, float]) -> None:
        """Set the clock to, or beside, a moment at which something changes for this handoff."""
        leeway = self.model.leeway
        moments = {
            "issued": handoff.issued_at - leeway,
            "half-way": (handoff.issued_at + handoff.expires_at) // 2,
            "expired": handoff.expires_at + leeway,
            "repeated": handoff.expires_at + leeway + oracle.GRACE,
            "retained": handoff.expires_at + 2 * leeway + 120,
            "horizon": handoff.issued_at + oracle.HORIZON,
        }
        self.clock.step(moments[moment[0]] + moment[1] - self.clock.reading)

    @rule(now=st.none() | st.integers(-5000, 10_000) | st.just(10**9))
    def purge(self, now: int | None) -> None:
        """Purge by the clock, or by a time that the caller gives."""
        moment = None if now is None else min(max(int(self.clock.reading) + now, 0), oracle.MAX_SECONDS)
        expected = self.model.purge(int(self.clock.reading) if moment is None else moment)
        assert self.ask_to_purge(moment) == expected

    @invariant()
    def nobody_shares(self) -> None:
        """No handoff ever gets two holders."""
        assert all(len(ids) == 1 for ids in self.accepted.values())

    def check(self, handoff: Handoff, which: int, browser: str, steps: tuple[float, float]) -> str:
        """Redeem; library and model must say the same, and a holder in time must have been accepted. Returns what they said."""
        secret = {"browser_secret": BROWSERS[browser]} if browser in BROWSERS else {}
        readings = [self.clock.reading]
        probe = Clock(self.clock.reading)
        for by in steps:
            probe.step(by)
            readings.append(probe.reading)
        floored = [int(reading) for reading in readings]
        held = self.model.entries.get(handoff.name)
        expected = self.model.redeem(handoff, browser, not secret, floored)
        self.clock.coming = list(steps)
        said: tuple[str, bool, int]
        try:
            redemption = self.ask(self.verifiers[handoff.issuer], next(self.calls), handoff.tokens[which], secret)
        except HandoffError as exc:
            said = (exc.code, False, 0)
        else:
            said = ("", redemption.first, int(redemption.redeemed_at.timestamp()))
            assert redemption.handoff.handoff_id == handoff.handoff_id
            self.accepted.setdefault(handoff.name, set()).add(redemption.redemption_id)
        self.clock.coming = []
        self.clock.reading = readings[-1]
        outcome = "first" if said[1] else said[0] or "repeated"
        if currently_in_test_context():
            note(f"{browser}: {said}")
            event(outcome)
        assert said == expected
        # Apart from the model: who holds a handoff in time can repeat it until the end of the grace.
        deadline = handoff.expires_at + self.model.leeway
        in_time = all(handoff.issued_at - self.model.leeway <= reading < deadline + oracle.GRACE for reading in floored)
        if held is not None and held[0] == browser and held[1] < deadline and in_time:
            assert said == ("", False, held[1])
        return outcome


class OverMemory(SingleUse):
    """`MemoryReplayStore`."""

    def open_store(self) -> None:
        """Of ample size, or of the machine's."""
        self.store = MemoryReplayStore(capacity=self.capacity or 10_000, clock=lambda: self.clock.reading)

    def ask(self, verifier: Verifier, call: int, token: str, secret: dict[str, bytes]) -> Redemption:
        """By a redeemer."""
        return Redeemer(verifier, self.store).redeem(token, tenant=TENANT, **secret)

    def ask_to_purge(self, now: int | None) -> int:
        """By the store."""
        return self.store.purge(now)


class OverSmallMemory(OverMemory):
    """`MemoryReplayStore` that is full after three handoffs."""

    capacity = 3


class OverAsyncMemory(SingleUse):
    """`AsyncMemoryReplayStore` and `AsyncRedeemer`."""

    def open_store(self) -> None:
        """Of ample size."""
        self.store = AsyncMemoryReplayStore(clock=lambda: self.clock.reading)

    def ask(self, verifier: Verifier, call: int, token: str, secret: dict[str, bytes]) -> Redemption:
        """By a redeemer."""
        return finished(AsyncRedeemer(verifier, self.store).redeem(token, tenant=TENANT, **secret))

    def ask_to_purge(self, now: int | None) -> int:
        """By the store."""
        return finished(self.store.purge(now))


def finished(work: Coroutine[Any, Any, _ResultT]) -> _ResultT:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("a memory store waited")


class OverSQLite(SingleUse):
    """Two `SQLiteReplayStore` on one file, as two processes have them; each may be closed and opened again."""

    def open_store(self) -> None:
        """In a folder of its own."""
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [self.opened(), self.opened()]

    def opened(self) -> SQLiteReplayStore:
        """One more store on the file."""
        return SQLiteReplayStore(Path(self.folder.name) / "replay.db", clock=lambda: self.clock.reading)

    def ask(self, verifier: Verifier, call: int, token: str, secret: dict[str, bytes]) -> Redemption:
        """By a redeemer on one store or the other."""
        return Redeemer(verifier, self.stores[call % 2]).redeem(token, tenant=TENANT, **secret)

    def ask_to_purge(self, now: int | None) -> int:
        """By one store or the other."""
        return self.stores[next(self.calls) % 2].purge(now)

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        """A process ends, and another starts."""
        self.stores[which].close()
        self.stores[which] = self.opened()

    def teardown(self) -> None:
        """Close and remove the file."""
        for store in getattr(self, "stores", []):
            store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


@pytest.mark.parametrize(
    "machine", [OverMemory, OverSmallMemory, OverAsyncMemory], ids=lambda machine: machine.__name__
)
def test_memory_store_gives_each_handoff_to_one_browser(machine: type[SingleUse]) -> None:
    """For any clock, any callers and any purges, each handoff has one holder, by exactly the design's rule."""
    run_state_machine_as_test(machine, settings=share(1))


def test_sqlite_store_gives_each_handoff_to_one_browser() -> None:
    """The same over SQLite, with two stores on one file and restarts."""
    run_state_machine_as_test(OverSQLite, settings=share(0.5))


# What each run must try, whatever Hypothesis draws: handoff, browser, moment, steps of the clock between the three readings
# of the call, and what comes of it.
_FIRST_LIFE: Final = [
    ("one", "browser A", ("issued", -1), (0, 0), "not_yet_valid"),
    ("one", "browser A", ("issued", 0), (0, 0), "first"),
    ("one", "browser A", ("half-way", 0), (0, 0), "repeated"),
    ("one", "browser B", ("half-way", 0), (0, 0), "replayed"),
    ("one", "nobody", ("half-way", 0), (0, 0), "replayed"),
    ("twin", "browser B", ("half-way", 0), (0, 0), "first"),  # of the other issuer
    ("one", "browser A", ("repeated", -1), (0, 0), "repeated"),
    ("one", "browser A", ("repeated", -0.25), (0, 0), "repeated"),
    ("one", "browser A", ("repeated", 0), (0, 0), "expired"),
    ("one", "browser A", ("repeated", -1), (0, 1), "expired"),  # the store's answer comes too late
    ("one", "browser B", ("expired", 0), (0, 0), "replayed"),
    ("one", "nobody", ("expired", -1), (0, 0), "replayed"),
    ("one", "nobody", ("expired", 0), (0, 0), "expired"),
    ("late", "browser A", ("expired", -1), (1, 0), "expired"),  # verified in time, consumed too late
    ("late", "browser A", ("half-way", 0), (0, 0), "expired"),  # and so it stays
    ("slow", "browser A", ("expired", -1), (0, 60), "first"),
    ("slower", "browser A", ("expired", -1), (0, 61), "expired"),
    ("lost", "browser A", ("expired", -1), (131, 0), "store_unavailable"),  # past what the store has to keep
]


class Story:
    """A run of a machine by hand: handoffs by name, and what is said to whom."""

    def __init__(self, machine: type[SingleUse]) -> None:
        self.state = machine()
        self.handoffs: dict[str, Handoff] = {}
        made: Any = self.state.begin(leeway=10, start=NOW)
        self.handoffs["one"], self.handoffs["twin"] = made.values

    def mint(self, name: str, millisecond: int, free_bits: int) -> None:
        """A handoff of the present."""
        made: Any = self.state.mint(0, 300, millisecond, free_bits, False)
        (self.handoffs[name],) = made.values

    def told(
        self, name: str, browser: str, moment: tuple[str, float] = ("half-way", 0), steps: tuple[float, float] = (0, 0)
    ) -> str:
        """The answer that a browser gets at that moment; model and library must agree on it."""
        self.state.go_to(self.handoffs[name], moment)
        return self.state.check(self.handoffs[name], next(self.state.calls) % 2, browser, steps)

    def after(self, name: str, seconds: float) -> None:
        """That long after the horizon of a handoff."""
        self.state.go_to(self.handoffs[name], ("horizon", seconds))


@pytest.mark.parametrize("machine", [OverMemory, OverAsyncMemory, OverSQLite], ids=lambda machine: machine.__name__)
def test_the_moments_that_matter(machine: type[SingleUse]) -> None:
    """In every run, first and last seconds, late answers, a purge and its mark come out as the design's rule says."""
    story = Story(machine)
    try:
        for number, name in enumerate(["late", "slow", "slower", "lost", "old"], start=1):
            story.mint(name, 0, number)
        for name, browser, moment, steps, expected in _FIRST_LIFE:
            assert (name, moment, story.told(name, browser, moment, steps)) == (name, moment, expected)
        story.after("one", 1)
        story.mint("new", 999, 0)
        assert story.told("new", "browser B") == "first"
        # What is as old as the horizon stays; a second later it goes, and is refused even if the clock goes back.
        entries = story.state.model.entries
        story.after("one", 0)
        story.state.purge(None)
        assert story.handoffs["one"].name in entries
        story.after("one", 1)
        story.state.purge(None)
        assert [*entries] == [story.handoffs["new"].name]
        assert story.told("one", "browser B") == "store_unavailable"
        assert story.told("old", "browser A") == "store_unavailable"
        assert story.told("new", "browser A") == "replayed"
        story.state.nobody_shares()
    finally:
        story.state.teardown()


def test_a_full_store_forgets_what_is_old_and_nothing_else() -> None:
    """In every run, a full memory store refuses a fourth handoff, answers its holders, and makes room an hour later."""
    story = Story(OverSmallMemory)
    story.mint("third", 0, 1)
    story.mint("fourth", 0, 2)
    assert [story.told(name, "browser A") for name in ("one", "twin", "third")] == ["first"] * 3
    assert story.told("fourth", "browser A") == "store_unavailable"
    assert story.told("one", "browser A") == "repeated"
    assert story.told("one", "browser B") == "replayed"
    young = Story(OverSmallMemory)
    assert [young.told(name, "browser A") for name in ("one", "twin")] == ["first"] * 2
    young.after("one", 1)
    young.mint("third", 0, 1)
    young.mint("fourth", 0, 2)
    assert [young.told(name, "browser A") for name in ("third", "fourth")] == ["first"] * 2
    assert young.told("one", "browser A") == "store_unavailable"
