"""An SDK that keeps what is exported, and a booking side under its observation."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ghasi_handoff import AsyncRedeemer, HandoffError, MintedHandoff, Redeemer, Redemption, Verifier
from ghasi_handoff._limits import OUTBOX_DELAY_SECONDS
from ghasi_handoff.errors import ConfirmationUnavailableError, InvalidMACError, MalformedTokenError, ReplayedTokenError
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncHandshake,
    AsyncOutboxWorker,
    ConsumeClient,
    Deliveries,
    Handshake,
    OutboxWorker,
)
from ghasi_handoff.handshake._deliveries import Mode
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore
from tests.handshake.services import AUDIENCE, GUEST, ISSUER, STRANGER, TENANT, Clock, Consumer

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

    def close(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()

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
