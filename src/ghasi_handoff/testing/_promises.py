"""The promises of a replay store, one test each, for both kinds of stores. A subclass says how a store is called.

One list, and so one long module: who holds a handoff, what is kept and refused, what clocks and purges may do.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from ghasi_handoff._limits import HORIZON_SECONDS
from ghasi_handoff.errors import InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.testing._entries import (
    RETENTION_SECONDS,
    SCOPE,
    Advance,
    Entry,
    Pause,
    Purge,
    Told,
    agree,
    answer_of,
    broken,
    held_by,
    redemption_id_of,
    refused,
)
from ghasi_handoff.testing._processes import StoreProcess
from ghasi_handoff.testing._stage import STRANGER, Lane, Stage, gives, only_if

_S = TypeVar("_S")

CALLERS: Final = 16
IDS: Final = 24
BURSTS: Final = 6
PROCESSES: Final = 3
CAPACITY: Final = 8
# What a busy machine may need beyond the time-out of a store that fails.
SLACK_SECONDS: Final = 5.0
DECADES: Final = 50 * 365 * 86400
# How long purges race with consumes: a wrong order shows in the first of these rounds.
PURGE_RACE_SECONDS: Final = 0.6
PURGE_RACE_ROUNDS: Final = range(3, 40)


class Promises(Stage[_S]):
    """What both kits share; see `ReplayStoreConformance`."""

    # One holder, and all are told which.

    def test_first_caller_becomes_the_holder(self) -> None:
        """Who consumes first is told that it holds the handoff, since the moment of its own clock."""
        entry = self.entry()
        outcome = self.ask(self.open(), entry)
        expected = Consumption(entry.redemption_id, first=True, consumed_at=entry.consumed_at)
        if outcome != expected:
            broken(f"the first consume must be answered by {expected}, not {outcome!r}")

    def test_holder_never_changes(self) -> None:
        """Whoever asks later, in whatever order, is told the same holder and the same moment."""
        store, first = self.open(), self.entry()
        told = self.ask_each(store, [first])
        for caller in (2, 3, 1, 2, 1, 4, 3):
            told += self.ask_each(store, [self.entry(caller=caller, at=self.now + 10 + len(told))])
        held_by(first, told)
        agree(told)

    def test_retry_finds_its_own_redemption(self) -> None:
        """Who consumes again, whatever its clock shows, still holds the handoff, since the first time."""
        store, first = self.open(), self.entry()
        told = self.ask_each(store, [first])
        retries = [first._replace(consumed_at=first.consumed_at + later) for later in (0, 1, 60)]
        held_by(first, [*told, *self.ask_each(store, retries)])

    def test_ids_are_apart(self) -> None:
        """Ids that differ in one digit, also in the last, are different handoffs."""
        entries = [self.entry(n, caller=n + 1) for n in (0, 1, 16, 2**44)]
        self._check_apart([*entries, self.entry(0, caller=9, minted_at=self.now - 6)])

    def test_scopes_are_apart(self) -> None:
        """The same id in another scope is another handoff. Scopes are compared exactly."""
        scopes = [SCOPE, SCOPE + "-2", SCOPE.upper(), SCOPE + " ", SCOPE + "\n", "bff-tenant-booking\nbff-consumer"]
        self._check_apart([self.entry(caller=caller, scope=scope) for caller, scope in enumerate(scopes, 1)])

    def _check_apart(self, entries: list[Entry]) -> None:
        store = self.open()
        told = self.ask_each(store, entries)
        for entry, outcome in told:
            held_by(entry, [(entry, outcome)])
        self.check_held(store, *entries)

    def test_one_holder_among_callers_at_once(self) -> None:
        """Many callers race for many handoffs through one store object: each has one holder, and all are told which."""
        store = self.open()
        lanes = [(store, [self.entry(n, caller=caller) for n in range(IDS)]) for caller in range(1, CALLERS + 1)]
        agree(self.settle(store, self.race(lanes)))

    def test_one_holder_of_a_burst(self) -> None:
        """One id in one burst of calls, each redemption id twice: one is the holder, and all are told which."""
        store = self.open()
        for n in range(BURSTS):
            lanes = [(store, [self.entry(n, caller=1 + lane // 2)]) for lane in range(CALLERS)]
            agree(self.settle(store, self.race(lanes)))

    @only_if(lambda kit: kit.durable)
    def test_one_holder_among_store_objects(self) -> None:
        """Callers that race through several store objects at one place are one race."""
        stores = [self.open() for _ in range(4)]
        lanes = [
            (stores[caller % 4], [self.entry(n, caller=caller) for n in range(IDS // 2)]) for caller in range(1, 9)
        ]
        agree(self.settle(stores[0], self.race(lanes)))

    @only_if(lambda kit: kit.durable and kit.processes)
    def test_one_holder_among_processes(self) -> None:
        """Processes that race for many handoffs at one place: each has one holder, and all are told which."""
        with ExitStack() as ending:
            processes = [ending.enter_context(StoreProcess(type(self), self.place)) for _ in range(PROCESSES)]
            for process in processes:
                process.hear()
            asked = [[self.entry(n, caller=caller) for n in range(IDS)] for caller in range(1, PROCESSES + 1)]
            for process, entries in zip(processes, asked, strict=True):
                process.perform(entries)
            told: list[Told] = []
            for process, entries in zip(processes, asked, strict=True):
                told += [(entry, process.hear()) for entry in entries]
        agree(self.settle(self.open(), told))

    # What is kept, for how long, and what is refused.

    @only_if(lambda kit: kit.durable)
    def test_entries_outlive_the_store_object(self) -> None:
        """What was consumed through a store that is closed is held for the next one."""
        entries = [self.entry(n, caller=n + 1) for n in range(4)]
        with self.using(self.make_store(self.place)) as store:
            for entry in entries:
                answer_of(entry, self.ask(store, entry))
        self.check_held(self.open(), *entries)

    @only_if(lambda kit: kit.durable)
    def test_crash_after_commit_is_found_again(self) -> None:
        """A process that is killed as its consume returns, before anybody hears of it, holds the handoff all the same.

        The retry by the same redemption id is its own, and another caller is told the first.
        """
        entries = [self.entry(n, caller=n + 1) for n in range(4)]
        with StoreProcess(type(self), self.place) as process:
            process.hear()
            process.perform(entries, then_die=True)
            for entry in entries[:-1]:
                answer_of(entry, process.hear())
            process.wait()
        store = self.open()
        # The last is the one that nobody heard of. Of every second one another caller asks first.
        for n, entry in enumerate(entries):
            other = entry._replace(redemption_id=STRANGER, consumed_at=entry.consumed_at + 30)
            retry = entry._replace(consumed_at=entry.consumed_at + 30)
            for asked in (other, retry) if n % 2 else (retry, other):
                held_by(entry, self.ask_each(store, [asked]))

    def test_entry_is_held_until_its_retention_ends(self) -> None:
        """While `retain_until` lies in the future an entry is held, however far ahead its caller's clock was."""
        store = self.open()
        for n in range(0, 50, 10):
            began = time.time()
            retain_until = int(began + 1.5) + 1
            short = self.entry(n)._replace(consumed_at=int(began), retain_until=retain_until)
            # Its caller's clock is so fast that a store which counted from there would keep it for one second.
            fast = self.entry(n + 1)
            fast = fast._replace(consumed_at=fast.retain_until - 1)
            told = self.ask_each(store, (short, fast))
            time.sleep(max(began + 1.1, retain_until - 0.5) - time.time())
            asked = [entry._replace(redemption_id=redemption_id_of(2)) for entry in (short, fast)]
            later = self.ask_each(store, asked)
            held_by(fast, [told[1], later[1]])
            if time.time() < retain_until:
                held_by(short, [told[0], later[0]])
                return
        broken("this machine is too busy to ask within a second")

    @only_if(gives("advance"))
    def test_entry_is_held_on_the_store_s_own_clock(self) -> None:
        """On a store's own clock, too, an entry is held until a few seconds before its retention ends."""
        store, first = self.open(), self.entry()
        told = self.ask_each(store, [first])
        # Three seconds less in all: its clock may go on while we ask.
        for seconds in (1, 100, first.retain_until - self.now - 104):
            self.perform(store, Advance(seconds))
            told += self.ask_each(store, [first._replace(redemption_id=redemption_id_of(2))])
        held_by(first, told)

    @only_if(gives("make_full_store"))
    def test_full_store_refuses_and_keeps(self) -> None:
        """A full store refuses what is new. It never evicts: who held a handoff still does."""
        store = self.keep(self.make_full_store(self.place, CAPACITY))
        accepted: list[Entry] = []
        for n in range(64 * CAPACITY):
            entry = self.entry(n, caller=n + 1)
            outcome = self.ask(store, entry)
            if isinstance(outcome, ReplayStoreError):
                break
            answer_of(entry, outcome)
            accepted.append(entry)
        self.check_held(store, *accepted)
        if len(accepted) == 64 * CAPACITY:
            broken(f"a store of {CAPACITY} entries has accepted {len(accepted)}")
        lanes = [(store, [self.entry(n, caller=caller) for n in range(1000, 1008)]) for caller in range(1, 5)]
        told = self.race(lanes)
        agree(told)
        refused((entry, self.ask(store, entry)) for entry, outcome in told if isinstance(outcome, ReplayStoreError))
        for entry in accepted:
            held_by(entry, self.ask_each(store, [entry]))

    def test_past_its_retention_is_refused(self) -> None:
        """An entry whose retention is over is refused, also for its holder, and leaves no trace."""
        store, good = self.open(), self.entry()
        late = [good._replace(consumed_at=good.retain_until + seconds) for seconds in (0, 1, 86400)]
        refused(self.ask_each(store, late))
        winner = self.entry(caller=2)
        held_by(winner, self.ask_each(store, [winner, good]))
        refused((entry, self.ask(store, entry._replace(redemption_id=winner.redemption_id))) for entry in late)
        held_by(winner, self.ask_each(store, [good]))

    def test_bad_arguments_are_refused(self) -> None:
        """What is no UUIDv7, no text or no time is refused, by an error of this library, and leaves no trace."""
        store, good = self.open(), self.entry()
        version_4 = good.handoff_id[:14] + "4" + good.handoff_id[15:]
        ids: list[Any] = ["", version_4, f"{{{good.handoff_id}}}", good.handoff_id + "\n", good.handoff_id[:-1]]
        ids += [good.handoff_id.replace("-", ""), good.handoff_id[:-1] + "A", good.handoff_id.encode(), None, 7]
        bad: list[dict[str, Any]] = [{"handoff_id": value} for value in ids]
        bad += [{name: value} for name in ("scope", "redemption_id") for value in ("", None, 7, b"bytes")]
        bad += [{name: value} for name in ("consumed_at", "retain_until") for value in (None, "9", -1, float("nan"))]
        for arguments in bad:
            entry = good._replace(**arguments)
            try:
                outcome = self.ask(store, entry)
            except Exception as exc:
                raise AssertionError(f"{arguments} must be refused by an error of this library, not {exc!r}") from exc
            if not isinstance(outcome, (InvalidHandoffInputError, ReplayStoreError)):
                broken(f"{arguments} must be refused, but was answered: {outcome}")
        winner = self.entry(caller=2)
        held_by(winner, self.ask_each(store, [winner, good]))

    @only_if(gives("make_failing_store"))
    def test_failing_store_accepts_nothing(self) -> None:
        """Without its backend a store refuses, within its timeout. With it again, all get one true answer."""
        entries = [self.entry(n, caller=caller) for caller in (1, 2, 3) for n in (caller, 0)]
        with self.using(self.make_failing_store(self.place)) as store:
            lanes = [(store, entries[lane : lane + 1]) for lane in range(len(entries))]
            told = self.race(lanes, within=self.timeout + SLACK_SECONDS)
            refused(told)
        # A refusal may hide a consume that won; then its caller is told so now.
        if self.durable:
            agree(self.settle(self.open(), told))

    # A wrong clock or a purge may lock out. It never lets a second one in.

    def test_clock_steps_change_no_holder(self) -> None:
        """Callers whose clocks are days behind, or ahead, are told the same holder; and they can become the holder."""
        store = self.open()
        clocks = [self.now, 0, self.now - 86400, self.now + RETENTION_SECONDS - 6, self.now - 1]
        for n in range(len(clocks)):
            turns = clocks[n:] + clocks[:n]
            entries = [self.entry(n, caller=caller, at=at) for caller, at in enumerate(turns, 1)]
            held_by(entries[0], self.ask_each(store, entries))

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
        told = self.ask_each(store, entries)
        # The second time a token from that clock is there, too.
        for from_there in (None, self.entry(9, minted_at=self.now + DECADES)):
            if from_there is not None:
                told += self.ask_each(store, [from_there])
            self.perform(store, Purge(self.now + DECADES))
            for caller in (2, 1):
                told += self.ask_each(store, [one._replace(redemption_id=redemption_id_of(caller)) for one in entries])
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
            told = self.ask_each(store, before)
            for entry, outcome in told:
                held_by(entry, [(entry, outcome)])
            # The callers start half a millisecond apart: some are between any two of their steps when the purge comes.
            lanes: list[Lane[_S]] = []
            for lane in range(8):
                asked = [self.entry(n, caller=lane + 2, minted_at=at) for n, at in ids]
                lanes.append((store, [Pause(0.0005 * lane), *asked]))
            lanes.append((store, [Pause(0.002), purge, purge]))
            told += self.race(lanes)
            told += self.ask_each(store, [self.entry(n, caller=20, minted_at=at) for n, at in ids])
            agree(told)
            self.check_held(store, kept)
