"""The outbox and its worker: delivered once it is due, by one worker at a time, for a day, and then an alarm."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghasi_handoff import ConfigurationError, KeyRing, ReplayStoreError
from ghasi_handoff._limits import DELIVERY_GIVEN_UP_SECONDS, DELIVERY_LEASE_SECONDS, OUTBOX_DELAY_SECONDS
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncOutboxWorker,
    ConsumeClient,
    Deliveries,
    DeliveryGivenUp,
    DeliveryRefused,
    HandoffEvent,
    HandoffState,
    HandoffUnknown,
    Handshake,
    LocalRowLost,
    OutboxAge,
    OutboxWorker,
    RedemptionAbandoned,
    _outbox,
)
from ghasi_handoff.handshake._deliveries import next_try
from ghasi_handoff.replay import OutboxStats
from ghasi_handoff.stores.memory import MemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore

from ..servers import wait_until
from .services import (
    AUDIENCE,
    GUEST,
    ISSUER,
    PATIENT,
    STRANGER,
    TENANT,
    UNHURRIED,
    Clock,
    Consumer,
    handoff_id,
    issue,
    redeemer,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with nothing to do looks again at once."""
    monkeypatch.setattr(_outbox, "OUTBOX_POLL_SECONDS", 0.02)


@pytest.fixture
def worker(store: Any, client: ConsumeClient, clock: Clock, events: list[HandoffEvent]) -> OutboxWorker:
    """A worker of a deferred handshake, whose jitter is always the longest."""
    return OutboxWorker(
        store, client, mode="deferred", on_event=events.append, clock=clock, randbelow=lambda below: below - 1
    )


@pytest.fixture
def waiting(keys: KeyRing, store: Any, client: ConsumeClient, clock: Clock, log: Any) -> list[str]:
    """Three redemptions that bff-consumer does not know of yet, due now."""
    handshake = Handshake(redeemer(keys, store, clock), client, "deferred")
    ids = []
    for _ in range(3):
        minted = issue(keys, log, clock)
        handshake.redeem(minted.token, tenant=TENANT, browser_secret=GUEST)
        ids.append(minted.handoff_id)
    clock.now += OUTBOX_DELAY_SECONDS
    return ids


def test_what_is_due_is_delivered(worker: OutboxWorker, waiting: list[str], log: Any, store: Any, events: list[HandoffEvent]) -> None:  # fmt: skip
    """bff-consumer knows each, the outbox is empty, and in deferred mode that is nothing to report."""
    assert worker.deliver() == Deliveries(delivered=3)
    assert {log.find(handoff).state for handoff in waiting} == {HandoffState.CONSUMED}
    assert store.outbox.stats() == OutboxStats(0, 0, None)
    assert worker.deliver() == Deliveries()
    assert events == []


def test_a_delivery_in_strict_mode_is_an_abandoned_redemption(store: Any, client: ConsumeClient, waiting: list[str], clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """There the guest's own request should have done it."""
    OutboxWorker(store, client, on_event=events.append, clock=clock).deliver()
    assert {type(event) for event in events} == {RedemptionAbandoned}
    assert sorted(str(event.handoff_id) for event in events) == sorted(waiting)
    assert {event.age_seconds for event in events} == {OUTBOX_DELAY_SECONDS}  # type: ignore[attr-defined]


def test_the_service_itself_has_some_seconds_first(keys: KeyRing, store: Any, client: ConsumeClient, clock: Clock, log: Any, worker: OutboxWorker) -> None:  # fmt: skip
    """A worker leaves a fresh entry to the request that made it."""
    minted = issue(keys, log, clock)
    Handshake(redeemer(keys, store, clock), client, "deferred").redeem(
        minted.token, tenant=TENANT, browser_secret=GUEST
    )
    clock.now += OUTBOX_DELAY_SECONDS - 1
    assert worker.deliver().total == 0
    clock.now += 1
    assert worker.deliver().delivered == 1


def test_two_workers_take_different_entries(store: Any, waiting: list[str], clock: Clock) -> None:
    """Sixteen at once: each entry is leased by one."""
    barrier, taken = threading.Barrier(16), []

    def take() -> None:
        barrier.wait()
        taken.extend(store.outbox.lease(int(clock.now), limit=2, seconds=60))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.handoff_id for entry in taken) == sorted(waiting)


def test_a_lease_ends(store: Any, waiting: list[str], clock: Clock, worker: OutboxWorker) -> None:
    """The entries of a worker that died are another's after the lease, not before."""
    assert len(store.outbox.lease(int(clock.now), limit=10, seconds=DELIVERY_LEASE_SECONDS)) == 3
    assert worker.deliver().total == 0
    clock.now += DELIVERY_LEASE_SECONDS
    assert worker.deliver().delivered == 3


def test_what_a_worker_has_leased_is_no_others_for_two_minutes(store: Any, service: Consumer, worker: OutboxWorker, waiting: list[str], clock: Clock) -> None:  # fmt: skip
    """A worker dies between its lease and its first call: a second one takes nothing before 120 s are over, and all then."""

    class Dies:
        def consume(self, handoff_id: str, **facts: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OutboxWorker(store, Dies(), clock=clock).deliver()
    for seconds in (0, 119):
        clock.now += seconds
        assert (worker.deliver().total, service.requests) == (0, [])
    clock.now += 1
    assert worker.deliver() == Deliveries(delivered=3)
    assert len(service.requests) == 3


def test_no_answer_means_later(worker: OutboxWorker, waiting: list[str], service: Consumer, store: Any, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Each failure puts the next try further off, with what came of the last; then it is delivered."""
    service.always = 404
    assert worker.deliver() == Deliveries(postponed=3)
    (first, *_) = store.outbox.entries(limit=1)
    assert (first.attempts, first.outcome, first.due_at) == (1, "status_404", int(clock.now) + 2)
    assert worker.deliver().total == 0
    clock.now += 2
    assert worker.deliver() == Deliveries(postponed=3)
    (second, *_) = store.outbox.entries(limit=1)
    assert (second.attempts, second.due_at) == (2, int(clock.now) + 4)
    assert all(isinstance(event, HandoffUnknown) for event in events)
    service.always = None
    clock.now += 4
    assert worker.deliver() == Deliveries(delivered=3)


def test_what_waits_is_signed_when_it_is_sent(worker: OutboxWorker, waiting: list[str], service: Consumer, clock: Clock, log: Any) -> None:  # fmt: skip
    """A delivery hours later is not stale, and its timely redemption counts."""
    clock.now += 20 * 3600
    assert worker.deliver() == Deliveries(delivered=3)
    row = log.find(waiting[0])
    assert row.recorded_at - row.consumed_at == 20 * 3600 + OUTBOX_DELAY_SECONDS


def test_a_day_without_an_answer_is_an_alarm(worker: OutboxWorker, waiting: list[str], service: Consumer, store: Any, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Given up, kept, said once; an operator may revive it."""
    service.always = 401
    clock.now += DELIVERY_GIVEN_UP_SECONDS - OUTBOX_DELAY_SECONDS - 2
    assert worker.deliver() == Deliveries(postponed=3)
    clock.now += 2
    assert worker.deliver() == Deliveries(given_up=3)
    assert [(type(event), event.reason) for event in events] == [(DeliveryGivenUp, "status_401")] * 3  # type: ignore[attr-defined]
    assert store.outbox.stats() == OutboxStats(0, 3, None)
    clock.now += 10_000
    assert worker.deliver().total == 0
    service.always = None
    assert store.outbox.revive() == 3
    assert worker.deliver() == Deliveries(delivered=3)


def test_a_ring_that_cannot_sign_is_tried_again(store: Any, service: Consumer, keys: KeyRing, waiting: list[str], clock: Clock) -> None:  # fmt: skip
    """A revoked key without a successor: postponed, not lost."""
    revoked = keys.revoke(keys.keys[0].kid)
    with ConsumeClient(service.url, keys=revoked, clock=clock, **PATIENT) as client:
        assert OutboxWorker(store, client, clock=clock).deliver() == Deliveries(postponed=3)
    assert {entry.outcome for entry in store.outbox.entries(limit=9)} == {"no_signing_key"}


def test_an_entry_that_cannot_be_signed_does_not_hold_up_the_others(worker: OutboxWorker, waiting: list[str], store: Any, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Something else wrote it, with a redemption id that is none: given up at once, and the rest is delivered."""
    at = int(clock.now) - 10
    odd = handoff_id(at)
    store.consume(odd, scope="a scope of its own", redemption_id="nobody", consumed_at=at, retain_until=at + 500)
    assert worker.deliver() == Deliveries(delivered=3, given_up=1)
    assert events == [DeliveryGivenUp(handoff_id=odd, redemption_id="nobody", age_seconds=10, reason="invalid_entry")]


def test_a_final_refusal_settles_the_entry(worker: OutboxWorker, waiting: list[str], log: Any, store: Any, client: ConsumeClient, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Revoked there, or another's there: nothing more to deliver, and the operator is told which."""
    log.revoke(waiting[0])
    client.consume(waiting[1], issuer=ISSUER, audience=AUDIENCE, redemption_id="f" * 64, consumed_at=int(clock.now))
    assert worker.deliver() == Deliveries(delivered=1, refused=2)
    assert store.outbox.stats().pending == 0
    assert {event.handoff_id: type(event) for event in events} == {
        waiting[0]: DeliveryRefused,
        waiting[1]: LocalRowLost,
    }
    assert [event.deferred for event in events if isinstance(event, LocalRowLost)] == [True]


def test_settling_is_for_the_redemption_that_was_answered(store: Any, waiting: list[str]) -> None:
    """Another redemption id settles nothing, a second settling does nothing."""
    (entry, *_) = store.outbox.entries(limit=9)
    assert not store.outbox.settle(entry.handoff_id, entry.scope, "f" * 64)
    assert not store.outbox.settle(entry.handoff_id, "another\nscope", entry.redemption_id)
    assert store.outbox.settle(entry.handoff_id, entry.scope, entry.redemption_id)
    assert not store.outbox.settle(entry.handoff_id, entry.scope, entry.redemption_id)
    assert store.outbox.stats().pending == 2


def test_only_the_winner_writes_an_entry(keys: KeyRing, store: Any, client: ConsumeClient, clock: Clock, log: Any) -> None:  # fmt: skip
    """Nine browsers at once: one redemption, one entry, and it is the winner's."""
    minted = issue(keys, log, clock)
    handshake = Handshake(redeemer(keys, store, clock), client, "deferred")
    barrier, winners = threading.Barrier(9), []

    def try_one(n: int) -> None:
        barrier.wait()
        try:
            redeemed = handshake.redeem(minted.token, tenant=TENANT, browser_secret=bytes([n]) * 32)
        except Exception as exc:
            assert type(exc).__name__ == "ReplayedTokenError"  # noqa: PT017 - the others
        else:
            winners.append(redeemed.redemption_id)

    threads = [threading.Thread(target=try_one, args=(n,)) for n in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.redemption_id for entry in store.outbox.entries(limit=9)] == winners


def test_a_worker_runs_until_it_is_stopped(store: Any, client: ConsumeClient, waiting: list[str], clock: Clock, log: Any, events: list[HandoffEvent]) -> None:  # fmt: skip
    """It delivers what is there, says how old the outbox is, goes on after a failure of the store, and ends when told."""
    stop, failures = threading.Event(), iter([True, False])
    lease = store.outbox.lease

    def sometimes(*args: Any, **options: Any) -> Any:
        if next(failures, False):
            raise ReplayStoreError("down for a moment")
        return lease(*args, **options)

    store.outbox.lease = sometimes
    runner = OutboxWorker(store, client, on_event=events.append, clock=clock, randbelow=lambda below: 0)
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: OutboxAge(pending=0, dead=0, age_seconds=0) in events, "for it to be empty")
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert log.find(waiting[2]).state is HandoffState.CONSUMED


@pytest.mark.parametrize("problem", [OSError("the disk with the key file"), ConfigurationError("no key file")], ids=["strange", "ours"])  # fmt: skip
def test_a_worker_survives_what_nobody_foresaw(problem: Exception, store: Any, service: Consumer, keys: KeyRing, waiting: list[str], clock: Clock, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """The callable that gives the ring fails once, for whatever reason: said in the log, and delivered later."""
    failures = iter([problem])

    def ring() -> KeyRing:
        for failure in failures:
            raise failure
        return keys

    stop = threading.Event()
    with ConsumeClient(service.url, keys=ring, clock=clock, **PATIENT) as client:
        thread = threading.Thread(target=OutboxWorker(store, client, clock=clock, randbelow=lambda below: 0).run, args=(stop,))  # fmt: skip
        thread.start()
        try:
            wait_until(lambda: "worker_failed" in [getattr(record, "handoff_event", "") for record in caplog.records], "for it to be said")  # fmt: skip
            clock.now += DELIVERY_LEASE_SECONDS
            wait_until(lambda: store.outbox.stats().pending == 0, "for the delivery")
        finally:
            stop.set()
            thread.join(60)
    assert store.outbox.stats() == OutboxStats(0, 0, None)
    assert str(problem) in caplog.text


def test_an_awaited_worker_runs_until_it_is_cancelled(keys: KeyRing, service: Consumer, clock: Clock, tmp_path: Any, log: Any, events: list[HandoffEvent], caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """The same with asyncio: it goes on after a failure, delivers, and says how old the outbox is."""
    from ghasi_handoff import AsyncRedeemer, Verifier
    from ghasi_handoff.handshake import AsyncHandshake

    minted = issue(keys, log, clock)

    async def story() -> None:
        async with (
            AsyncSQLiteReplayStore(tmp_path / "async.db", outbox=True, clock=clock, timeout=UNHURRIED) as store,
            AsyncConsumeClient(service.url, keys=keys, clock=clock, **PATIENT) as client,
        ):
            made = AsyncRedeemer(Verifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock), store)
            await AsyncHandshake(made, client, "deferred").redeem(minted.token, tenant=TENANT, browser_secret=STRANGER)
            clock.now += OUTBOX_DELAY_SECONDS
            assert store.outbox is not None
            lease, failures = store.outbox.lease, iter([OSError("down for a moment")])

            async def sometimes(*args: Any, **options: Any) -> Any:
                for failure in failures:
                    raise failure
                return await lease(*args, **options)

            store.outbox.lease = sometimes  # type: ignore[method-assign]
            worker = AsyncOutboxWorker(store, client, on_event=events.append, clock=clock, randbelow=lambda below: 0)
            task = asyncio.create_task(worker.run())
            while (await store.outbox.stats()).pending or not any(isinstance(event, OutboxAge) for event in events):
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(asyncio.wait_for(story(), 60))
    assert log.find(minted.handoff_id).state is HandoffState.CONSUMED
    assert "down for a moment" in caplog.text


def test_a_worker_needs_an_outbox(client: ConsumeClient, store: Any) -> None:
    """A store without one, a client that is none, a mode that is none: refused at the start."""
    for make in (
        lambda: OutboxWorker(MemoryReplayStore(), client),
        lambda: OutboxWorker(store, None),
        lambda: OutboxWorker(store, client, mode="eager"),
        lambda: AsyncOutboxWorker(store, client),
    ):
        with pytest.raises(ConfigurationError):
            make()


@given(st.integers(0, 10**6), st.integers(0, 10**9))
def test_waits_grow_to_five_minutes_and_no_further(attempts: int, draw: int) -> None:
    """From one second on, by full jitter below a bound that doubles."""
    wait = next_try(1000, attempts, lambda below: draw % below) - 1000
    assert 1 <= wait <= 300
    assert wait <= 2 ** min(attempts, 20)
