"""Both services, for most tests here: once with a handshake for threads, once for asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .both_services import BothServices, Browser, both_services


@pytest.fixture(params=["sync", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which handshake."""
    name: str = request.param
    return name


@pytest.fixture
def services(kind: str, tmp_path: Path) -> Iterator[BothServices]:
    """Both services."""
    with both_services(kind, tmp_path) as built:
        yield built


@pytest.fixture
def guest(services: BothServices) -> Browser:
    """The browser that the handoff is meant for."""
    return services.browser()


@pytest.fixture
def stranger(services: BothServices) -> Browser:
    """Another browser."""
    return services.browser()
