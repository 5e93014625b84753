"""Consumes of many callers -> one transaction -> one answer each. The plan of group commit. No I/O.

A commit waits for the disk, and a disk writes sixty-four rows as fast as one. So there is one batch in flight, and the
consumes that arrive meanwhile make the next. There is no timer: a lone consume starts at once.

`_batches_async` runs a batch by this plan. `ThreadedGroupCommit` drives it from a thread of its own, `TaskGroupCommit`
from an asyncio task of its own, so that no caller that gives up or is cancelled ends a batch that carries the consumes
of others. See docs/adr/0020.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ghasi_handoff._limits import REFUSALS_NOTED_PER_HANDOFF
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption


class Entry(NamedTuple):
    """What a consume hands to a store. Sorts by handoff id: batches that lock in one order cannot deadlock."""

    handoff_id: str
    scope: str
    redemption_id: str
    consumed_at: int

    @property
    def key(self) -> tuple[str, str]:
        """What is unique: two scopes may hold the same id."""
        return self.handoff_id, self.scope


Outcome: TypeAlias = Consumption | ReplayStoreError
# One transaction over sorted entries of distinct keys, until a deadline: an answer for each entry, in order; or one
# error, when it is unknown what became of any of them.
Run: TypeAlias = Callable[[Sequence[Entry], float], "Sequence[Outcome] | ReplayStoreError"]
AsyncRun: TypeAlias = Callable[[Sequence[Entry], float], "Awaitable[Sequence[Outcome] | ReplayStoreError]"]
# Notes refused replays until a deadline, best effort. Must not raise for a store's failure.
Note: TypeAlias = Callable[[Sequence[Entry], float], None]
AsyncNote: TypeAlias = Callable[[Sequence[Entry], float], Awaitable[None]]
# Ends whatever transaction hangs.
Abort: TypeAlias = Callable[[], None]


@dataclass(slots=True, eq=False)
class Caller:
    """Somebody who waits for the outcome of an entry, until a deadline by the clock of the driver."""

    entry: Entry
    deadline: float
    outcome: Outcome | None = None


def first_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """The entries to run in one transaction, sorted: of those with one key the first to arrive."""
    firsts: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        firsts.setdefault(entry.key, entry)
    return sorted(firsts.values())


def answers(entries: Iterable[Entry], run: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcome of each entry, from those of the entries that were `run`."""
    found = {entry.key: (entry, outcome) for entry, outcome in zip(run, outcomes, strict=True)}
    told: list[Outcome] = []
    for entry in entries:
        first, outcome = found[entry.key]
        if entry is not first and isinstance(outcome, Consumption) and outcome.first:
            outcome = Consumption(outcome.holder, first=False, consumed_at=outcome.consumed_at)
        told.append(outcome)
    return told


def refusals(entries: Iterable[Entry], outcomes: Iterable[Outcome]) -> list[Entry]:
    """The entries that found another's holder: a few for each handoff, sorted, to be noted for support."""
    noted: dict[tuple[str, str], set[Entry]] = {}
    for entry, outcome in zip(entries, outcomes, strict=True):
        if isinstance(outcome, Consumption) and outcome.holder != entry.redemption_id:
            of_one = noted.setdefault(entry.key, set())
            if len(of_one) < REFUSALS_NOTED_PER_HANDOFF:
                of_one.add(entry)
    return sorted(entry for of_one in noted.values() for entry in of_one)


def overdue(callers: Iterable[Caller], wanted: Iterable[Entry], now: float, margin: float) -> float | None:
    """When a transaction over `wanted` has taken too long: a little before the first caller that waits for it gives up.

    So the caller learns the store's own reason, and what was given up is not consumed a moment later. None if nobody
    waits any more.
    """
    keys = {entry.key for entry in wanted}
    ends = (caller.deadline - margin for caller in callers if caller.entry.key in keys)
    return min((end for end in ends if end > now), default=None)


def raise_or_return(outcome: Outcome, handoff_id: str) -> Consumption:
    """The answer, or a fresh exception: one object raised in two callers would mix up their tracebacks."""
    if isinstance(outcome, ReplayStoreError):
        raise ReplayStoreError(str(outcome), handoff_id=handoff_id) from outcome.__cause__
    return outcome


def no_answer(product: str, timeout: float) -> ReplayStoreError:
    """The error of a caller whose time is up."""
    return ReplayStoreError(f"{product}: no answer within {timeout:g} s")
