"""The promises about clocks and purges, one test each: a wrong clock may lock out, and never lets a second one in."""

from __future__ import annotations

import time
from typing import Final, TypeVar

from ghasi_handoff._limits import HORIZON_SECONDS
from ghasi_handoff.testing._entries import (
    RETENTION_SECONDS,
    SCOPE,
    Pause,
    Purge,
    Told,
    agree,
    answer_of,
    held_by,
    redemption_id_of,
)
from ghasi_handoff.testing._stage import Lane, Stage, only_if

_S = TypeVar("_S")

DECADES: Final = 50 * 365 * 86400
# How long purges race with consumes: a wrong order shows in the first of these rounds.
PURGE_RACE_SECONDS: Final = 0.6
PURGE_RACE_ROUNDS: Final = range(3, 40)


class ClockPromises(Stage[_S]):
    """Clocks that step, and purges."""

    def test_clock_steps_change_no_holder(self) -> None:
        """Callers whose clocks are days behind, or ahead, are told the same holder; and they can become the holder."""
        store = self.open()
        clocks = [self.now, 0, self.now - 86400, self.now + RETENTION_SECONDS - 6, self.now - 1]
        for n in range(len(clocks)):
            turns = clocks[n:] + clocks[:n]
            entries = [self.entry(n, caller=caller, at=at) for caller, at in enumerate(turns, 1)]
            told = [(entry, self.ask(store, entry)) for entry in entries]
            held_by(entries[0], told)

    @only_if(lambda kit: kit.purges)
    def test_purge_keeps_what_a_token_may_need(self) -> None:
        """Until the last second of its retention, an entry of the longest lifetime survives every purge."""
        store, old, new = self.open(), self.entry(0), self.entry(1, minted_at=self.now + HORIZON_SECONDS - 6)
        old = old._replace(retain_until=self.now - 5 + HORIZON_SECONDS)
        for entry in (old, new):
            answer_of(entry, self.ask(store, entry))
        for _ in range(2):
            self.perform(store, Purge(old.retain_until - 1))
            self.check_held(store, old, new)

    @only_if(lambda kit: kit.purges)
    def test_purge_never_reopens(self) -> None:
        """A handoff that was purged is refused, or still held: by this store object and the next, after any purge."""
        far = self.now + 2 * HORIZON_SECONDS
        entries = [self.entry(n, caller=1) for n in range(8)]
        other_scope = [self.entry(n, caller=2, scope=SCOPE + "-2") for n in range(8)]
        new = self.entry(9, minted_at=far)
        told: list[Told] = []

        def ask_all(store: _S) -> None:
            for n, entry in enumerate(entries + other_scope):
                asked = entry._replace(redemption_id=redemption_id_of(100 + len(told))) if n % 2 else entry
                told.append((asked, self.ask(store, asked)))
            agree(told)
            self.check_held(store, new)

        with self.using(self.make_store(self.place)) as store:
            for entry in (*entries, *other_scope, new):
                told.append((entry, self.ask(store, entry)))
                answer_of(*told[-1])
            # The last clock is back where it was before: what was forgotten must not become new again.
            for now in (far, far, far - DECADES, self.now):
                self.perform(store, Purge(now))
                ask_all(store)
        if self.durable:
            ask_all(self.open())

    @only_if(lambda kit: kit.purges)
    def test_purge_by_a_clock_far_ahead_never_reopens(self) -> None:
        """A purge by a clock that is decades ahead may lock out, but what was consumed is never accepted anew."""
        store = self.open()
        entries = [self.entry(n) for n in range(4)]
        told = [(entry, self.ask(store, entry)) for entry in entries]
        # The second time a token from that clock is there, too.
        for from_there in (None, self.entry(9, minted_at=self.now + DECADES)):
            if from_there is not None:
                told.append((from_there, self.ask(store, from_there)))
            self.perform(store, Purge(self.now + DECADES))
            for caller in (2, 1):
                asked = [entry._replace(redemption_id=redemption_id_of(caller)) for entry in entries]
                told += [(entry, self.ask(store, entry)) for entry in asked]
            agree(told)

    @only_if(lambda kit: kit.purges)
    def test_purge_in_the_middle_of_a_race(self) -> None:
        """A purge that runs while callers race for handoffs at its cutoff never gives one a second holder."""
        store = self.open()
        until = time.monotonic() + PURGE_RACE_SECONDS
        for round_ in range(PURGE_RACE_ROUNDS.stop):
            if round_ >= PURGE_RACE_ROUNDS.start and time.monotonic() > until:
                break
            # Each round is later, so that its handoffs are not yet purged by the rounds before.
            cutoff = self.now + round_ * 2 * HORIZON_SECONDS
            purge = Purge(cutoff + HORIZON_SECONDS)
            ids = [(n, cutoff - 1) for n in range(4)]
            newest = self.entry(9, minted_at=cutoff + HORIZON_SECONDS)
            kept = self.entry(8, minted_at=cutoff)
            before = [newest, kept, *(self.entry(n, minted_at=at) for n, at in ids[:3])]
            told = [(entry, self.ask(store, entry)) for entry in before]
            for entry, outcome in told:
                held_by(entry, [(entry, outcome)])
            # The callers start half a millisecond apart: some are between any two of their steps when the purge comes.
            lanes: list[Lane[_S]] = []
            for lane in range(8):
                asked = [self.entry(n, caller=lane + 2, minted_at=at) for n, at in ids]
                lanes.append((store, [Pause(0.0005 * lane), *asked]))
            lanes.append((store, [Pause(0.002), purge, purge]))
            told += self.race(lanes)
            afterwards = [self.entry(n, caller=20, minted_at=at) for n, at in ids]
            told += [(entry, self.ask(store, entry)) for entry in afterwards]
            agree(told)
            self.check_held(store, kept)
