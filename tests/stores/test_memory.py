"""The store in memory: bounded, and never forgetful."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from ghasi_handoff import ConfigurationError
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore

from .entries import HORIZON, NOW, SCOPE, assert_held, assert_refused, entry, handoff_id, handoff_ids


def filled(ids: list[str], *, now: float = NOW) -> MemoryReplayStore:
    """A store that is full with these ids, all held by browser 1."""
    store = MemoryReplayStore(capacity=len(ids), clock=lambda: now)
    for handoff in ids:
        store.consume(handoff, **entry(1))
    return store


class SlowText(str):
    """A text that takes its time to be looked up: between a check and the act it is for, other threads get their turn."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0.0002)
        return super().__hash__()


def test_check_and_act_are_one() -> None:
    """Of 16 threads, one wins each handoff, even where another thread's turn comes in the middle of a consume."""
    ids, scope = handoff_ids(10), SlowText(SCOPE)
    start = threading.Barrier(16)
    with MemoryReplayStore() as store, ThreadPoolExecutor(16) as threads:

        def race(number: int) -> list[bool]:
            start.wait()
            return [store.consume(handoff, **entry(number, scope=scope)).first for handoff in ids]

        won = list(threads.map(race, range(16)))
    assert [sum(winners) for winners in zip(*won, strict=True)] == [1] * 10


def test_full_store_refuses() -> None:
    """A full store takes no new handoff, and says so."""
    store = filled(handoff_ids(10))
    error = assert_refused(store, handoff_id(NOW, 10), entry(2))
    assert "full (10 entries)" in str(error)
    assert error.log_fields == {"handoff_id": handoff_id(NOW, 10)}


def test_full_store_never_evicts() -> None:
    """However many new handoffs a full store refuses, it keeps all that it has."""
    store = filled(handoff_ids(10))
    for handoff in handoff_ids(100, start=10):
        assert_refused(store, handoff, entry(2))
    assert len(store) == 10
    assert_held(store, handoff_ids(10), 1)


def test_full_store_answers_its_holders() -> None:
    """The retry of a browser that holds a handoff is answered by a full store, too."""
    store = filled(handoff_ids(10))
    answers = [store.consume(handoff, **entry(1)) for handoff in handoff_ids(10)]
    assert [answer.first for answer in answers] == [False] * 10


def test_full_store_is_filled_to_its_capacity() -> None:
    """A store takes as many handoffs as its capacity says, not one less."""
    store = MemoryReplayStore(capacity=3)
    assert [store.consume(handoff, **entry()).first for handoff in handoff_ids(3)] == [True] * 3
    assert len(store) == 3


def test_full_store_purges_first() -> None:
    """A full store with old entries removes those, and takes the new handoff."""
    store = filled([handoff_id(NOW - HORIZON - 1), handoff_id(NOW - HORIZON), handoff_id(NOW)])
    assert store.consume(handoff_id(NOW, 1), **entry(2)).first
    assert len(store) == 3
    assert_held(store, [handoff_id(NOW - HORIZON), handoff_id(NOW)], 1)
    assert_refused(store, handoff_id(NOW - HORIZON - 1), entry(1))


def test_full_store_forgets_nothing_for_a_clock_ahead() -> None:
    """A clock that jumps to the year 9999 makes no room in a full store."""
    ids = [handoff_id(NOW - HORIZON), handoff_id(NOW)]
    store = filled(ids, now=253402300799)
    assert_refused(store, handoff_id(NOW, 1), entry(2))
    assert_held(store, ids, 1)


def test_refusing_is_cheap() -> None:
    """A full store does not search all its entries again for every caller that it refuses."""
    store = filled(handoff_ids(50_000))
    began = time.monotonic()
    for handoff in handoff_ids(1_000, start=50_000):
        assert_refused(store, handoff, entry(2))
    # Searching 50 000 entries takes longer than 5 ms on any machine; so 1000 searches would take longer than this.
    assert time.monotonic() - began < 5


def test_length_is_the_number_of_entries() -> None:
    """The length of a store is the number of handoffs it remembers, after a purge too."""
    store = MemoryReplayStore()
    for handoff in [*handoff_ids(4, seconds=NOW - HORIZON - 1), *handoff_ids(3)]:
        store.consume(handoff, **entry(1))
        store.consume(handoff, **entry(2))
    assert len(store) == 7
    store.purge(NOW)
    assert len(store) == 3


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5, "5", None])
@pytest.mark.parametrize("kind", [MemoryReplayStore, AsyncMemoryReplayStore])
def test_capacity_is_a_positive_integer(
    kind: type[MemoryReplayStore | AsyncMemoryReplayStore], capacity: object
) -> None:
    """Anything but a positive integer is no capacity."""
    with pytest.raises(ConfigurationError, match="capacity"):
        kind(capacity=cast("int", capacity))


def test_stores_share_nothing() -> None:
    """Two stores in memory know nothing of each other."""
    with MemoryReplayStore() as one, MemoryReplayStore() as other:
        assert one.consume(handoff_id(NOW), **entry(1)).first
        assert other.consume(handoff_id(NOW), **entry(2)).first
