"""The promises about who holds a handoff, one test each: alone, repeated, and in races."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final, TypeVar

from ghasi_handoff.replay import Consumption
from ghasi_handoff.testing._entries import SCOPE, Entry, agree, broken, held_by
from ghasi_handoff.testing._processes import StoreProcess
from ghasi_handoff.testing._stage import Stage, only_if

_S = TypeVar("_S")

CALLERS: Final = 16
IDS: Final = 24
BURSTS: Final = 6
PROCESSES: Final = 3


class HolderPromises(Stage[_S]):
    """One holder, and all are told which."""

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
        told = [(first, self.ask(store, first))]
        for caller in (2, 3, 1, 2, 1, 4, 3):
            entry = self.entry(caller=caller, at=self.now + 10 + len(told))
            told.append((entry, self.ask(store, entry)))
        held_by(first, told)
        agree(told)

    def test_retry_finds_its_own_redemption(self) -> None:
        """Who consumes again, whatever its clock shows, still holds the handoff, since the first time."""
        store, first = self.open(), self.entry()
        told = [(first, self.ask(store, first))]
        for later in (0, 1, 60):
            retry = first._replace(consumed_at=first.consumed_at + later)
            told.append((retry, self.ask(store, retry)))
        held_by(first, told)

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
        told = [(entry, self.ask(store, entry)) for entry in entries]
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
            processes = [StoreProcess(type(self), self.place) for _ in range(PROCESSES)]
            for process in processes:
                ending.callback(process.end)
            for process in processes:
                process.hear()
            asked = [[self.entry(n, caller=caller) for n in range(IDS)] for caller in range(1, PROCESSES + 1)]
            for process, entries in zip(processes, asked, strict=True):
                process.perform(entries)
            told = [
                told
                for process, entries in zip(processes, asked, strict=True)
                for told in zip(entries, process.hear(), strict=True)
            ]
        agree(self.settle(self.open(), told))
