"""Both services, for most tests here: once with a handshake for threads, once for asyncio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.landing.both_services import Pool
from tests.landing.conftest import guest, kind, services, stranger

from .asgi import FastAPIServices

__all__ = ["guest", "kind", "services", "stranger"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Where the services of a module's tests come from."""
    made = Pool(tmp_path_factory.mktemp("services"), FastAPIServices)
    yield made
    made.close()
