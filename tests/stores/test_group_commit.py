"""plan_batch: entries -> what is run -> one outcome each; and the two drivers of it, over a transaction that is a function."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._group_commit import (
    Entry,
    Outcome,
    TaskGroupCommit,
    ThreadedGroupCommit,
    overdue,
    plan_batch,
    refusals,
)

from .entries import NOW, SCOPE, handoff_id, redemption_id

# Far more than any of this takes. Who waits longer waits in vain.
PATIENCE = 60.0
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


def an_entry(number: int, by: int = 1) -> Entry:
    return Entry(handoff_id(NOW, number), SCOPE, redemption_id(by), NOW)


class Table:
    """The smallest transaction: a dict, that can fail as a whole or for one id, or stand still."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], tuple[str, int]] = {}
        self.batches: list[list[Entry]] = []
        self.deadlines: list[float] = []
        self.broken: set[str] = set()
        self.on_run: Callable[[], None] = lambda: None
        self.on_run_async: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        self.noted: list[Entry] = []

    def run(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        self.batches.append(list(entries))
        self.deadlines.append(deadline)
        self.on_run()
        if any(entry.handoff_id in self.broken for entry in entries):
            return ReplayStoreError("broken")
        outcomes: list[Outcome] = []
        for entry in entries:
            first = entry.key not in self.held
            holder, at = self.held.setdefault(entry.key, (entry.redemption_id, entry.consumed_at))
            outcomes.append(Consumption(holder, first=first, consumed_at=at))
        return outcomes

    def note(self, entries: Sequence[Entry], deadline: float) -> None:
        self.noted += entries

    async def run_async(self, entries: Sequence[Entry], deadline: float) -> Sequence[Outcome] | ReplayStoreError:
        await self.on_run_async()
        return self.run(entries, deadline)

    async def note_async(self, entries: Sequence[Entry], deadline: float) -> None:
        self.note(entries, deadline)

    def threaded(self, *, timeout: float = PATIENCE, abort: Callable[[], None] = lambda: None) -> Threads:
        return Threads(self.run, self.note, abort, timeout=timeout, product="Table")

    def tasked(self, *, timeout: float = PATIENCE) -> Tasks:
        return Tasks(self.run_async, self.note_async, lambda: None, timeout=timeout, product="Table")

    def stand_still(self) -> Stop:
        """Let the next transaction of a thread stand still until it is let go."""
        stop = Stop()

        def wait() -> None:
            if not stop.reached.is_set():
                stop.reached.set()
                assert stop.over.wait(PATIENCE)

        self.on_run = wait
        return stop

    def stand_still_async(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Let each transaction of this event loop stand still until the second event; the first tells that one does."""
        begun, over = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            begun.set()
            await over.wait()

        self.on_run_async = wait
        return begun, over


class Stop:
    """A transaction that stands still."""

    def __init__(self) -> None:
        self.reached, self.over = threading.Event(), threading.Event()


class Threads(ThreadedGroupCommit):
    """Callers in threads, each with a patience of its own; tells how many have come."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.came = threading.Semaphore(0)

    def _submit(self, waiter: Any) -> None:
        super()._submit(waiter)
        self.came.release()

    def wait_for(self, callers: int) -> None:
        """Until so many more callers are queued."""
        for _ in range(callers):
            assert self.came.acquire(timeout=PATIENCE)

    def consume_within(self, seconds: float, entry: Entry) -> Consumption:
        """As `consume`, by a caller who is more or less patient than the others."""
        self._timeout, before = seconds, self._timeout
        try:
            return self.consume(entry)
        finally:
            self._timeout = before


class Tasks(TaskGroupCommit):
    """Callers in tasks, each with a patience of its own."""

    async def consume_within(self, seconds: float, entry: Entry) -> Consumption:
        """As `consume`, by a caller who is more or less patient than the others."""
        self._timeout, before = seconds, self._timeout
        asking = asyncio.create_task(self.consume(entry))
        await asyncio.sleep(0)
        self._timeout = before
        return await asking


def planned(entries: list[Entry], table: Table) -> list[Outcome]:
    plan = plan_batch(entries)
    wanted = next(plan)
    while True:
        try:
            wanted = plan.send(table.run(wanted, 0))
        except StopIteration as end:
            outcomes: list[Outcome] = end.value
            return outcomes


@given(ENTRIES)
def test_a_batch_answers_as_one_by_one(entries: list[Entry]) -> None:
    """However consumes are batched, each gets the answer that it would have got alone and in the order of arrival."""
    together, alone = Table(), Table()
    assert planned(entries, together) == [planned([entry], alone)[0] for entry in entries]
    assert together.held == alone.held


@given(ENTRIES)
def test_a_transaction_is_sorted_and_has_no_id_twice(entries: list[Entry]) -> None:
    """What is run in one transaction is in the order of ids, the first to arrive of each: batches can't deadlock."""
    table = Table()
    planned(entries, table)
    (batch,) = table.batches
    keys = [entry.key for entry in batch]
    assert keys == sorted(set(keys))
    assert all(entry == next(other for other in entries if other.key == entry.key) for entry in batch)


@given(ENTRIES, st.integers(0, 5))
def test_one_bad_entry_fails_only_its_own_id(entries: list[Entry], bad: int) -> None:
    """When a batch fails it is run again entry by entry, and only the entry that fails alone ends in an error."""
    table, alone = Table(), Table()
    table.broken = alone.broken = {handoff_id(NOW, bad)}
    for entry, outcome in zip(entries, planned(entries, table), strict=True):
        assert isinstance(outcome, ReplayStoreError) is (entry.handoff_id in table.broken)
    assert table.held.keys() == {entry.key for entry in entries if entry.handoff_id not in table.broken}


@given(st.integers(0, 40))
def test_at_most_eight_refusals_are_noted_for_one_handoff(strangers: int) -> None:
    """A flood of strangers in one batch leaves a few notes, not one for each."""
    entries = [an_entry(1, by) for by in range(1, strangers + 2)]
    noted = refusals(entries, planned(entries, Table()))
    assert len(noted) == min(8, strangers)
    assert all(entry.redemption_id != redemption_id(1) for entry in noted)


def test_consumes_that_arrive_meanwhile_make_the_next_batch() -> None:
    """While a transaction is in flight the callers gather, and one transaction serves them all."""
    table = Table()
    stop, commits = table.stand_still(), table.threaded()
    with ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(commits.consume, an_entry(0))]
        assert stop.reached.wait(PATIENCE)
        calls += [threads.submit(commits.consume, an_entry(number)) for number in range(1, 20)]
        commits.wait_for(20)
        stop.over.set()
        assert all(call.result().first for call in calls)
    commits.close()
    assert [len(batch) for batch in table.batches] == [1, 19]


def test_a_caller_in_a_thread_that_gave_up_is_not_consumed() -> None:
    """Who gave up while another batch was in flight is out of the queue: who comes later for that handoff gets it."""
    table = Table()
    stop, commits = table.stand_still(), table.threaded()
    with ThreadPoolExecutor(2) as threads:
        threads.submit(commits.consume, an_entry(0))
        assert stop.reached.wait(PATIENCE)
        with pytest.raises(ReplayStoreError, match="no answer within"):
            commits.consume_within(0.01, an_entry(1, by=2))
        later = threads.submit(commits.consume, an_entry(1, by=3))
        commits.wait_for(3)
        stop.over.set()
        assert later.result() == Consumption(redemption_id(3), first=True, consumed_at=NOW)
    commits.close()
    assert table.batches == [[an_entry(0)], [an_entry(1, by=3)]]


def test_a_caller_in_a_task_that_gave_up_is_not_consumed() -> None:
    """As in threads: a task that gave up while another batch was in flight holds nothing afterwards."""
    table = Table()

    async def main() -> Consumption:
        begun, over = table.stand_still_async()
        commits = table.tasked()
        first = asyncio.create_task(commits.consume(an_entry(0)))
        await begun.wait()
        with pytest.raises(ReplayStoreError, match="no answer within"):
            await commits.consume_within(0.01, an_entry(1, by=2))
        later = asyncio.create_task(commits.consume(an_entry(1, by=3)))
        await asyncio.sleep(0)
        over.set()
        assert (await first).first
        answer = await later
        await commits.aclose()
        return answer

    assert asyncio.run(main()) == Consumption(redemption_id(3), first=True, consumed_at=NOW)
    assert table.batches == [[an_entry(0)], [an_entry(1, by=3)]]


def test_a_batch_has_until_its_first_caller_gives_up() -> None:
    """The time of a transaction ends before the least patient of its callers gives up, whenever that one came."""
    table = Table()
    stop, commits = table.stand_still(), table.threaded()
    with ThreadPoolExecutor(4) as threads:
        threads.submit(commits.consume, an_entry(0))
        assert stop.reached.wait(PATIENCE)
        commits.wait_for(1)
        for number, patience in enumerate((1.5, 1.0, 2.0), 1):
            threads.submit(commits.consume_within, patience * PATIENCE, an_entry(number))
            commits.wait_for(1)
        came = time.monotonic()
        stop.over.set()
    commits.close()
    assert [len(batch) for batch in table.batches] == [1, 3]
    assert table.deadlines[1] < came + PATIENCE


@dataclass
class Caller:
    """Somebody who waits."""

    entry: Entry
    deadline: float


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
    callers: Any = [Caller(an_entry(1, by), deadline) for by, deadline in enumerate(deadlines)]
    others: Any = [Caller(an_entry(2), 5.0)]  # in the same batch, for another handoff: that is not run now
    assert overdue(callers + others, [an_entry(1)], now, 0.5) == expected


def test_no_cancellation_ends_a_batch_of_others() -> None:
    """The caller whose arrival began the batch is cancelled; the others, and the truth, are untouched."""
    table = Table()

    async def main() -> None:
        begun, over = table.stand_still_async()
        commits = table.tasked()
        calls = [asyncio.create_task(commits.consume(an_entry(number))) for number in range(5)]
        await begun.wait()
        calls[0].cancel()
        await asyncio.sleep(0)
        over.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert all(isinstance(answer, Consumption) and answer.first for answer in answers[1:])
        assert (await commits.consume(an_entry(0))).holder == redemption_id(1)
        await commits.aclose()

    asyncio.run(main())


def test_cancelled_before_the_batch_began_is_never_run() -> None:
    """Who leaves while another batch is in flight is not consumed afterwards."""
    table = Table()

    async def main() -> None:
        begun, over = table.stand_still_async()
        commits = table.tasked()
        first = asyncio.create_task(commits.consume(an_entry(0)))
        await begun.wait()
        gone = asyncio.create_task(commits.consume(an_entry(1)))
        await asyncio.sleep(0)
        gone.cancel()
        over.set()
        await first
        await commits.aclose()

    asyncio.run(main())
    assert [entry for batch in table.batches for entry in batch] == [an_entry(0)]


def test_each_caller_gets_an_exception_of_its_own() -> None:
    """Callers of one failed batch never share an exception object: raising it would mix up their tracebacks."""
    table = Table()
    table.broken = {handoff_id(NOW, 1)}

    async def main() -> list[BaseException | Consumption]:
        commits = table.tasked()
        return await asyncio.gather(*(commits.consume(an_entry(1, by)) for by in (1, 2, 3)), return_exceptions=True)

    errors = asyncio.run(main())
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error, ReplayStoreError) and str(error) == "broken" for error in errors)


@pytest.mark.parametrize("count", [1, 5])
def test_a_hanging_transaction_is_aborted_in_time(count: int) -> None:
    """Whoever waits for a transaction that hangs gets an error within the timeout, and the transaction is told to end."""
    table, aborted = Table(), threading.Event()

    def hang() -> None:
        assert aborted.wait(PATIENCE)

    table.on_run = hang
    commits = table.threaded(timeout=0.3, abort=aborted.set)
    began = time.monotonic()
    with ThreadPoolExecutor(count) as threads:
        calls = [threads.submit(commits.consume, an_entry(number)) for number in range(count)]
        errors = [call.exception(PATIENCE) for call in calls]
    assert time.monotonic() - began < PATIENCE / 2
    assert aborted.is_set()
    assert any(isinstance(error, ReplayStoreError) for error in errors)
    commits.close()


def test_one_entrys_answer_is_never_anothers() -> None:
    """When the time of a batch is up during its second run, the rest ends in errors, not in the answers of others."""
    table = Table()
    table.broken = {handoff_id(NOW, 0)}

    def slow() -> None:
        time.sleep(0.12)

    table.on_run = slow
    commits = table.threaded(timeout=0.4)
    outcomes: dict[int, object] = {}

    def call(number: int) -> None:
        try:
            outcomes[number] = commits.consume(an_entry(number, number + 1))
        except ReplayStoreError as exc:
            outcomes[number] = exc

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commits.close()
    for number, outcome in outcomes.items():
        assert isinstance(outcome, ReplayStoreError) or (
            isinstance(outcome, Consumption) and outcome.holder == redemption_id(number + 1)
        )
    assert any(isinstance(outcome, ReplayStoreError) for outcome in outcomes.values())


def test_callers_of_two_event_loops_share_a_batch() -> None:
    """One store serves threads and several event loops at once, and wakes each where it waits."""
    table = Table()
    commits = table.threaded()

    def in_a_loop(start: int) -> list[Consumption]:
        async def main() -> list[Consumption]:
            return await asyncio.gather(*(commits.consume_async(an_entry(start + n)) for n in range(50)))

        return asyncio.run(main())

    with ThreadPoolExecutor(3) as threads:
        loops = [threads.submit(in_a_loop, start) for start in (0, 100)]
        alone = threads.submit(commits.consume, an_entry(500))
        assert all(answer.first for loop in loops for answer in loop.result())
        assert alone.result().first
    commits.close()
    assert len(table.held) == 101


def test_an_unexpected_error_reaches_the_callers_and_the_next_batch_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug below is not hidden: the thread's hook sees it, no caller hangs, and later consumes are served."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    table = Table()

    def fail_once() -> None:
        if len(table.batches) == 1:
            raise ZeroDivisionError

    table.on_run = fail_once
    commits = table.threaded()
    with pytest.raises(ReplayStoreError, match="the batch failed"):
        commits.consume(an_entry(1))
    assert commits.consume(an_entry(1)).first
    commits.close()
    assert [args.exc_type for args in seen] == [ZeroDivisionError]
