"""Hypothesis profiles, and the servers that tests use.

The profile is "quick" by default, "thorough" in CI or with HYPOTHESIS_PROFILE=thorough.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from . import servers

# Hypothesis has a profile of its own for CI, from which these would inherit: what matters is said, not inherited.
_ALIKE = settings(
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", _ALIKE, max_examples=100, stateful_step_count=30)
settings.register_profile("thorough", _ALIKE, max_examples=200, stateful_step_count=50)
# For mypy and pyright, never for Python: pytest would import it to look for doctests.
collect_ignore = ["typing/api.py"]

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough" if os.environ.get("CI") else "quick"))

POSTGRES, REDIS, CHROMIUM = "no PostgreSQL server", "no Redis server", "no Chromium"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer | servers.ExistingServer]:
    """A PostgreSQL server for all tests of the run. A test that stops or changes one starts its own."""
    yield from _serve(servers.postgres)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer | servers.ExistingServer]:
    """A Redis server for all tests of the run. A test that stops or changes one starts its own."""
    yield from _serve(servers.redis_one)


@pytest.fixture
def postgres_url(postgres_server: servers.PostgresServer | servers.ExistingServer) -> Iterator[str]:
    """The URL of a new database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield _with_database(postgres_server.url, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def redis_url(redis_server: servers.RedisServer | servers.ExistingServer) -> str:
    """The URL of a Redis server that holds nothing."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that wants a server or a browser where none can be had is left out, not failed; in CI that fails the run."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, servers.NoServerError):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"Skipped: {call.excinfo.value}")
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name each test that was left out for want of a server or a browser."""
    reasons = [
        (report.nodeid, report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
        and any(text in report.longrepr[2] for text in (POSTGRES, REDIS, CHROMIUM))
    ]
    if reasons:
        terminalreporter.section("left out for want of a server or a browser")
        for reason in sorted({reason for _, reason in reasons}):
            terminalreporter.line(reason.removeprefix("Skipped: "))
        for nodeid, _ in reasons:
            terminalreporter.line(f"  {nodeid}")


_Server = TypeVar(
    "_Server", servers.PostgresServer | servers.ExistingServer, servers.RedisServer | servers.ExistingServer
)


def _serve(start: Callable[[], _Server]) -> Iterator[_Server]:
    server = start()
    yield server
    if not isinstance(server, servers.ExistingServer):
        server.__exit__(None, None, None)


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
