"""The promises about entries, one test each: what is kept, for how long, and what is refused."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from ghasi_handoff.errors import InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.testing._entries import Entry, agree, answer_of, broken, held_by, redemption_id_of, refused
from ghasi_handoff.testing._processes import StoreProcess
from ghasi_handoff.testing._stage import STRANGER, Stage, gives, only_if

_S = TypeVar("_S")

CAPACITY: Final = 8
# What a busy machine may need beyond the time-out of a store that fails.
SLACK_SECONDS: Final = 5.0


class EntryPromises(Stage[_S]):
    """What is kept, and what is refused."""

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
        with ExitStack() as ending:
            process = StoreProcess(type(self), self.place)
            ending.callback(process.end)
            process.hear()
            process.perform_and_die(entries)
            for entry in entries[:-1]:
                answer_of(entry, process.hear())
            process.wait()
        store = self.open()
        # The last is the one that nobody heard of. Of every second one another caller asks first.
        for n, entry in enumerate(entries):
            other = entry._replace(redemption_id=STRANGER, consumed_at=entry.consumed_at + 30)
            retry = entry._replace(consumed_at=entry.consumed_at + 30)
            for asked in (other, retry) if n % 2 else (retry, other):
                held_by(entry, [(asked, self.ask(store, asked))])

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
            told = [(entry, self.ask(store, entry)) for entry in (short, fast)]
            time.sleep(max(began + 1.1, retain_until - 0.5) - time.time())
            asked = [entry._replace(redemption_id=redemption_id_of(2)) for entry in (short, fast)]
            later = [(entry, self.ask(store, entry)) for entry in asked]
            held_by(fast, [told[1], later[1]])
            if time.time() < retain_until:
                held_by(short, [told[0], later[0]])
                return
        broken("this machine is too busy to ask within a second")

    @only_if(gives("advance"))
    def test_entry_is_held_on_the_store_s_own_clock(self) -> None:
        """On a store's own clock, too, an entry is held until a few seconds before its retention ends."""
        store, first = self.open(), self.entry()
        told = [(first, self.ask(store, first))]
        # Three seconds less in all: its clock may go on while we ask.
        for seconds in (1, 100, first.retain_until - self.now - 104):
            self.move_clock(store, seconds)
            later = first._replace(redemption_id=redemption_id_of(2))
            told.append((later, self.ask(store, later)))
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
            held_by(entry, [(entry, self.ask(store, entry))])

    def test_past_its_retention_is_refused(self) -> None:
        """An entry whose retention is over is refused, also for its holder, and leaves no trace."""
        store, good = self.open(), self.entry()
        late = [good._replace(consumed_at=good.retain_until + seconds) for seconds in (0, 1, 86400)]
        refused((entry, self.ask(store, entry)) for entry in late)
        winner = self.entry(caller=2)
        told = [(winner, self.ask(store, winner)), (good, self.ask(store, good))]
        held_by(winner, told)
        refused((entry, self.ask(store, entry._replace(redemption_id=winner.redemption_id))) for entry in late)
        held_by(winner, [(good, self.ask(store, good))])

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
        held_by(winner, [(winner, self.ask(store, winner)), (good, self.ask(store, good))])

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
