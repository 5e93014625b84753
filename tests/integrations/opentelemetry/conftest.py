"""One pair of services over SQLite, the booking side under observation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing
from ghasi_handoff.handshake import SQLiteHandoffLog
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from tests.handshake.one_pair import clock, keys, minted, service
from tests.handshake.services import Clock, Consumer
from tests.integrations.opentelemetry.observatory import Booking, Observatory

__all__ = ["clock", "keys", "minted", "service"]


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[SQLiteHandoffLog]:
    """bff-consumer's handoff log."""
    with SQLiteHandoffLog(tmp_path / "log.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def observatory() -> Iterator[Observatory]:
    """What was exported."""
    with closing(Observatory()) as made:
        yield made


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
