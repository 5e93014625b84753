"""Hypothesis profiles, and the servers that tests use. A driver is imported by the tests that need its server, no others.

The profile is "quick", unless HYPOTHESIS_PROFILE names another; `make test-all` names "thorough". See README.md.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

from .no_server_error import NoServerError

if TYPE_CHECKING:
    from .servers import ExistingServer, PostgresServer, RedisServer

# Hypothesis has a profile of its own for CI, from which these would inherit: what matters is said, not inherited.
_ALIKE = settings(
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", _ALIKE, max_examples=40, stateful_step_count=30)
settings.register_profile("thorough", _ALIKE, max_examples=200, stateful_step_count=50)
# For mypy and pyright, never for Python: pytest would import it to look for doctests.
collect_ignore = ["typing/api.py"]

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

POSTGRES, REDIS, CHROMIUM = "no PostgreSQL server", "no Redis server", "no Chromium"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | ExistingServer]:
    """A PostgreSQL server for all tests of a process. A test that stops or changes one starts its own."""
    from . import servers

    with servers.postgres(in_memory=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer | ExistingServer]:
    """A Redis server for all tests of a process. A test that stops or changes one starts its own."""
    from . import servers

    with servers.redis_one(in_memory=True) as server:
        yield server


@pytest.fixture(scope="session")
def new_postgres_url(
    postgres_server: PostgresServer | ExistingServer,
) -> Callable[[], AbstractContextManager[str]]:
    """Makes a database, gives its URL, and removes it: for fixtures that live longer than a test."""
    import psycopg

    @contextmanager
    def make() -> Generator[str]:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            # By copying the template's files: through the log, which is the default since 15, it takes three times as long.
            how = "STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""
            connection.execute(f"CREATE DATABASE {name} {how}".encode())
            try:
                yield urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl()
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    return make


@pytest.fixture
def postgres_url(new_postgres_url: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The URL of a new, empty database."""
    with new_postgres_url() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: RedisServer | ExistingServer) -> str:
    """The URL of a Redis database that holds nothing."""
    import redis

    url = urlsplit(redis_server.url)
    database = int(url.path.strip("/") or 0)
    if not redis_server.controllable:
        # The processes of one run share a server that an environment variable names; each has a database of its own.
        database += int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with redis.Redis.from_url(url._replace(path=f"/{database}").geturl()) as client:
        client.flushdb()
    return url._replace(path=f"/{database}").geturl()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that wants a server or a browser where none can be had is left out, not failed; `--no-skips` fails the run."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, NoServerError):
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
