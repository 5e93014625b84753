"""The asynchronous stores: they never hold up an event loop, and a caller that stops waiting leaves no half-truth."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from ghasi_handoff import AsyncReplayStore, Consumption, ReplayStoreError
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from .entries import HORIZON, NOW, SLACK, assert_held, entry, handoff_id, handoff_ids, redemption_id
from .processes import StartProcess, StoreProcess
from .sqlite_files import fill, stored_ids, write_lock
from .store_process import tell_of_lock

T = TypeVar("T")

# Made when this module is imported: no event loop runs, and none has been made.
MADE_AT_IMPORT = AsyncMemoryReplayStore()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: str) -> Iterator[AsyncReplayStore]:
    """An empty store of each kind, made outside every event loop."""
    if request.param == "memory":
        yield AsyncMemoryReplayStore()
        return
    sqlite = AsyncSQLiteReplayStore(path, timeout=20)
    yield sqlite
    asyncio.run(sqlite.aclose())


def run_and_close(store: AsyncSQLiteReplayStore, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` in an event loop, then close the store in it."""

    async def run() -> T:
        async with store:
            return await main()

    return asyncio.run(run())


async def waiting_for_lock(
    store: AsyncSQLiteReplayStore, path: str, other: StoreProcess
) -> asyncio.Future[Consumption]:
    """A consume that has met a lock: another process holds it on the file, which was used before."""
    await store.consume(handoff_id(NOW), **entry(1))
    other.ask("lock", path)
    met, loop = asyncio.Event(), asyncio.get_running_loop()
    tell_of_lock(store, lambda: loop.call_soon_threadsafe(met.set))
    waiting = asyncio.ensure_future(store.consume(handoff_id(NOW, 1), **entry(1)))
    await met.wait()
    return waiting


def test_one_holder_among_tasks(store: AsyncReplayStore) -> None:
    """Of 40 tasks that race for 20 handoffs, each handoff goes to one, and all are told which."""

    async def race(number: int) -> list[Consumption]:
        return [await store.consume(handoff, **entry(number, at=NOW + number)) for handoff in handoff_ids(20)]

    async def main() -> list[list[Consumption]]:
        return await asyncio.gather(*map(race, range(40)))

    for told in zip(*asyncio.run(main()), strict=True):
        (winner,) = (number for number, answer in enumerate(told) if answer.first)
        assert {(answer.holder, answer.consumed_at) for answer in told} == {(redemption_id(winner), NOW + winner)}


def test_one_holder_among_event_loops(store: AsyncReplayStore) -> None:
    """Threads that each run an event loop of their own may share a store, at once and one after another."""

    async def race(number: int) -> list[Consumption]:
        return await asyncio.gather(*(store.consume(handoff, **entry(number)) for handoff in handoff_ids(20)))

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda number: asyncio.run(race(number)), range(12)))
    for told in zip(*answers, strict=True):
        (winner,) = (number for number, answer in enumerate(told) if answer.first)
        assert {answer.holder for answer in told} == {redemption_id(winner)}


def test_store_made_at_import_works_in_every_loop() -> None:
    """A store that a module made when it was imported serves one event loop after another."""

    async def consume(number: int) -> Consumption:
        return await MADE_AT_IMPORT.consume(handoff_id(NOW), **entry(number))

    assert [asyncio.run(consume(number)).holder for number in (1, 2, 3)] == [redemption_id(1)] * 3


def test_a_locked_file_holds_up_no_event_loop(path: str, start_process: StartProcess) -> None:
    """While a consume waits for a file that another process keeps locked, other tasks go on; then it is answered."""
    other, store = start_process(), AsyncSQLiteReplayStore(path, timeout=20)

    async def main() -> Consumption:
        asking = await waiting_for_lock(store, path, other)
        assert not asking.done()
        # It is this event loop that has the lock let go: held up, it would never come to that.
        other.ask("unlock")
        return await asking

    assert run_and_close(store, main).first


def test_a_purge_holds_up_no_event_loop(path: str) -> None:
    """While entries are purged, chunk after chunk, other tasks go on."""
    store = AsyncSQLiteReplayStore(path)
    chunk, turned, waited = asyncio.Event(), threading.Event(), []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        await store.consume(handoff_id(NOW), **entry(1))
        fill(path, handoff_ids(1_200, seconds=NOW - HORIZON - 1))

        def progress(removed: int) -> None:
            loop.call_soon_threadsafe(chunk.set)
            waited.append(turned.wait(60))

        purging = asyncio.ensure_future(store.purge(NOW, progress=progress))
        await chunk.wait()
        assert not purging.done()
        # It is this event loop that lets the purge go on: held up, it would never come to that.
        turned.set()
        return await purging

    assert run_and_close(store, main) == 1_200
    assert waited == [True, True, True]
    assert stored_ids(path) == [handoff_id(NOW)]


def test_cancelled_consume_leaves_the_truth_to_a_retry(path: str, start_process: StartProcess) -> None:
    """A caller that is cancelled while it waits stops at once; repeated, its consume gets an answer that stays true."""
    other, store = start_process(), AsyncSQLiteReplayStore(path, timeout=60)

    async def main() -> Consumption:
        waiting = await waiting_for_lock(store, path, other)
        began = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - began < SLACK
        other.ask("unlock")
        return await store.consume(handoff_id(NOW, 1), **entry(1))

    assert run_and_close(store, main).holder == redemption_id(1)
    with SQLiteReplayStore(path) as sync_store:
        assert_held(sync_store, [handoff_id(NOW, 1)], 1)


def test_cancelled_while_queued_is_never_consumed(path: str, start_process: StartProcess) -> None:
    """A caller that is cancelled before its turn has come leaves no trace, and delays nobody."""
    other, store = start_process(), AsyncSQLiteReplayStore(path, timeout=60)

    async def main() -> None:
        first = await waiting_for_lock(store, path, other)  # its batch is in flight; the others make the next
        others = [asyncio.ensure_future(store.consume(handoff, **entry(1))) for handoff in handoff_ids(29, start=2)]
        await asyncio.sleep(0)  # each has begun
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        other.ask("unlock")
        assert (await first).first

    run_and_close(store, main)
    assert stored_ids(path) == handoff_ids(2)


def test_timeout_is_an_error_and_a_retry_gets_the_answer(path: str, start_process: StartProcess) -> None:
    """A consume without an answer in time ends in an error; repeated once the file is free, it is answered."""
    other, store = start_process(), AsyncSQLiteReplayStore(path, timeout=0.5)

    async def main() -> None:
        await store.consume(handoff_id(NOW), **entry(1))
        other.ask("lock", path)
        began = time.monotonic()
        with pytest.raises(ReplayStoreError) as caught:
            await store.consume(handoff_id(NOW, 1), **entry(1))
        assert 0.4 < time.monotonic() - began < 0.5 + SLACK
        assert caught.value.log_fields == {"handoff_id": handoff_id(NOW, 1)}
        assert redemption_id(1) not in f"{caught.value} {caught.value!r}"
        other.ask("unlock")
        answer = await store.consume(handoff_id(NOW, 1), **entry(1))
        assert answer.holder == redemption_id(1)

    run_and_close(store, main)


def test_a_queue_ends_within_the_timeout(path: str) -> None:
    """Fifty callers that wait for a locked file all get their error within one timeout, not one after another."""
    store = AsyncSQLiteReplayStore(path, timeout=0.5)

    async def main() -> list[Consumption | BaseException]:
        await store.consume(handoff_id(NOW), **entry(1))
        with write_lock(path):
            began = time.monotonic()
            waiting = (store.consume(handoff, **entry(1)) for handoff in handoff_ids(50, start=1))
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert 0.4 < time.monotonic() - began < 0.5 + SLACK
        again = [await store.consume(handoff, **entry(1)) for handoff in handoff_ids(50, start=1)]
        assert {answer.holder for answer in again} == {redemption_id(1)}
        return answers

    refused = run_and_close(store, main)
    assert len(refused) == 50
    assert all(type(error) is ReplayStoreError for error in refused)


def test_each_caller_has_an_error_of_its_own(path: str) -> None:
    """Callers that fail together do not share one exception object, whose traceback would grow from caller to caller."""
    store = AsyncSQLiteReplayStore(path, timeout=0.3)

    async def main() -> None:
        await store.consume(handoff_id(NOW), **entry(1))
        with write_lock(path):
            waiting = (store.consume(handoff, **entry(1)) for handoff in handoff_ids(5, start=1))
            errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert len({id(error) for error in errors}) == 5
        fields = [error.log_fields for error in errors if isinstance(error, ReplayStoreError)]
        assert fields == [{"handoff_id": handoff} for handoff in handoff_ids(5, start=1)]

    run_and_close(store, main)


def test_closing_refuses(path: str) -> None:
    """A store that was used and then closed refuses, like one that was never used."""
    store = AsyncSQLiteReplayStore(path)

    async def main() -> None:
        await store.consume(handoff_id(NOW), **entry(1))
        await store.aclose()
        with pytest.raises(ReplayStoreError, match="closed"):
            await store.consume(handoff_id(NOW), **entry(1))
        with pytest.raises(ReplayStoreError, match="closed"):
            await store.purge(NOW)
        await store.aclose()

    asyncio.run(main())


def test_closing_unused_refuses(path: str) -> None:
    """A store that was closed before its first use stays closed."""
    store = AsyncSQLiteReplayStore(path)

    async def main() -> None:
        await store.aclose()
        await store.aclose()
        with pytest.raises(ReplayStoreError, match="closed"):
            await store.consume(handoff_id(NOW), **entry(1))
        with pytest.raises(ReplayStoreError, match="closed"):
            await store.purge(NOW)

    asyncio.run(main())


def test_closing_waits_for_running_work(path: str) -> None:
    """Callers that were waiting when the store was closed are all answered, and rightly."""
    store = AsyncSQLiteReplayStore(path)

    async def main() -> list[Consumption]:
        waiting = [asyncio.ensure_future(store.consume(handoff, **entry(1))) for handoff in handoff_ids(30)]
        await asyncio.sleep(0)
        await store.aclose()
        return await asyncio.gather(*waiting)

    assert all(answer.first for answer in asyncio.run(main()))
    assert stored_ids(path) == handoff_ids(30)


@pytest.mark.parametrize("method", ["aclose", "purge"])
def test_what_is_cancelled_is_done_to_its_end(path: str, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A cancelled aclose still closes the file, and a cancelled purge still removes old notes: one call in a thread."""
    store = AsyncSQLiteReplayStore(path)
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    first = store._commits if method == "aclose" else store._file
    first_name, last_name = ("close", "close") if method == "aclose" else ("purge", "change")
    begin, end = getattr(first, first_name), getattr(store._file, last_name)

    def first_part(*args: object) -> object:
        begun.set()
        assert go_on.wait(60)
        return begin(*args)

    def last_part(*args: object) -> object:
        result = end(*args)
        ended.set()
        return result

    monkeypatch.setattr(first, first_name, first_part)
    monkeypatch.setattr(store._file, last_name, last_part)

    async def main() -> None:
        await store.consume(handoff_id(NOW), **entry(1))
        task = asyncio.ensure_future(getattr(store, method)())
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(main())  # waits for the loop's threads
    assert ended.is_set()
    asyncio.run(store.aclose())


def test_sync_and_async_stores_share_a_file(path: str) -> None:
    """A synchronous and an asynchronous store of one file agree on who holds what."""
    store = AsyncSQLiteReplayStore(path, outbox=True)

    async def main() -> None:
        assert (await store.consume(handoff_id(NOW), **entry(1))).first

    with SQLiteReplayStore(path) as sync_store:
        run_and_close(store, main)
        assert_held(sync_store, [handoff_id(NOW)], 1)


def test_leaving_the_async_context_closes_memory() -> None:
    """The store in memory can be used in the same way, with async with."""

    async def main() -> int:
        async with AsyncMemoryReplayStore() as memory:
            await memory.consume(handoff_id(NOW), **entry(1))
            return len(memory)

    assert asyncio.run(main()) == 1
