"""What every store promises, alike: in memory and in SQLite, called and awaited."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest

from ghasi_handoff import (
    AsyncReplayStore,
    ConfigurationError,
    Consumption,
    InvalidHandoffInputError,
    ReplayStore,
    ReplayStoreError,
)
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from .entries import (
    HORIZON,
    NOW,
    SCOPE,
    OpenStore,
    Store,
    assert_held,
    assert_refused,
    entry,
    handoff_id,
    handoff_ids,
    redemption_id,
)

END_OF_9999 = 253402300799


# One holder


def test_first_to_consume_holds_the_handoff(store: Store) -> None:
    """Who consumes first becomes the holder, from the moment its clock said."""
    answer = store.consume(handoff_id(NOW), **entry(1, at=NOW + 7))
    assert answer == Consumption(redemption_id(1), first=True, consumed_at=NOW + 7)


def test_another_is_told_the_holder(store: Store) -> None:
    """Who comes later is told who holds the handoff, and since when."""
    store.consume(handoff_id(NOW), **entry(1, at=NOW + 7))
    answer = store.consume(handoff_id(NOW), **entry(2, at=NOW + 8))
    assert answer == Consumption(redemption_id(1), first=False, consumed_at=NOW + 7)


def test_own_retry_is_the_same_redemption(store: Store) -> None:
    """Who consumes again is still the holder, since the first time, and is not first again."""
    store.consume(handoff_id(NOW), **entry(1, at=NOW + 7))
    answer = store.consume(handoff_id(NOW), **entry(1, at=NOW + 60))
    assert answer == Consumption(redemption_id(1), first=False, consumed_at=NOW + 7)


def test_an_earlier_clock_does_not_win(store: Store) -> None:
    """The holder is who came first to the store, not who has the earliest clock."""
    store.consume(handoff_id(NOW), **entry(1, at=NOW + 7))
    answer = store.consume(handoff_id(NOW), **entry(2, at=NOW))
    assert answer == Consumption(redemption_id(1), first=False, consumed_at=NOW + 7)


def test_an_entry_never_changes(store: Store) -> None:
    """However often and by whomever it is asked, the store names the same holder and time."""
    store.consume(handoff_id(NOW), **entry(1, at=NOW + 7))
    asked = [entry(number % 5, at=NOW + number, until=NOW + 1000 + number) for number in range(40)]
    assert {store.consume(handoff_id(NOW), **told) for told in asked} == {Consumption(redemption_id(1), False, NOW + 7)}


def test_scopes_are_apart(store: Store) -> None:
    """The same id in another scope is another handoff."""
    for number in range(1, 4):
        answer = store.consume(handoff_id(NOW), **entry(number, scope=f"{SCOPE}-{number}"))
        assert answer.first
    for number in range(1, 4):
        answer = store.consume(handoff_id(NOW), **entry(9, scope=f"{SCOPE}-{number}"))
        assert answer.holder == redemption_id(number)


def test_scopes_are_compared_exactly(store: Store) -> None:
    """Two scopes that differ in case, or in trailing space, are two scopes."""
    scopes = ["a\nb", "A\nb", "a\nb ", "a\nB", "a\n", "a\nb\n"]
    assert all(store.consume(handoff_id(NOW), **entry(scope=scope)).first for scope in scopes)


def test_ids_are_apart(store: Store) -> None:
    """Ids of one millisecond that differ in one digit are different handoffs."""
    ids = [handoff_id(NOW), handoff_id(NOW, 1), handoff_id(NOW, milliseconds=1), handoff_id(NOW)[:-1] + "a"]
    assert all(store.consume(handoff, **entry()).first for handoff in ids)


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns every few instructions, so that a check and the act it is for come apart."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless_threads")
def test_one_holder_among_threads(store: Store) -> None:
    """Of 32 threads that race for 50 handoffs, each handoff goes to one, and all are told which."""
    ids = handoff_ids(50)
    start = threading.Barrier(32)

    def race(number: int) -> dict[str, Consumption]:
        start.wait()
        return {handoff: store.consume(handoff, **entry(number, at=NOW + number)) for handoff in ids}

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(race, range(32)))
    for handoff in ids:
        told = [answer[handoff] for answer in answers]
        assert len({(answer.holder, answer.consumed_at) for answer in told}) == 1
        (winner,) = (number for number, answer in enumerate(told) if answer.first)
        assert told[winner] == Consumption(redemption_id(winner), first=True, consumed_at=NOW + winner)


@pytest.mark.usefixtures("restless_threads")
def test_one_holder_while_purging(store: Store) -> None:
    """Handoffs that are removed while threads race for them have one winner at most, and never one afterwards."""
    old, new = handoff_ids(40, seconds=NOW - 2 * HORIZON), handoff_id(NOW)
    store.consume(new, **entry())
    start = threading.Barrier(9)

    def wins(handoff: str, number: int) -> bool:
        try:
            return store.consume(handoff, **entry(number)).first
        except ReplayStoreError:
            return False

    def race(number: int) -> list[str]:
        start.wait()
        return [handoff for handoff in old if wins(handoff, number)]

    def purge() -> list[str]:
        start.wait()
        for _ in range(20):
            store.purge(NOW)
        return []

    with ThreadPoolExecutor(9) as threads:
        racers = [threads.submit(race, number) for number in range(8)] + [threads.submit(purge)]
        won = [handoff for racer in racers for handoff in racer.result()]
    assert len(won) == len(set(won))
    for handoff in old:
        assert_refused(store, handoff, entry(77))


# What is refused before anything is done


@pytest.mark.parametrize("too_late", [0, 1, 86400])
def test_past_its_retention_is_refused(store: Store, too_late: int) -> None:
    """An entry consumed when its retention is over is refused, and not stored: it would be forgotten at once."""
    error = assert_refused(store, handoff_id(NOW), entry(1, at=NOW + too_late, until=NOW))
    assert error.log_fields == {"handoff_id": handoff_id(NOW)}
    assert store.consume(handoff_id(NOW), **entry(2)).first


def test_last_second_of_retention_is_accepted(store: Store) -> None:
    """An entry consumed one second before its retention is over is stored."""
    assert store.consume(handoff_id(NOW), **entry(1, at=NOW, until=NOW + 1)).first
    assert_held(store, [handoff_id(NOW)], 1)


def test_holder_past_its_retention_is_refused(store: Store) -> None:
    """Even the holder gets no answer to an entry past its retention."""
    store.consume(handoff_id(NOW), **entry(1))
    assert_refused(store, handoff_id(NOW), entry(1, at=NOW + 500, until=NOW + 500))


def test_last_token_of_all_is_accepted(store: Store) -> None:
    """The entry of a token that ends with the year 9999 is stored."""
    handoff = handoff_id(END_OF_9999 - 300)
    assert store.consume(handoff, **entry(at=END_OF_9999, until=END_OF_9999 + 240)).first


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "01a3185c-5000-7000-8000-00000000000A",
        "01a3185c-5000-4000-8000-000000000000",
        "01a3185c-5000-7000-c000-000000000000",
        "01a3185c500070008000000000000000",
        "{01a3185c-5000-7000-8000-000000000000}",
        "01a3185c-5000-7000-8000-000000000000\n",
        " 01a3185c-5000-7000-8000-000000000000",
        "01a3185c-5000-7000-8000-00000000000",
        "01a3185c-5000-7000-8000-0000000000000",
        "01a3185c-5000-7000-8000-00000000000\N{ARABIC-INDIC DIGIT ZERO}",
        "01a3185c-5000-7000-8000-00000000000\x00",
        b"01a3185c-5000-7000-8000-000000000000",
        None,
        0x01A3185C500070008000000000000000,
    ],
)
def test_malformed_handoff_id_is_refused(store: Store, malformed: object) -> None:
    """What is no UUIDv7 in lower case is no handoff id: a purge relies on the time in it."""
    with pytest.raises(InvalidHandoffInputError, match="UUIDv7"):
        store.consume(cast("str", malformed), **entry())


@pytest.mark.parametrize("name", ["scope", "redemption_id"])
@pytest.mark.parametrize("malformed", ["", None, b"e", 5, True])
def test_malformed_text_is_refused(store: Store, name: str, malformed: object) -> None:
    """A scope or redemption id that is empty or no text is refused, and nothing is stored."""
    wrong: dict[str, Any] = {**entry(1), name: malformed}
    with pytest.raises(InvalidHandoffInputError, match=name):
        store.consume(handoff_id(NOW), **wrong)
    assert store.consume(handoff_id(NOW), **entry(2)).first


@pytest.mark.parametrize("name", ["consumed_at", "retain_until"])
@pytest.mark.parametrize(
    "malformed", [True, float(NOW), math.nan, math.inf, -1, 10**12, 2**63, 10**400, str(NOW), None]
)
def test_malformed_seconds_are_refused(store: Store, name: str, malformed: object) -> None:
    """A time that is not whole Unix seconds is refused, and nothing is stored."""
    wrong: dict[str, Any] = {**entry(1), name: malformed}
    with pytest.raises(InvalidHandoffInputError, match=name):
        store.consume(handoff_id(NOW), **wrong)
    assert store.consume(handoff_id(NOW), **entry(2)).first


# Purging


def test_purge_removes_what_is_older_than_the_horizon(store: Store) -> None:
    """A purge removes ids from before clock and newest id less 3840 s, and nothing else."""
    cutoff = NOW - HORIZON
    old = [
        handoff_id(cutoff - 1),
        handoff_id(cutoff - 1, milliseconds=999),
        handoff_id(0, 5),
        handoff_id(cutoff - 9999),
    ]
    kept = [handoff_id(cutoff), handoff_id(cutoff, milliseconds=1), handoff_id(cutoff + 1), handoff_id(NOW)]
    for handoff in old + kept:
        store.consume(handoff, **entry(1))
    assert store.purge(NOW) == len(old)
    assert_held(store, kept, 1)
    for handoff in old:
        assert_refused(store, handoff, entry(1))


def test_a_purge_counts_every_scope(store: Store) -> None:
    """An id that was consumed in three scopes is three entries, all removed."""
    for number in range(3):
        store.consume(handoff_id(NOW - HORIZON - 1), **entry(scope=f"scope-{number}"))
    store.consume(handoff_id(NOW), **entry())
    assert store.purge(NOW) == 3


def test_a_purged_handoff_is_never_consumed_again(store: Store) -> None:
    """Neither its holder nor another can consume a handoff that was removed."""
    store.consume(handoff_id(NOW - HORIZON - 1), **entry(1))
    store.consume(handoff_id(NOW), **entry(1))
    store.purge(NOW)
    for number in (1, 2):
        error = assert_refused(store, handoff_id(NOW - HORIZON - 1), entry(number))
        assert error.log_fields == {"handoff_id": handoff_id(NOW - HORIZON - 1)}


def test_a_clock_that_goes_back_revives_nothing(store: Store) -> None:
    """What was purged stays refused when the clock is set back and a purge runs again."""
    store.consume(handoff_id(NOW - HORIZON - 1), **entry(1))
    store.consume(handoff_id(NOW), **entry(1))
    store.purge(NOW)
    assert store.purge(NOW - 10 * HORIZON) == 0
    assert store.purge(0) == 0
    assert_refused(store, handoff_id(NOW - HORIZON - 1), entry(2))


def test_an_unseen_handoff_from_before_a_purge_is_refused(store: Store) -> None:
    """Whether an id from before the mark was ever consumed is no longer known, so it is refused in every scope."""
    store.consume(handoff_id(NOW), **entry(1))
    store.purge(NOW)
    assert_refused(store, handoff_id(NOW - HORIZON - 1, 5), entry(1))
    assert_refused(store, handoff_id(NOW - HORIZON - 1, 5), entry(1, scope="another"))
    assert store.consume(handoff_id(NOW - HORIZON, 5), **entry(1)).first


@pytest.mark.parametrize("ahead", [1, 3600, END_OF_9999 - NOW])
def test_a_clock_that_jumps_ahead_forgets_nothing_alone(store: Store, ahead: int) -> None:
    """Within 3840 s of the newest id nothing is removed, however far ahead the clock is."""
    ids = [handoff_id(NOW - HORIZON), handoff_id(NOW - HORIZON // 2), handoff_id(NOW)]
    for handoff in ids:
        store.consume(handoff, **entry(1))
    assert store.purge(NOW + ahead) == 0
    assert_held(store, ids, 1)


def test_an_id_from_the_future_forgets_nothing_alone(store: Store) -> None:
    """Within 3840 s of the clock nothing is removed, however far ahead the newest id is."""
    ids = [handoff_id(NOW - HORIZON), handoff_id(NOW), handoff_id(END_OF_9999)]
    for handoff in ids:
        store.consume(handoff, **entry(1))
    assert store.purge(NOW) == 0
    assert_held(store, ids, 1)


def test_purge_goes_by_its_clock(open_store: OpenStore) -> None:
    """Without an argument, a purge reads the store's clock; its fraction does not matter."""
    moment = [float(NOW)]
    store = open_store(clock=lambda: moment[0])
    store.consume(handoff_id(NOW - HORIZON), **entry(1))
    store.consume(handoff_id(NOW + 100), **entry(1))
    moment[0] = NOW + 0.999
    assert store.purge() == 0
    moment[0] = NOW + 1.0
    assert store.purge() == 1


@pytest.mark.parametrize(
    "now",
    [
        NOW,
        datetime.fromtimestamp(NOW, UTC),
        datetime.fromtimestamp(NOW, timezone(timedelta(hours=-9, minutes=-30))),
        datetime.fromtimestamp(NOW, UTC) + timedelta(microseconds=999_999),
    ],
)
def test_purge_takes_seconds_or_a_datetime(store: Store, now: int | datetime) -> None:
    """A purge at a given second, or at an aware datetime in it, removes the same."""
    store.consume(handoff_id(NOW - HORIZON - 1), **entry(1))
    store.consume(handoff_id(NOW - HORIZON), **entry(1))
    store.consume(handoff_id(NOW + 100), **entry(1))
    assert store.purge(now) == 1


@pytest.mark.parametrize(
    "no_time",
    [datetime(2030, 1, 1), True, math.nan, math.inf, -1, END_OF_9999 + 1, "2030-01-01"],
)
def test_purge_refuses_what_is_no_time(store: Store, no_time: object) -> None:
    """A purge at a naive datetime, or at what is no time between 1970 and 9999, is refused and removes nothing."""
    store.consume(handoff_id(0), **entry(1))
    store.consume(handoff_id(NOW), **entry(1))
    with pytest.raises(ConfigurationError):
        store.purge(cast("int", no_time))
    assert_held(store, [handoff_id(0)], 1)


def test_purge_refuses_a_broken_clock(open_store: OpenStore) -> None:
    """A clock that says what is no time is an error of the configuration, and nothing is removed."""
    store = open_store(clock=lambda: math.nan)
    store.consume(handoff_id(0), **entry(1))
    store.consume(handoff_id(NOW), **entry(1))
    with pytest.raises(ConfigurationError):
        store.purge()
    assert_held(store, [handoff_id(0)], 1)


def test_consuming_reads_no_clock(open_store: OpenStore) -> None:
    """Which times count is the caller's to say: a store reads its clock only to purge."""

    def clock() -> float:
        raise AssertionError("a consume read the clock")

    store = open_store(clock=clock)
    assert store.consume(handoff_id(NOW), **entry(1)).first
    assert not store.consume(handoff_id(NOW), **entry(2)).first


def test_purge_of_an_empty_store(store: Store) -> None:
    """A purge of an empty store removes nothing, and refuses nothing afterwards."""
    assert store.purge(END_OF_9999) == 0
    assert store.consume(handoff_id(0), **entry(1)).first


def test_purge_again_removes_nothing(store: Store) -> None:
    """A second purge finds nothing left, until the newest id and the clock have both moved on."""
    for seconds in (NOW - HORIZON - 1, NOW - HORIZON, NOW):
        store.consume(handoff_id(seconds), **entry(1))
    assert store.purge(NOW) == 1
    assert store.purge(NOW) == 0
    assert store.purge(NOW + 1) == 0
    store.consume(handoff_id(NOW + 1), **entry(1))
    assert store.purge(NOW) == 0
    assert store.purge(NOW + 1) == 1


# The rest


def test_stores_fit_their_protocols() -> None:
    """The stores are what the redeemers ask for."""
    assert isinstance(MemoryReplayStore(), ReplayStore)
    assert isinstance(SQLiteReplayStore("replay.db"), ReplayStore)
    assert isinstance(AsyncMemoryReplayStore(), AsyncReplayStore)
    assert isinstance(AsyncSQLiteReplayStore("replay.db"), AsyncReplayStore)


def test_stores_state_their_guarantees() -> None:
    """A store in memory promises nothing that lasts; one in SQLite is durable, on its one machine, and has an outbox."""
    memory, sqlite = MemoryReplayStore.guarantees, SQLiteReplayStore.guarantees
    assert (memory.durable, memory.shared, memory.survives_failover, memory.outbox) == (False, False, False, False)
    assert (sqlite.durable, sqlite.shared, sqlite.survives_failover, sqlite.outbox) == (True, False, False, True)
    assert (AsyncMemoryReplayStore.guarantees, AsyncSQLiteReplayStore.guarantees) == (memory, sqlite)
