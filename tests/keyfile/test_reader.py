"""When a watched ring reads: one read for a flood, under threads, asyncio and forks; and how its thread ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.keyfile import WatchedKeyRing
from tests.keyfile import watching_process
from tests.keyfile.watched import NEVER, QUICK, Counting, Source, eventually, eventually_async
from tests.own_process import OwnProcess


def test_refresh_brings_a_key_that_has_just_arrived(key_file: Path, ring: KeyRing) -> None:
    """A kid that the ring has not, and the file has, is worth another try at once, long before the interval is over."""
    with WatchedKeyRing(key_file, interval=NEVER) as keys:
        keyfile.save(key_file, ring.rotate("k2"))
        assert keys.refresh("k2") is True
        assert [key.kid for key in keys().keys] == ["k1", "k2"]


def test_refresh_of_a_made_up_kid_is_not_worth_another_try(key_file: Path) -> None:
    """A kid that nobody has stays unknown."""
    with WatchedKeyRing(key_file, interval=NEVER) as keys:
        assert keys.refresh("nobody") is False


def test_a_flood_of_made_up_kids_costs_one_read_per_interval(source: Source) -> None:
    """Whoever sends tokens with made-up kids cannot make the service read again and again (CVE-2026-48524)."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        assert not any(keys.refresh(f"made-up-{number}") for number in range(1000))
        assert source.calls == 2  # at the start, and once for all of them


def test_the_right_to_refresh_comes_back_after_an_interval(source: Source, ring: KeyRing) -> None:
    """One refresh an interval, not one for ever."""
    with WatchedKeyRing(source, interval=timedelta(milliseconds=300)) as keys:
        assert keys.refresh("k2") is False
        source.ring = ring.rotate("k2")
        eventually(lambda: keys.refresh("k2"))


def test_an_interval_after_a_refresh_the_next_one_reads_again(source: Source, ring: KeyRing) -> None:
    """A read that is over is nobody's answer any more: whoever misses a key later gets a read of their own."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        for number in (2, 3, 4):
            source.ring = ring = ring.rotate(f"k{number}")
            assert keys.refresh(f"k{number}") is True
            assert source.calls == number
            keys._reader._asked_at -= NEVER.total_seconds()


def test_a_key_that_is_there_costs_no_read(source: Source) -> None:
    """Between a refusal and the refresh the ring may have come by itself: then it is worth another try, without a read."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        assert keys.refresh("k1") is True
        assert source.calls == 1


def test_refresh_without_a_kid_says_whether_the_ring_is_another(source: Source, ring: KeyRing) -> None:
    """For an operator's signal: read now, and was there anything new?"""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        source.ring = ring.rotate("k2")
        assert keys.refresh() is True
        assert keys.refresh() is False


@pytest.mark.parametrize(("threads", "loops"), [(50, 0), (2, 2)])
def test_single_flight_under_threads(source: Source, ring: KeyRing, threads: int, loops: int) -> None:
    """Threads, and event loops in threads, that miss one key at once wait for one read, and all get its answer."""
    with Counting(source) as keys, ThreadPoolExecutor(threads + loops) as pool:
        source.hold()
        source.ring = ring.rotate("k2")
        waiting = [pool.submit(keys.refresh, "k2") for _ in range(threads)]
        waiting += [pool.submit(lambda: asyncio.run(keys.refresh_async("k2"))) for _ in range(loops)]
        assert source.started.wait(60)
        eventually(lambda: len(keys.waiting) == threads + loops)
        assert not any(future.done() for future in waiting)
        source.free.set()
        assert all(future.result(60) for future in waiting)
    assert source.calls == 2


def test_a_fork_revives_no_reader_whose_ring_is_gone(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader may outlive its ring until the garbage collector runs; a child that is forked then gets no thread of it."""
    gc.disable()
    try:
        keys = WatchedKeyRing(source, interval=NEVER)
        reader = keys._reader
        del keys
        started: list[object] = []
        monkeypatch.setattr(threading, "Thread", lambda **options: started.append(options))
        reader.start()
    finally:
        gc.enable()
    assert started == []


async def held_up(keys: Counting, source: Source, ring: KeyRing, count: int) -> list[asyncio.Task[bool]]:
    """Coroutines that miss a key, and all wait for one read, which the source holds up until it is set free."""
    source.hold()
    source.ring = ring.rotate("k2")
    timeout = timedelta(seconds=60)
    waiting = [asyncio.ensure_future(keys.refresh_async("k2", timeout=timeout)) for _ in range(count)]
    await eventually_async(lambda: len(keys.waiting) == count)  # were the loop blocked, it would not come back
    return waiting


def test_single_flight_under_asyncio(source: Source, ring: KeyRing) -> None:
    """A thousand coroutines that miss one key at once wait for one read; the event loop goes on meanwhile."""

    async def main() -> None:
        with Counting(source) as keys:
            waiting = await held_up(keys, source, ring, 1000)
            assert not any(task.done() for task in waiting)
            source.free.set()
            assert all(await asyncio.gather(*waiting))

    asyncio.run(main())
    assert source.calls == 2


def test_a_guest_who_goes_does_not_end_the_others_wait(source: Source, ring: KeyRing) -> None:
    """Cancelling one of those who wait cancels neither the read nor the others."""

    async def main() -> None:
        with Counting(source) as keys:
            one, other = await held_up(keys, source, ring, 2)
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            source.free.set()
            assert await other is True

    asyncio.run(main())


def test_a_slow_source_holds_nobody_longer_than_the_timeout(source: Source) -> None:
    """A KMS or disk that hangs costs a guest the time-out, not the request."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        source.hold()
        began = time.monotonic()
        assert keys.refresh("k2", timeout=timedelta(milliseconds=100)) is False
        assert asyncio.run(keys.refresh_async("k2", timeout=timedelta(milliseconds=100))) is False
        assert time.monotonic() - began < 30
        source.free.set()


def test_a_flood_does_not_pile_up_behind_a_source_that_hangs(source: Source) -> None:
    """Once a read has outlasted the time-out nobody waits for it any more: neither guests nor memory pay for a KMS that hangs."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        source.hold()
        assert keys.refresh("k2", timeout=timedelta(milliseconds=50)) is False
        began = time.monotonic()
        for _ in range(200):
            assert keys.refresh("k2", timeout=timedelta(milliseconds=50)) is False
        assert time.monotonic() - began < 5
        source.free.set()


def test_a_closed_ring_stays_what_it_is(key_file: Path, ring: KeyRing) -> None:
    """After close nothing is read any more, nobody waits, and the ring in use stays."""
    before = set(threading.enumerate())
    keys = WatchedKeyRing(key_file, interval=QUICK)
    (thread,) = set(threading.enumerate()) - before
    keys.close()
    eventually(lambda: not thread.is_alive())
    keyfile.save(key_file, ring.rotate("k2"))
    assert keys() == ring
    assert keys.refresh("k2") is False


@pytest.mark.parametrize("has_read", [False, True], ids=["at once", "after a read"])
def test_a_forgotten_ring_ends_its_thread(key_file: Path, has_read: bool) -> None:
    """Nobody has to close: when the last reference goes, the thread goes, too."""
    before = set(threading.enumerate())  # other tests' rings may still be on their way out
    keys = WatchedKeyRing(key_file, interval=NEVER)
    if has_read:
        good_at = keys._good_at
        keys.refresh()
        assert keys._good_at > good_at
    (thread,) = set(threading.enumerate()) - before
    assert thread.name == "ghasi-handoff-keys"
    del keys
    gc.collect()
    eventually(lambda: not thread.is_alive())


def test_a_forked_child_follows_the_file(key_file: Path, ring: KeyRing) -> None:
    """A server that loads the application and then forks its workers: each worker reads for itself."""
    with OwnProcess(watching_process.fork_and_follow, str(key_file)) as process:
        assert process.hear() == "forked"
        keyfile.save(key_file, ring.rotate("k2"))
        assert process.hear() == "k1,k2"
