"""A ring for the tests of rotation."""

from __future__ import annotations

import pytest

from ghasi_handoff import KeyRing
from tests.minter_and_verifier import NOW, at, key


@pytest.fixture
def ring() -> KeyRing:
    """Keys of every state at `NOW`."""
    ring = KeyRing([key("retired", NOW - 300_000)])
    ring = ring.rotate("revoked", now=at(NOW - 200_000))
    ring = ring.rotate("verify-only", now=at(NOW - 7200))
    ring = ring.rotate("active", now=at(NOW - 1800))
    return ring.rotate("pending", now=at(NOW)).revoke("revoked", now=at(NOW))
