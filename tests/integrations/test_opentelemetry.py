"""Telemetry with the real SDK, a real store with its outbox and a real bff-consumer: what is counted, and what never is."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanKind, StatusCode

from ghasi_handoff import (
    AsyncRedeemer,
    ConfigurationError,
    Consumption,
    HandoffError,
    KeyRing,
    MintedHandoff,
    Redeemer,
    Redemption,
    ReplayStore,
    ReplayStoreError,
    Verifier,
)
from ghasi_handoff._limits import OUTBOX_DELAY_SECONDS
from ghasi_handoff.errors import (
    ConfirmationUnavailableError,
    InvalidMACError,
    MalformedTokenError,
    ReplayedTokenError,
    UnknownKeyError,
)
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncHandshake,
    AsyncOutboxWorker,
    CallAnswered,
    ConfirmationFailed,
    ConsumeClient,
    ConsumeRequest,
    Deliveries,
    DeliveryGivenUp,
    DeliveryRefused,
    HandoffEvent,
    HandoffRedeemed,
    HandoffRefused,
    HandoffReplayed,
    Handshake,
    LocalRowLost,
    OutboxAge,
    OutboxWorker,
    SQLiteHandoffLog,
    answer_consume,
)
from ghasi_handoff.handshake._modes import Mode
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry, hide_query
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore
from tests.handshake.services import (
    AUDIENCE,
    GUEST,
    ISSUER,
    SCOPE,
    STRANGER,
    TENANT,
    Clock,
    Consumer,
    consumer,
    handoff_id,
    issue,
)

# No answer is late on a busy machine, and nobody reads the authorities that https would need.
PATIENT: Any = {"connect_timeout": 10, "timeout": 10, "verify": ssl.create_default_context()}


class Observatory:
    """An SDK that keeps everything, and reads it back."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.exporter = InMemorySpanExporter()
        self.meters = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def telemetry(self, keys: Any = None, **options: Any) -> HandoffTelemetry:
        return HandoffTelemetry(keys, meter_provider=self.meters, tracer_provider=self.tracers, **options)

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> list[Any]:
        metric = self.metrics().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def values(self, name: str, *attributes: str) -> dict[Any, int | float]:
        """The value of each series (of a histogram: its count), by the values of these attributes."""
        found: dict[Any, int | float] = {}
        for point in self.points(name):
            key = tuple(point.attributes.get(attribute) for attribute in attributes)
            value = point.count if isinstance(point, HistogramDataPoint) else point.value
            found[key[0] if len(key) == 1 else key] = value
        return found

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def everything(self) -> str:
        """All that was exported, as text."""
        data = self.reader.get_metrics_data()
        spans = [f"{span.to_json()} {span.events!r} {span.links!r}" for span in self.exporter.get_finished_spans()]
        return "\n".join([repr(data), data.to_json() if data else "", *spans])


class Booking:
    """bff-tenant-booking, with its store and its client under observation. Everything is opened for each call."""

    def __init__(self, kind: str, telemetry: HandoffTelemetry, path: Path, url: str, keys: Any, clock: Clock) -> None:
        self.awaited = kind == "asyncio"
        self.telemetry = telemetry
        self.path = path
        self.url = url
        self.keys = keys
        self.clock = clock
        self.verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)

    def redeem(self, token: str, browser: bytes = GUEST, mode: Mode = "strict") -> Redemption:
        on_event = self.telemetry.on_event
        if self.awaited:

            async def run() -> Redemption:
                async with self._async_store() as store, self._async_client() as client:
                    handshake = AsyncHandshake(AsyncRedeemer(self.verifier, store), client, mode, on_event=on_event)
                    return await handshake.redeem(token, tenant=TENANT, browser_secret=browser)

            return asyncio.run(run())
        with self._store() as store, self._client() as client:
            handshake = Handshake(Redeemer(self.verifier, store), client, mode, on_event=on_event)
            return handshake.redeem(token, tenant=TENANT, browser_secret=browser)

    def deliver(self) -> Deliveries:
        if self.awaited:

            async def run() -> Deliveries:
                async with self._async_store() as store, self._async_client() as client:
                    return await AsyncOutboxWorker(store, client, mode="deferred", clock=self.clock).deliver()

            return asyncio.run(run())
        with self._store() as store, self._client() as client:
            return OutboxWorker(store, client, mode="deferred", clock=self.clock).deliver()

    def _store(self) -> SQLiteReplayStore:
        return self.telemetry.store(SQLiteReplayStore(self.path, outbox=True, timeout=60, clock=self.clock))

    def _async_store(self) -> AsyncSQLiteReplayStore:
        return self.telemetry.store(AsyncSQLiteReplayStore(self.path, outbox=True, timeout=60, clock=self.clock))

    def _client(self) -> ConsumeClient:
        return self.telemetry.client(ConsumeClient(self.url, keys=self.keys, clock=self.clock, **PATIENT))

    def _async_client(self) -> AsyncConsumeClient:
        return self.telemetry.client(AsyncConsumeClient(self.url, keys=self.keys, clock=self.clock, **PATIENT))


@pytest.fixture
def clock() -> Clock:
    """Both services' clock."""
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> KeyRing:
    """The ring of the pair."""
    return KeyRing.generate(now=datetime.fromtimestamp(clock.now - 60, UTC))


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[SQLiteHandoffLog]:
    """bff-consumer's handoff log."""
    with SQLiteHandoffLog(tmp_path / "log.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def service(log: SQLiteHandoffLog, keys: KeyRing, clock: Clock) -> Iterator[Consumer]:
    """bff-consumer."""
    with consumer(log, keys, clock) as running:
        yield running


@pytest.fixture
def observatory() -> Iterator[Observatory]:
    """What was exported."""
    made = Observatory()
    yield made
    made.meters.shutdown()
    made.tracers.shutdown()


@pytest.fixture
def telemetry(observatory: Observatory, keys: KeyRing) -> HandoffTelemetry:
    """The telemetry under test."""
    return observatory.telemetry(keys)


@pytest.fixture(params=["threads", "asyncio"])
def booking(
    request: pytest.FixtureRequest,
    telemetry: HandoffTelemetry,
    tmp_path: Path,
    service: Consumer,
    keys: KeyRing,
    clock: Clock,
) -> Booking:
    """The booking side, for threads and for asyncio."""
    return Booking(request.param, telemetry, tmp_path / "replay.db", service.url, keys, clock)


@pytest.fixture
def minted(keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> MintedHandoff:
    """A handoff that both sides know."""
    return issue(keys, log, clock)


def refused(error: type[HandoffError], call: Callable[..., object], *arguments: object) -> None:
    """The call is refused with that error."""
    with pytest.raises(error):
        call(*arguments)


def altered(token: str) -> str:
    """The token with another MAC."""
    return f"{token[:-3]}{'AAA' if token[-3:] != 'AAA' else 'BAA'}"


def story(booking: Booking, minted: MintedHandoff, service: Consumer, other: MintedHandoff) -> None:
    """Every kind of outcome once, and a delivery."""
    booking.redeem(minted.token)
    booking.redeem(minted.token)
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    refused(InvalidMACError, booking.redeem, altered(minted.token))
    refused(MalformedTokenError, booking.redeem, "nonsense")
    service.faults = [404]
    refused(ConfirmationUnavailableError, booking.redeem, other.token)
    booking.clock.now += OUTBOX_DELAY_SECONDS
    assert booking.deliver().delivered == 1


# Counted


def test_every_outcome_is_counted_by_its_code(booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> None:  # fmt: skip
    """Let through, let through again, another browser's, refused by verify, not confirmed: one series each."""
    story(booking, minted, service, issue(keys, log, clock))
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {
        "redeemed": 1,
        "repeated": 1,
        "replayed": 1,
        "invalid_mac": 1,
        "malformed": 1,
        "confirmation_unavailable": 1,
    }


def test_a_store_that_cannot_answer_is_an_outcome(telemetry: HandoffTelemetry, observatory: Observatory, booking: Booking, minted: MintedHandoff, tmp_path: Path) -> None:  # fmt: skip
    """Nobody was let through, and the code says whose fault it is: in the counter, the duration and the span."""
    booking.path = tmp_path / "no" / "such" / "folder.db"
    refused(ReplayStoreError, booking.redeem, minted.token)
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {"store_unavailable": 1}
    assert observatory.values("ghasi_handoff.store.duration", "error.type") == {"store_unavailable": 1}
    (span,) = observatory.spans("ghasi_handoff.consume")
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, "store_unavailable")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ConfirmationFailed(redemption_id="r", reason="timeout"), "timeout"),
        (DeliveryGivenUp(redemption_id="r", age_seconds=86400, reason="status_404"), "status_404"),
        (DeliveryRefused(redemption_id="r", code="revoked_handoff"), "revoked_handoff"),
        (HandoffRefused(code="malformed", reason="a text for operators"), None),
        (LocalRowLost(redemption_id="r", deferred=True), None),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_every_event_is_counted_by_its_name(telemetry: HandoffTelemetry, observatory: Observatory, event: HandoffEvent, reason: str | None) -> None:  # fmt: skip
    """With its reason where that is one word of a short list; texts for operators are for the log."""
    telemetry.on_event(event)
    assert observatory.values("ghasi_handoff.events", "ghasi_handoff.event", "ghasi_handoff.reason") == {
        (event.name, reason): 1
    }


def test_lost_rows_end_an_attempt_only_where_a_guest_waits(telemetry: HandoffTelemetry, observatory: Observatory) -> None:  # fmt: skip
    """A worker that finds out adds no attempt; a guest who is refused for it is one."""
    telemetry.on_event(LocalRowLost(handoff_id="id", redemption_id="r", deferred=True))
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {}
    telemetry.on_event(LocalRowLost(handoff_id="id", tenant=TENANT, kid="k", redemption_id="r", deferred=False))
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {"local_row_lost": 1}


def test_another_browsers_attempt_is_a_gap(booking: Booking, minted: MintedHandoff, observatory: Observatory, clock: Clock) -> None:  # fmt: skip
    """Replay hits are the histogram's count; the gap is in seconds, in buckets for seconds."""
    booking.redeem(minted.token)
    clock.now += 40
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    (point,) = observatory.points("ghasi_handoff.replay.gap")
    assert (point.count, point.sum, dict(point.attributes)) == (1, 40, {})
    assert point.bucket_counts[point.explicit_bounds.index(60)] == 1


def test_buckets(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:
    """A dashboard counts on the buckets' boundaries: each duration and gap has these, in seconds, and no others."""
    booking.redeem(minted.token)
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    calls = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10)
    metrics = observatory.metrics()
    found = {
        name: {(metric.unit, tuple(point.explicit_bounds)) for point in metric.data.data_points}
        for name, metric in metrics.items()
        if isinstance(metric.data, Histogram)
    }
    assert found == {
        "ghasi_handoff.store.duration": {("s", calls)},
        "ghasi_handoff.confirmation.duration": {("s", calls)},
        "ghasi_handoff.replay.gap": {("s", (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600))},
    }


def test_a_gap_below_zero_counts_as_none(telemetry: HandoffTelemetry, observatory: Observatory) -> None:
    """Two machines' clocks differ: the replay is counted all the same."""
    telemetry.on_event(HandoffReplayed(redemption_id="a", holder="b", gap_seconds=-2))
    (point,) = observatory.points("ghasi_handoff.replay.gap")
    assert (point.count, point.sum) == (1, 0)


def test_consume_calls_are_counted_by_status_and_code(telemetry: HandoffTelemetry, observatory: Observatory, booking: Booking, minted: MintedHandoff, service: Consumer, log: SQLiteHandoffLog, keys: KeyRing, clock: Clock) -> None:  # fmt: skip
    """At bff-consumer: a real call, the same for a handoff of another path, and one that is not authentic."""
    booking.redeem(minted.token)
    (_, authorization, body) = service.requests[-1]
    for path_id, fields in ((minted.handoff_id, authorization), ("other", authorization), (minted.handoff_id, [])):
        request = ConsumeRequest(path_id=path_id, authorization=fields, body=body)
        answer_consume(request, log=log, keys=keys, clock=clock, on_event=telemetry.on_event)
    assert observatory.values("ghasi_handoff.consume_calls", "http.response.status_code", "error.type") == {
        (200, None): 1,
        (404, "unknown_handoff"): 1,
        (401, "unauthenticated_call"): 1,
    }


def test_a_running_worker_shows_its_outbox(telemetry: HandoffTelemetry, observatory: Observatory, booking: Booking, minted: MintedHandoff, service: Consumer, clock: Clock) -> None:  # fmt: skip
    """How many wait, how many were given up, and how old the oldest is, in seconds."""
    booking.redeem(minted.token, mode="deferred")
    service.always = 503
    clock.now += 90
    stop = threading.Event()

    def on_event(event: HandoffEvent) -> None:
        telemetry.on_event(event)
        if isinstance(event, OutboxAge):
            stop.set()

    if not booking.awaited:
        with booking._store() as store, booking._client() as client:
            OutboxWorker(store, client, mode="deferred", on_event=on_event, clock=clock).run(stop)
    else:

        async def run() -> None:
            async with booking._async_store() as store, booking._async_client() as client:
                worker = AsyncOutboxWorker(store, client, mode="deferred", on_event=on_event, clock=clock)
                task = asyncio.create_task(worker.run())
                while not stop.is_set():
                    await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(run())
    metrics = observatory.metrics()  # once: an older SDK tells a gauge's value only once
    names = ("ghasi_handoff.outbox.pending", "ghasi_handoff.outbox.dead", "ghasi_handoff.outbox.age")
    assert [[point.value for point in metrics[name].data.data_points] for name in names] == [[1], [0], [90]]
    assert observatory.values("ghasi_handoff.events", "ghasi_handoff.event")["outbox_age"] == 1


# Keys


def test_handoffs_are_counted_by_the_state_of_the_key_that_signed(observatory: Observatory, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock, service: Consumer, tmp_path: Path) -> None:  # fmt: skip
    """As the ring says at that moment: during a rotation the old key's share falls."""
    present = keys
    booking = Booking(
        "threads",
        observatory.telemetry(lambda: present),
        tmp_path / "replay.db",
        service.url,
        keys,
        clock,
    )
    booking.redeem(issue(keys, log, clock).token)
    now = datetime.fromtimestamp(clock.now, UTC)
    present = keys.rotate(now=now - timedelta(seconds=30), propagation=timedelta(0))
    booking.redeem(issue(keys, log, clock).token)
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.key.state") == {"active": 1, "verify-only": 1}


def test_made_up_kids_make_one_series(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:
    """A kid is read before the MAC: an outsider could fill the metrics with names of his own."""
    for number in range(20):
        token = minted.token.replace(f".{minted.kid}.", f".kid{number}.")
        refused(UnknownKeyError, booking.redeem, token)
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome", "ghasi_handoff.key.state") == {
        ("unknown_key", "unknown"): 20
    }
    assert "kid1" not in observatory.everything()


def test_without_a_ring_no_state_is_told(observatory: Observatory, minted: MintedHandoff) -> None:
    """Nothing is guessed."""
    observatory.telemetry().on_event(
        HandoffRedeemed(handoff_id="id", tenant=TENANT, kid=minted.kid, redemption_id="r", first=True, mode="strict")
    )
    (point,) = observatory.points("ghasi_handoff.redemptions")
    assert dict(point.attributes) == {"ghasi_handoff.outcome": "redeemed"}
    assert "ghasi_handoff.keys" not in observatory.metrics()


def test_a_ring_that_cannot_be_read_costs_no_count(observatory: Observatory, minted: MintedHandoff) -> None:
    """The state is missing, the handoff is not, and the ring's own gauge has no value."""

    def lost() -> KeyRing:
        raise OSError("keys.json")

    observatory.telemetry(lost).on_event(
        HandoffRedeemed(handoff_id="id", kid=minted.kid, redemption_id="r", first=True, mode="strict")
    )
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {"redeemed": 1}
    assert observatory.values("ghasi_handoff.keys") == {}


def test_the_rings_keys_are_counted_by_state(observatory: Observatory, keys: KeyRing) -> None:
    """Zeros included: an alarm waits for a ring without an active key. Read anew each time."""
    present = keys.rotate()
    telemetry = observatory.telemetry(lambda: present)
    states = {"pending": 1, "active": 1, "verify-only": 0, "retired": 0, "revoked": 0}
    assert observatory.values("ghasi_handoff.keys", "ghasi_handoff.key.state") == states
    present = keys.revoke(keys.keys[0].kid)
    states = {"pending": 0, "active": 0, "verify-only": 0, "retired": 0, "revoked": 1}
    assert observatory.values("ghasi_handoff.keys", "ghasi_handoff.key.state") == states
    del telemetry


# Tenants


def test_tenants_are_counted_only_if_asked_for(observatory: Observatory) -> None:
    """A platform has thousands of them."""
    events = [
        HandoffRedeemed(tenant=TENANT, redemption_id="r", first=True, mode="strict"),
        HandoffReplayed(tenant=TENANT, redemption_id="r", holder="h", gap_seconds=1),
        CallAnswered(tenant=TENANT, status=200),
    ]
    names = ("ghasi_handoff.redemptions", "ghasi_handoff.replay.gap", "ghasi_handoff.consume_calls")
    other = Observatory()
    for event in events:
        observatory.telemetry().on_event(event)
        other.telemetry(by_tenant=True).on_event(event)
    assert TENANT not in observatory.everything()
    assert [set(other.values(name, "ghasi_handoff.tenant")) for name in names] == [{TENANT}] * 3


# Measured calls


def test_a_stores_consume_is_measured_and_traced(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:  # fmt: skip
    """By store and outcome, in seconds, with bucket boundaries for milliseconds; a span names the handoff."""
    begun = time.perf_counter()
    booking.redeem(minted.token)
    booking.redeem(minted.token)
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    passed = time.perf_counter() - begun
    store = "AsyncSQLiteReplayStore" if booking.awaited else "SQLiteReplayStore"
    outcomes = ["redeemed", "repeated", "replayed"]
    name = "ghasi_handoff.store.duration"
    assert observatory.values(name, "ghasi_handoff.store.type", "ghasi_handoff.outcome") == {
        (store, outcome): 1 for outcome in outcomes
    }
    assert all(0 < point.sum < passed and point.explicit_bounds[0] == 0.001 for point in observatory.points(name))
    spans = observatory.spans("ghasi_handoff.consume")
    assert [dict(span.attributes or {}) for span in spans] == [
        {
            "ghasi_handoff.handoff_id": minted.handoff_id,
            "ghasi_handoff.store.type": store,
            "ghasi_handoff.outcome": outcome,
        }
        for outcome in outcomes
    ]
    assert {(span.kind, span.status.status_code) for span in spans} == {(SpanKind.INTERNAL, StatusCode.UNSET)}


def test_a_consume_call_is_measured_and_traced(booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory) -> None:  # fmt: skip
    """Confirmed, refused for good, and unanswered, each by its code and reason; a client's span names the handoff."""
    gone = (410, "application/problem+json", b'{"code":"revoked_handoff"}')
    service.faults = [None, gone, 404]
    booking.redeem(minted.token)
    refused(HandoffError, booking.redeem, minted.token)
    refused(HandoffError, booking.redeem, minted.token)
    name = "ghasi_handoff.confirmation.duration"
    assert observatory.values(name, "error.type", "ghasi_handoff.reason") == {
        (None, None): 1,
        ("revoked_handoff", None): 1,
        ("confirmation_unavailable", "status_404"): 1,
    }
    spans = observatory.spans("ghasi_handoff.confirm")
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.ERROR]
    assert {(span.kind, (span.attributes or {})["ghasi_handoff.handoff_id"]) for span in spans} == {
        (SpanKind.CLIENT, minted.handoff_id)
    }


def test_spans_are_children_of_the_callers(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:
    """A request's trace shows its store and its confirmation."""
    with observatory.tracers.get_tracer("application").start_as_current_span("POST /handoff") as request:
        booking.redeem(minted.token)
    spans = observatory.spans("ghasi_handoff.consume") + observatory.spans("ghasi_handoff.confirm")
    assert [span.parent and span.parent.span_id for span in spans] == [request.get_span_context().span_id] * 2


def test_a_slow_bucket_leads_to_its_trace(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:
    """An exemplar of each duration names the call's own span, not the request's."""
    with observatory.tracers.get_tracer("application").start_as_current_span("POST /handoff"):
        booking.redeem(minted.token)
    metrics = observatory.metrics()  # once: to read exemplars is to take them
    for call, name in (("consume", "store"), ("confirm", "confirmation")):
        (span,) = observatory.spans(f"ghasi_handoff.{call}")
        (point,) = metrics[f"ghasi_handoff.{name}.duration"].data.data_points
        assert [exemplar.span_id for exemplar in point.exemplars] == [span.context and span.context.span_id]


@pytest.mark.parametrize("awaited", [False, True])
def test_what_a_store_does_inside_is_a_child_of_its_span(awaited: bool, telemetry: HandoffTelemetry, observatory: Observatory) -> None:  # fmt: skip
    """A driver's own instrumentation hangs below the consume that it belongs to."""
    tracer = observatory.tracers.get_tracer("driver")

    class Store:
        def consume(self, handoff_id: str, **entry: Any) -> Consumption:
            with tracer.start_as_current_span("SELECT"):
                return Consumption("r", True, 0)

    class AsyncStore:
        async def consume(self, handoff_id: str, **entry: Any) -> Consumption:
            return Store().consume(handoff_id, **entry)

    store: Any = telemetry.store(cast("Any", AsyncStore() if awaited else Store()))
    answer = store.consume("id", redemption_id="r")
    assert (asyncio.run(answer) if awaited else answer) == Consumption("r", True, 0)
    (inner,), (outer,) = observatory.spans("SELECT"), observatory.spans("ghasi_handoff.consume")
    assert inner.parent == outer.context


@pytest.mark.parametrize("awaited", [False, True])
def test_a_failure_reaches_the_caller_as_it_is(awaited: bool, telemetry: HandoffTelemetry, observatory: Observatory) -> None:  # fmt: skip
    """The very exception; the span ends with its type and without its text."""
    error = ZeroDivisionError("a text that nobody has looked at")

    class Store:
        def consume(self, handoff_id: str, **entry: Any) -> NoReturn:
            raise error

    class AsyncStore:
        async def consume(self, handoff_id: str, **entry: Any) -> NoReturn:
            raise error

    store: Any = telemetry.store(cast("Any", AsyncStore() if awaited else Store()))
    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(store.consume("id")) if awaited else store.consume("id")
    assert caught.value is error
    assert observatory.values("ghasi_handoff.store.duration", "error.type") == {"ZeroDivisionError": 1}
    (span,) = observatory.spans("ghasi_handoff.consume")
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())


def test_a_cancelled_call_is_measured(telemetry: HandoffTelemetry, observatory: Observatory) -> None:
    """A guest who closes the page is not a store that never answers."""

    class Store:
        async def consume(self, handoff_id: str, **entry: Any) -> NoReturn:
            await asyncio.Event().wait()
            raise AssertionError

    async def run() -> None:
        store: Any = telemetry.store(cast("Any", Store()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.consume("id"), 0.01)

    asyncio.run(run())
    assert observatory.values("ghasi_handoff.store.duration", "error.type") == {"CancelledError": 1}
    assert len(observatory.spans("ghasi_handoff.consume")) == 1


# Wrapped as it was


def test_a_measured_store_answers_as_before(telemetry: HandoffTelemetry, clock: Clock) -> None:
    """What the store says, word for word."""
    now = int(clock.now)
    store = telemetry.store(MemoryReplayStore())
    entry: Any = {"scope": SCOPE, "consumed_at": now, "retain_until": now + 600}
    one = handoff_id(now)
    assert store.consume(one, redemption_id="a", **entry) == Consumption("a", True, now)
    assert store.consume(one, redemption_id="b", **entry) == Consumption("a", False, now)


def test_deferred_mode_and_a_worker_take_a_measured_store(booking: Booking, minted: MintedHandoff, observatory: Observatory, clock: Clock) -> None:  # fmt: skip
    """Its guarantees and its outbox are the store's; the delivery is measured like a direct confirmation."""
    booking.redeem(minted.token, mode="deferred")
    assert observatory.values("ghasi_handoff.confirmation.duration") == {}
    clock.now += OUTBOX_DELAY_SECONDS
    assert booking.deliver() == Deliveries(delivered=1)
    assert observatory.values("ghasi_handoff.confirmation.duration") == {(): 1}


def test_a_measured_store_has_everything_of_its_own(telemetry: HandoffTelemetry, tmp_path: Path) -> None:
    """What it states, its outbox, its maintenance, and its end."""
    own = SQLiteReplayStore(tmp_path / "replay.db", outbox=True)
    store = telemetry.store(own)
    assert (store.guarantees, store.outbox) == (own.guarantees, own.outbox)
    store.create_schema()
    assert (store.check().ok, store.stats().entries, store.purge()) == (True, 0, 0)
    store.close()
    with pytest.raises(ReplayStoreError):
        own.create_schema()


def test_a_measured_store_shows_nothing_private(telemetry: HandoffTelemetry) -> None:
    """What the protocol does not name is not there, whatever looks for it: a copy must not look for ever."""
    store = telemetry.store(MemoryReplayStore())
    assert not hasattr(store, "_lock")
    assert isinstance(copy.copy(store), ReplayStore)


def test_twins_do_not_mix_because_they_are_measured(telemetry: HandoffTelemetry, booking: Booking, keys: KeyRing) -> None:  # fmt: skip
    """A store or client for asyncio is refused where one for threads is needed, and the reverse."""
    url, verifier = "https://bff-consumer.example", booking.verifier
    refused(ConfigurationError, Redeemer, verifier, cast("Any", telemetry.store(AsyncMemoryReplayStore())))
    refused(ConfigurationError, AsyncRedeemer, verifier, cast("Any", telemetry.store(MemoryReplayStore())))
    client: Any = telemetry.client(AsyncConsumeClient(url, keys=keys))
    refused(ConfigurationError, Handshake, Redeemer(verifier, MemoryReplayStore()), client)
    with telemetry.client(ConsumeClient(url, keys=keys)) as other:
        redeemer = AsyncRedeemer(verifier, AsyncMemoryReplayStore())
        refused(ConfigurationError, AsyncHandshake, redeemer, cast("Any", other))


def test_messages_name_the_store_that_was_measured(telemetry: HandoffTelemetry, booking: Booking, keys: KeyRing) -> None:  # fmt: skip
    """An operator has never heard of the class around it."""
    client: Any = telemetry.client(ConsumeClient("https://bff-consumer.example", keys=keys))
    redeemer = Redeemer(booking.verifier, telemetry.store(MemoryReplayStore()))
    with pytest.raises(ConfigurationError, match="MemoryReplayStore has not both"):
        Handshake(redeemer, client, "deferred")


def test_what_cannot_be_measured_is_refused(telemetry: HandoffTelemetry) -> None:
    """At once, and by its name."""
    with pytest.raises(ConfigurationError, match="object has no consume"):
        telemetry.store(cast("Any", object()))
    with pytest.raises(ConfigurationError, match="keys must be"):
        HandoffTelemetry(cast("Any", "keys.json"))


# Harmless


class BrokenInstrument:
    """Fails at each use."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError("the meter is broken")


class BrokenMeters:
    """A provider whose instruments are there, and fail."""

    def get_meter(self, *args: object, **options: object) -> BrokenMeters:
        return self

    def __getattr__(self, name: str) -> Callable[..., BrokenInstrument]:
        return lambda *args, **options: BrokenInstrument()


class BrokenTracers:
    """A provider whose tracer is there, and fails."""

    def get_tracer(self, *args: object, **options: object) -> BrokenInstrument:
        return BrokenInstrument()


class BrokenProcessor(SpanProcessor):
    """Fails at the start or the end of each span."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, *args: object, **options: object) -> None:
        if self.at == "start":
            raise RuntimeError("the tracer is broken")

    def on_end(self, span: ReadableSpan) -> None:
        if self.at == "end":
            raise RuntimeError("the tracer is broken")


@pytest.mark.parametrize("broken", ["meter", "start", "end"])
def test_broken_telemetry_refuses_nobody(broken: str, booking: Booking, minted: MintedHandoff, observatory: Observatory, keys: KeyRing, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """The guest goes on, another browser is refused as ever, and the log says what is broken."""
    if broken == "meter":
        booking.telemetry = HandoffTelemetry(keys, meter_provider=cast("Any", BrokenMeters()))
    else:
        observatory.tracers.add_span_processor(BrokenProcessor(broken))
    assert booking.redeem(minted.token).first
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    assert f"the {'meter' if broken == 'meter' else 'tracer'} is broken" in caplog.text


def test_a_span_that_cannot_start_leaves_the_trace_whole(observatory: Observatory) -> None:  # fmt: skip
    """What happens inside the call still belongs to the caller's span."""
    tracer = observatory.tracers.get_tracer("application")
    tracers: Any = BrokenTracers()
    broken = HandoffTelemetry(meter_provider=observatory.meters, tracer_provider=tracers)

    class Store(MemoryReplayStore):
        def consume(self, handoff_id: str, **entry: Any) -> Consumption:
            with tracer.start_as_current_span("SELECT"):
                return Consumption("r", True, 0)

    with tracer.start_as_current_span("POST /handoff") as request:
        cast("Any", broken.store(Store())).consume("id")
        assert request.is_recording()
    (inner,) = observatory.spans("SELECT")
    assert inner.parent == request.get_span_context()


def test_without_an_sdk_nothing_happens(booking: Booking, minted: MintedHandoff, keys: KeyRing) -> None:
    """The API alone records nothing and is in nobody's way."""
    booking.telemetry = HandoffTelemetry(keys)
    assert booking.redeem(minted.token).first


# Secrecy


def spellings(secret: bytes) -> set[str]:
    """How bytes could show: as hexadecimal, base64 of both alphabets, a repr."""
    encoded = (base64.b64encode(secret), base64.urlsafe_b64encode(secret))
    return {secret.hex(), repr(secret)[2:-1], *(text.decode("ascii").rstrip("=") for text in encoded)}


def shows(text: str, secret: str) -> bool:
    """Whether it is in the text: as it is, or as JSON or a repr quote it."""
    return any(spelling in text for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]))


@pytest.mark.parametrize("planted", ["metric", "span", None])
def test_no_secret_is_exported(planted: str | None, booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory, telemetry: HandoffTelemetry, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> None:  # fmt: skip
    """Neither token, MAC, key, cookie nor redemption id, whatever happens. The search finds each if it is planted."""
    other = issue(keys, log, clock)
    story(booking, minted, service, other)
    for _, authorization, body in service.requests:
        request = ConsumeRequest(path_id=minted.handoff_id, authorization=authorization, body=body)
        answer_consume(request, log=log, keys=keys, clock=clock, on_event=telemetry.on_event)
    forbidden = {text for browser in (GUEST, STRANGER) for text in spellings(browser)} | spellings(keys.keys[0].secret)
    for token in (minted.token, other.token, altered(minted.token)):
        _, _, body_part, mac = token.split(".")
        forbidden |= {token, body_part, mac}
    forbidden |= {authorization.partition("mac=")[2] for _, (authorization,), _ in service.requests}
    with SQLiteReplayStore(booking.path) as store:
        traces = [store.trace(handoff.handoff_id) for handoff in (minted, other)]
    redemption_ids = {record.redemption_id for trace in traces for record in trace.records}
    redemption_ids |= {refusal.redemption_id for trace in traces for refusal in trace.refusals}
    assert len(redemption_ids) == 3
    forbidden |= redemption_ids
    if planted is None:
        text = observatory.everything()
        assert "ghasi_handoff.redemptions" in text and minted.handoff_id in text
        assert [secret for secret in forbidden if shows(text, secret)] == []
        return
    for secret in forbidden:
        if planted == "metric":
            telemetry.on_event(HandoffRefused(code=secret, reason=""))
        else:
            refused(ReplayStoreError, telemetry.store(_Leaky()).consume, secret)
    text = observatory.everything()
    assert [secret for secret in forbidden if not shows(text, secret)] == []


class _Leaky(MemoryReplayStore):
    def consume(self, handoff_id: str, **entry: Any) -> NoReturn:
        raise ReplayStoreError(handoff_id)


def test_a_request_span_loses_its_query(observatory: Observatory, minted: MintedHandoff) -> None:
    """Whichever conventions the web framework's instrumentation follows; what has no query stays as it is."""
    url = minted.url("https://aurora.example/handoff")
    query = url.partition("?")[2]
    tracer = observatory.tracers.get_tracer("web framework")
    before: dict[str, Any] = {
        "url.full": url,
        "http.url": url,
        "http.target": f"/handoff?{query}",
        "url.query": query,
        "http.port": 443,
    }
    for attributes in (before, {"url.path": "/handoff"}):
        with tracer.start_as_current_span("GET /handoff", attributes=attributes) as span:
            hide_query(span, {})
    first, second = observatory.spans("GET /handoff")
    assert dict(first.attributes or {}) == {
        "url.full": "https://aurora.example/handoff",
        "http.url": "https://aurora.example/handoff",
        "http.target": "/handoff",
        "url.query": "",
        "http.port": 443,
    }
    assert dict(second.attributes or {}) == {"url.path": "/handoff"}
    hide_query(NonRecordingSpan(INVALID_SPAN_CONTEXT), {})


def test_only_known_attributes_are_exported(booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> None:  # fmt: skip
    """No metric has an attribute of one guest: no id, no kid, no tenant."""
    story(booking, minted, service, issue(keys, log, clock))
    metrics = observatory.metrics()
    names = {name for metric in metrics.values() for point in metric.data.data_points for name in point.attributes}
    assert names == {
        "error.type",
        "ghasi_handoff.event",
        "ghasi_handoff.key.state",
        "ghasi_handoff.outcome",
        "ghasi_handoff.reason",
        "ghasi_handoff.store.type",
    }
    assert all(metric.unit and metric.description for metric in metrics.values())


def test_a_handoff_id_is_no_secret_but_only_for_spans(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:  # fmt: skip
    """It is the correlation id of both sides, and would make a time series of each guest."""
    booking.redeem(minted.token)
    data = observatory.reader.get_metrics_data()
    assert data is not None
    assert minted.handoff_id not in data.to_json()


# Loaded on demand


def test_nothing_is_loaded_unless_asked_for() -> None:
    """Neither the package, the handshake nor the integrations import OpenTelemetry; its module imports the API alone."""
    program = (
        "import sys, ghasi_handoff, ghasi_handoff.handshake, ghasi_handoff.integrations;"
        " found = [name for name in sys.modules if name.startswith('opentelemetry')]; assert not found, found;"
        " import ghasi_handoff.integrations.opentelemetry; assert 'opentelemetry.metrics' in sys.modules;"
        " assert not {'opentelemetry.sdk', 'httpx2', 'psycopg', 'redis', 'fastapi'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
