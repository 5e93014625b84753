"""events -> counters and gauges; the calls of a store and a client -> spans and durations. No secret in any of them.

Needs the extra ``[otel]``: OpenTelemetry's API, which does nothing until the application sets up an SDK.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider

from ghasi_handoff._version import __version__
from ghasi_handoff.errors import ConfigurationError, ConfirmationUnavailableError, HandoffError, KeyRingError
from ghasi_handoff.handshake._events import (
    CallAnswered,
    ConfirmationFailed,
    DeliveryGivenUp,
    DeliveryRefused,
    HandoffEvent,
    HandoffRedeemed,
    HandoffRefused,
    HandoffReplayed,
    LocalRowLost,
    OutboxAge,
    harmless,
)
from ghasi_handoff.keys import KeyRing, KeyState, ring_source
from ghasi_handoff.replay import AsyncReplayStore, Consumption, ReplayStore

if TYPE_CHECKING:
    from ghasi_handoff.handshake import AsyncConsumeClient, ConsumeClient

__all__ = ["HandoffTelemetry", "hide_query"]

SCOPE: Final = "ghasi_handoff"
# Of the semantic conventions.
ERROR_TYPE: Final = "error.type"
STATUS: Final = "http.response.status_code"
# Our own. Each has few values: what an outsider may choose freely (a kid, an id) is never one of them.
EVENT: Final = "ghasi_handoff.event"
KEY_STATE: Final = "ghasi_handoff.key.state"
OUTCOME: Final = "ghasi_handoff.outcome"
REASON: Final = "ghasi_handoff.reason"
STORE_TYPE: Final = "ghasi_handoff.store.type"
TENANT: Final = "ghasi_handoff.tenant"
# Where a web framework's instrumentation puts a request's URL, by the present conventions and the older ones.
URLS: Final = ("url.full", "http.url", "http.target")
URL_QUERY: Final = "url.query"
# On spans only: it names one guest's handoff, and would make a time series of each.
HANDOFF_ID: Final = "ghasi_handoff.handoff_id"

# Seconds. From a store in memory to a client's two tries, their default limits (0.7 s, 2 s) not far from a boundary.
CALL_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10)
# A scanner comes within seconds, a shared link after minutes; no token lives for more than an hour.
GAP_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

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
        ConfigurationError: `keys` is something else.
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
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
        self._events = meter.create_counter("ghasi_handoff.events", "{event}", "Events, by name.")
        self._redemptions = meter.create_counter(
            "ghasi_handoff.redemptions", "{attempt}", "Attempts to redeem a handoff, by outcome."
        )
        self._consume_calls = meter.create_counter(
            "ghasi_handoff.consume_calls", "{call}", "Consume calls that bff-consumer answered, by status."
        )
        self._replay_gap = meter.create_histogram(
            "ghasi_handoff.replay.gap",
            "s",
            "From a redemption to another browser's attempt.",
            explicit_bucket_boundaries_advisory=GAP_SECONDS,
        )
        # Gauges: all processes see one outbox and one ring, so a sum over them would mean nothing.
        self._pending = meter.create_gauge(
            "ghasi_handoff.outbox.pending", "{entry}", "Outbox entries still to be delivered."
        )
        self._dead = meter.create_gauge("ghasi_handoff.outbox.dead", "{entry}", "Outbox entries given up.")
        self._age = meter.create_gauge("ghasi_handoff.outbox.age", "s", "Age of the oldest pending outbox entry.")
        self._store_duration = meter.create_histogram(
            "ghasi_handoff.store.duration",
            "s",
            "Duration of a replay store's consume.",
            explicit_bucket_boundaries_advisory=CALL_SECONDS,
        )
        self._confirmation_duration = meter.create_histogram(
            "ghasi_handoff.confirmation.duration",
            "s",
            "Duration of a consume call as the booking side sees it, its retry included.",
            explicit_bucket_boundaries_advisory=CALL_SECONDS,
        )
        if self._keys is not None:
            meter.create_observable_gauge(
                "ghasi_handoff.keys", [_counting(self._keys)], "{key}", "Keys of the ring, by state."
            )

    def on_event(self, event: HandoffEvent) -> None:
        """Count `event`. Pass this method as ``on_event=`` to whatever reports events.

        Args:
            event: What happened.
        """
        tenant = event.tenant if self._by_tenant else None
        self._events.add(1, _given({EVENT: event.name, REASON: _reason(event)}))
        outcome = _outcome(event)
        if outcome is not None:
            self._redemptions.add(1, _given({OUTCOME: outcome, KEY_STATE: self._key_state(event.kid), TENANT: tenant}))
        if isinstance(event, HandoffReplayed):
            # Below zero where two machines' clocks differ.
            self._replay_gap.record(max(0, event.gap_seconds), _given({TENANT: tenant}))
        elif isinstance(event, OutboxAge):
            self._pending.set(event.pending)
            self._dead.set(event.dead)
            self._age.set(event.age_seconds)
        elif isinstance(event, CallAnswered):
            state = self._key_state(event.kid)
            self._consume_calls.add(
                1, _given({STATUS: event.status, ERROR_TYPE: event.code, KEY_STATE: state, TENANT: tenant})
            )

    def store(self, store: _StoreT) -> _StoreT:
        """`store` with a span around each consume, and its duration. Everything else is the store's own.

        Args:
            store: A replay store, for threads or for asyncio.

        Raises:
            ConfigurationError: It has no ``consume``.
        """
        known = {STORE_TYPE: type(store).__name__}
        probe = _Probe(self._tracer, "ghasi_handoff.consume", SpanKind.INTERNAL, self._store_duration, known)
        return cast(_StoreT, _wrapped(store, probe))

    def client(self, client: _ClientT) -> _ClientT:
        """`client` with a span around each consume call, and its duration. Everything else is the client's own.

        Args:
            client: Calls bff-consumer, for threads or for asyncio.

        Raises:
            ConfigurationError: It has no ``consume``.
        """
        probe = _Probe(self._tracer, "ghasi_handoff.confirm", SpanKind.CLIENT, self._confirmation_duration, {})
        return cast(_ClientT, _wrapped(client, probe))

    def _key_state(self, kid: str | None) -> str | None:
        keys = self._keys
        # The event counts, even if the ring cannot be read.
        return None if keys is None or kid is None else harmless("telemetry", lambda: _state_in(keys(), kid))


def hide_query(span: Span, scope: Mapping[str, Any]) -> None:
    """Take the query out of a request's span: the query of the landing page is the token.

    Pass it as ``server_request_hook=`` to the instrumentation of FastAPI, Starlette or any ASGI application.

    Args:
        span: The request's span, just started.
        scope: The ASGI scope. Not used.
    """
    # The API writes attributes and does not read them; a span that is recorded is the SDK's, which does.
    attributes = dict(getattr(span, "attributes", None) or {})
    for name in URLS:
        if name in attributes:
            span.set_attribute(name, str(attributes[name]).partition("?")[0])
    if URL_QUERY in attributes:
        span.set_attribute(URL_QUERY, "")


class _Probe:
    """Measures one kind of call: a span around it, then its duration."""

    def __init__(
        self, tracer: Tracer, name: str, kind: SpanKind, durations: Histogram, known: Mapping[str, str]
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._durations = durations
        self._known = known

    @contextmanager
    def around(self, handoff_id: str) -> Generator[dict[str, str]]:
        """The call goes into the block, and what came of it into the dictionary."""
        found = dict(self._known)
        started = {HANDOFF_ID: handoff_id}
        span = harmless("telemetry", lambda: self._tracer.start_span(self._name, kind=self._kind, attributes=started))
        # Without a span of our own, what happens inside still belongs to the caller's.
        current = trace.NonRecordingSpan(trace.get_current_span().get_span_context()) if span is None else span
        begun = perf_counter()
        try:
            # No exception is recorded: its text and traceback are for the log, which has them.
            with trace.use_span(current, record_exception=False, set_status_on_exception=False):
                yield found
        except BaseException as exc:
            found |= _failure(exc)
            raise
        finally:
            seconds = perf_counter() - begun
            harmless("telemetry", lambda: self._record(current, seconds, found))
            harmless("telemetry", lambda: _end(current, found))

    def _record(self, span: Span, seconds: float, found: Mapping[str, str]) -> None:
        # With the span, so that an exemplar leads from a slow bucket to its trace.
        self._durations.record(seconds, found, trace.set_span_in_context(span))


class _Wrapped:
    """Everything public of `target`, with its consume measured."""

    def __init__(self, target: Any, probe: _Probe) -> None:
        self._target = target
        self._probe = probe

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # not part of any protocol
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._target, name)


class _Threaded(_Wrapped):
    def consume(self, handoff_id: str, **entry: Any) -> Any:
        with self._probe.around(handoff_id) as found:
            answer = self._target.consume(handoff_id, **entry)
            found |= _holder(answer, entry)
        return answer

    def __enter__(self) -> Self:
        self._target.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        return self._target.__exit__(*exc_info)


class _Awaited(_Wrapped):
    async def consume(self, handoff_id: str, **entry: Any) -> Any:
        with self._probe.around(handoff_id) as found:
            answer = await self._target.consume(handoff_id, **entry)
            found |= _holder(answer, entry)
        return answer

    async def __aenter__(self) -> Self:
        await self._target.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._target.__aexit__(*exc_info)


def _wrapped(target: object, probe: _Probe) -> object:
    consume = getattr(target, "consume", None)
    if not callable(consume):
        raise ConfigurationError(f"{type(target).__name__} has no consume that could be measured")
    base = _Awaited if inspect.iscoroutinefunction(consume) else _Threaded
    # Under the target's own name, which is what messages tell the operator.
    return type(type(target).__name__, (base,), {})(target, probe)


def _given(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}


def _outcome(event: HandoffEvent) -> str | None:
    """How an attempt to redeem ended; None if the event is not the end of one."""
    match event:
        case HandoffRedeemed():
            return "redeemed" if event.first else "repeated"
        case HandoffRefused():
            return event.code
        case HandoffReplayed() | ConfirmationFailed():
            return event.name
        case LocalRowLost() if event.kid is not None:  # a worker, which ends no attempt, does not know the key
            return event.name
    return None


def _reason(event: HandoffEvent) -> str | None:
    """Why, where the event says it in one word of a short list."""
    match event:
        case ConfirmationFailed() | DeliveryGivenUp():
            return event.reason
        case DeliveryRefused():
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


def _holder(answer: object, entry: Mapping[str, object]) -> dict[str, str]:
    """What a store decided. A client's answer is None, and what a broken store says is judged elsewhere."""
    if not isinstance(answer, Consumption):
        return {}
    if answer.holder != entry.get("redemption_id"):
        return {OUTCOME: "replayed"}
    return {OUTCOME: "redeemed" if answer.first else "repeated"}


def _failure(exc: BaseException) -> dict[str, str]:
    if isinstance(exc, ConfirmationUnavailableError):
        return {ERROR_TYPE: exc.code, REASON: exc.reason}
    return {ERROR_TYPE: exc.code if isinstance(exc, HandoffError) else type(exc).__qualname__}


def _end(span: Span, found: Mapping[str, str]) -> None:
    span.set_attributes(found)
    if ERROR_TYPE in found:
        span.set_status(StatusCode.ERROR)
    span.end()
