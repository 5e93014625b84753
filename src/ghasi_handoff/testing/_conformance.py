"""The promises, for stores that are called and for stores that are awaited."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from ghasi_handoff.errors import HandoffError, InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.replay import AsyncReplayStore, ReplayStore
from ghasi_handoff.testing._entries import Advance, Entry, Outcome, Purge, Step, Told, agree, answer_of, broken
from ghasi_handoff.testing._promises import Promises
from ghasi_handoff.testing._stage import RACE_SECONDS, Lane, gives, only_if

_T = TypeVar("_T")

# How often a thread is made to give way in a race, so that a check and the act it is for come apart.
SWITCH_SECONDS: Final = 1e-5
CANCELLATIONS: Final = 24


class ReplayStoreConformance(Promises[ReplayStore]):
    """What every `ReplayStore` promises, as tests. Inherit from it at the top of a test module, and make the store.

    Each test has a new directory as its place, and closes the stores that it had made. The attributes and methods below
    are hooks: what a store does not have is stated there, and its tests are then not collected.

    Attributes:
        durable: Whether another store object at the same place knows the entries, and a killed process does not take
            them along. True by default.
        processes: Whether several processes may use one place at once. True by default; asked only where `durable`.
        purges: Whether the store forgets by a purge. True by default.
        timeout: Seconds within which the store from `make_failing_store` refuses. 2 by default.
    """

    def perform(self, store: ReplayStore, step: Step) -> Outcome | None:
        try:
            if isinstance(step, Entry):
                return store.consume(step.handoff_id, **step.arguments)
            if isinstance(step, Purge):
                self.purge(store, step.now)
            elif isinstance(step, Advance):
                self.advance(store, step.seconds)
            else:
                time.sleep(step.seconds)
        except (ReplayStoreError, InvalidHandoffInputError) as exc:
            return exc
        return None

    def race(self, lanes: Sequence[Lane[ReplayStore]], *, within: float = RACE_SECONDS) -> list[Told]:
        """Each lane in a thread, all at once. The outcomes of all consumes."""
        works = [lambda lane=lane: [self.perform(lane[0], step) for step in lane[1]] for lane in lanes]
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            return _told(lanes, _run_together(works, within=within))
        finally:
            sys.setswitchinterval(before)

    def close_store(self, store: ReplayStore) -> None:
        """Close a store of a test. By default calls `close`, where there is one."""
        close = getattr(store, "close", None)
        if close is not None:
            close()


class AsyncReplayStoreConformance(Promises[AsyncReplayStore]):
    """What every `AsyncReplayStore` promises. As `ReplayStoreConformance`; each test runs in one event loop of its own.

    `make_store` and its sisters are plain methods: a store does no I/O before its first use. `purge` and `advance` may
    be coroutines. Stores are closed by `aclose`. The attributes are the same.
    """

    @contextmanager
    def stage(self, place: Path) -> Generator[None]:
        """Let one promise be tested at `place`; see `ReplayStoreConformance.stage`."""
        with asyncio.Runner() as runner:
            self._runner = runner
            with super().stage(place):
                yield

    def perform(self, store: AsyncReplayStore, step: Step) -> Outcome | None:
        return self._runner.run(_perform_async(self, store, step))

    def race(self, lanes: Sequence[Lane[AsyncReplayStore]], *, within: float = RACE_SECONDS) -> list[Told]:
        """Each lane in a task, all at once. The outcomes of all consumes."""

        async def run(store: AsyncReplayStore, steps: Sequence[Step]) -> list[Outcome | None]:
            return [await _perform_async(self, store, step) for step in steps]

        async def run_all() -> list[list[Outcome | None]]:
            try:
                return await asyncio.wait_for(asyncio.gather(*(run(*lane) for lane in lanes)), within)
            except TimeoutError:
                broken(f"the store has not answered within {within:g} s")

        return _told(lanes, self._runner.run(run_all()))

    def close_store(self, store: AsyncReplayStore) -> None:
        """Close a store of a test. By default awaits `aclose`, where there is one."""
        aclose = getattr(store, "aclose", None)
        if aclose is not None:
            self._runner.run(_await(aclose))

    # Cancellation

    def test_cancelled_consume_leaves_the_truth(self) -> None:
        """A consume that is cancelled, at whatever moment, won or not: a retry and another caller agree on it."""
        store = self.open()
        for number in range(CANCELLATIONS):
            mine, others = self.entry(number, caller=1), self.entry(number, caller=2)
            outcome = self._runner.run(_cancelled(store, mine, number))
            told: list[Told] = [] if outcome is None else [(mine, outcome)]
            told += self.ask_each(store, (mine, others, mine) if number % 2 else (others, mine, others))
            # A cancelled caller asked, too, and may be the holder though nobody told it.
            agree([*told, (mine, ReplayStoreError("cancelled"))])

    def test_cancelled_consume_takes_nobody_along(self) -> None:
        """Callers that ask beside a consume that is cancelled get answers, for the same handoff and for others."""
        store = self.open()
        for number in range(CANCELLATIONS):
            mine, rival = self.entry(number, caller=1), self.entry(number, caller=2)
            neighbour = self.entry(number + CANCELLATIONS, caller=3)

            async def beside(
                number: int = number, asked: tuple[Entry, ...] = (mine, rival, neighbour)
            ) -> list[Outcome | BaseException | None]:
                cancelled = _cancelled(store, asked[0], number)
                others = [_perform_async(self, store, entry) for entry in asked[1:]]
                return [*await asyncio.gather(cancelled, *others, return_exceptions=True)]

            told: list[Told] = []
            for entry, outcome in zip((mine, rival, neighbour), self._runner.run(beside()), strict=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, HandoffError):
                    broken(f"a caller beside a consume that was cancelled got {outcome!r}")
                if outcome is not None:
                    told.append((entry, outcome if entry is mine else answer_of(entry, outcome)))
            told += self.ask_each(store, (rival, mine, neighbour))
            agree([*told, (mine, ReplayStoreError("cancelled"))])

    @only_if(gives("make_failing_store"))
    def test_failing_store_lets_the_event_loop_turn(self) -> None:
        """While a store waits for its backend, the event loop serves others."""
        store = self.keep(self.make_failing_store(self.place))
        entry = self.entry()

        async def count_turns() -> tuple[int, float]:
            asking = asyncio.create_task(_perform_async(self, store, entry))
            began, turns = time.monotonic(), 0
            while not asking.done():
                await asyncio.sleep(0.005)
                turns += 1
            return turns, time.monotonic() - began

        turns, seconds = self._runner.run(count_turns())
        # A store that fails at once gives no time to turn in. One that blocks gives one turn, after it.
        if seconds > 0.1 and turns < 4:
            broken(f"the event loop stood still while the store failed: {turns} turns in {seconds:.2f} s")


def _told(lanes: Sequence[Lane[Any]], outcomes: Sequence[Sequence[Outcome | None]]) -> list[Told]:
    """Each consume of the lanes with its outcome. Purges and pauses have none."""
    asked = [step for _, steps in lanes for step in steps]
    came = [outcome for lane in outcomes for outcome in lane]
    pairs = zip(asked, came, strict=True)
    return [(step, outcome) for step, outcome in pairs if isinstance(step, Entry) and outcome is not None]


async def _perform_async(kit: AsyncReplayStoreConformance, store: AsyncReplayStore, step: Step) -> Outcome | None:
    try:
        if isinstance(step, Entry):
            return await store.consume(step.handoff_id, **step.arguments)
        if isinstance(step, Purge):
            await _await(lambda: kit.purge(store, step.now))
        elif isinstance(step, Advance):
            await _await(lambda: kit.advance(store, step.seconds))
        else:
            await asyncio.sleep(step.seconds)
    except (ReplayStoreError, InvalidHandoffInputError) as exc:
        return exc
    return None


async def _cancelled(store: AsyncReplayStore, entry: Entry, number: int) -> Outcome | None:
    """Begin a consume and cancel it: first after 0, 1, 2 ... turns of the loop, then after half milliseconds."""
    asking = asyncio.create_task(store.consume(entry.handoff_id, **entry.arguments))
    if number < CANCELLATIONS // 2:
        for _ in range(number):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(0.0005 * (number - CANCELLATIONS // 2))
    asking.cancel()
    try:
        return await asking
    except asyncio.CancelledError:
        return None
    except HandoffError as exc:
        return exc


async def _await(call: Callable[[], object]) -> None:
    result: Any = call()
    if inspect.isawaitable(result):
        waiting: Awaitable[object] = result
        await waiting


def _run_together(works: Sequence[Callable[[], _T]], *, within: float) -> list[_T]:
    """Run each in a thread. The threads are daemons: a store that hangs must fail a test, not stop the run."""
    start = threading.Barrier(len(works))
    futures: list[Future[_T]] = [Future() for _ in works]

    def run(future: Future[_T], work: Callable[[], _T]) -> None:
        try:
            start.wait()
            future.set_result(work())
        except BaseException as exc:  # it is raised again in the thread of the test
            future.set_exception(exc)

    for lane in zip(futures, works, strict=True):
        threading.Thread(target=run, args=lane, daemon=True).start()
    done, waiting = wait(futures, within)
    for future in done:
        future.result()
    if waiting:
        broken(f"the store has not answered within {within:g} s")
    return [future.result() for future in futures]
