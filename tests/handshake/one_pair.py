"""Fixtures of one wired pair of services: bff-consumer over the fixture `log`, and what calls it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ghasi_handoff import KeyRing, MintedHandoff
from ghasi_handoff.handshake import ConsumeClient

from .services import Clock, Consumer, consumer, issue, patient_client


@pytest.fixture
def clock() -> Clock:
    """The clock of everything in a test."""
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> KeyRing:
    """The ring of the pair."""
    return KeyRing.generate(now=datetime.fromtimestamp(clock.now - 60, UTC))


@pytest.fixture
def service(log: Any, keys: KeyRing, clock: Clock) -> Iterator[Consumer]:
    """bff-consumer."""
    with consumer(log, keys, clock) as running:
        yield running


@pytest.fixture
def client(service: Consumer, keys: KeyRing, clock: Clock) -> Iterator[ConsumeClient]:
    """The booking side's client."""
    with patient_client(service, keys, clock) as opened:
        yield opened


@pytest.fixture
def minted(keys: KeyRing, log: Any, clock: Clock) -> MintedHandoff:
    """A handoff that both sides know."""
    return issue(keys, log, clock)
