"""calls of a store or a client -> the same answers, with a span around each call, and its duration."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final, NamedTuple, Self

from opentelemetry import trace
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from ghasi_handoff.errors import ConfigurationError, ConfirmationUnavailableError, HandoffError
from ghasi_handoff.handshake._events import harmless
from ghasi_handoff.replay import Consumption

# Attributes of several metrics and spans. What an outsider may choose freely is never a value of one.
ERROR_TYPE: Final = "error.type"  # of the semantic conventions
KEY_STATE: Final = "ghasi_handoff.key.state"
OUTCOME: Final = "ghasi_handoff.outcome"
REASON: Final = "ghasi_handoff.reason"
TENANT: Final = "ghasi_handoff.tenant"


class Probe(NamedTuple):
    """How one kind of call is measured: its span, its durations, and the attributes that are known before it."""

    tracer: Tracer
    name: str
    kind: SpanKind
    durations: Histogram
    known: Mapping[str, str]

    @contextmanager
    def around(self, handoff_id: str) -> Generator[dict[str, str]]:
        """The call goes into the block, and what came of it into the dictionary."""
        found = dict(self.known)
        # On spans only: it names one guest's handoff, and would make a time series of each.
        started = {"ghasi_handoff.handoff_id": handoff_id}
        span = harmless("telemetry", lambda: self.tracer.start_span(self.name, kind=self.kind, attributes=started))
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
            # With the span, so that an exemplar leads from a slow bucket to its trace.
            harmless("telemetry", lambda: self.durations.record(seconds, found, trace.set_span_in_context(current)))
            harmless("telemetry", lambda: _end(current, found))


def measured(target: object, probe: Probe) -> object:
    """`target` with its consume measured. Everything else that is public is the target's own."""
    consume = getattr(target, "consume", None)
    if not callable(consume):
        raise ConfigurationError(f"{type(target).__name__} has no consume that could be measured")
    base = _Awaited if inspect.iscoroutinefunction(consume) else _Threaded
    # Under the target's own name, which is what messages tell the operator.
    return type(type(target).__name__, (base,), {})(target, probe)


class _Measured:
    def __init__(self, target: Any, probe: Probe) -> None:
        self._target = target
        self._probe = probe

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # not part of any protocol
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._target, name)


class _Threaded(_Measured):
    def consume(self, handoff_id: str, **entry: Any) -> Any:
        with self._probe.around(handoff_id) as found:
            answer = self._target.consume(handoff_id, **entry)
            found |= _outcome(answer, entry)
        return answer

    def __enter__(self) -> Self:
        self._target.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        return self._target.__exit__(*exc_info)


class _Awaited(_Measured):
    async def consume(self, handoff_id: str, **entry: Any) -> Any:
        with self._probe.around(handoff_id) as found:
            answer = await self._target.consume(handoff_id, **entry)
            found |= _outcome(answer, entry)
        return answer

    async def __aenter__(self) -> Self:
        await self._target.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._target.__aexit__(*exc_info)


def _outcome(answer: object, entry: Mapping[str, object]) -> dict[str, str]:
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
