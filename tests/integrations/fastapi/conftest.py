"""The house that most tests here stand in: once with a handshake for threads, once for asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .house import Browser, House, house


@pytest.fixture(params=["sync", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which handshake."""
    name: str = request.param
    return name


@pytest.fixture
def home(kind: str, tmp_path: Path) -> Iterator[House]:
    """Both services."""
    with house(kind, tmp_path) as built:
        yield built


@pytest.fixture
def guest(home: House) -> Browser:
    """The browser that the handoff is meant for."""
    return home.browser()


@pytest.fixture
def stranger(home: House) -> Browser:
    """Another browser."""
    return home.browser()
