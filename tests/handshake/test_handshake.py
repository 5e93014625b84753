"""The handshake over real stores and a real bff-consumer: strict and deferred, every answer and every fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff import (
    AsyncRedeemer,
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    InvalidMACError,
    KeyRing,
    Minter,
    ReplayedTokenError,
    ReplayStoreError,
    RevokedHandoffError,
    StoreGuarantees,
    Verifier,
)
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncHandshake,
    AsyncOutboxWorker,
    ConfirmationFailed,
    ConsumeClient,
    HandoffEvent,
    HandoffRedeemed,
    HandoffRefused,
    HandoffReplayed,
    HandoffState,
    HandoffUnknown,
    Handshake,
    LocalRowLost,
    OutboxWorker,
)
from ghasi_handoff.handshake._issuer import _record
from ghasi_handoff.replay import OutboxStats
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from ghasi_handoff.stores.redis import RedisReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from .services import (
    AUDIENCE,
    GUEST,
    ISSUER,
    PATIENT,
    SCOPE,
    STAY,
    STRANGER,
    TENANT,
    UNHURRIED,
    Clock,
    Consumer,
    issue,
    redeemer,
)


@pytest.fixture
def strict(keys: KeyRing, store: Any, client: ConsumeClient, clock: Clock, events: list[HandoffEvent]) -> Handshake:
    """The strict handshake."""
    return Handshake(redeemer(keys, store, clock), client, on_event=events.append)


@pytest.fixture
def deferred(keys: KeyRing, store: Any, client: ConsumeClient, clock: Clock, events: list[HandoffEvent]) -> Handshake:
    """The deferred handshake."""
    return Handshake(redeemer(keys, store, clock), client, "deferred", on_event=events.append)


@pytest.fixture
def token(keys: KeyRing, log: Any, clock: Clock) -> str:
    """The token of a handoff that both sides know."""
    return issue(keys, log, clock).token


def redeem(handshake: Handshake, token: str, browser: bytes = GUEST) -> Any:
    return handshake.redeem(token, tenant=TENANT, browser_secret=browser)


def handoff_of(strict: Handshake, token: str) -> str:
    return strict._rule.verifier.verify(token, tenant=TENANT).handoff_id


def holder(store: Any, handoff_id: str) -> str | None:
    """Who has the handoff, as the booking side's store says."""
    records = store.trace(handoff_id).records
    return records[0].redemption_id if records else None


def test_strict_goes_on_after_the_confirmation(strict: Handshake, token: str, log: Any, store: Any) -> None:
    """Both logs name this browser, and nothing waits in the outbox."""
    redemption = redeem(strict, token)
    row = log.find(redemption.handoff.handoff_id)
    assert (row.state, row.redemption_id) == (HandoffState.CONSUMED, redemption.redemption_id)
    assert row.consumed_at == redemption.redeemed_at.timestamp()
    assert holder(store, row.handoff_id) == redemption.redemption_id
    assert store.outbox.stats() == OutboxStats(0, 0, None)


def test_a_handshake_gives_the_keys_and_the_time_of_its_verifier(
    strict: Handshake, keys: KeyRing, clock: Clock
) -> None:
    """The landing page goes by the same ring, and by the same clock in whole seconds."""
    clock.now += 0.9
    assert strict.key_source() is keys
    assert strict.now() == int(clock.now)


def test_the_same_browser_may_repeat_it(strict: Handshake, token: str) -> None:
    """A refresh, a double click, a second tab: the same redemption again."""
    first = redeem(strict, token)
    second = redeem(strict, token)
    assert (first.redemption_id, first.redeemed_at) == (second.redemption_id, second.redeemed_at)
    assert (first.first, second.first) == (True, False)


def test_another_browser_is_refused_here(strict: Handshake, token: str, service: Consumer, events: list[HandoffEvent], clock: Clock) -> None:  # fmt: skip
    """A replay is refused by the local store, with the gap for the operator; bff-consumer is not called."""
    first = redeem(strict, token)
    calls = len(service.requests)
    clock.now += 41
    with pytest.raises(ReplayedTokenError):
        redeem(strict, token, STRANGER)
    assert len(service.requests) == calls
    (event,) = [event for event in events if isinstance(event, HandoffReplayed)]
    assert (event.gap_seconds, event.holder, event.tenant) == (41, first.redemption_id, TENANT)


@pytest.mark.parametrize("fault", [500, "reset", "slow", "lost", 404, 200], ids=str)
def test_strict_without_an_answer_lets_nobody_through(fault: Any, strict: Handshake, token: str, service: Consumer, log: Any, store: Any, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Not confirmed: the guest waits, the handoff stays theirs, the outbox remembers; once it answers, the same browser succeeds."""
    handoff_id = handoff_of(strict, token)
    service.always = fault
    with pytest.raises(ConfirmationUnavailableError) as caught:
        redeem(strict, token)
    assert caught.value.log_fields["tenant"] == TENANT
    assert store.outbox.stats().pending == 1
    assert [event.reason for event in events if isinstance(event, ConfirmationFailed)] == [caught.value.reason]
    assert any(isinstance(event, HandoffUnknown) for event in events) is (fault == 404)
    recorded = fault in ("slow", "lost")  # bff-consumer did its part, and nobody heard
    held = holder(store, handoff_id)
    assert log.find(handoff_id).state is (HandoffState.CONSUMED if recorded else HandoffState.ISSUED)
    assert log.find(handoff_id).redemption_id == (held if recorded else None)
    service.always = None
    with pytest.raises(ReplayedTokenError):
        redeem(strict, token, STRANGER)
    assert (
        redeem(strict, token).redemption_id == held == holder(store, handoff_id) == log.find(handoff_id).redemption_id
    )
    assert store.outbox.stats().pending == 0


def test_a_lost_reply_is_found_again(strict: Handshake, token: str, service: Consumer, log: Any) -> None:
    """bff-consumer recorded it and nobody heard: asked again, it says the same."""
    service.faults = ["lost", "lost"]
    with pytest.raises(ConfirmationUnavailableError):
        redeem(strict, token)
    assert log.find(handoff_of(strict, token)).state is HandoffState.CONSUMED
    redeem(strict, token)


def test_strict_without_anybody_there_lets_nobody_through(keys: KeyRing, store: Any, token: str, clock: Clock, log: Any, strict: Handshake) -> None:  # fmt: skip
    """bff-consumer is down: redeemed here, issued there, and the same browser's once it is up again."""
    with (
        ConsumeClient("http://127.0.0.1:9", keys=keys, clock=clock, **PATIENT) as nobody,
        pytest.raises(ConfirmationUnavailableError) as caught,
    ):
        redeem(Handshake(redeemer(keys, store, clock), nobody), token)
    handoff_id = handoff_of(strict, token)
    assert caught.value.reason == "unreachable"
    assert (log.find(handoff_id).state, store.outbox.stats().pending) == (HandoffState.ISSUED, 1)
    held = holder(store, handoff_id)
    assert redeem(strict, token).redemption_id == held == log.find(handoff_id).redemption_id


def test_a_revoked_handoff_is_refused(strict: Handshake, token: str, log: Any, store: Any, events: list[HandoffEvent]) -> None:  # fmt: skip
    """410: cancelled, and nothing is left to deliver."""
    log.revoke(handoff_of(strict, token))
    with pytest.raises(RevokedHandoffError):
        redeem(strict, token)
    assert store.outbox.stats().pending == 0
    assert [event.code for event in events if isinstance(event, HandoffRefused)] == ["revoked_handoff"]
    assert log.find(handoff_of(strict, token)).state is HandoffState.REVOKED
    assert holder(store, handoff_of(strict, token)) is not None, "nothing is ever un-consumed"


def wipe(store: Any) -> None:
    """Lose every row of the store, as a restore of an old copy or a failover does."""
    tables = ("handoff_replay_log", "handoff_outbox")
    if isinstance(store, SQLiteReplayStore):
        with store._file.session() as connection:
            for table in tables:
                connection.execute(f"DELETE FROM {table}")
    else:
        with store._pool.session() as connection:
            for table in tables:
                connection.execute(f"DELETE FROM {table}")


def test_a_lost_local_row_is_noticed(
    strict: Handshake, token: str, log: Any, store: Any, events: list[HandoffEvent]
) -> None:
    """The store gave it to a second browser, but the issuer's log names the first: refused, with an alarm, and nothing left to deliver."""
    first = redeem(strict, token)
    wipe(store)
    with pytest.raises(ReplayedTokenError) as caught:
        redeem(strict, token, STRANGER)
    assert caught.value.log_fields["tenant"] == TENANT
    (event,) = [event for event in events if isinstance(event, LocalRowLost)]
    assert (event.deferred, event.level) == (False, logging.CRITICAL)
    assert store.outbox.stats().pending == 0
    row = log.find(first.handoff.handoff_id)
    assert (row.redemption_id, holder(store, row.handoff_id)) == (first.redemption_id, event.redemption_id)
    with pytest.raises(ReplayedTokenError):
        redeem(strict, token)


def test_the_guest_survives_a_lost_local_row(strict: Handshake, token: str, log: Any, store: Any) -> None:
    """After the store lost the guest's row, the guest's own reload still succeeds: the redemption id is derived, so the issuer knows it."""
    first = redeem(strict, token)
    wipe(store)
    assert redeem(strict, token).redemption_id == first.redemption_id
    handoff_id = first.handoff.handoff_id
    assert holder(store, handoff_id) == log.find(handoff_id).redemption_id == first.redemption_id


def test_what_deferred_costs_when_rows_are_lost(deferred: Handshake, token: str, store: Any, log: Any, client: ConsumeClient, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Two guests go on with one handoff, as the documentation says; the delivery of the second raises the alarm."""
    first = redeem(deferred, token)
    clock.now += 3
    worker = OutboxWorker(store, client, mode="deferred", on_event=events.append, clock=clock)
    assert worker.deliver().delivered == 1
    wipe(store)
    redeem(deferred, token, STRANGER)
    clock.now += 3
    assert worker.deliver().refused == 1
    assert log.find(first.handoff.handoff_id).redemption_id == first.redemption_id
    assert [event.deferred for event in events if isinstance(event, LocalRowLost)] == [True]


def test_a_lagging_log_is_waited_for(strict: Handshake, keys: KeyRing, log: Any, store: Any, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """bff-consumer does not have the row yet: not confirmed, an alarm; once it has, the same browser succeeds."""
    minter = Minter(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
    minted = minter.mint(STAY, tenant=TENANT)
    with pytest.raises(ConfirmationUnavailableError) as caught:
        redeem(strict, minted.token)
    assert caught.value.reason == "status_404"
    assert any(isinstance(event, HandoffUnknown) for event in events)
    assert (log.find(minted.handoff_id), store.outbox.stats().pending) == (None, 1)
    log.record(_record(minted))
    redeemed = redeem(strict, minted.token)
    row = log.find(minted.handoff_id)
    assert (row.state, row.redemption_id) == (HandoffState.CONSUMED, redeemed.redemption_id)
    assert (holder(store, minted.handoff_id), store.outbox.stats().pending) == (redeemed.redemption_id, 0)


def test_a_store_that_is_down_refuses_and_calls_nobody(product: str, keys: KeyRing, log: Any, token: str, client: ConsumeClient, service: Consumer, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Fail closed: no local commit, no call."""
    with ExitStack() as stack:
        down: Any = SQLiteReplayStore("no such folder/replay.db")
        if product == "postgresql":
            pool = ConnectionPool("postgresql://nobody@127.0.0.1:9/none", min_size=0, max_size=1, open=True)
            stack.callback(pool.close, timeout=1)
            down = PostgresReplayStore(pool, timeout=0.3)
        handshake = Handshake(redeemer(keys, down, clock), client, on_event=events.append)
        with pytest.raises(ReplayStoreError):
            redeem(handshake, token)
    assert service.requests == []
    assert [event.code for event in events if isinstance(event, HandoffRefused)] == ["store_unavailable"]
    assert log.find(handoff_of(handshake, token)).state is HandoffState.ISSUED


def test_a_store_that_raises_its_own_errors_is_a_store_that_is_down(keys: KeyRing, token: str, client: ConsumeClient, service: Consumer, clock: Clock, events: list[HandoffEvent]) -> None:  # fmt: skip
    """Whatever a store of the application's own raises: refused, reported, and bff-consumer is not called."""

    class Failing(MemoryReplayStore):
        def consume(self, *arguments: Any, **entry: Any) -> Any:
            raise LookupError("password=secret")

    with pytest.raises(ReplayStoreError) as caught:
        redeem(Handshake(redeemer(keys, Failing(), clock), client, on_event=events.append), token)
    assert "secret" not in str(caught.value) and isinstance(caught.value.__cause__, LookupError)
    assert service.requests == []
    refused = [event for event in events if isinstance(event, HandoffRefused)]
    assert [(event.code, event.reason) for event in refused] == [("store_unavailable", "the store raised LookupError")]


def test_an_outbox_that_raises_its_own_errors_refuses_nobody(keys: KeyRing, token: str, client: ConsumeClient, clock: Clock) -> None:  # fmt: skip
    """bff-consumer has confirmed: that the entry cannot be taken out is for the worker to find."""

    class Outbox:
        def settle(self, *entry: str) -> bool:
            raise LookupError("of somebody's own")

    class Store(MemoryReplayStore):
        outbox: Any = Outbox()

    assert redeem(Handshake(redeemer(keys, Store(), clock), client), token).first


def test_a_token_that_fails_verify_calls_nobody(strict: Handshake, token: str, store: Any, service: Consumer, events: list[HandoffEvent]) -> None:  # fmt: skip
    """A forged token reaches neither store nor bff-consumer; the operator sees the code."""
    with pytest.raises(InvalidMACError):
        redeem(strict, token[:-1] + ("A" if token[-1] != "A" else "E"))
    assert service.requests == []
    assert store.stats().entries == 0
    assert [event.code for event in events if isinstance(event, HandoffRefused)] == ["invalid_mac"]


def test_looking_at_a_token_consumes_nothing(
    strict: Handshake, token: str, store: Any, service: Consumer, events: list[HandoffEvent], clock: Clock
) -> None:
    """The page before the form verifies, and changes nothing. A browser that was here has a minute more than others."""
    assert strict.look(token, TENANT, browser_known=False).tenant == TENANT
    assert holder(store, handoff_of(strict, token)) is None
    assert (service.requests, events) == ([], [])
    clock.now += 310
    strict.look(token, TENANT, browser_known=True)
    with pytest.raises(ExpiredTokenError):
        strict.look(token, TENANT, browser_known=False)
    clock.now += 60
    with pytest.raises(ExpiredTokenError):
        strict.look(token, TENANT, browser_known=True)
    assert [type(event) for event in events] == [HandoffRefused, HandoffRefused]


def test_its_own_redeemer_is_let_in_for_a_minute(strict: Handshake, token: str, clock: Clock) -> None:
    """After the token's end its own redeemer gets the same success, until 60 s past the leeway; another is told it is over."""
    redeem(strict, token)
    clock.now += 300 + 10 + 59
    redeem(strict, token)
    with pytest.raises(ReplayedTokenError):
        redeem(strict, token, STRANGER)
    clock.now += 1
    with pytest.raises(ExpiredTokenError):
        redeem(strict, token)


def test_a_redemption_that_was_never_in_time_leaves_nothing_to_deliver(deferred: Handshake, token: str, store: Any, clock: Clock) -> None:  # fmt: skip
    """Consumed in the minute after the end: expired, and the outbox does not report it."""
    clock.now += 300 + 10 + 5
    with pytest.raises(ExpiredTokenError):
        redeem(deferred, token)
    assert store.outbox.stats().pending == 0


def test_an_expired_token_does_not_unsettle_an_earlier_redemption(deferred: Handshake, token: str, store: Any, clock: Clock) -> None:  # fmt: skip
    """The guest comes back too late: the timely redemption is still to be delivered."""
    redeem(deferred, token)
    clock.now += 3600
    with pytest.raises(ExpiredTokenError):
        redeem(deferred, token)
    assert store.outbox.stats().pending == 1


def test_an_answer_that_comes_too_late_leaves_the_delivery(deferred: Handshake, token: str, store: Any, clock: Clock) -> None:  # fmt: skip
    """Consumed in time, but the store took until the grace was over: expired for this call, and still to be delivered."""
    consume = store.consume

    def slow(*args: Any, **entry: Any) -> Any:
        answer = consume(*args, **entry)
        clock.now += 300 + 10 + 60
        return answer

    store.consume = slow
    with pytest.raises(ExpiredTokenError):
        redeem(deferred, token)
    assert store.outbox.stats().pending == 1


def test_an_entry_that_cannot_be_settled_now_refuses_nobody(strict: Handshake, keys: KeyRing, token: str, log: Any, store: Any, client: ConsumeClient, clock: Clock) -> None:  # fmt: skip
    """bff-consumer has answered, and that counts: the guest goes on, or hears what it said; a worker settles the entry later."""
    settle = store.outbox.settle

    def down(*entry: str) -> Any:
        raise ReplayStoreError("down for a moment")

    store.outbox.settle = down
    redeem(strict, token)
    revoked = issue(keys, log, clock)
    log.revoke(revoked.handoff_id)
    with pytest.raises(RevokedHandoffError):
        redeem(strict, revoked.token)
    assert store.outbox.stats().pending == 2
    store.outbox.settle = settle
    clock.now += 3
    done = OutboxWorker(store, client, clock=clock).deliver()
    assert (done.delivered, done.refused, store.outbox.stats().pending) == (1, 1, 0)


def test_strict_needs_no_outbox(keys: KeyRing, token: str, client: ConsumeClient, clock: Clock) -> None:
    """A store that only remembers is enough where bff-consumer is asked each time."""
    handshake = Handshake(redeemer(keys, MemoryReplayStore(clock=clock), clock), client)
    assert redeem(handshake, token).redemption_id == redeem(handshake, token).redemption_id


def test_deferred_goes_on_after_the_local_commit(deferred: Handshake, token: str, service: Consumer, log: Any, store: Any) -> None:  # fmt: skip
    """bff-consumer is not called; the outbox has the redemption."""
    redemption = redeem(deferred, token)
    assert service.requests == []
    assert log.find(redemption.handoff.handoff_id).state is HandoffState.ISSUED
    (entry,) = store.outbox.entries(limit=10)
    assert (entry.handoff_id, entry.redemption_id) == (redemption.handoff.handoff_id, redemption.redemption_id)
    assert (entry.scope, entry.attempts, entry.dead_at) == (SCOPE, 0, None)
    redeem(deferred, token)
    assert store.outbox.stats().pending == 1


def test_a_store_that_means_something_else_by_outbox(keys: KeyRing, token: str, client: ConsumeClient, clock: Clock) -> None:  # fmt: skip
    """An attribute of that name that is no outbox is left alone in strict mode, and is none for deferred."""

    class Own(MemoryReplayStore):
        guarantees = StoreGuarantees(durable=True, shared=True, survives_failover=True, outbox=True)
        outbox = True

    own = Own(clock=clock)
    redeem(Handshake(redeemer(keys, own, clock), client), token)
    with pytest.raises(ConfigurationError, match="outbox"):
        Handshake(redeemer(keys, own, clock), client, "deferred")


def test_deferred_is_refused_on_a_store_that_cannot_carry_it(keys: KeyRing, client: ConsumeClient, tmp_path: Any, redis_url: str) -> None:  # fmt: skip
    """Memory, Redis, a store without its outbox, and one that promises nothing: refused when the service starts."""
    import redis

    class Silent:
        def consume(self, handoff_id: str, **entry: Any) -> Any:
            raise NotImplementedError

    with redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1) as one:
        for store in (MemoryReplayStore(), RedisReplayStore(one), SQLiteReplayStore(tmp_path / "r.db"), Silent()):
            Handshake(redeemer(keys, store), client)
            with pytest.raises(ConfigurationError, match="deferred mode needs"):
                Handshake(redeemer(keys, store), client, "deferred")
    Handshake(redeemer(keys, SQLiteReplayStore(tmp_path / "r.db", outbox=True)), client, "deferred")


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("writes", [True, False])
def test_deferred_goes_by_what_a_store_states(durable: bool, writes: bool, keys: KeyRing, client: ConsumeClient) -> None:  # fmt: skip
    """Somebody else's store is taken at its word: both, or strict only."""

    class Stated(MemoryReplayStore):
        guarantees = StoreGuarantees(durable=durable, shared=True, survives_failover=True, outbox=writes)
        outbox = SQLiteReplayStore("never opened.db", outbox=True).outbox

    def make() -> Handshake:
        return Handshake(redeemer(keys, Stated()), client, "deferred")

    if durable and writes:
        make()
    else:
        with pytest.raises(ConfigurationError):
            make()


def test_a_page_judges_by_the_verifiers_keys_and_clock(keys: KeyRing, client: ConsumeClient, store: Any, clock: Clock) -> None:  # fmt: skip
    """What a page looks up, and how long it waits, follows the ring and the clock by which its token is verified."""
    handshake = Handshake(redeemer(lambda: keys, store, clock), client)
    clock.now += 0.9
    assert (handshake.key_source(), handshake.now()) == (keys, int(clock.now))


def test_parts_of_the_wrong_kind_are_refused_at_the_start(keys: KeyRing, client: ConsumeClient, store: Any) -> None:
    """A redeemer, client, mode or hook that is none, or a hook that would have to be awaited."""

    async def awaited_hook(event: HandoffEvent) -> None:
        raise NotImplementedError

    good = redeemer(keys, store)
    awaited = AsyncRedeemer(Verifier(keys, issuer=ISSUER, audience=AUDIENCE), AsyncMemoryReplayStore())
    async_client = AsyncConsumeClient("https://bff-consumer.example", keys=keys)
    wrong: list[Callable[[], Any]] = [
        lambda: Handshake(store, client),
        lambda: Handshake(awaited, client),  # type: ignore[arg-type]
        lambda: Handshake(good, async_client),  # type: ignore[arg-type]
        lambda: Handshake(good, None),  # type: ignore[arg-type]
        lambda: Handshake(good, client, "eager"),  # type: ignore[arg-type]
        lambda: Handshake(good, client, on_event="x"),  # type: ignore[arg-type]
        lambda: Handshake(good, client, on_event=awaited_hook),  # type: ignore[arg-type]
        lambda: AsyncHandshake(good, async_client),  # type: ignore[arg-type]
        lambda: AsyncHandshake(awaited, client),  # type: ignore[arg-type]
    ]
    for make in wrong:
        with pytest.raises(ConfigurationError):
            make()


def test_a_broken_hook_refuses_no_guest(keys: KeyRing, store: Any, client: ConsumeClient, clock: Clock, token: str, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """What the application's hook raises is logged and goes no further."""

    def broken(event: HandoffEvent) -> None:
        raise RuntimeError("no connection to the counter")

    redeem(Handshake(redeemer(keys, store, clock), client, on_event=broken), token)
    assert "the event hook failed" in caplog.text


def test_events_are_logged_with_their_fields_and_without_secrets(strict: Handshake, token: str, service: Consumer, events: list[HandoffEvent], caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """The logger has the name and the fields of each event; neither token, MAC nor browser secret shows anywhere."""
    with caplog.at_level(logging.DEBUG, "ghasi_handoff"):
        redeemed = redeem(strict, token)
        with pytest.raises(ReplayedTokenError):
            redeem(strict, token, STRANGER)
    records = {record.handoff_event: record for record in caplog.records}  # type: ignore[attr-defined]
    assert records["redeemed"].handoff_id == redeemed.handoff.handoff_id  # type: ignore[attr-defined]
    assert records["redeemed"].handoff_tenant == TENANT  # type: ignore[attr-defined]
    assert records["replayed"].levelno == logging.WARNING
    shown = repr(events) + repr([vars(record) for record in caplog.records])
    header = service.requests[0][1][0]
    for secret in (token, token.rsplit(".", 1)[1], header.rsplit("=", 1)[1], "GGGGGGGG", GUEST.hex(), STRANGER.hex()):
        assert secret not in shown
    assert any(isinstance(event, HandoffRedeemed) for event in events)


def test_awaited_it_does_the_same(product: str, url: str, keys: KeyRing, log: Any, service: Consumer, clock: Clock) -> None:  # fmt: skip
    """The asyncio handshake: success, replay, no answer, deferred, and the worker's delivery."""

    async def story(store: Any) -> None:
        await store.create_schema()
        made = AsyncRedeemer(Verifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock), store)
        async with AsyncConsumeClient(service.url, keys=keys, clock=clock, **PATIENT) as client:
            strict = AsyncHandshake(made, client)
            one, two = issue(keys, log, clock), issue(keys, log, clock)
            await strict.redeem(one.token, tenant=TENANT, browser_secret=GUEST)
            with pytest.raises(ReplayedTokenError):
                await strict.redeem(one.token, tenant=TENANT, browser_secret=STRANGER)
            service.always = 500
            with pytest.raises(ConfirmationUnavailableError):
                await strict.redeem(two.token, tenant=TENANT, browser_secret=GUEST)
            service.always = None
            three = issue(keys, log, clock)
            deferred = AsyncHandshake(made, client, "deferred")
            await asyncio.gather(*(deferred.redeem(three.token, tenant=TENANT, browser_secret=GUEST) for _ in range(5)))
            assert (await store.outbox.stats()).pending == 2
            worker = AsyncOutboxWorker(store, client, clock=clock)
            assert (await worker.deliver()).total == 0
            clock.now += 3
            assert (await worker.deliver()).delivered == 2
            assert (await store.outbox.stats()).pending == 0
        assert log.find(two.handoff_id).state is HandoffState.CONSUMED
        assert log.find(three.handoff_id).state is HandoffState.CONSUMED

    async def on_sqlite() -> None:
        async with AsyncSQLiteReplayStore(f"{url}/async.db", outbox=True, clock=clock, timeout=UNHURRIED) as store:
            await story(store)

    async def on_postgresql() -> None:
        async with (
            AsyncConnectionPool(url, min_size=1, open=False) as pool,
            AsyncPostgresReplayStore(pool, outbox=True, clock=clock, timeout=UNHURRIED) as store,
        ):
            await story(store)

    asyncio.run(on_sqlite() if product == "sqlite" else on_postgresql())


def test_a_cancelled_redemption_stays_the_guests(keys: KeyRing, log: Any, service: Consumer, clock: Clock, tmp_path: Any) -> None:  # fmt: skip
    """The guest closes the page while bff-consumer is asked: nothing is un-consumed, the outbox remembers, a reload succeeds."""
    minted = issue(keys, log, clock)
    service.faults = ["slow"]

    async def story() -> None:
        async with (
            AsyncSQLiteReplayStore(tmp_path / "async.db", outbox=True, clock=clock, timeout=UNHURRIED) as store,
            AsyncConsumeClient(service.url, keys=keys, clock=clock, **PATIENT) as client,
        ):
            made = AsyncRedeemer(Verifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock), store)
            handshake = AsyncHandshake(made, client)
            loop, asked = asyncio.get_running_loop(), asyncio.Event()
            service.held_back = lambda: loop.call_soon_threadsafe(asked.set)
            task = asyncio.create_task(handshake.redeem(minted.token, tenant=TENANT, browser_secret=GUEST))
            await asyncio.wait_for(asked.wait(), 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert store.outbox is not None
            assert (await store.outbox.stats()).pending == 1
            with pytest.raises(ReplayedTokenError):
                await handshake.redeem(minted.token, tenant=TENANT, browser_secret=STRANGER)
            redeemed = await handshake.redeem(minted.token, tenant=TENANT, browser_secret=GUEST)
            assert log.find(minted.handoff_id).redemption_id == redeemed.redemption_id
            assert (await store.outbox.stats()).pending == 0

    asyncio.run(story())


def test_the_stores_of_both_products_say_what_they_write(tmp_path: Any) -> None:
    """A store without its outbox has none to deliver from."""
    assert SQLiteReplayStore(tmp_path / "r.db").outbox is None
    assert PostgresReplayStore.guarantees.outbox
