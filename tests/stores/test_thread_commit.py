"""Group commit from a thread: callers in threads and in event loops, over a transaction that is a function."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption

from .entries import NOW, redemption_id
from .group_commit_table import PATIENCE, Table, an_entry


def test_consumes_that_arrive_meanwhile_make_the_next_batch() -> None:
    """While a transaction is in flight the callers gather, and one transaction serves them all."""
    table = Table()
    with table.in_flight_in_thread() as (commits, threads, over):
        calls = [threads.submit(commits.consume, an_entry(number)) for number in range(1, 20)]
        commits.wait_for(19)
        over.set()
        assert all(call.result().first for call in calls)
    assert [len(batch) for batch in table.batches] == [1, 19]


def test_a_caller_that_gave_up_is_not_consumed() -> None:
    """Who gave up while another batch was in flight is out of the queue: who comes later for that handoff gets it."""
    table = Table()
    with table.in_flight_in_thread() as (commits, threads, over):
        with pytest.raises(ReplayStoreError, match="no answer within"):
            commits.consume_within(0.01, an_entry(1, by=2))
        later = threads.submit(commits.consume, an_entry(1, by=3))
        commits.wait_for(2)
        over.set()
        assert later.result() == Consumption(redemption_id(3), first=True, consumed_at=NOW)
    assert table.batches == [[an_entry(0)], [an_entry(1, by=3)]]


def test_a_batch_has_until_its_first_caller_gives_up() -> None:
    """The time of a transaction ends before the least patient of its callers gives up, whenever that one came."""
    table = Table()
    with table.in_flight_in_thread() as (commits, threads, over):
        for number, patience in enumerate((1.5, 1.0, 2.0), 1):
            threads.submit(commits.consume_within, patience * PATIENCE, an_entry(number))
            commits.wait_for(1)
        came = time.monotonic()
        over.set()
    assert [len(batch) for batch in table.batches] == [1, 3]
    assert table.deadlines[1] < came + PATIENCE


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
