"""Measured stores and clients: spans and durations, the same answers, and no harm if telemetry is broken."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from ghasi_handoff import (
    AsyncRedeemer,
    ConfigurationError,
    Consumption,
    HandoffError,
    KeyRing,
    MintedHandoff,
    Redeemer,
    ReplayStore,
    ReplayStoreError,
)
from ghasi_handoff._limits import OUTBOX_DELAY_SECONDS
from ghasi_handoff.errors import ReplayedTokenError
from ghasi_handoff.handshake import AsyncConsumeClient, AsyncHandshake, ConsumeClient, Deliveries, Handshake
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore
from tests.handshake.services import SCOPE, STRANGER, Clock, Consumer, handoff_id
from tests.integrations.opentelemetry.observatory import Booking, Observatory, refused


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
    with pytest.raises(ConfigurationError, match="which MemoryReplayStore is not"):
        Handshake(redeemer, client, "deferred")


def test_what_cannot_be_measured_is_refused(telemetry: HandoffTelemetry) -> None:
    """At once, and by its name."""
    with pytest.raises(ConfigurationError, match="object has no consume"):
        telemetry.store(cast("Any", object()))
    with pytest.raises(ConfigurationError, match="keys must be"):
        HandoffTelemetry(cast("Any", "keys.json"))


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
