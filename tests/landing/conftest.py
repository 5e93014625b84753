"""Both services, for most tests here: once with a handshake for threads, once for asyncio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .both_services import BothServices, Browser, Pool


@pytest.fixture(params=["sync", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which handshake."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Where the services of a module's tests come from."""
    made = Pool(tmp_path_factory.mktemp("services"))
    yield made
    made.close()


@pytest.fixture
def services(kind: str, pool: Pool) -> Iterator[BothServices]:
    """Both services, as new."""
    with pool.borrowed(kind) as borrowed:
        yield borrowed


@pytest.fixture
def guest(services: BothServices) -> Browser:
    """The browser that the handoff is meant for."""
    return services.browser()


@pytest.fixture
def stranger(services: BothServices) -> Browser:
    """Another browser."""
    return services.browser()
