"""For the suites of pytest-benchmark: what is saved about machine and commit, and the parts that suites share."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Final

import pytest

from benchmarks import booking, surroundings
from ghasi_handoff import BookingHandoff, KeyRing, Minter, Verifier

_OF_COMMIT: Final = ("id", "time", "dirty")


def pytest_benchmark_generate_machine_info() -> dict[str, str]:
    """What the figures depend on. Neither the machine's name nor a path."""
    with surroundings.memory_folder() as folder:
        return surroundings.machine(folder)


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    """The commit alone: no branch, and no name of the folder."""
    for name in set(commit_info) - set(_OF_COMMIT):
        del commit_info[name]


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    """A ring of two keys, the second of which does not sign yet."""
    return KeyRing.generate(kid="2026-11a").rotate(kid="2026-12a")


@pytest.fixture(scope="session")
def minter(ring: KeyRing) -> Minter:
    """The side that issues."""
    return Minter(ring, issuer="bff-consumer", audience="bff-tenant-booking")


@pytest.fixture(scope="session")
def verifier(ring: KeyRing) -> Verifier:
    """The side that redeems."""
    return Verifier(ring, issuer="bff-consumer", audience="bff-tenant-booking")


@pytest.fixture(scope="session")
def stay() -> BookingHandoff:
    """A booking with ten members set."""
    return booking.STAY


@pytest.fixture(scope="module")
def loop() -> Generator[asyncio.AbstractEventLoop]:
    """One event loop, kept open. A call is one ``run_until_complete``, whose own cost is measured beside it."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()
