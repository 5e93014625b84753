"""handoff events, a key ring -> counters, histograms and gauges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar, cast

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
from opentelemetry.trace import SpanKind, TracerProvider

from ghasi_handoff._version import __version__
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.handshake import _events as events
from ghasi_handoff.integrations.opentelemetry._measured import (
    ERROR_TYPE,
    KEY_STATE,
    OUTCOME,
    REASON,
    TENANT,
    Probe,
    measured,
)
from ghasi_handoff.keys import KeyRing, KeyState, ring_source
from ghasi_handoff.replay import AsyncReplayStore, ReplayStore

if TYPE_CHECKING:
    from ghasi_handoff.handshake import AsyncConsumeClient, ConsumeClient

_SCOPE: Final = "ghasi_handoff"
# Seconds. From a store in memory to a client's two tries, their default limits (0.7 s, 2 s) not far from a boundary.
_CALL_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10)
# A scanner comes within seconds, a shared link after minutes; no token lives for more than an hour.
_GAP_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

_StoreT = TypeVar("_StoreT", bound="ReplayStore | AsyncReplayStore")
_ClientT = TypeVar("_ClientT", bound="ConsumeClient | AsyncConsumeClient")


class HandoffTelemetry:
    """Tells OpenTelemetry what becomes of handoffs. Make one for each process, and share it between threads.

    No attribute holds a token, a MAC, a secret, a cookie or a redemption id. What fails in OpenTelemetry is logged to
    ``ghasi_handoff`` and changes no answer to a guest.

    Args:
        keys: The ring, or a callable that returns the present one. With it, handoffs are counted by the state of the
            key that signed, and keys by their state.
        by_tenant: Also count by tenant. Each tenant makes time series of its own.
        meter_provider: By default the global one, also if it is set later.
        tracer_provider: By default the global one, also if it is set later.

    Raises:
        ConfigurationError: `keys` has the wrong type.
    """

    def __init__(
        self,
        keys: KeyRing | Callable[[], KeyRing] | None = None,
        *,
        by_tenant: bool = False,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._keys = None if keys is None else ring_source(keys)
        self._by_tenant = by_tenant
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
        counter, gauge = meter.create_counter, meter.create_gauge

        def seconds(name: str, description: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=bounds)

        self._events = counter("ghasi_handoff.events", "{event}", "Events, by name.")
        self._redemptions = counter("ghasi_handoff.redemptions", "{attempt}", "Attempts to redeem, by outcome.")
        self._consume_calls = counter(
            "ghasi_handoff.consume_calls", "{call}", "Consume calls that bff-consumer answered, by status."
        )
        self._replay_gap = seconds(
            "ghasi_handoff.replay.gap", "From a redemption to another browser's attempt.", _GAP_SECONDS
        )
        # Gauges: all processes see one outbox and one ring, so a sum over them would mean nothing.
        self._pending = gauge("ghasi_handoff.outbox.pending", "{entry}", "Outbox entries still to be delivered.")
        self._dead = gauge("ghasi_handoff.outbox.dead", "{entry}", "Outbox entries given up.")
        self._age = gauge("ghasi_handoff.outbox.age", "s", "Age of the oldest pending outbox entry.")
        self._store_duration = seconds(
            "ghasi_handoff.store.duration", "Duration of a replay store's consume.", _CALL_SECONDS
        )
        self._confirmation_duration = seconds(
            "ghasi_handoff.confirmation.duration",
            "Duration of a consume call as the booking side sees it, its retry included.",
            _CALL_SECONDS,
        )
        if self._keys is not None:
            meter.create_observable_gauge(
                "ghasi_handoff.keys", [_counting(self._keys)], "{key}", "Keys of the ring, by state."
            )

    def on_event(self, event: events.HandoffEvent) -> None:
        """Count `event`. Pass this method as ``on_event=`` to whatever reports events."""
        tenant = event.tenant if self._by_tenant else None
        self._events.add(1, _given({"ghasi_handoff.event": event.name, REASON: _reason(event)}))
        outcome = _outcome(event)
        if outcome is not None:
            self._redemptions.add(1, _given({OUTCOME: outcome, KEY_STATE: self._key_state(event.kid), TENANT: tenant}))
        match event:
            case events.HandoffReplayed():
                # Below zero where two machines' clocks differ.
                self._replay_gap.record(max(0, event.gap_seconds), _given({TENANT: tenant}))
            case events.OutboxAge():
                self._pending.set(event.pending)
                self._dead.set(event.dead)
                self._age.set(event.age_seconds)
            case events.CallAnswered():
                found = {ERROR_TYPE: event.code, KEY_STATE: self._key_state(event.kid), TENANT: tenant}
                self._consume_calls.add(1, _given({"http.response.status_code": event.status, **found}))

    def store(self, store: _StoreT) -> _StoreT:
        """A replay store (for threads or asyncio) with a span around each consume, and its duration.

        Everything else is the store's own. `ConfigurationError` if it has no ``consume``.
        """
        known = {"ghasi_handoff.store.type": type(store).__name__}
        probe = Probe(self._tracer, "ghasi_handoff.consume", SpanKind.INTERNAL, self._store_duration, known)
        return cast(_StoreT, measured(store, probe))

    def client(self, client: _ClientT) -> _ClientT:
        """A client (for threads or asyncio) with a span around each consume call, and its duration.

        Everything else is the client's own. `ConfigurationError` if it has no ``consume``.
        """
        probe = Probe(self._tracer, "ghasi_handoff.confirm", SpanKind.CLIENT, self._confirmation_duration, {})
        return cast(_ClientT, measured(client, probe))

    def _key_state(self, kid: str | None) -> str | None:
        keys = self._keys
        # The event counts, even if the ring cannot be read.
        return None if keys is None or kid is None else events.harmless("telemetry", lambda: _state_in(keys(), kid))


def _given(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}


def _outcome(event: events.HandoffEvent) -> str | None:
    """How an attempt to redeem ended; None if the event is not the end of one."""
    match event:
        case events.HandoffRedeemed():
            return "redeemed" if event.first else "repeated"
        case events.HandoffRefused():
            return event.code
        case events.HandoffReplayed() | events.ConfirmationFailed():
            return event.name
        case events.LocalRowLost() if event.kid is not None:  # a worker, which ends no attempt, does not know the key
            return event.name
    return None


def _reason(event: events.HandoffEvent) -> str | None:
    """Why, where the event says it in one word of a short list."""
    match event:
        case events.ConfirmationFailed() | events.DeliveryGivenUp():
            return event.reason
        case events.DeliveryRefused():
            return event.code
    return None


def _counting(keys: Callable[[], KeyRing]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """What an exporter calls to learn how many keys are in each state."""

    def count(options: CallbackOptions) -> Iterable[Observation]:
        ring = keys()
        states = Counter(ring.state(key.kid) for key in ring.keys)
        # Zeros, too: no active key is what an alarm waits for.
        return [Observation(states[state], {KEY_STATE: state.value}) for state in KeyState]

    return count


def _state_in(ring: KeyRing, kid: str) -> str:
    try:
        return ring.state(kid).value
    except KeyRingError:
        return "unknown"  # a made-up kid, maybe: it must not become a value of its own
