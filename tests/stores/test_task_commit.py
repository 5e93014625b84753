"""Group commit from an asyncio task, over a transaction that is a function."""

from __future__ import annotations

import asyncio

import pytest

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption

from .entries import NOW, handoff_id, redemption_id
from .group_commit_table import Table, an_entry


def test_a_caller_that_gave_up_is_not_consumed() -> None:
    """As in threads: a task that gave up while another batch was in flight holds nothing afterwards."""
    table = Table()

    async def main() -> Consumption:
        async with table.in_flight() as (commits, first, over):
            with pytest.raises(ReplayStoreError, match="no answer within"):
                await commits.consume_within(0.01, an_entry(1, by=2))
            later = asyncio.create_task(commits.consume(an_entry(1, by=3)))
            await asyncio.sleep(0)
            over.set()
            assert (await first).first
            return await later

    assert asyncio.run(main()) == Consumption(redemption_id(3), first=True, consumed_at=NOW)
    assert table.batches == [[an_entry(0)], [an_entry(1, by=3)]]


def test_no_cancellation_ends_a_batch_of_others() -> None:
    """The caller whose arrival began the batch is cancelled; the others, and the truth, are untouched."""

    async def main() -> None:
        async with Table().in_flight() as (commits, first, over):
            others = [asyncio.create_task(commits.consume(an_entry(number))) for number in range(5)]
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.sleep(0)
            over.set()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert [(await other).first for other in others] == [False, True, True, True, True]
            assert (await commits.consume(an_entry(0))).holder == redemption_id(1)

    asyncio.run(main())


def test_cancelled_before_the_batch_began_is_never_run() -> None:
    """Who leaves while another batch is in flight is not consumed afterwards."""
    table = Table()

    async def main() -> None:
        async with table.in_flight() as (commits, first, over):
            gone = asyncio.create_task(commits.consume(an_entry(1)))
            await asyncio.sleep(0)
            gone.cancel()
            over.set()
            await first

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
    assert all(isinstance(error, ReplayStoreError) and str(error) == "broken 1" for error in errors)
