"""One batch of callers -> transactions in time -> an outcome for each caller, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

from ghasi_handoff._limits import GROUP_COMMIT_MARGIN_SECONDS
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.stores._group_commit import (
    AsyncNote,
    AsyncRun,
    Caller,
    Entry,
    Outcome,
    answers,
    first_of_each,
    no_answer,
    overdue,
    refusals,
)

Watched: TypeAlias = Callable[[float], AbstractContextManager[None]]


class AsyncBatches:
    """What both drivers of group commit do with a batch.

    While `watched` is entered, a transaction that still runs at that time is ended. `product` begins the texts of
    errors.
    """

    def __init__(self, run: AsyncRun, note: AsyncNote, watched: Watched, *, timeout: float, product: str) -> None:
        self._run = run
        self._note = note
        self._watched = watched
        self._margin = min(GROUP_COMMIT_MARGIN_SECONDS, timeout / 10)
        self._too_late = no_answer(product, timeout)

    async def outcomes(self, callers: Sequence[Caller]) -> list[Outcome]:
        """The outcome for each caller.

        A transaction that failed, or whose end is unknown, is run again entry by entry: consuming is idempotent, and
        one bad entry must not fail the others.
        """
        entries = [caller.entry for caller in callers]
        wanted = first_of_each(entries)
        outcomes = await self._transaction(callers, wanted, self._too_late)
        if isinstance(outcomes, ReplayStoreError):
            outcomes = [outcomes] if len(wanted) == 1 else await self._one_by_one(callers, wanted, outcomes)
        found = answers(entries, wanted, outcomes)
        refused = refusals(entries, found)
        overdue_at = overdue(callers, refused, asyncio.get_running_loop().time(), self._margin)
        if overdue_at is not None:
            with self._watched(overdue_at):
                await self._note(refused, overdue_at)
        return found

    async def _one_by_one(
        self, callers: Sequence[Caller], wanted: Sequence[Entry], reason: ReplayStoreError
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for entry in wanted:
            one = await self._transaction(callers, [entry], reason)
            if isinstance(one, ReplayStoreError):
                reason = one  # the latest error is the one to tell when the time is up
            outcomes.append(one if isinstance(one, ReplayStoreError) else one[0])
        return outcomes

    async def _transaction(
        self, callers: Sequence[Caller], wanted: Sequence[Entry], reason: ReplayStoreError
    ) -> Sequence[Outcome] | ReplayStoreError:
        """What came of one transaction; `reason` if nobody waits for it any more, as an earlier try took the time."""
        overdue_at = overdue(callers, wanted, asyncio.get_running_loop().time(), self._margin)
        if overdue_at is None:
            return reason
        with self._watched(overdue_at):
            return await self._run(wanted, overdue_at)
