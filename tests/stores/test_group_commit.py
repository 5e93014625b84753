"""One batch: the entries of many callers -> what is run -> one outcome each; over a transaction that is a function."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._batches import Batches
from ghasi_handoff.stores._group_commit import Caller, Entry, Outcome, overdue

from .entries import NOW, SCOPE, handoff_id, redemption_id
from .group_commit_table import Table, an_entry

ENTRIES = st.lists(
    st.builds(
        lambda number, by, scope: Entry(handoff_id(NOW, number), scope, redemption_id(by), NOW),
        st.integers(0, 5),
        st.integers(1, 3),
        st.sampled_from([SCOPE, "other\nscope"]),
    ),
    min_size=1,
    max_size=20,
)


def outcomes_of(callers: Sequence[Caller], table: Table) -> list[Outcome]:
    return Batches(table.run, table.note, lambda _: nullcontext(), timeout=1, product="Table").outcomes(callers)


def together(entries: list[Entry], table: Table) -> list[Outcome]:
    """What came of the entries in one batch."""
    return outcomes_of([Caller(entry, inf) for entry in entries], table)


@given(ENTRIES)
def test_a_batch_answers_as_one_by_one(entries: list[Entry]) -> None:
    """However consumes are batched, each gets the answer that it would have got alone and in the order of arrival."""
    one, alone = Table(), Table()
    assert together(entries, one) == [together([entry], alone)[0] for entry in entries]
    assert one.held == alone.held


@given(ENTRIES)
def test_a_transaction_is_sorted_and_has_no_id_twice(entries: list[Entry]) -> None:
    """What is run in one transaction is in the order of ids, the first to arrive of each: batches can't deadlock."""
    table = Table()
    together(entries, table)
    (batch,) = table.batches
    keys = [entry.key for entry in batch]
    assert keys == sorted(set(keys))
    assert all(entry == next(other for other in entries if other.key == entry.key) for entry in batch)


@given(ENTRIES, st.integers(0, 5))
def test_one_bad_entry_fails_only_its_own_id(entries: list[Entry], bad: int) -> None:
    """When a batch fails it is run again entry by entry, and only the entry that fails alone ends in an error."""
    table, alone = Table(), Table()
    table.broken = alone.broken = {handoff_id(NOW, bad)}
    for entry, outcome in zip(entries, together(entries, table), strict=True):
        assert isinstance(outcome, ReplayStoreError) is (entry.handoff_id in table.broken)
    assert table.held.keys() == {entry.key for entry in entries if entry.handoff_id not in table.broken}


@given(st.integers(0, 40))
def test_at_most_eight_refusals_are_noted_for_one_handoff(strangers: int) -> None:
    """A flood of strangers in one batch leaves a few notes, not one for each."""
    entries = [an_entry(1, by) for by in range(1, strangers + 2)]
    table = Table()
    together(entries, table)
    assert len(table.noted) == min(8, strangers)
    assert all(entry.redemption_id != redemption_id(1) for entry in table.noted)


def test_when_the_time_is_up_the_rest_of_a_batch_gets_the_reason() -> None:
    """Run again one by one until nobody waits any more: the rest ends in the last error, not in another's answer."""
    table, callers = Table(), [Caller(an_entry(number, number + 1), inf) for number in range(8)]
    table.broken = {handoff_id(NOW, 0)}

    def time_is_up() -> None:
        if len(table.batches) == 5:  # all together, then four alone
            for caller in callers:
                caller.deadline = 0

    table.on_run = time_is_up
    broken, *others = outcomes_of(callers, table)
    assert others[:3] == [Consumption(redemption_id(number + 1), True, NOW) for number in (1, 2, 3)]
    # The second transaction is the first entry alone: its error is later than that of the whole batch.
    assert [str(outcome) for outcome in (broken, *others[3:])] == ["broken 2"] * 5
    assert len(table.batches) == 5


@pytest.mark.parametrize(
    ("deadlines", "now", "expected"),
    [
        ((20.0, 10.0, 30.0), 0.0, 9.5),  # the first who gives up, not the last, and not the first who came
        ((20.0, 10.0, 30.0), 9.4, 9.5),
        ((20.0, 10.0, 30.0), 9.5, 19.5),  # nobody waits for that one any more
        ((20.0, 10.0, 30.0), 29.5, None),
        ((), 0.0, None),
    ],
)
def test_time_of_a_transaction(deadlines: Sequence[float], now: float, expected: float | None) -> None:
    """A transaction is overdue a margin before the first of the callers who wait for it gives up."""
    callers = [Caller(an_entry(1, by), deadline) for by, deadline in enumerate(deadlines)]
    others = [Caller(an_entry(2), 5.0)]  # in the same batch, for another handoff: that is not run now
    assert overdue(callers + others, [an_entry(1)], now, 0.5) == expected
